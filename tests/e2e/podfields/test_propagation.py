"""Mounts that appear while a pod runs: which of them a container sees, and which of its own the node sees."""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.conftest import until
from tests.e2e.podfields.conftest import Batch, Obj, container, pod

OBJECTS: list[Obj] = []
PRIVILEGED = {"securityContext": {"privileged": True}}
MODES = {"none": "None", "receives": "HostToContainer", "shares": "Bidirectional"}


def mounting(name: str, where: Path, mode: str, **fields: object) -> Obj:
    mount = {"name": "v", "mountPath": "/v", "mountPropagation": mode}
    source = {"path": str(where), "type": "Directory"}
    return pod(name, container(volumeMounts=[mount], **fields), volumes=[{"name": "v", "hostPath": source}])


def prepare(batch: Batch) -> list[Obj]:
    """A place of the node's whose mounts may travel: one that is shared, as systemd makes the whole machine."""
    where = place(batch)
    where.mkdir()
    mount("-t", "tmpfs", "tmpfs", where)
    mount("--make-rshared", where)
    return [mounting(name, where, mode, **PRIVILEGED) for name, mode in MODES.items()]


@pytest.fixture(scope="module", autouse=True)
def _unmounted(batch: Batch) -> Iterator[None]:
    yield
    batch.kubectl("delete", "pods", "--all", "--force", "--grace-period=0")
    until(lambda: subprocess.run(["umount", "-R", str(place(batch))], check=False).returncode == 0, 60)


def place(batch: Batch) -> Path:
    return batch.cluster.data_dir.parent / "propagation"


def mount(*arguments: object) -> None:
    subprocess.run(["mount", *map(str, arguments)], check=True)


def test_the_nodes_mounts_reach_those_who_want_them(batch: Batch):
    for name in MODES:
        batch.running(name)
    here = place(batch) / "of-the-node"
    here.mkdir()
    mount("-t", "tmpfs", "tmpfs", here)
    (here / "word").write_text("hello")
    assert batch.exec("none", "ls /v/of-the-node") == ""
    assert batch.exec("receives", "cat /v/of-the-node/word") == "hello"
    assert batch.exec("shares", "cat /v/of-the-node/word") == "hello"


def test_a_containers_mounts_reach_the_node_only_from_who_may_share(batch: Batch):
    for name in MODES:
        batch.running(name)
        batch.exec(name, f"mkdir /v/{name}; mount -t tmpfs tmpfs /v/{name}; touch /v/{name}/file")
    seen = {name: [each.name for each in (place(batch) / name).iterdir()] for name in MODES}
    assert seen == {"none": [], "receives": [], "shares": ["file"]}
    assert batch.exec("receives", "ls /v/none /v/shares") == "/v/none:\n\n/v/shares:\nfile"
    assert batch.exec("none", "ls /v/shares") == ""


def test_only_a_privileged_container_may_share(batch: Batch):
    words = "Bidirectional mount propagation is available only to privileged containers"
    assert words in batch.refused(mounting("forbidden", place(batch), "Bidirectional"))
    status = json.dumps(batch.running("receives")["status"])
    assert '"mountPath": "/v"' in status
