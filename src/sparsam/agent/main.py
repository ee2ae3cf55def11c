"""The node agent: engine up, node registered, one worker for each pod bound here, until cancelled.

Cancelling (or killing) the agent leaves engine and containers alone; the next one adopts them.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from contextlib import AsyncExitStack
from typing import Any

from sparsam.agent.api import ClusterApi
from sparsam.agent.cgroups import Cgroups
from sparsam.agent.config import AgentConfig
from sparsam.agent.containerd import Containerd, EngineFailed
from sparsam.agent.cri import Cri
from sparsam.agent.csi.api import ClusterCsiApi
from sparsam.agent.csi.registration import Registration
from sparsam.agent.csi.volumes import CsiVolumes
from sparsam.agent.dns import Resolver, parse_resolv_conf
from sparsam.agent.evictor import Evictor
from sparsam.agent.footprint import prepare
from sparsam.agent.images import PAUSE_IMAGE, build_pause_image
from sparsam.agent.leftovers import sweep
from sparsam.agent.localvolumes import LocalVolumes
from sparsam.agent.logind import follow as follow_logind
from sparsam.agent.logs import keep_rotating
from sparsam.agent.machine import read_machine
from sparsam.agent.manifests import is_mirror
from sparsam.agent.mounts import share
from sparsam.agent.network import ensure_gateways, write_network_config
from sparsam.agent.node import NodeReporter
from sparsam.agent.node_context import NodeContext
from sparsam.agent.node_object import allocatable
from sparsam.agent.pods import Pods
from sparsam.agent.podspec import Obj
from sparsam.agent.registry import PodRegistry
from sparsam.agent.runtime import RuntimeFault
from sparsam.agent.runtime_events import listen
from sparsam.agent.server.main import serve as serve_pods
from sparsam.agent.server.usage import Sampler
from sparsam.agent.shutdown import Order, Shutdown
from sparsam.agent.staticpods import Folder, Mirrors, StaticApi, StaticPods
from sparsam.client.api import ApiClient
from sparsam.client.events import EventRecorder
from sparsam.client.informer import Informer
from sparsam.clock import Clock, SystemClock
from sparsam.metering.node import NodeMeter
from sparsam.metering.publish import Metering
from sparsam.metering.requests import RequestWatch
from sparsam.metering.setup import MeterConfig, NodeModelHolder, make_node_meter
from sparsam.objects.kinds import NODES, PODS, SERVICES

log = logging.getLogger(__name__)


_ENGINE_RETRY_SECONDS = 3.0
_ENGINE_READY_SECONDS = 60.0
_ENGINE_POLL_SECONDS = 0.05

Serve = Callable[[AgentConfig, PodRegistry, NodeMeter, ApiClient], Coroutine[Any, Any, None]]


async def run(config: AgentConfig, serve: Serve | None = None, order: Order | None = None) -> None:
    """Run a node until cancelled; `serve` offers its pods' logs and commands to the API server.

    By default that is the agent's own server, if there is a certificate to serve with. `order` says when the node
    shall go down.
    """
    if serve is None and config.serving_cert is not None:
        serve = serve_pods
    socket = await start_engine(config)
    clock = SystemClock()
    async with AsyncExitStack() as stack:
        cri = await stack.enter_async_context(Cri(socket))
        client = await stack.enter_async_context(ApiClient(config.client, program="kubelet"))
        await Agent(config, cri, client, clock).run(socket, serve, order or Order())


async def start_engine(config: AgentConfig) -> str:
    """Make sure that an engine runs, with our network and sandbox image if it is ours; returns its socket."""
    for directory in (config.data_dir, config.run_dir, config.pods_dir, config.logs_dir):
        directory.mkdir(parents=True, exist_ok=True)
    try:
        share(config.data_dir)
    except OSError as error:
        log.warning("containers cannot mount for others directory=%s error=%s", config.data_dir, error)
    await prepare(config.data_dir, config.pod_cidrs)
    if config.cri_socket:
        return config.cri_socket
    engine = Containerd(config.data_dir, config.run_dir)
    write_network_config(engine.conf_dir, config.pod_cidrs, config.bridge, config.ipam_dir)
    await asyncio.to_thread(ensure_gateways, config.pod_cidrs, config.bridge)
    await engine.start()
    async with Cri(str(engine.socket)) as cri:
        await _answers(cri)
        if await cri.image(PAUSE_IMAGE) is None:
            archive = config.data_dir / "pause.tar"
            await engine.import_image(build_pause_image(archive))
            archive.unlink()
    return str(engine.socket)


async def _answers(cri: Cri) -> None:
    """Wait for an engine that listens but still reads its books; raises RuntimeFault when that takes too long."""
    deadline = asyncio.get_running_loop().time() + _ENGINE_READY_SECONDS
    while True:
        try:
            await cri.version()
            return
        except RuntimeFault:
            if asyncio.get_running_loop().time() > deadline:
                raise
        await asyncio.sleep(_ENGINE_POLL_SECONDS)


class Agent:
    """The parts of a running node and how they hang together."""

    def __init__(self, config: AgentConfig, cri: Cri, client: ApiClient, clock: Clock) -> None:
        self._config = config
        self._cri = cri
        self._client = client
        self._machine = read_machine(config.data_dir)
        self._recorder = EventRecorder(client, "kubelet", host=config.node_name, clock=clock)
        self._services = Informer(client, SERVICES)
        self._pod_informer = Informer(client, PODS, field_selector=f"spec.nodeName={config.node_name}")
        self._node_informer = Informer(client, NODES, field_selector=f"metadata.name={config.node_name}")
        self._reporter = NodeReporter(config, client, cri, clock, self._machine)
        self._api = StaticApi(ClusterApi(client, self._services, self._recorder, clock))
        self._mirrors = Mirrors(client, self._pod_informer, self._api, lambda: self._reporter.node)
        self._drivers = Registration(config, client, clock)
        self._csi = CsiVolumes(
            config, self._drivers, ClusterCsiApi(client, self._recorder), self._reporter.report_volumes
        )
        self._drivers.on_driver = self._csi.look_again
        self._reporter.volumes_in_use = self._csi.in_use
        self._context = NodeContext(
            config=config,
            cri=cri,
            api=self._api,
            cgroups=Cgroups(config.cgroup_base),
            clock=clock,
            csi=self._csi,
            host_resolver=_host_resolver(),
            memory_bytes=self._machine.memory_bytes,
            allocatable=allocatable(config, self._machine),
        )

    async def run(self, engine_address: str, serve: Serve | None, order: Order) -> None:
        """Run until cancelled."""
        async with asyncio.TaskGroup() as group:
            pods = Pods(self._context, group, lambda: self._node_informer.get("", self._config.node_name))
            registry = PodRegistry(pods, self._cri, engine_address=engine_address, node_ip=self._config.node_ip)
            metering = self._metering(pods)
            static = self._start_own(group, pods)
            shutdown = Shutdown(self._config, pods, order, self._context.clock, self._reporter.announce)
            group.create_task(shutdown.run(), name="shutdown")
            group.create_task(follow_logind(order), name="logind")
            if serve is not None:
                group.create_task(serve(self._config, registry, metering.meter, self._client), name="server")
            group.create_task(self._recorder.run(), name="events")
            group.create_task(self._services.run(), name="services")
            await self._reporter.register()
            group.create_task(self._reporter.keep_lease(), name="lease")
            group.create_task(self._reporter.keep_status(), name="node status")
            group.create_task(self._node_informer.run(), name="node")
            await self._services.synced.wait()
            await self._node_informer.synced.wait()
            self._pod_informer.add_handler(_follow(pods, self._mirrors))
            group.create_task(self._pod_informer.run(), name="pods")
            await self._pod_informer.synced.wait()
            if static is not None:
                await static.looked.wait()
            await pods.adopt_orphans(())
            group.create_task(self._mirrors.run(), name="mirrors")
            group.create_task(LocalVolumes(self._config, self._client, self._recorder).run(), name="local volumes")
            # Not before all pods are known: what they use must not be taken for unused.
            sampler, tell = Sampler(self._config, registry), self._reporter.note_pressure
            evictor = Evictor(self._context, pods, self._machine, sampler, tell=tell)
            group.create_task(evictor.run(), name="eviction")
            group.create_task(metering.run(), name="metering")
            counting = RequestWatch(metering.meter, pods.all, self._context.clock)
            group.create_task(counting.run(), name="requests")
            log.info("node agent up node=%s pods=%d", self._config.node_name, pods.count)

    def _start_own(self, group: asyncio.TaskGroup, pods: Pods) -> StaticPods | None:
        """What needs no API: static pods start although it is away."""
        config = self._config
        group.create_task(listen(self._cri, pods.notice), name="engine events")
        group.create_task(pods.keep_in_step(), name="engine relist")
        group.create_task(self._refresh(pods), name="refresh")
        if config.cri_socket is None:
            group.create_task(self._keep_engine(pods), name="engine")
        rotating = keep_rotating(pods, self._cri, max_bytes=config.log_max_bytes, max_files=config.log_max_files)
        group.create_task(rotating, name="log rotation")
        group.create_task(self._drivers.run(), name="CSI drivers")
        group.create_task(self._csi.run(), name="CSI volumes")
        if config.static_pods is None:
            return None
        folder = Folder(config.static_pods, config.node_name)
        static = StaticPods(folder, pods, self._api, self._context.clock)
        group.create_task(static.run(), name="static pods")
        return static

    def _metering(self, pods: Pods) -> Metering:
        name, model = self._config.node_name, NodeModelHolder()
        config = MeterConfig(
            node_name=name,
            state_file=self._config.data_dir / "energy.json",
            group_bases=(self._context.cgroups.base,),
            machine_nodes=self._config.machine_nodes,
        )
        meter = make_node_meter(config, pods.all, model, self._context.clock)
        return Metering(name, meter, model, self._client, self._context.clock)

    async def _keep_engine(self, pods: Pods) -> None:
        """Start our own engine again when it died, and clean up after it; its containers live on meanwhile."""
        engine = self._context.engine
        while True:
            sweeping = asyncio.create_task(self._sweep(pods))
            try:
                await engine.ended()
            finally:
                sweeping.cancel()
            log.error("containerd is gone, starting it again socket=%s", engine.socket)
            await self._start_again(engine)

    async def _start_again(self, engine: Containerd) -> None:
        while True:
            try:
                await engine.start()
                return
            except EngineFailed as error:
                log.error("containerd not started error=%s", error)
            await asyncio.sleep(_ENGINE_RETRY_SECONDS)

    async def _sweep(self, pods: Pods) -> None:
        """End what came up after its pod was gone, and remove what a killed engine or agent left behind."""
        try:
            await sweep(self._config)
            await pods.adopt_orphans(())
        except (RuntimeFault, OSError) as error:
            log.warning("not looked for leftovers error=%s", error)

    async def _refresh(self, pods: Pods) -> None:
        while True:
            await asyncio.sleep(self._config.refresh_seconds)
            pods.refresh()


def _follow(pods: Pods, mirrors: Mirrors) -> Callable[[str, Obj | None, Obj | None], None]:
    def handle(kind: str, old: Obj | None, new: Obj | None) -> None:
        if is_mirror(new or old or {}):
            mirrors.kick()
        elif new is not None:
            if old is not None and old["metadata"]["uid"] != new["metadata"]["uid"]:
                pods.remove(old)
            pods.upsert(new)
        elif old is not None:
            pods.remove(old)

    return handle


def _host_resolver() -> Resolver:
    with open("/etc/resolv.conf", encoding="utf-8", errors="replace") as source:  # noqa: PTH123
        return parse_resolv_conf(source.read())
