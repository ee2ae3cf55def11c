"""Storage classes and what drivers publish: CSIDriver, CSINode, CSIStorageCapacity, VolumeAttachment and their like."""

from __future__ import annotations

from sparsam.errors import Cause
from sparsam.objects.fields import duplicate, invalid, required, too_long
from sparsam.objects.names import (
    dns_subdomain_errors,
    label_value_errors,
    qualified_name_errors,
    validate_immutable,
)
from sparsam.objects.strategies.common import non_negative, optional_one_of, put_default, text_causes
from sparsam.objects.strategies.resources import quantity
from sparsam.objects.strategies.selectors import validate_label_selector
from sparsam.objects.strategy import Obj, Strategy

GROUP = "storage.k8s.io"
_MAX_PARAMETERS = 512
_MAX_PARAMETER_BYTES = 256 * 1024
_MAX_DRIVER_NAME = 63
_MAX_NODE_ID = 192
_MIN_TOKEN_SECONDS = 10 * 60
_MAX_TOKEN_SECONDS = 2**32
_LIFECYCLES = ("Persistent", "Ephemeral")
_FS_GROUP_POLICIES = ("File", "None", "ReadWriteOnceWithFSType")
_DRIVER_DEFAULTS = (
    ("attachRequired", True),
    ("podInfoOnMount", False),
    ("storageCapacity", False),
    ("fsGroupPolicy", "ReadWriteOnceWithFSType"),
    ("requiresRepublish", False),
    ("seLinuxMount", False),
)


def default_class(storage_class: Obj) -> None:
    """Volumes are made at once and deleted with their claim."""
    put_default(storage_class, "reclaimPolicy", "Delete")
    put_default(storage_class, "volumeBindingMode", "Immediate")


def validate_class(storage_class: Obj) -> list[Cause]:
    """Causes for a StorageClass."""
    provisioner = storage_class.get("provisioner", "")
    causes = [required("provisioner")] if not provisioner else []
    if provisioner:
        causes += [invalid("provisioner", provisioner, error) for error in qualified_name_errors(provisioner.lower())]
    causes += _parameters(storage_class.get("parameters") or {}, "parameters")
    causes += optional_one_of(storage_class.get("reclaimPolicy", ""), "reclaimPolicy", ("Delete", "Retain"))
    modes = ("Immediate", "WaitForFirstConsumer")
    causes += optional_one_of(storage_class.get("volumeBindingMode", ""), "volumeBindingMode", modes)
    return causes + _topologies(storage_class.get("allowedTopologies") or [], "allowedTopologies")


def _parameters(parameters: Obj, path: str) -> list[Cause]:
    if len(parameters) > _MAX_PARAMETERS:
        return [too_long(path, _MAX_PARAMETERS)]
    causes = [invalid(path, name, "field can not be empty.") for name in parameters if not name]
    if sum(len(name) + len(value) for name, value in parameters.items()) > _MAX_PARAMETER_BYTES:
        causes.append(too_long(path, _MAX_PARAMETER_BYTES))
    return causes


def _topologies(topologies: list[Obj], path: str) -> list[Cause]:
    causes: list[Cause] = []
    for position, term in enumerate(topologies):
        keys: set[str] = set()
        for order, requirement in enumerate(term.get("matchLabelExpressions") or []):
            here = f"{path}[{position}].matchLabelExpressions[{order}]"
            key, values = requirement.get("key", ""), requirement.get("values") or []
            if not values:
                causes.append(required(f"{here}.values"))
            for index, value in enumerate(values):
                if value in values[:index]:
                    causes.append(duplicate(f"{here}.values[{index}]", value))
                causes += text_causes(value, f"{here}.values[{index}]", label_value_errors)
            causes += text_causes(key, f"{here}.key", qualified_name_errors)
            if key in keys:
                causes.append(duplicate(f"{here}.key", key))
            keys.add(key)
    return causes


def _unchanged(new: Obj, old: Obj, names: tuple[str, ...], path: str = "") -> list[Cause]:
    return [cause for name in names for cause in validate_immutable(new.get(name), old.get(name), path + name)]


def validate_class_update(storage_class: Obj, old: Obj) -> list[Cause]:
    """Causes for a changed StorageClass: what makes volumes stays."""
    fixed = ("parameters", "provisioner", "reclaimPolicy", "volumeBindingMode")
    return validate_class(storage_class) + _unchanged(storage_class, old, fixed)


def driver_name(name: str, path: str) -> list[Cause]:
    """Causes for the name of a driver."""
    if not name:
        return [required(path)]
    causes = [too_long(path, _MAX_DRIVER_NAME)] if len(name) > _MAX_DRIVER_NAME else []
    return causes + [invalid(path, name, error) for error in dns_subdomain_errors(name.lower())]


def default_driver(driver: Obj) -> None:
    """A driver attaches volumes and needs nothing of the pod."""
    spec = driver.setdefault("spec", {})
    for name, value in _DRIVER_DEFAULTS:
        if spec.get(name) is None:
            spec[name] = value
    if not spec.get("volumeLifecycleModes"):
        spec["volumeLifecycleModes"] = ["Persistent"]


def prepare_driver_update(driver: Obj, old: Obj) -> None:
    """A driver has no generation before its spec changes for the first time."""
    if driver["spec"] != old["spec"]:
        driver["metadata"]["generation"] = old["metadata"].get("generation", 0) + 1


def validate_driver(driver: Obj) -> list[Cause]:
    """Causes for a CSIDriver."""
    spec = driver["spec"]
    causes: list[Cause] = []
    if len(driver["metadata"].get("name", "")) > _MAX_DRIVER_NAME and not _name_errors(driver):
        causes.append(too_long("metadata.name", _MAX_DRIVER_NAME))
    causes += optional_one_of(spec.get("fsGroupPolicy", ""), "spec.fsGroupPolicy", _FS_GROUP_POLICIES)
    causes += _token_requests(spec.get("tokenRequests") or [], "spec.tokenRequests")
    for mode in spec.get("volumeLifecycleModes") or []:
        causes += optional_one_of(mode, "spec.volumeLifecycleModes", _LIFECYCLES)
    return causes


def _token_requests(requests: list[Obj], path: str) -> list[Cause]:
    causes: list[Cause] = []
    audiences: set[str] = set()
    for position, request in enumerate(requests):
        audience, seconds = request.get("audience", ""), request.get("expirationSeconds")
        if audience in audiences:
            causes.append(duplicate(f"{path}[{position}].audience", audience))
        audiences.add(audience)
        here = f"{path}[{position}].expirationSeconds"
        if seconds is not None and seconds < _MIN_TOKEN_SECONDS:
            causes.append(invalid(here, seconds, "may not specify a duration less than 10 minutes"))
        elif seconds is not None and seconds > _MAX_TOKEN_SECONDS:
            causes.append(invalid(here, seconds, "may not specify a duration larger than 2^32 seconds"))
    return causes


def _name_errors(obj: Obj) -> list[str]:
    return dns_subdomain_errors(obj["metadata"].get("name", ""))


def validate_driver_update(driver: Obj, old: Obj) -> list[Cause]:
    """Causes for a changed CSIDriver."""
    new, before = driver["spec"], old["spec"]
    causes = validate_driver(driver)
    # The path is upstream's, letter for letter.
    causes += validate_immutable(new.get("attachRequired"), before.get("attachRequired"), "spec.attachedRequired")
    return causes + _unchanged(new, before, ("volumeLifecycleModes",), "spec.")


def validate_node(node: Obj) -> list[Cause]:
    """Causes for a CSINode: the drivers that it lists."""
    causes: list[Cause] = []
    names: set[str] = set()
    for position, driver in enumerate((node.get("spec") or {}).get("drivers") or []):
        path, name = f"spec.drivers[{position}]", driver.get("name", "")
        causes += driver_name(name, f"{path}.name")
        node_id = driver.get("nodeID", "")
        if not node_id:
            causes.append(required(f"{path}.nodeID"))
        elif len(node_id) > _MAX_NODE_ID:
            causes.append(invalid(f"{path}.nodeID", node_id, f"must be {_MAX_NODE_ID} characters or less"))
        causes += non_negative((driver.get("allocatable") or {}).get("count"), f"{path}.allocatable.count")
        causes += _topology_keys(driver.get("topologyKeys") or [], f"{path}.topologyKeys")
        if name in names:
            causes.append(duplicate(f"{path}.name", name))
        names.add(name)
    return causes


def _topology_keys(keys: list[str], path: str) -> list[Cause]:
    causes: list[Cause] = []
    for position, key in enumerate(keys):
        if key in keys[:position]:
            causes.append(duplicate(path, key))
        causes += text_causes(key, path, qualified_name_errors)
    return causes


def validate_node_update(node: Obj, old: Obj) -> list[Cause]:
    """Causes for a changed CSINode: a driver comes and goes, but does not change."""
    causes = validate_node(node)
    before = {driver.get("name"): driver for driver in (old.get("spec") or {}).get("drivers") or []}
    for driver in (node.get("spec") or {}).get("drivers") or []:
        known = before.get(driver.get("name"))
        if known is not None and known != driver:
            causes.append(invalid("CSINodeDriver", driver, "field is immutable"))
    return causes


def validate_capacity(capacity: Obj) -> list[Cause]:
    """Causes for a CSIStorageCapacity."""
    causes = validate_label_selector(capacity.get("nodeTopology"), "nodeTopology")
    causes += text_causes(capacity.get("storageClassName", ""), "storageClassName", dns_subdomain_errors)
    for name in ("capacity", "maximumVolumeSize"):
        if capacity.get(name) is not None and quantity(capacity[name]) < 0:
            causes.append(invalid(name, str(capacity[name]), "must be greater than or equal to 0"))
    return causes


def validate_capacity_update(capacity: Obj, old: Obj) -> list[Cause]:
    """Causes for a changed CSIStorageCapacity: what it measures stays."""
    return validate_capacity(capacity) + _unchanged(capacity, old, ("nodeTopology", "storageClassName"))


def prepare_attachment(attachment: Obj) -> None:
    """A new VolumeAttachment is not attached."""
    attachment["status"] = {"attached": False}


def validate_attachment(attachment: Obj) -> list[Cause]:
    """Causes for a VolumeAttachment."""
    spec = attachment.get("spec") or {}
    causes = driver_name(spec.get("attacher", ""), "spec.attacher")
    source = spec.get("source") or {}
    name, inline = source.get("persistentVolumeName"), source.get("inlineVolumeSpec")
    path = "spec.source"
    if (name is None) == (inline is None):
        detail = "must specify exactly one of inlineVolumeSpec and persistentVolumeName"
        causes.append(required(path, detail))
    elif name is not None:
        if not name:
            causes.append(required(f"{path}.persistentVolumeName", "must specify non empty persistentVolumeName"))
        causes += text_causes(name, f"{path}.persistentVolumeName", dns_subdomain_errors)
    return causes + text_causes(spec.get("nodeName", ""), "spec.nodeName", dns_subdomain_errors)


def validate_attachment_update(attachment: Obj, old: Obj) -> list[Cause]:
    """Causes for a changed VolumeAttachment: its spec stays."""
    causes = validate_attachment(attachment)
    spec = attachment.get("spec") or {}
    if spec != (old.get("spec") or {}):
        source = spec.get("source") or {}
        # Upstream prints its internal struct here.
        shown = {
            "Attacher": spec.get("attacher", ""),
            "Source": {
                "PersistentVolumeName": source.get("persistentVolumeName"),
                "InlineVolumeSpec": source.get("inlineVolumeSpec"),
            },
            "NodeName": spec.get("nodeName", ""),
        }
        causes.append(invalid("spec", shown, "field is immutable"))
    return causes


def validate_attributes_class(attributes: Obj) -> list[Cause]:
    """Causes for a VolumeAttributesClass."""
    causes = driver_name(attributes.get("driverName", ""), "driverName")
    parameters = attributes.get("parameters") or {}
    if not parameters:
        return [*causes, required("parameters", "must contain at least one key/value pair")]
    return causes + _parameters(parameters, "parameters")


def validate_attributes_class_update(attributes: Obj, old: Obj) -> list[Cause]:
    """Causes for a changed VolumeAttributesClass: all of it stays."""
    return _unchanged(attributes, old, ("driverName", "parameters"))


STRATEGIES = {
    (GROUP, "StorageClass"): Strategy(
        default=default_class, validate=validate_class, validate_update=validate_class_update, has_status=False
    ),
    (GROUP, "CSIDriver"): Strategy(
        default=default_driver,
        prepare_update=prepare_driver_update,
        validate=validate_driver,
        validate_update=validate_driver_update,
        has_status=False,
        allow_unconditional_update=False,
    ),
    (GROUP, "CSINode"): Strategy(
        validate=validate_node,
        validate_update=validate_node_update,
        has_status=False,
        allow_unconditional_update=False,
    ),
    (GROUP, "CSIStorageCapacity"): Strategy(
        validate=validate_capacity,
        validate_update=validate_capacity_update,
        has_status=False,
        allow_unconditional_update=False,
    ),
    (GROUP, "VolumeAttachment"): Strategy(
        prepare_create=prepare_attachment,
        validate=validate_attachment,
        validate_update=validate_attachment_update,
        allow_unconditional_update=False,
    ),
    (GROUP, "VolumeAttributesClass"): Strategy(
        validate=validate_attributes_class,
        validate_update=validate_attributes_class_update,
        has_status=False,
        has_generation=True,
        generation_fields=("driverName", "parameters"),
    ),
}
