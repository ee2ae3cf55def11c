"""What belongs to the pods of which node: the graph behind the Node authorizer. Pure.

Edges lead from objects over pods to nodes, as in upstream's: a pod's ConfigMaps, Secrets, claims, service account and
resource claims; a claim's volume, and the Secrets with which a node mounts that.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from sparsam.objects.localvolumes import NODE_LABEL
from sparsam.objects.strategy import Obj

CONFIGMAPS, SECRETS, ACCOUNTS = "configmaps", "secrets", "serviceaccounts"
CLAIMS, RESOURCECLAIMS = "persistentvolumeclaims", "resourceclaims"
MIRROR_ANNOTATION = "kubernetes.io/config.mirror"

Named = tuple[str, str]
"""Namespace and name."""
Reference = tuple[str, str, str]
"""Plural, namespace and name of an object that a pod refers to."""


class NodeGraph:
    """Pods by node, what they refer to, and how volumes hang on claims."""

    def __init__(self) -> None:
        self._pods: dict[Named, tuple[str, frozenset[Reference]]] = {}
        self._users: dict[Reference, dict[str, int]] = {}
        self._claims: dict[str, Named] = {}
        self._places: dict[str, str] = {}
        self._secrets: dict[str, frozenset[Named]] = {}
        self._volumes: dict[Named, set[str]] = {}

    def put_pod(self, key: Named, pod: Obj) -> None:
        """Note a pod; one that is bound to no node counts for nothing."""
        self.drop_pod(key)
        node = (pod.get("spec") or {}).get("nodeName")
        if not node:
            return
        found = references(pod)
        self._pods[key] = (node, found)
        for each in found:
            users = self._users.setdefault(each, {})
            users[node] = users.get(node, 0) + 1

    def drop_pod(self, key: Named) -> None:
        """Forget a pod."""
        node, found = self._pods.pop(key, ("", frozenset()))
        for each in found:
            users = self._users[each]
            users[node] -= 1
            if not users[node]:
                del users[node]
            if not users:
                del self._users[each]

    def forget_pods(self) -> None:
        """Forget all pods."""
        self._pods.clear()
        self._users.clear()

    def forget_volumes(self) -> None:
        """Forget all PersistentVolumes."""
        self._claims.clear()
        self._places.clear()
        self._secrets.clear()
        self._volumes.clear()

    def knows_pod(self, key: Named) -> bool:
        """Whether a pod of this name is bound to some node."""
        return key in self._pods

    def put_volume(self, name: str, volume: Obj) -> None:
        """Note a PersistentVolume: where it lies, if it is a local one, and whose it is."""
        self.drop_volume(name)
        place = (volume["metadata"].get("labels") or {}).get(NODE_LABEL)
        if place:
            self._places[name] = place
        spec = volume.get("spec") or {}
        claim = spec.get("claimRef") or {}
        if not claim.get("name"):
            return
        self._claims[name] = (claim.get("namespace", ""), claim["name"])
        self._secrets[name] = frozenset(_volume_secrets(spec, claim.get("namespace", "")))
        for secret in self._secrets[name]:
            self._volumes.setdefault(secret, set()).add(name)

    def drop_volume(self, name: str) -> None:
        """Forget a PersistentVolume."""
        self._claims.pop(name, None)
        self._places.pop(name, None)
        for secret in self._secrets.pop(name, ()):
            self._volumes[secret].discard(name)
            if not self._volumes[secret]:
                del self._volumes[secret]

    def has_pod(self, node: str, namespace: str, name: str) -> bool:
        """Whether a pod is the node's."""
        known = self._pods.get((namespace, name))
        return known is not None and known[0] == node

    def has_volume(self, node: str, name: str) -> bool:
        """Whether a volume lies on the node, or a pod of the node has the claim that it is bound to."""
        claim = self._claims.get(name)
        return self.holds_volume(node, name) or (claim is not None and node in self._users.get((CLAIMS, *claim), ()))

    def holds_volume(self, node: str, name: str) -> bool:
        """Whether a local volume lies on the node."""
        return self._places.get(name) == node

    def has(self, node: str, plural: str, namespace: str, name: str) -> bool:
        """Whether a pod of the node, or for Secrets its volume, refers to an object."""
        if node in self._users.get((plural, namespace, name), ()):
            return True
        return plural == SECRETS and any(
            self.has_volume(node, volume) for volume in self._volumes.get((namespace, name), ())
        )


def references(pod: Obj) -> frozenset[Reference]:
    """What a node has to read for a pod. A mirror grants nothing: nodes make mirrors themselves."""
    metadata = pod["metadata"]
    if MIRROR_ANNOTATION in (metadata.get("annotations") or {}):
        return frozenset()
    return frozenset((plural, metadata["namespace"], name) for plural, name in pod_references(pod))


def pod_references(pod: Obj) -> set[tuple[str, str]]:
    """Plurals and names of all that a pod refers to in its namespace."""
    name, spec = pod["metadata"].get("name", ""), pod["spec"]
    found = {(ACCOUNTS, spec.get("serviceAccountName"))}
    found |= {(SECRETS, each.get("name")) for each in spec.get("imagePullSecrets") or ()}
    for kind in ("initContainers", "containers", "ephemeralContainers"):
        for container in spec.get(kind) or ():
            found.update(_of_environment(container))
    for volume in spec.get("volumes") or ():
        found.update(_of_volume(name, volume))
    found |= {(RESOURCECLAIMS, each) for each in _resource_claims(pod)}
    return {(plural, each) for plural, each in found if each}


def _of_environment(container: Obj) -> Iterator[tuple[str, Any]]:
    for source in container.get("envFrom") or ():
        yield CONFIGMAPS, (source.get("configMapRef") or {}).get("name")
        yield SECRETS, (source.get("secretRef") or {}).get("name")
    for variable in container.get("env") or ():
        source = variable.get("valueFrom") or {}
        yield CONFIGMAPS, (source.get("configMapKeyRef") or {}).get("name")
        yield SECRETS, (source.get("secretKeyRef") or {}).get("name")


def _of_volume(pod_name: str, volume: Obj) -> Iterator[tuple[str, Any]]:
    if "ephemeral" in volume:
        yield CLAIMS, f"{pod_name}-{volume['name']}"
    for kind, source in volume.items():
        if not isinstance(source, dict):
            continue
        if kind == "persistentVolumeClaim":
            yield CLAIMS, source.get("claimName")
        elif kind == "configMap":
            yield CONFIGMAPS, source.get("name")
        elif kind == "projected":
            for part in source.get("sources") or ():
                yield CONFIGMAPS, (part.get("configMap") or {}).get("name")
                yield SECRETS, (part.get("secret") or {}).get("name")
        else:
            # Whatever the kind of volume: Secrets are named by one of these fields.
            yield SECRETS, source.get("secretName")
            for field in ("secretRef", "nodePublishSecretRef"):
                yield SECRETS, (source.get(field) or {}).get("name")


def _resource_claims(pod: Obj) -> Iterator[str | None]:
    for each in pod["spec"].get("resourceClaims") or ():
        yield each.get("resourceClaimName")
    status = pod.get("status") or {}
    for each in status.get("resourceClaimStatuses") or ():
        yield each.get("resourceClaimName")
    yield (status.get("extendedResourceClaimStatus") or {}).get("resourceClaimName")


def _volume_secrets(spec: Obj, namespace: str) -> Iterator[Named]:
    """The Secrets of a CSI volume that its node shows to the driver."""
    source = spec.get("csi") or {}
    for field in ("nodePublishSecretRef", "nodeStageSecretRef", "nodeExpandSecretRef"):
        reference = source.get(field) or {}
        if reference.get("name"):
            yield reference.get("namespace") or namespace, reference["name"]
