"""What a killed engine forgot goes; what it knows stays."""

import socket
import subprocess
from pathlib import Path

import pytest

from sparsam.agent import leftovers
from sparsam.agent.containerd import SHIM_SOCKETS
from sparsam.agent.leftovers import Traces, namespace_of, sweep
from tests.support.agent import Engine, Node, pod, ready

pytestmark = [
    pytest.mark.needs_root,
    pytest.mark.needs_containerd,
    pytest.mark.asyncio(loop_scope="module"),
]
FORGOTTEN = "f" * 64


def leave_traces(engine: Engine) -> list[Path]:
    """As a containerd does that is killed between a sandbox's network and its record, or in the middle of a removal."""
    address = engine.config.ipam_dir / "sparsam" / f"{engine.config.pod_cidrs[0].rpartition('.')[0]}.200"
    address.parent.mkdir(parents=True, exist_ok=True)
    address.write_text(f"{FORGOTTEN}\r\neth0")
    namespace = engine.containerd.netns_dir / "cni-00000000-0000-0000-0000-000000000000"
    namespace.parent.mkdir(parents=True, exist_ok=True)
    namespace.touch()
    subprocess.run(["unshare", f"--net={namespace}", "true"], check=True)
    bundle = engine.containerd.record_dirs[0] / f".{FORGOTTEN}"
    (bundle / "rootfs").mkdir(parents=True)
    SHIM_SOCKETS.mkdir(parents=True, exist_ok=True)
    dead = SHIM_SOCKETS / FORGOTTEN
    with socket.socket(socket.AF_UNIX) as shim:
        shim.bind(str(dead))
    return [address, namespace, bundle, dead]


async def test_what_no_sandbox_has_goes_and_a_running_pod_keeps_all(
    engine: Engine, node: Node, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(leftovers, "SETTLE_SECONDS", 0.1)
    one = node.run(pod())
    await node.api.until(one, ready)
    log = engine.config.logs_dir / "default_gone_0000"
    log.mkdir(parents=True)
    kept = await leftovers.find(engine.containerd, engine.config.ipam_dir)
    traces = leave_traces(engine)
    await sweep(engine.config)
    assert [path for path in traces if path.exists()] == []
    found = await leftovers.find(engine.containerd, engine.config.ipam_dir)
    assert (found.ids, found.namespaces, found.leases) == (kept.ids, kept.namespaces, kept.leases)
    await node.pods.adopt_orphans(())
    assert [path.name.split("_")[1] for path in engine.config.logs_dir.iterdir()] == [one["metadata"]["name"]]
    (sandbox,) = await node.cri.list_sandboxes(one["metadata"]["uid"])
    assert sandbox.ready
    assert {sandbox.id} < kept.ids


async def test_what_came_after_the_look_is_left_alone(engine: Engine, monkeypatch: pytest.MonkeyPatch):
    async def meanwhile(seconds: float) -> None:
        traces.extend(leave_traces(engine))

    traces: list[Path] = []
    monkeypatch.setattr(leftovers.asyncio, "sleep", meanwhile)
    await sweep(engine.config)
    monkeypatch.undo()
    assert [path for path in traces if not path.exists()] == []
    monkeypatch.setattr(leftovers, "SETTLE_SECONDS", 0.0)
    await sweep(engine.config)
    assert [path for path in traces if path.exists()] == []


@pytest.mark.asyncio(loop_scope="function")
async def test_traces_are_compared_by_sort():
    one = Traces(frozenset({"a", "b"}), frozenset({"n"}), frozenset({"l"}))
    other = Traces(frozenset({"b"}), frozenset({"l"}), frozenset())
    assert one.without(other) == Traces(frozenset({"a"}), frozenset({"n"}), frozenset({"l"}))
    assert one.among(other) == Traces(frozenset({"b"}))


@pytest.mark.asyncio(loop_scope="function")
async def test_a_sandbox_on_the_nodes_network_has_no_namespace():
    spec = '{"runtimeSpec": {"linux": {"namespaces": [{"type": "pid"}, {"type": "network", "path": "/n/1"}]}}}'
    assert namespace_of({"info": spec}) == "/n/1"
    assert namespace_of({"info": '{"runtimeSpec": {"linux": {"namespaces": [{"type": "network"}]}}}'}) == ""
    assert namespace_of({}) == ""
