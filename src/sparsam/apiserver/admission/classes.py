"""Classes: claims and Ingresses that name none get the default one, pods what their runtime class brings along.

Upstream's plug-ins DefaultStorageClass, DefaultIngressClass, RuntimeClass and PersistentVolumeClaimResize.
"""

from __future__ import annotations

from sparsam.apiserver.admission import Admit, Attributes, Reader, forbidden
from sparsam.objects.kinds import (
    INGRESSCLASSES,
    INGRESSES,
    PERSISTENTVOLUMECLAIMS,
    PERSISTENTVOLUMES,
    PODS,
    RUNTIMECLASSES,
    STORAGECLASSES,
)
from sparsam.objects.podresources import amounts
from sparsam.objects.quantity import Amount
from sparsam.objects.strategy import Obj

DEFAULT_STORAGE = "storageclass.kubernetes.io/is-default-class"
STORAGE_ANNOTATION = "volume.beta.kubernetes.io/storage-class"
DEFAULT_INGRESS = "ingressclass.kubernetes.io/is-default-class"
INGRESS_ANNOTATION = "kubernetes.io/ingress.class"
_GROWING = frozenset({"csi", "flexVolume", "azureFile", "portworxVolume", "glusterfs", "rbd"})
"""Kinds of volumes that can become larger."""


async def default_storage_class(attributes: Attributes, obj: Obj | None, reader: Reader) -> Admit | None:
    """Give a new claim the newest default class; never refuses."""
    if attributes.resource is not PERSISTENTVOLUMECLAIMS or attributes.operation != "CREATE" or attributes.subresource:
        return None
    claim = obj or {}
    if (claim.get("spec") or {}).get("storageClassName") is not None or STORAGE_ANNOTATION in _annotations(claim):
        return None
    classes = [each for each in await reader.items(STORAGECLASSES) if _annotations(each).get(DEFAULT_STORAGE) == "true"]
    if not classes:
        return None
    newest = max(each["metadata"]["creationTimestamp"] for each in classes)
    name = min(each["metadata"]["name"] for each in classes if each["metadata"]["creationTimestamp"] == newest)

    def admit(new: Obj, _old: Obj | None) -> None:
        new["spec"]["storageClassName"] = name

    return admit


async def default_ingress_class(attributes: Attributes, obj: Obj | None, reader: Reader) -> Admit | None:
    """Give a new Ingress the default class; raises Forbidden when there are several."""
    if attributes.resource is not INGRESSES or attributes.operation != "CREATE" or attributes.subresource:
        return None
    ingress = obj or {}
    if (ingress.get("spec") or {}).get("ingressClassName") is not None or INGRESS_ANNOTATION in _annotations(ingress):
        return None
    classes = [each for each in await reader.items(INGRESSCLASSES) if _annotations(each).get(DEFAULT_INGRESS) == "true"]
    if len(classes) > 1:
        why = f"Internal error occurred: {len(classes)} default IngressClasses were found, only 1 allowed"
        raise forbidden(attributes, ingress, why)
    if not classes:
        return None
    name = classes[0]["metadata"]["name"]

    def admit(new: Obj, _old: Obj | None) -> None:
        new["spec"]["ingressClassName"] = name

    return admit


async def runtime_class(attributes: Attributes, obj: Obj | None, reader: Reader) -> Admit | None:
    """Give a new pod its runtime class's overhead, node selector and tolerations; raises Forbidden."""
    if attributes.resource is not PODS or attributes.operation != "CREATE" or attributes.subresource or obj is None:
        return None
    spec = obj.get("spec") or {}
    name = spec.get("runtimeClassName")
    found: Obj | None = None
    if name is not None:
        found = await reader.find(RUNTIMECLASSES, name)
        if found is None:
            raise forbidden(attributes, obj, f'pod rejected: RuntimeClass "{name}" not found')
    if fault := class_fault(spec, found):
        raise forbidden(attributes, obj, fault)
    if found is None:
        return None
    overhead = (found.get("overhead") or {}).get("podFixed")
    scheduling = found.get("scheduling") or {}
    selector = scheduling.get("nodeSelector") or {}

    def admit(new: Obj, _old: Obj | None) -> None:
        pod = new["spec"]
        if overhead is not None:
            pod["overhead"] = dict(overhead)
        if selector:
            pod["nodeSelector"] = {**(pod.get("nodeSelector") or {}), **selector}
        own = pod.get("tolerations") or []
        more = [each for each in scheduling.get("tolerations") or () if each not in own]
        if more:
            pod["tolerations"] = [*own, *more]

    return admit


def class_fault(spec: Obj, found: Obj | None) -> str:
    """What a pod says against its runtime class; empty when nothing."""
    own: Obj | None = spec.get("overhead")
    overhead: Obj | None = ((found or {}).get("overhead") or {}).get("podFixed")
    if own is not None and overhead is None:
        return "pod rejected: Pod Overhead set without corresponding RuntimeClass defined Overhead"
    if own is not None and overhead is not None and not _equal(own, overhead):
        return "pod rejected: Pod's Overhead doesn't match RuntimeClass's defined Overhead"
    selector = ((found or {}).get("scheduling") or {}).get("nodeSelector") or {}
    wished = spec.get("nodeSelector") or {}
    for key, value in selector.items():
        if wished.get(key, value) != value:
            theirs, ours = f"runtimeClass.scheduling.nodeSelector[{key}]", f"pod.spec.nodeSelector[{key}]"
            return f"conflict: {theirs} = {value}; {ours} = {wished[key]}"
    return ""


async def claim_resize(attributes: Attributes, new: Obj, old: Obj | None, reader: Reader) -> list[str]:
    """Raises Forbidden for a claim that grows and cannot."""
    if attributes.resource is not PERSISTENTVOLUMECLAIMS or attributes.subresource or old is None or not new:
        return []
    if _size(new).value <= _size(old).value:
        return []
    if (old.get("status") or {}).get("phase") != "Bound":
        raise forbidden(attributes, new, "Only bound persistent volume claims can be expanded")
    name = _class_of(new)
    found = await reader.find(STORAGECLASSES, name) if name and name == _class_of(old) else None
    if found is None or not found.get("allowVolumeExpansion"):
        why = "only dynamically provisioned pvc can be resized and the storageclass that provisions the pvc must "
        raise forbidden(attributes, new, why + "support resize")
    volume = await reader.find(PERSISTENTVOLUMES, new["spec"].get("volumeName", ""))
    if volume is None:
        why = "Error updating persistent volume claim because fetching associated persistent volume failed"
        raise forbidden(attributes, new, why)
    if not _GROWING & volume["spec"].keys():
        raise forbidden(attributes, new, "volume plugin does not support resize")
    return []


def _annotations(obj: Obj) -> dict[str, str]:
    found: dict[str, str] = (obj.get("metadata") or {}).get("annotations") or {}
    return found


def _class_of(claim: Obj) -> str:
    return _annotations(claim).get(STORAGE_ANNOTATION) or claim["spec"].get("storageClassName") or ""


def _size(claim: Obj) -> Amount:
    return amounts((claim["spec"].get("resources") or {}).get("requests")).get("storage", Amount())


def _equal(first: Obj, second: Obj) -> bool:
    return {name: each.value for name, each in amounts(first).items()} == {
        name: each.value for name, each in amounts(second).items()
    }
