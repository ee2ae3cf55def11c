"""What nodes may write: their own Node, what they report of their own pods, and mirrors of static pods.

Upstream's plug-in NodeRestriction (API documentation, "Admission Control"), which sees what the Node authorizer cannot:
the object. What is this project's own follows the same idea: a node tells its own power and its own room for volumes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from sparsam.apiserver.admission import Admit, Attributes, Reader, forbidden
from sparsam.apiserver.authorization import Action, Authorizer
from sparsam.apiserver.nodeauthorizer import LEASE_NAMESPACE, NODES_GROUP, node_of
from sparsam.apiserver.nodegraph import ACCOUNTS, CLAIMS, CONFIGMAPS, MIRROR_ANNOTATION, SECRETS, pod_references
from sparsam.apiserver.statuses import not_found
from sparsam.errors import Forbidden
from sparsam.objects.kinds import (
    CSIDRIVERS,
    CSINODES,
    CSISTORAGECAPACITIES,
    LEASES,
    NODEPOWERS,
    NODES,
    PERSISTENTVOLUMECLAIMS,
    PERSISTENTVOLUMES,
    PODS,
    RESOURCESLICES,
    SERVICEACCOUNTS,
    Resource,
)
from sparsam.objects.localvolumes import NODE_LABEL
from sparsam.objects.strategy import Obj

_RESTRICTION = "node-restriction.kubernetes.io"
_KUBERNETES_DOMAINS = ("kubernetes.io", "k8s.io")
_NODES_LABELS = frozenset(
    {
        "beta.kubernetes.io/arch",
        "beta.kubernetes.io/instance-type",
        "beta.kubernetes.io/os",
        "failure-domain.beta.kubernetes.io/region",
        "failure-domain.beta.kubernetes.io/zone",
        "kubernetes.io/arch",
        "kubernetes.io/hostname",
        "kubernetes.io/os",
        "node.kubernetes.io/instance-type",
        "topology.kubernetes.io/region",
        "topology.kubernetes.io/zone",
    }
)
_NODES_DOMAINS = ("kubelet.kubernetes.io", "node.kubernetes.io")
"""Labels of Kubernetes' own domains that a node may give itself (the well-known labels of the documentation)."""
_AUDIENCE_VERB = "request-serviceaccounts-token-audience"
_CLAIM_STATUS = ("capacity", "conditions", "allocatedResourceStatuses", "allocatedResources")
_REFERRED = {SECRETS: "secrets", CONFIGMAPS: "configmaps", CLAIMS: "persistentvolumeclaims"}


class NodeRestriction:
    """The plug-in. The authorizer says for whom else than its pods' own a node may have tokens made."""

    def __init__(self, authorizer: Authorizer) -> None:
        self._authorizer = authorizer

    async def __call__(self, attributes: Attributes, obj: Obj | None, reader: Reader) -> Admit | None:
        """Raises Forbidden, at once or from the function that it returns."""
        node = node_of(attributes.user)
        if node is None:
            if NODES_GROUP in attributes.user.groups:
                raise forbidden(attributes, obj, f'could not determine node from user "{attributes.user.name}"')
            return None
        request = _Request(attributes, node, reader, self._authorizer)
        if attributes.resource is PODS:
            return await request.pod(obj)
        if attributes.resource is SERVICEACCOUNTS:
            return await request.account(obj)
        if attributes.operation == "DELETE":
            # Of all else that a node may delete the authorizer knows the name.
            if attributes.resource is CSISTORAGECAPACITIES:
                _check_place(request, await request.stored(), None)
            return None
        check = _CHECKS.get(attributes.resource.group_resource)
        return None if check is None else lambda new, old: check(request, new, old)


class _Request:
    """A node's request."""

    def __init__(self, attributes: Attributes, node: str, reader: Reader, authorizer: Authorizer) -> None:
        self.about, self.node, self._reader, self._authorizer = attributes, node, reader, authorizer

    def refusal(self, obj: Obj | None, why: str) -> Forbidden:
        return forbidden(self.about, obj, why)

    async def pod(self, obj: Obj | None) -> Admit | None:
        operation, part, node = self.about.operation, self.about.subresource, self.node
        if part == "status":
            return self._check_pod_status
        if part == "eviction" or (not part and operation == "DELETE"):
            found = await self.stored()
            if (found["spec"].get("nodeName") or "") != node:
                words = (
                    f"node {node} can only evict pods with spec.nodeName set to itself"
                    if part
                    else f'node "{node}" can only delete pods with spec.nodeName set to itself'
                )
                raise self.refusal(obj, words)
            return None
        if part:
            words = f"unexpected pod subresource \"{part}\", only 'status' and 'eviction' are allowed"
            raise self.refusal(obj, words)
        if operation != "CREATE":
            words = f'unexpected operation "{operation}", node "{node}" can only create and delete mirror pods'
            raise self.refusal(obj, words)
        known = await self._reader.find(NODES, node)
        return lambda new, _old: self._check_mirror(new, known)

    async def stored(self) -> Obj:
        """What the request is about, as it is stored; raises NotFound."""
        return await self._find(self.about.resource, self.about.name)

    async def _find(self, resource: Resource, name: str) -> Obj:
        found = await self._reader.find(resource, name, self.about.namespace)
        if found is None:
            raise not_found(resource, name)
        return found

    def _check_pod_status(self, new: Obj, old: Obj | None) -> None:
        before = old or {"metadata": {}, "spec": {}}
        if (before["spec"].get("nodeName") or "") != self.node:
            words = f'node "{self.node}" can only update pod status for pods with spec.nodeName set to itself'
            raise self.refusal(new, words)
        if (before["metadata"].get("labels") or {}) != (new["metadata"].get("labels") or {}):
            raise self.refusal(new, f'node "{self.node}" cannot update labels through pod status')
        if _claim_statuses(before) != _claim_statuses(new):
            raise self.refusal(new, f'node "{self.node}" cannot update resource claim statues')

    def _check_mirror(self, pod: Obj, node: Obj | None) -> None:
        name, metadata = self.node, pod["metadata"]
        if MIRROR_ANNOTATION not in (metadata.get("annotations") or {}):
            words = f'pod does not have "{MIRROR_ANNOTATION}" annotation, node "{name}" can only create mirror pods'
            raise self.refusal(pod, words)
        if (pod["spec"].get("nodeName") or "") != name:
            raise self.refusal(pod, f'node "{name}" can only create pods with spec.nodeName set to itself')
        if problem := _owner_problem(metadata.get("ownerReferences") or [], name, node):
            raise self.refusal(pod, problem)
        kinds = {plural for plural, _ in pod_references(pod)}
        if ACCOUNTS in kinds:
            raise self.refusal(pod, f'node "{name}" can not create pods that reference a service account')
        for kind, words in _REFERRED.items():
            if kind in kinds:
                raise self.refusal(pod, f'node "{name}" can not create pods that reference {words}')
        if any("clusterTrustBundle" in part for part in _projected(pod)):
            raise self.refusal(pod, f'node "{name}" can not create pods that reference clustertrustbundles')

    async def account(self, obj: Obj | None) -> Admit | None:
        """A node's request for a token is for a pod that runs there."""
        if self.about.operation != "CREATE" or self.about.subresource != "token":
            return None
        bound = ((obj or {}).get("spec") or {}).get("boundObjectRef") or {}
        if bound.get("apiVersion") != "v1" or bound.get("kind") != "Pod" or not bound.get("name"):
            raise self.refusal(obj, "node requested token not bound to a pod")
        uid = bound.get("uid")
        if not uid:
            raise self.refusal(obj, "node requested token with a pod binding without a uid")
        pod = await self._find(PODS, bound["name"])
        if pod["metadata"]["uid"] != uid:
            words = f"the UID in the bound object reference ({uid}) does not match the UID in record. "
            raise self.refusal(obj, words + "The object might have been deleted and then recreated")
        if pod["spec"].get("nodeName") != self.node:
            raise self.refusal(obj, "node requested token bound to a pod scheduled on a different node")
        await self._check_audiences(obj, pod)
        return None

    async def _check_audiences(self, request: Obj | None, pod: Obj) -> None:
        """A token is for whom the pod's volumes want one for, or for whom roles allow nodes to ask."""
        wanted = ((request or {}).get("spec") or {}).get("audiences") or [""]
        if len(wanted) > 1:
            raise self.refusal(request, "node may only request 0 or 1 audiences")
        if wanted[0] in await self._audiences(pod):
            return
        action = Action(verb=_AUDIENCE_VERB, resource=wanted[0], namespace=self.about.namespace, name=self.about.name)
        if not wanted[0] or not self._authorizer.allows(self.about.user, action):
            raise self.refusal(request, f'audience "{wanted[0]}" not found in pod spec volume')

    async def _audiences(self, pod: Obj) -> set[str]:
        sources = [part["serviceAccountToken"] for part in _projected(pod) if "serviceAccountToken" in part]
        found = {source.get("audience", "") for source in sources}
        for volume in pod["spec"].get("volumes") or ():
            driver = (volume.get("csi") or {}).get("driver") or await self._driver_behind(pod, volume)
            facts = await self._reader.find(CSIDRIVERS, driver) if driver else None
            wishes = ((facts or {}).get("spec") or {}).get("tokenRequests") or ()
            found |= {each.get("audience", "") for each in wishes}
        return found

    async def _driver_behind(self, pod: Obj, volume: Obj) -> str:
        """The CSI driver of the volume that a claim is bound to; empty when there is none."""
        name = (volume.get("persistentVolumeClaim") or {}).get("claimName")
        if "ephemeral" in volume:
            name = f"{pod['metadata']['name']}-{volume['name']}"
        claim = await self._reader.find(PERSISTENTVOLUMECLAIMS, name, self.about.namespace) if name else None
        bound = (claim or {"spec": {}})["spec"].get("volumeName")
        known = await self._reader.find(PERSISTENTVOLUMES, bound) if bound else None
        return str(((known or {"spec": {}})["spec"].get("csi") or {}).get("driver", ""))


def _check_node(request: _Request, new: Obj, old: Obj | None) -> None:
    node, name = request.node, request.about.name or new["metadata"].get("name", "")
    if name != node:
        raise request.refusal(new, f'node "{node}" is not allowed to modify node "{name}"')
    before = {} if old is None else old["metadata"].get("labels") or {}
    labels = new["metadata"].get("labels") or {}
    changed = {key for key in labels.keys() | before.keys() if labels.get(key) != before.get(key)}
    strange = ", ".join(sorted(key for key in changed if not _may_label(key)))
    if strange and old is None:
        raise request.refusal(new, f'node "{node}" is not allowed to set the following labels: {strange}')
    if old is None:
        return
    if (new["spec"].get("taints") or []) != (old["spec"].get("taints") or []):
        raise request.refusal(new, f'node "{node}" is not allowed to modify taints')
    if strange:
        raise request.refusal(new, f"is not allowed to modify labels: {strange}")


def _check_claim(request: _Request, new: Obj, old: Obj | None) -> None:
    if request.about.subresource != "status":
        raise request.refusal(new, "may only update PVC status")
    if old is not None and _frozen_claim(new) != _frozen_claim(old):
        words = (
            f'node "{request.node}" is not allowed to update fields other than status.capacity and status.conditions'
        )
        raise request.refusal(new, words)


def _check_lease(request: _Request, new: Obj, _old: Obj | None) -> None:
    if request.about.namespace != LEASE_NAMESPACE:
        raise request.refusal(new, f'can only access leases in the "{LEASE_NAMESPACE}" system namespace')
    _check_name(request, new, "can only access node lease with the same name as the requesting node")


def _check_csi_node(request: _Request, new: Obj, _old: Obj | None) -> None:
    _check_name(request, new, "can only access CSINode with the same name as the requesting node")


def _check_power(request: _Request, new: Obj, _old: Obj | None) -> None:
    _check_name(request, new, "can only access NodePower with the same name as the requesting node")


def _check_slice(request: _Request, new: Obj, _old: Obj | None) -> None:
    if (new.get("spec") or {}).get("nodeName") != request.node:
        raise request.refusal(new, "can only create ResourceSlice with the same NodeName as the requesting node")


def _check_place(request: _Request, new: Obj, old: Obj | None) -> None:
    """Of volumes and the room for them: what lies on the node stays there."""
    for each in (new, old):
        if each is not None and (each["metadata"].get("labels") or {}).get(NODE_LABEL) != request.node:
            raise request.refusal(new, f'node "{request.node}" can only change what lies on it ({NODE_LABEL})')


def _check_name(request: _Request, new: Obj, words: str) -> None:
    if (request.about.name or new["metadata"].get("name", "")) != request.node:
        raise request.refusal(new, words)


_CHECKS: Mapping[str, Callable[[_Request, Obj, Obj | None], None]] = {
    NODES.group_resource: _check_node,
    PERSISTENTVOLUMECLAIMS.group_resource: _check_claim,
    LEASES.group_resource: _check_lease,
    CSINODES.group_resource: _check_csi_node,
    NODEPOWERS.group_resource: _check_power,
    RESOURCESLICES.group_resource: _check_slice,
    PERSISTENTVOLUMES.group_resource: _check_place,
    CSISTORAGECAPACITIES.group_resource: _check_place,
}


def _may_label(key: str) -> bool:
    domain = key.rpartition("/")[0]
    if _is_in(domain, _RESTRICTION):
        return False
    if not any(_is_in(domain, each) for each in _KUBERNETES_DOMAINS):
        return True
    return key in _NODES_LABELS or any(_is_in(domain, each) for each in _NODES_DOMAINS)


def _is_in(domain: str, parent: str) -> bool:
    return domain == parent or domain.endswith(f".{parent}")


def _owner_problem(owners: list[Obj], name: str, node: Obj | None) -> str:
    """What is wrong with the owners of a mirror, which is to be owned by its node alone."""
    if len(owners) > 1:
        return f'node "{name}" can only create pods with a single owner reference set to itself'
    owner: Obj = owners[0] if owners else {}
    if (owner.get("apiVersion"), owner.get("kind"), owner.get("name")) != ("v1", "Node", name):
        return f'node "{name}" can only create pods with an owner reference set to itself'
    if not owner.get("controller"):
        return f'node "{name}" can only create pods with a controller owner reference set to itself'
    if owner.get("blockOwnerDeletion"):
        return f'node "{name}" must not set blockOwnerDeletion on an owner reference'
    if node is None:
        return f"error looking up node {name} to verify uid: not found"
    if owner.get("uid") != node["metadata"]["uid"]:
        return f"node {name} UID mismatch: expected {owner.get('uid')} got {node['metadata']['uid']}"
    return ""


def _claim_statuses(pod: Obj) -> list[tuple[Any, Any]]:
    found = (pod.get("status") or {}).get("resourceClaimStatuses") or ()
    return [(each.get("name"), each.get("resourceClaimName")) for each in found]


def _frozen_claim(claim: Obj) -> Obj:
    """A claim without what a node may change, and without what changes by itself."""
    metadata = {k: v for k, v in claim["metadata"].items() if k not in ("resourceVersion", "managedFields")}
    status = {k: v for k, v in (claim.get("status") or {}).items() if k not in _CLAIM_STATUS}
    return {"metadata": metadata, "spec": claim.get("spec"), "status": status}


def _projected(pod: Obj) -> list[Obj]:
    volumes = pod["spec"].get("volumes") or ()
    return [part for volume in volumes for part in (volume.get("projected") or {}).get("sources") or ()]
