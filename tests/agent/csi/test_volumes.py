"""CSI volumes with a real driver process: mounted in order, whatever is killed or repeated in between."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from sparsam.agent.config import AgentConfig
from sparsam.agent.csi.api import CsiApi
from sparsam.agent.csi.driver import CsiFault
from sparsam.agent.csi.registration import Registration
from sparsam.agent.csi.volumes import CsiVolumes
from sparsam.agent.diskuse import VolumeUse
from sparsam.agent.downward import PodFacts
from sparsam.agent.mounts import is_mounted, mounts_below, unmount_below
from sparsam.agent.references import CLAIM, ConfigFault, Sources
from sparsam.agent.volumes import PodDirectory
from sparsam.clock import SystemClock
from sparsam.errors import NotFound
from sparsam.objects.patches import merge
from tests.support.agent import container, pod
from tests.support.csidriver import PUBLISH_SECRET, STAGE_SECRET, driver_process, journal, wait_registered

pytestmark = pytest.mark.needs_root

Obj = dict[str, Any]


@dataclass
class FakeCsiApi(CsiApi):
    driver_spec: Obj = field(default_factory=lambda: {"podInfoOnMount": True, "fsGroupPolicy": "File"})
    attached: bool = True
    claims: dict[tuple[str, str], Obj] = field(default_factory=dict)
    events: list[tuple[str, str]] = field(default_factory=list)

    async def driver(self, name: str) -> Obj | None:
        return {"metadata": {"name": name}, "spec": self.driver_spec}

    async def attachment(self, name: str) -> Obj | None:
        return {"status": {"attached": self.attached, "attachmentMetadata": {"device": "/dev/test"}}}

    async def secret(self, namespace: str, name: str) -> dict[str, str]:
        return {"word": name}

    async def token(self, pod: Obj, audience: str, seconds: int) -> dict[str, str]:
        return {"token": f"for {audience}", "expirationTimestamp": "2026-01-01T00:00:00Z"}

    async def claim(self, namespace: str, name: str) -> Obj | None:
        return self.claims.get((namespace, name))

    async def patch_claim(self, claim: Obj, status: Obj) -> Obj:
        claim["status"] = merge(claim["status"], status)
        return claim

    def event(self, about: Obj, kind: str, reason: str, message: str) -> None:
        self.events.append((reason, message))


class NoObjects:
    """A client of an API that keeps what a node writes about itself."""

    def __init__(self) -> None:
        self.objects: dict[tuple[str, str], Obj] = {}

    async def get(self, resource: Any, name: str, namespace: str = "") -> Obj:
        if resource.plural == "nodes":
            return self.objects.setdefault(("nodes", name), {"metadata": {"name": name, "uid": "u"}})
        if (resource.plural, name) not in self.objects:
            raise NotFound("none")
        return self.objects[resource.plural, name]

    async def create(self, resource: Any, obj: Obj, namespace: str = "") -> Obj:
        self.objects[resource.plural, obj["metadata"]["name"]] = obj
        return obj

    update = create

    async def patch(self, resource: Any, name: str, patch: Obj, **_: Any) -> Obj:
        self.objects[resource.plural, name]["metadata"] |= patch["metadata"]
        return self.objects[resource.plural, name]


@dataclass
class Place:
    config: AgentConfig
    store: Path
    api: FakeCsiApi
    client: NoObjects
    reports: list[list[str]] = field(default_factory=list)

    async def agent(self) -> CsiVolumes:
        """A fresh agent, as after a restart, that has found the driver."""
        registration = Registration(self.config, self.client, SystemClock())

        async def report() -> None:
            self.reports.append(volumes.in_use())

        volumes = CsiVolumes(self.config, registration, self.api, report)
        async with asyncio.timeout(60):
            while True:
                await registration.look()
                with contextlib.suppress(CsiFault):
                    registration.driver("csi.test")
                    return volumes
                await asyncio.sleep(0.05)

    def calls(self, *methods: str) -> list[tuple[str, str]]:
        wanted = methods or ("NodeStageVolume", "NodeUnstageVolume", "NodePublishVolume", "NodeUnpublishVolume")
        return [(each["method"], each["code"]) for each in journal(self.store) if each["method"] in wanted]


@pytest.fixture
async def place() -> AsyncIterator[Place]:
    base = Path(tempfile.mkdtemp(prefix="spc-"))
    config = AgentConfig(
        node_name="n1", node_ips=("127.0.0.1",), data_dir=base / "d", run_dir=base / "r", pod_cidrs=("",), cluster_dns="",
        client=None,
    )  # fmt: skip
    config.run_dir.mkdir()
    store = base / "store"
    (store / "volumes" / "vol-1").mkdir(parents=True)
    try:
        yield Place(config, store, FakeCsiApi(), NoObjects())
    finally:
        unmount_below(base)
        assert not mounts_below(base)
        shutil.rmtree(base)


def volume(**extra: Any) -> Obj:
    source = {
        "driver": "csi.test",
        "volumeHandle": "vol-1",
        "fsType": "ext4",
        "volumeAttributes": {"secret": "yes"},
        "nodeStageSecretRef": {"namespace": "x", "name": STAGE_SECRET},
        "nodePublishSecretRef": {"namespace": "x", "name": PUBLISH_SECRET},
    }
    spec = {"csi": source, "accessModes": ["ReadWriteOnce"], "mountOptions": ["noatime"], **extra}
    return {"metadata": {"name": "pv-1"}, "spec": spec}


def user(uid: str, read_only: bool = False, **spec: Any) -> Obj:
    claim = {"claimName": "c", "readOnly": read_only}
    mount = container(volumeMounts=[{"name": "v", "mountPath": "/v"}])
    return pod(mount, uid=uid, volumes=[{"name": "v", "persistentVolumeClaim": claim}], **spec)


async def test_volumes_are_staged_once_published_for_each_pod_and_undone_in_order(place: Place):
    sources = Sources({(CLAIM, "c"): volume()})
    with driver_process(place.config.data_dir, place.store, "n1", "--attached", "--most", "7"):
        volumes = await place.agent()
        assert wait_registered(place.store, "n1") == "registered"
        (written,) = place.client.objects["csinodes", "n1"]["spec"]["drivers"]
        assert written == {
            "name": "csi.test", "nodeID": "n1", "topologyKeys": ["csi.test/zone"], "allocatable": {"count": 7}
        }  # fmt: skip
        assert place.client.objects["nodes", "n1"]["metadata"]["labels"] == {"csi.test/zone": "z1"}
        first, second = user("u1", securityContext={"fsGroup": 4321}), user("u2", read_only=True)
        for each in (first, second):
            await volumes.set_up(each, sources)
        assert place.reports[0] == ["kubernetes.io/csi/csi.test^vol-1"]
        directory = PodDirectory(place.config.pods_dir, "u1")
        directory.set_up(PodFacts(first), sources, {})
        (mount,) = directory.bind_mounts(first, first["spec"]["containers"][0], {})
        assert mount.host_path == str(place.config.pods_dir / "u1/volumes/kubernetes.io~csi/pv-1/mount")
        (Path(mount.host_path) / "f").write_text("hello")
        assert (place.store / "volumes/vol-1/f").read_text() == "hello"
        assert (place.store / "volumes/vol-1").stat().st_gid == 4321
        with pytest.raises(OSError, match="Read-only"):
            (place.config.pods_dir / "u2/volumes/kubernetes.io~csi/pv-1/mount/g").write_text("")
        publication = next(each for each in journal(place.store) if each["method"] == "NodePublishVolume")
        assert (publication["fs_type"], publication["flags"], publication["mode"]) == ("ext4", ["noatime"], 1)
        assert publication["context"]["csi.storage.k8s.io/pod.uid"] == "u1"

        # The agent is killed and another one comes: nothing is done twice, nothing is forgotten.
        before = place.calls()
        volumes = await place.agent()
        await volumes.set_up(first, sources)
        await volumes.sweep()
        assert place.calls() == before
        part = container(volumeMounts=[{"name": "v", "mountPath": "/v", "subPath": "part"}])
        (shown,) = directory.bind_mounts(first, part, {})
        assert is_mounted(Path(shown.host_path))
        await volumes.clear("u1")
        assert not is_mounted(Path(shown.host_path)), "a sub-path keeps its volume busy"
        directory.remove()
        await volumes.sweep()
        assert place.calls("NodeUnstageVolume") == []
        await volumes.clear("u2")
        await volumes.clear("u2")
        await volumes.sweep()
        assert [code for _, code in place.calls()] == ["OK"] * len(place.calls())
        assert place.calls()[-1] == ("NodeUnstageVolume", "OK")
        assert place.reports[-1] == volumes.in_use() == []
    assert (place.store / "volumes/vol-1/f").read_text() == "hello"
    assert not list(place.config.plugins_dir.glob("kubernetes.io/csi/*/*"))


async def test_a_volume_that_is_mounted_grows_with_its_claim_and_its_room_is_the_drivers_to_tell(place: Place):
    place.api.claims["n", "c"] = {"status": {"capacity": {"storage": "1Gi"}}}

    def sized(size: str) -> Sources:
        reference = {"namespace": "n", "name": "c"}
        return Sources({(CLAIM, "c"): volume(capacity={"storage": size}, claimRef=reference)})

    with driver_process(place.config.data_dir, place.store, "n1", "--attached"):
        volumes = await place.agent()
        await volumes.set_up(user("u1"), sized("1Gi"))
        assert place.calls("NodeExpandVolume") == []
        assert (await volumes.usage("u1"))["pv-1"] == VolumeUse(1 << 30, (1 << 30) - 1000, 1000, 100, 93, 7)
        for _ in range(2):
            await volumes.set_up(user("u1"), sized("2Gi"))
        assert place.calls("NodeExpandVolume") == [("NodeExpandVolume", "OK")]
        assert place.api.claims["n", "c"]["status"]["capacity"] == {"storage": "2Gi"}
        assert (await volumes.usage("u1"))["pv-1"].capacity_bytes == 2 << 30
        assert (await volumes.usage("u2")) == {}
        await volumes.clear("u1")
        await volumes.sweep()


async def test_block_devices_come_to_containers_as_such(place: Place):
    disk = place.store / "volumes/vol-1/disk"
    disk.write_bytes(b"label" + bytes((4 << 20) - 5))
    if subprocess.run(["losetup", "--find"], capture_output=True, check=False).returncode != 0:
        pytest.skip("no loop devices")
    sources = Sources({(CLAIM, "c"): volume(volumeMode="Block")})
    wanted = user("u1", securityContext={"fsGroup": 4321})
    spec = container(volumeDevices=[{"name": "v", "devicePath": "/dev/x"}])
    directory = PodDirectory(place.config.pods_dir, "u1")
    with driver_process(place.config.data_dir, place.store, "n1"):
        volumes = await place.agent()
        await volumes.set_up(wanted, sources)
        with pytest.raises(ConfigFault, match="has volumeMode Block, but is specified in volumeMounts"):
            directory.set_up(PodFacts(wanted), sources, {})
        wanted["spec"]["containers"] = [spec]
        directory.set_up(PodFacts(wanted), sources, {})
        (device,) = directory.devices(wanted, spec)
        assert device.container_path == "/dev/x"
        assert Path(device.host_path).read_bytes()[:5] == b"label"
        before = place.calls()
        await (await place.agent()).set_up(wanted, sources)
        assert place.calls() == before
        await volumes.clear("u1")
        await volumes.sweep()
        assert {code for _, code in place.calls()} == {"OK"}
        assert place.calls()[-1] == ("NodeUnstageVolume", "OK")
    directory.remove()
    assert not list(place.config.plugins_dir.rglob("pv-1"))


async def test_ephemeral_volumes_come_and_go_with_their_pod(place: Place):
    source = {"driver": "csi.test", "volumeAttributes": {"a": "b"}}
    wanted = pod(container(), uid="u1", name="p", volumes=[{"name": "v", "csi": source}])
    with driver_process(place.config.data_dir, place.store, "n1", "--attached"):
        volumes = await place.agent()
        with pytest.raises(ConfigFault, match=r'volume mode "Ephemeral" not supported by driver csi\.test'):
            await volumes.set_up(wanted, Sources())
        place.api.driver_spec |= {"volumeLifecycleModes": ["Ephemeral"], "tokenRequests": [{"audience": "me"}]}
        await volumes.set_up(wanted, Sources())
        assert volumes.in_use() == []
        target = place.config.pods_dir / "u1/volumes/kubernetes.io~csi/v/mount"
        text = (target / "context.json").read_text()
        assert '"a": "b"' in text
        assert "for me" in text
        await volumes.clear("u1")
        assert not target.parent.exists()
        assert [each.name for each in (place.store / "volumes").iterdir()] == ["vol-1"]


async def test_a_driver_that_dies_is_waited_for_and_leaves_no_data_deleted(place: Place):
    sources = Sources({(CLAIM, "c"): volume()})
    wanted = user("u1")
    with driver_process(place.config.data_dir, place.store, "n1") as pid:
        volumes = await place.agent()
        await volumes.set_up(wanted, sources)
        (place.store / "volumes/vol-1/f").write_text("precious")
        os.kill(pid, signal.SIGKILL)
        with pytest.raises(CsiFault):
            await volumes.clear("u1")
    assert is_mounted(place.config.pods_dir / "u1/volumes/kubernetes.io~csi/pv-1/mount")
    with driver_process(place.config.data_dir, place.store, "n1"):
        volumes = await place.agent()
        await volumes.clear("u1")
        await volumes.sweep()
    PodDirectory(place.config.pods_dir, "u1").remove()
    assert (place.store / "volumes/vol-1/f").read_text() == "precious"


async def test_what_is_not_there_is_told_in_the_words_of_the_driver(place: Place):
    unknown = volume()
    unknown["spec"]["csi"] |= {"volumeHandle": "none"}
    with pytest.raises(ConfigFault, match=r"driver name csi\.test not found in the list of registered CSI drivers"):
        await CsiVolumes(place.config, _None(), place.api, _nothing).set_up(
            user("u1"), Sources({(CLAIM, "c"): unknown})
        )
    with driver_process(place.config.data_dir, place.store, "n1"):
        volumes = await place.agent()
        with pytest.raises(ConfigFault, match='volume "pv-1" : rpc error: code = NotFound desc = no volume none'):
            await volumes.set_up(user("u1"), Sources({(CLAIM, "c"): unknown}))
        await volumes.clear("u1")
        await volumes.sweep()
        assert volumes.in_use() == []


async def test_a_set_up_that_is_cancelled_runs_on_before_it_is_undone(place: Place):
    with driver_process(place.config.data_dir, place.store, "n1"):
        volumes = await place.agent()
        task = asyncio.create_task(volumes.set_up(user("u1"), Sources({(CLAIM, "c"): volume()})))
        while not volumes.in_use():
            await asyncio.sleep(0.001)
        task.cancel()
        await volumes.clear("u1")
        await volumes.sweep()
        codes = {code for _, code in place.calls()}
        assert codes <= {"OK"}
        assert volumes.in_use() == []
        assert not mounts_below(place.config.data_dir)


class _None:
    def driver(self, name: str) -> Any:
        raise CsiFault(f"driver name {name} not found in the list of registered CSI drivers")


async def _nothing() -> None:
    return
