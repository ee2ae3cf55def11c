"""Static pods as their files say, and their mirrors in the API. Pure.

A static pod is named after its file's pod and the node, and its uid is a digest of where the file is and what it says:
a changed file is another pod, an untouched one is the same pod to every agent that comes after.
"""

from __future__ import annotations

import copy
import hashlib
from dataclasses import dataclass, replace

import msgspec

from sparsam.agent.podspec import Obj
from sparsam.agent.references import CLAIM, CONFIG_MAP, SECRET, TRUST_BUNDLE, TRUST_BUNDLES, references
from sparsam.errors import StatusError
from sparsam.objects.kinds import PODS

CONFIG_HASH = "kubernetes.io/config.hash"
CONFIG_MIRROR = "kubernetes.io/config.mirror"
CONFIG_SEEN = "kubernetes.io/config.seen"
CONFIG_SOURCE = "kubernetes.io/config.source"
FILE_SOURCE = "file"
MAX_BYTES = 10 << 20
"""Upstream's limit for a manifest."""
_SUFFIXES_OF_JSON = (".json",)
_REFERENCES = {
    CONFIG_MAP: "configmaps",
    SECRET: "secrets",
    CLAIM: "persistentvolumeclaims",
    TRUST_BUNDLE: "clustertrustbundles",
    TRUST_BUNDLES: "clustertrustbundles",
}
_SYSTEM_PRIORITIES = {"system-cluster-critical": 2_000_000_000, "system-node-critical": 2_000_001_000}


class BadManifest(ValueError):
    """A file that holds no static pod; the message says why."""


@dataclass(frozen=True, slots=True)
class Manifest:
    """A static pod and what its reader should hear about it."""

    pod: Obj
    warnings: tuple[str, ...] = ()


def is_static(pod: Obj) -> bool:
    """Whether a pod comes from a file of this node. Nobody can claim so in the API: uids are given there."""
    return bool((pod["metadata"].get("annotations") or {}).get(CONFIG_HASH) == pod["metadata"]["uid"])


def is_mirror(pod: Obj) -> bool:
    """Whether an object of the API only shows a static pod."""
    return CONFIG_MIRROR in (pod["metadata"].get("annotations") or {})


def full_name(pod: Obj) -> tuple[str, str]:
    """Namespace and name: what a static pod and its mirror share."""
    return pod["metadata"]["namespace"], pod["metadata"]["name"]


def read_manifest(raw: bytes, *, path: str, node_name: str, now: str) -> Manifest:
    """The pod that a file's content makes on a node; raises BadManifest."""
    # Few nodes have static pods; the tables of all kinds cost memory.
    from sparsam.objects import pipeline

    if len(raw) > MAX_BYTES:
        raise BadManifest(f"larger than {MAX_BYTES} bytes")
    context = pipeline.Context(now=now, uid="", name_suffix="", namespace="default")
    media = "application/json" if path.endswith(_SUFFIXES_OF_JSON) else "application/yaml"
    try:
        pod, warnings = pipeline.decode(PODS, raw, media, context)
        digest = _digest(path, node_name, pod)
        _make_static(pod, digest, node_name, now)
        created, more = pipeline.create(PODS, pod, replace(context, uid=digest))
    except StatusError as error:
        raise BadManifest(error.message) from error
    except RecursionError:
        raise BadManifest("nested too deeply") from None
    _check_references(created)
    created["metadata"]["resourceVersion"] = "1"
    return Manifest(created, (*warnings, *more))


def mirror_of(pod: Obj, node: Obj | None) -> Obj:
    """The object that shows a static pod in the API, owned by the node if that is known."""
    metadata = pod["metadata"]
    annotations = {**(metadata.get("annotations") or {}), CONFIG_MIRROR: metadata["annotations"][CONFIG_HASH]}
    wanted: Obj = {"name": metadata["name"], "namespace": metadata["namespace"], "annotations": annotations}
    if metadata.get("labels"):
        wanted["labels"] = dict(metadata["labels"])
    if node is not None and node.get("metadata", {}).get("uid"):
        about = {"name": node["metadata"]["name"], "uid": node["metadata"]["uid"]}
        wanted["ownerReferences"] = [{"apiVersion": "v1", "kind": "Node", "controller": True, **about}]
    return {"apiVersion": "v1", "kind": "Pod", "metadata": wanted, "spec": copy.deepcopy(pod["spec"])}


def shows(mirror: Obj, pod: Obj) -> bool:
    """Whether a mirror is this static pod's, as it is now, and not on its way out."""
    metadata = mirror["metadata"]
    digest: str = (metadata.get("annotations") or {}).get(CONFIG_MIRROR, "")
    return digest == pod["metadata"]["annotations"][CONFIG_HASH] and "deletionTimestamp" not in metadata


def _digest(path: str, node_name: str, pod: Obj) -> str:
    text = msgspec.json.encode([node_name, path, pod], order="sorted")
    return hashlib.sha256(text).hexdigest()[:32]


def _make_static(pod: Obj, digest: str, node_name: str, now: str) -> None:
    """Name, place and marks, as upstream gives them. Changes the pod."""
    metadata = pod.setdefault("metadata", {})
    if not metadata.get("name"):
        raise BadManifest("metadata.name is missing")
    metadata["name"] = f"{metadata['name']}-{node_name.lower()}"
    metadata.setdefault("namespace", "default")
    marks = {CONFIG_HASH: digest, CONFIG_SEEN: now, CONFIG_SOURCE: FILE_SOURCE}
    given = metadata.get("annotations") or {}
    metadata["annotations"] = {**{k: v for k, v in given.items() if k != CONFIG_MIRROR}, **marks}
    spec = pod.setdefault("spec", {})
    spec["nodeName"] = node_name
    forever = {"operator": "Exists", "effect": "NoExecute"}
    if forever not in (spec.get("tolerations") or ()):
        spec["tolerations"] = [*(spec.get("tolerations") or ()), forever]
    if spec.get("priority") is None and spec.get("priorityClassName") in _SYSTEM_PRIORITIES:
        spec["priority"] = _SYSTEM_PRIORITIES[spec["priorityClassName"]]
    pod.pop("status", None)


def _check_references(pod: Obj) -> None:
    """A static pod has to run without the API, so it must not lean on objects there; raises BadManifest."""
    spec = pod["spec"]
    kinds = {kind for kind, _ in references(pod)}
    for kind, name in _REFERENCES.items():
        if kind in kinds:
            raise BadManifest(f"static pods may not reference {name}")
    if spec.get("serviceAccountName") or spec.get("serviceAccount"):
        raise BadManifest("static pods may not reference serviceaccounts")
    if spec.get("imagePullSecrets"):
        raise BadManifest("static pods may not reference secrets")
    if spec.get("resourceClaims"):
        raise BadManifest("static pods may not reference resourceclaims")
