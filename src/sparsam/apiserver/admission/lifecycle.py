"""Namespace lifecycle: nothing is created in a namespace that is missing or going, and some namespaces stay."""

from __future__ import annotations

from sparsam.apiserver import statuses
from sparsam.apiserver.admission import Admit, Attributes, Reader
from sparsam.errors import Forbidden
from sparsam.objects.kinds import NAMESPACES
from sparsam.objects.strategy import Obj

IMMORTAL = frozenset({"default", "kube-system", "kube-public"})
_UNBOUND_GROUPS = frozenset({"authorization.k8s.io", "authentication.k8s.io"})


async def namespace_lifecycle(attributes: Attributes, _obj: Obj | None, reader: Reader) -> Admit | None:
    """Raises NotFound or Forbidden; changes nothing."""
    if attributes.operation == "DELETE":
        if attributes.resource is NAMESPACES and attributes.name in IMMORTAL:
            raise Forbidden(
                f'namespaces "{attributes.name}" is forbidden: this namespace may not be deleted',
                details=statuses.details_of(NAMESPACES, attributes.name),
            )
        return None
    if attributes.operation != "CREATE" or not attributes.namespace or attributes.subresource:
        return None
    if attributes.resource.group in _UNBOUND_GROUPS:
        return None
    namespace = await reader.find(NAMESPACES, attributes.namespace)
    if namespace is None:
        raise statuses.not_found(NAMESPACES, attributes.namespace)
    if "deletionTimestamp" in namespace["metadata"]:
        raise _terminating(attributes, _obj)
    return None


def _terminating(attributes: Attributes, obj: Obj | None) -> Forbidden:
    name = ((obj or {}).get("metadata") or {}).get("name") or attributes.name
    resource, namespace = attributes.resource, attributes.namespace
    details = statuses.details_of(resource, name)
    details["causes"] = [
        {
            "reason": "NamespaceTerminating",
            "message": f"namespace {namespace} is being terminated",
            "field": "metadata.namespace",
        }
    ]
    return Forbidden(
        f'{resource.group_resource} "{name}" is forbidden: '
        f"unable to create new content in namespace {namespace} because it is being terminated",
        details=details,
    )
