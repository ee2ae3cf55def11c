"""What this agent does not do yet, refused by name rather than ignored. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from sparsam.agent.podspec import Obj, all_containers, init_containers, is_sidecar

VOLUME_SOURCES = frozenset(
    {"configMap", "secret", "downwardAPI", "projected", "emptyDir", "hostPath", "persistentVolumeClaim", "ephemeral"}
)
_PROJECTED_SOURCES = frozenset({"configMap", "secret", "downwardAPI", "serviceAccountToken"})
_POD_FIELDS = {
    "resourceClaims": "resource claims",
    "runtimeClassName": "runtime classes",
    "resources": "pod-level resources",
}
_SECURITY_FIELDS = ("seLinuxOptions", "windowsOptions")


def unsupported(pod: Obj) -> list[str]:
    """Names of the features that keep this pod from running here; empty when it may run.

    Ephemeral containers are not among them: they are added to pods that run, which must not suffer.
    """
    return [*dict.fromkeys((*_pod_features(pod), *_volume_features(pod), *_container_features(pod)))]


def _pod_features(pod: Obj) -> Iterator[str]:
    spec = pod["spec"]
    for field, name in _POD_FIELDS.items():
        if spec.get(field):
            yield f"spec.{field} ({name})"
    if spec.get("hostUsers") is False:
        yield "spec.hostUsers: false (user namespaces)"
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


def _container_features(pod: Obj) -> Iterator[str]:
    sidecars = [spec for spec in init_containers(pod) if is_sidecar(spec)]
    for spec in all_containers(pod):
        where = f"container {spec['name']}"
        for field in ("volumeDevices", "restartPolicyRules"):
            if spec.get(field):
                yield f"{where}: {field}"
        if spec.get("restartPolicy") and not any(spec is sidecar for sidecar in sidecars):
            yield f"{where}: restartPolicy {spec['restartPolicy']}"
        if (spec.get("resources") or {}).get("claims"):
            yield f"{where}: resources.claims"
        if any(mount.get("recursiveReadOnly") == "Enabled" for mount in spec.get("volumeMounts") or ()):
            yield f"{where}: volumeMounts recursiveReadOnly"
        yield from _handler_features(where, spec)
        yield from _security_features(f"{where}: securityContext", spec.get("securityContext") or {})


def _handler_features(where: str, spec: Obj) -> Iterator[str]:
    for probe in ("livenessProbe", "readinessProbe", "startupProbe"):
        if "grpc" in (spec.get(probe) or {}):
            yield f"{where}: {probe}.grpc"
    hooks = spec.get("lifecycle") or {}
    if hooks.get("stopSignal"):
        yield f"{where}: lifecycle.stopSignal"
    for name in ("postStart", "preStop"):
        if "tcpSocket" in (hooks.get(name) or {}):
            yield f"{where}: lifecycle.{name}.tcpSocket"


def _security_features(where: str, context: Obj) -> Iterator[str]:
    for field in _SECURITY_FIELDS:
        if context.get(field):
            yield f"{where}.{field}"
    if context.get("procMount") not in (None, "Default"):
        yield f"{where}.procMount"
