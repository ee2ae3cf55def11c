"""Starting one container: image, environment, mounts, create, start. Each failure has upstream's reason."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from sparsam.agent.containers import DEFAULT_MESSAGE_PATH, ContainerPlan, SandboxPlan, container_config, sandbox_config
from sparsam.agent.dns import hostname, hosts_file, kernel_hostname, pod_domain, pod_resolver
from sparsam.agent.downward import PodFacts
from sparsam.agent.environment import container_environment, service_environment
from sparsam.agent.node_context import NodeContext
from sparsam.agent.podspec import Obj
from sparsam.agent.pulling import Puller
from sparsam.agent.references import SOURCES_MAX_AGE_SECONDS, ConfigFault, references
from sparsam.agent.resources import container_resources, is_node_critical, qos_class
from sparsam.agent.runtime import Image, RuntimeFault, Sandbox
from sparsam.agent.supported import unable
from sparsam.agent.volumes import BindMount, PodDirectory
from sparsam.errors import SparsamError

_ETC_HOSTS = "/etc/hosts"


class StartFailed(SparsamError):
    """A container could not be started; `reason` is the waiting reason of its status."""

    def __init__(self, reason: str, message: str, *, event: str | None = None) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message
        self.event = event


@dataclass(frozen=True, slots=True)
class Starter:
    """Starts containers of one pod."""

    node: NodeContext
    directory: PodDirectory
    puller: Puller

    def facts(self, pod: Obj, sandbox: Sandbox | None) -> PodFacts:
        """What the downward API tells this pod."""
        node_ips = self.node.config.node_ips
        own = sandbox.ips if sandbox is not None else ()
        return PodFacts(
            pod=pod,
            pod_ips=node_ips if pod["spec"].get("hostNetwork") else own,
            host_ips=node_ips,
            node_name=self.node.config.node_name,
            allocatable=self.node.allocatable,
        )

    def sandbox_config(self, pod: Obj, attempt: int) -> Any:
        """The sandbox's configuration; equal for equal pods, so an adopted sandbox gets the same."""
        config = self.node.config
        plan = SandboxPlan(
            attempt=attempt,
            hostname=kernel_hostname(pod, config.node_name, config.cluster_domain),
            resolver=pod_resolver(pod, self.node.host_resolver, config.cluster_dns, config.cluster_domain),
            log_directory=str(log_directory(self.node, pod)),
            cgroup_parent=self.node.cgroups.pod_path(qos_class(pod), pod["metadata"]["uid"]),
            node_name=config.node_name,
        )
        return sandbox_config(pod, plan)

    async def start(self, pod: Obj, spec: Obj, attempt: int, sandbox: Sandbox) -> str:
        """Start one run of a container; returns its id. Raises StartFailed."""
        emit = self._emitter(pod, spec)
        missing = unable(spec)
        if missing:
            message = f"not supported by this node: {'; '.join(missing)}"
            raise StartFailed("Unsupported", message, event=message)
        image = await self.puller.ensure(pod, spec, emit)
        try:
            config = await self._configure(pod, spec, attempt, sandbox, image)
        except (ConfigFault, OSError) as error:
            raise StartFailed("CreateContainerConfigError", str(error), event=f"Error: {error}") from error
        try:
            container_id = await self.node.cri.create_container(
                sandbox.id, config, self.sandbox_config(pod, sandbox.attempt)
            )
        except RuntimeFault as error:
            raise StartFailed("CreateContainerError", str(error), event=f"Error: {error}") from error
        emit("Normal", "Created", f"Created container: {spec['name']}")
        try:
            await self.node.cri.start_container(container_id)
        except RuntimeFault as error:
            raise StartFailed("RunContainerError", str(error), event=f"Error: {error}") from error
        emit("Normal", "Started", f"Started container {spec['name']}")
        return container_id

    async def _configure(self, pod: Obj, spec: Obj, attempt: int, sandbox: Sandbox, image: Image) -> Any:
        namespace = pod["metadata"]["namespace"]
        sources = await self.node.api.sources(namespace, references(pod), SOURCES_MAX_AGE_SECONDS)
        facts = self.facts(pod, sandbox)
        links = pod["spec"].get("enableServiceLinks") is not False
        services = service_environment(self.node.api.services(), namespace, links)
        environment = container_environment(spec, facts, sources, services, self.directory.read_file)
        mounts = self.directory.bind_mounts(pod, spec, environment)
        mounts += self._own_mounts(pod, spec, attempt, facts, {mount.container_path for mount in mounts})
        plan = ContainerPlan(
            attempt=attempt,
            image=image,
            environment=environment,
            mounts=mounts,
            devices=self.directory.devices(pod, spec),
            resources=container_resources(spec, qos_class(pod), self.node.memory_bytes, is_node_critical(pod)),
            seccomp_dir=str(self.node.config.seccomp_dir),
            target_id=await self._target(pod, spec),
        )
        return container_config(pod, spec, plan)

    async def _target(self, pod: Obj, spec: Obj) -> str:
        """The run whose processes an ephemeral container shall see; raises ConfigFault."""
        name = spec.get("targetContainerName")
        if not name:
            return ""
        runs = await self.node.cri.list_containers(pod["metadata"]["uid"])
        found = next((run for run in runs if run.name == name and run.running), None)
        if found is None:
            raise ConfigFault(f'unable to find target container "{name}"')
        return found.id

    def _own_mounts(self, pod: Obj, spec: Obj, attempt: int, facts: PodFacts, taken: set[str]) -> list[BindMount]:
        """The managed hosts file and the file for the termination message."""
        mounts = []
        if _ETC_HOSTS not in taken:
            with open(_ETC_HOSTS, encoding="utf-8", errors="replace") as host_file:  # noqa: PTH123
                text = hosts_file(
                    pod,
                    facts.pod_ips,
                    hostname(pod, self.node.config.node_name),
                    pod_domain(pod, self.node.config.cluster_domain),
                    host_file.read(),
                )
            self.directory.hosts_file.write_text(text)
            self.directory.hosts_file.chmod(0o644)
            mounts.append(BindMount(str(self.directory.hosts_file), _ETC_HOSTS))
        path = spec.get("terminationMessagePath") or DEFAULT_MESSAGE_PATH
        message = self.directory.message_file(spec["name"], attempt)
        message.parent.mkdir(parents=True, exist_ok=True)
        message.touch()
        message.chmod(0o666)  # whatever user the container runs as may write it
        mounts.append(BindMount(str(message), path))
        return mounts

    def _emitter(self, pod: Obj, spec: Obj) -> Callable[[str, str, str], None]:
        def emit(kind: str, reason: str, message: str) -> None:
            self.node.api.event(pod, kind, reason, message, spec["name"])

        return emit


def log_directory(node: NodeContext, pod: Obj) -> Any:
    """Where the containers of a pod log."""
    metadata = pod["metadata"]
    return node.config.logs_dir / f"{metadata['namespace']}_{metadata['name']}_{metadata['uid']}"
