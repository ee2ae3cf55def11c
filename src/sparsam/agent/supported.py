"""What this agent does not do yet, refused by name rather than ignored. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from sparsam.agent.podspec import Obj, all_containers

VOLUME_SOURCES = frozenset(
    {
        "configMap",
        "secret",
        "downwardAPI",
        "projected",
        "emptyDir",
        "hostPath",
        "persistentVolumeClaim",
        "ephemeral",
        "image",
        "csi",
    }
)
_PROJECTED_SOURCES = frozenset({"configMap", "secret", "downwardAPI", "serviceAccountToken", "clusterTrustBundle"})
_POD_FIELDS = {
    "resourceClaims": "resource claims",
}


def unsupported(pod: Obj) -> list[str]:
    """Names of the features that keep this pod from running here; empty when it may run.

    Ephemeral containers are not looked at: they are added to pods that run, which must not suffer (see `unable`).
    """
    containers = (name for spec in all_containers(pod) for name in _container_features(spec))
    return [*dict.fromkeys((*_pod_features(pod), *_volume_features(pod), *containers))]


def unable(spec: Obj) -> list[str]:
    """Names of the features that keep a single container from starting here."""
    return list(dict.fromkeys(_container_features(spec)))


def _pod_features(pod: Obj) -> Iterator[str]:
    spec = pod["spec"]
    for field, name in _POD_FIELDS.items():
        if spec.get(field):
            yield f"spec.{field} ({name})"
    if spec.get("hostUsers") is False:
        yield "spec.hostUsers: false (user namespaces)"
    if (spec.get("securityContext") or {}).get("supplementalGroupsPolicy") == "Strict":
        yield "spec.securityContext.supplementalGroupsPolicy: Strict"
    if (spec.get("os") or {}).get("name") == "windows":
        yield "spec.os.name: windows"
    yield from _security_features("spec.securityContext", spec.get("securityContext") or {})


def _volume_features(pod: Obj) -> Iterator[str]:
    for volume in pod["spec"].get("volumes") or ():
        kinds = set(volume) - {"name"}
        for kind in sorted(kinds - VOLUME_SOURCES):
            yield f"volume {volume['name']}: {kind}"
        medium = (volume.get("emptyDir") or {}).get("medium") or ""
        if medium not in ("", "Memory"):
            yield f"volume {volume['name']}: emptyDir medium {medium}"
        for source in (volume.get("projected") or {}).get("sources") or ():
            for kind in sorted(set(source) - _PROJECTED_SOURCES):
                yield f"volume {volume['name']}: projected {kind}"


def _container_features(spec: Obj) -> Iterator[str]:
    where = f"container {spec['name']}"
    if (spec.get("resources") or {}).get("claims"):
        yield f"{where}: resources.claims"
    if any(mount.get("recursiveReadOnly") == "Enabled" for mount in spec.get("volumeMounts") or ()):
        yield f"{where}: volumeMounts recursiveReadOnly"
    yield from _security_features(f"{where}: securityContext", spec.get("securityContext") or {})


def _security_features(where: str, context: Obj) -> Iterator[str]:
    if context.get("windowsOptions"):
        yield f"{where}.windowsOptions"
    if context.get("procMount") not in (None, "Default"):
        yield f"{where}.procMount"
