"""Sandbox and container configurations for the engine, from a pod's spec. Pure: values in, CRI messages out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cri_api.v1 import api_pb2 as pb

from sparsam.agent.dns import Resolver
from sparsam.agent.environment import expand
from sparsam.agent.podspec import (
    Obj,
    effective,
    grace_seconds,
    key_of,
    main_containers,
    spec_hash,
    uses_host_network,
)
from sparsam.agent.references import ConfigFault
from sparsam.agent.resources import CPU_PERIOD_MICROSECONDS, ContainerResources
from sparsam.agent.runtime import (
    CONTAINER_HASH,
    CONTAINER_NAME,
    GRACE_SECONDS,
    MESSAGE_PATH,
    MESSAGE_POLICY,
    NODE_LABEL,
    POD_NAME,
    POD_NAMESPACE,
    POD_UID,
    Image,
)
from sparsam.agent.volumes import BindMount, BlockDevice

DEFAULT_MESSAGE_PATH = "/dev/termination-log"
_MASKED_PATHS = (
    "/proc/asound", "/proc/acpi", "/proc/interrupts", "/proc/kcore", "/proc/keys", "/proc/latency_stats",
    "/proc/timer_list", "/proc/timer_stats", "/proc/sched_debug", "/proc/scsi", "/sys/firmware",
    "/sys/devices/virtual/powercap",
)  # fmt: skip
_READONLY_PATHS = ("/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger")
_PROPAGATION = {
    "None": pb.PROPAGATION_PRIVATE,
    "HostToContainer": pb.PROPAGATION_HOST_TO_CONTAINER,
    "Bidirectional": pb.PROPAGATION_BIDIRECTIONAL,
}
_PROFILES = {
    "RuntimeDefault": pb.SecurityProfile.RuntimeDefault,
    "Unconfined": pb.SecurityProfile.Unconfined,
    "Localhost": pb.SecurityProfile.Localhost,
}
_PROTOCOLS = {"TCP": pb.TCP, "UDP": pb.UDP, "SCTP": pb.SCTP}


@dataclass(frozen=True, slots=True, kw_only=True)
class SandboxPlan:
    """What a sandbox needs beyond the pod's spec."""

    attempt: int
    hostname: str
    resolver: Resolver
    log_directory: str
    cgroup_parent: str
    node_name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainerPlan:
    """What a container needs beyond its spec."""

    attempt: int
    image: Image
    environment: Mapping[str, str]
    mounts: Sequence[BindMount]
    devices: Sequence[BlockDevice]
    resources: ContainerResources
    seccomp_dir: str = ""
    """Where the profiles of the node are."""
    target_id: str = ""
    """The container whose process namespace an ephemeral one shares."""


def pod_labels(pod: Obj) -> dict[str, str]:
    """Labels by which sandboxes and containers of a pod are found again."""
    metadata = pod["metadata"]
    return {POD_NAME: metadata["name"], POD_NAMESPACE: metadata["namespace"], POD_UID: metadata["uid"]}


def sandbox_config(pod: Obj, plan: SandboxPlan) -> Any:
    """CRI's PodSandboxConfig."""
    metadata = pod["metadata"]
    context = pod["spec"].get("securityContext") or {}
    linux = pb.LinuxPodSandboxConfig(
        cgroup_parent=plan.cgroup_parent,
        sysctls={sysctl["name"]: sysctl["value"] for sysctl in context.get("sysctls") or ()},
        security_context=pb.LinuxSandboxSecurityContext(
            namespace_options=_namespaces(pod),
            run_as_user=_number(context.get("runAsUser")),
            run_as_group=_number(context.get("runAsGroup") if context.get("runAsUser") is not None else None),
            supplemental_groups=_groups(context),
            selinux_options=_selinux(context.get("seLinuxOptions")),
            privileged=any((spec.get("securityContext") or {}).get("privileged") for spec in main_containers(pod)),
            seccomp=pb.SecurityProfile(profile_type=pb.SecurityProfile.RuntimeDefault),
        ),
    )
    return pb.PodSandboxConfig(
        metadata=pb.PodSandboxMetadata(
            name=metadata["name"], namespace=metadata["namespace"], uid=metadata["uid"], attempt=plan.attempt
        ),
        hostname="" if uses_host_network(pod) else plan.hostname,
        log_directory=plan.log_directory,
        dns_config=pb.DNSConfig(
            servers=plan.resolver.servers, searches=plan.resolver.searches, options=plan.resolver.options
        ),
        port_mappings=_port_mappings(pod),
        labels={**pod_labels(pod), NODE_LABEL: plan.node_name},
        annotations=metadata.get("annotations") or {},
        linux=linux,
    )


def container_config(pod: Obj, spec: Obj, plan: ContainerPlan) -> Any:
    """CRI's ContainerConfig; raises ConfigFault when the security context forbids it."""
    check_non_root(pod, spec, plan.image)
    name = spec["name"]
    env = plan.environment
    return pb.ContainerConfig(
        metadata=pb.ContainerMetadata(name=name, attempt=plan.attempt),
        image=pb.ImageSpec(image=plan.image.id),
        command=[expand(word, env) for word in spec.get("command") or ()],
        args=[expand(word, env) for word in spec.get("args") or ()],
        working_dir=spec.get("workingDir") or "",
        envs=[pb.KeyValue(key=key, value=value) for key, value in env.items()],
        mounts=[_mount(mount) for mount in plan.mounts],
        devices=[
            pb.Device(host_path=each.host_path, container_path=each.container_path, permissions=_rights(each))
            for each in plan.devices
        ],
        labels={**pod_labels(pod), CONTAINER_NAME: name},
        annotations={
            CONTAINER_HASH: spec_hash(spec),
            MESSAGE_PATH: spec.get("terminationMessagePath") or DEFAULT_MESSAGE_PATH,
            MESSAGE_POLICY: spec.get("terminationMessagePolicy") or "File",
            GRACE_SECONDS: str(grace_seconds(pod)),
        },
        log_path=f"{name}/{plan.attempt}.log",
        stdin=bool(spec.get("stdin")),
        stdin_once=bool(spec.get("stdinOnce")),
        tty=bool(spec.get("tty")),
        stop_signal=pb.Signal.Value((spec.get("lifecycle") or {}).get("stopSignal") or "RUNTIME_DEFAULT"),
        linux=pb.LinuxContainerConfig(
            resources=_resources(plan.resources), security_context=_security_context(pod, spec, plan)
        ),
    )


def check_non_root(pod: Obj, spec: Obj, image: Image) -> None:
    """Enforce `runAsNonRoot`; raises ConfigFault in upstream's words."""
    if not effective(pod, spec, "runAsNonRoot"):
        return
    where = f'(pod: "{key_of(pod)}", container: {spec["name"]})'
    user = effective(pod, spec, "runAsUser")
    if user is not None:
        if user == 0:
            raise ConfigFault(f"container's runAsUser breaks non-root policy {where}")
        return
    if image.user_name and image.user_id is None:
        raise ConfigFault(
            f"container has runAsNonRoot and image has non-numeric user ({image.user_name}), "
            f"cannot verify user is non-root {where}"
        )
    if not image.user_id:
        raise ConfigFault(f"container has runAsNonRoot and image will run as root {where}")


def _namespaces(pod: Obj, target_id: str = "") -> Any:
    spec = pod["spec"]
    pid = pb.POD if spec.get("shareProcessNamespace") else pb.CONTAINER
    pid = pb.NODE if spec.get("hostPID") else pid
    return pb.NamespaceOption(
        network=pb.NODE if spec.get("hostNetwork") else pb.POD,
        pid=pb.TARGET if target_id else pid,
        ipc=pb.NODE if spec.get("hostIPC") else pb.POD,
        target_id=target_id,
    )


def _security_context(pod: Obj, spec: Obj, plan: ContainerPlan) -> Any:
    own = spec.get("securityContext") or {}
    shared = pod["spec"].get("securityContext") or {}
    capabilities = own.get("capabilities") or {}
    user, group = effective(pod, spec, "runAsUser"), effective(pod, spec, "runAsGroup")
    privileged = bool(own.get("privileged"))
    return pb.LinuxContainerSecurityContext(
        privileged=privileged,
        capabilities=pb.Capability(
            add_capabilities=capabilities.get("add") or (), drop_capabilities=capabilities.get("drop") or ()
        ),
        namespace_options=_namespaces(pod, plan.target_id),
        run_as_user=_number(user),
        run_as_group=_number(group),
        readonly_rootfs=bool(own.get("readOnlyRootFilesystem")),
        supplemental_groups=_groups(shared),
        selinux_options=_selinux(effective(pod, spec, "seLinuxOptions")),
        no_new_privs=own.get("allowPrivilegeEscalation") is False,
        masked_paths=() if privileged else _MASKED_PATHS,
        readonly_paths=() if privileged else _READONLY_PATHS,
        seccomp=_profile(effective(pod, spec, "seccompProfile"), plan.seccomp_dir),
        apparmor=_apparmor(effective(pod, spec, "appArmorProfile")),
    )


def _groups(context: Obj) -> list[int]:
    """Groups of a pod's security context, beside each container's main one."""
    more = [context["fsGroup"]] if context.get("fsGroup") is not None else []
    return [*(context.get("supplementalGroups") or ()), *more]


def _number(value: int | None) -> Any:
    return None if value is None else pb.Int64Value(value=value)


def _profile(profile: Obj | None, directory: str = "") -> Any:
    kind = (profile or {}).get("type") or "Unconfined"
    reference = (profile or {}).get("localhostProfile") or ""
    if kind == "Localhost" and directory:
        reference = f"{directory}/{reference}"
    return pb.SecurityProfile(profile_type=_PROFILES[kind], localhost_ref=reference)


def _selinux(options: Obj | None) -> Any:
    """For the engine to apply: one without SELinux ignores them, as under any kubelet."""
    return pb.SELinuxOption(**options) if options else None


def _apparmor(profile: Obj | None) -> Any:
    """Unset leaves the choice to the engine, which knows whether the kernel has AppArmor."""
    return _profile(profile) if profile else None


def _resources(resources: ContainerResources) -> Any:
    return pb.LinuxContainerResources(
        cpu_period=CPU_PERIOD_MICROSECONDS if resources.cpu_quota_microseconds else 0,
        cpu_quota=resources.cpu_quota_microseconds,
        cpu_shares=resources.cpu_shares,
        memory_limit_in_bytes=resources.memory_bytes,
        oom_score_adj=resources.oom_score_adj,
    )


def _mount(mount: BindMount) -> Any:
    return pb.Mount(
        host_path=mount.host_path,
        container_path=mount.container_path,
        readonly=mount.read_only,
        propagation=_PROPAGATION[mount.propagation],
    )


def _rights(device: BlockDevice) -> str:
    return "r" if device.read_only else "mrw"


def _port_mappings(pod: Obj) -> list[Any]:
    if uses_host_network(pod):
        return []
    return [
        pb.PortMapping(
            protocol=_PROTOCOLS[port.get("protocol") or "TCP"],
            container_port=port["containerPort"],
            host_port=port["hostPort"],
            host_ip=port.get("hostIP") or "",
        )
        for spec in main_containers(pod)
        for port in spec.get("ports") or ()
        if port.get("hostPort")
    ]
