"""Static pods on a real engine, with a real API server that comes and goes."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from sparsam.agent.cri import Cri
from sparsam.agent.main import run
from sparsam.agent.staticpods import Folder
from sparsam.client.api import ApiClient
from sparsam.client.config import load_kubeconfig
from sparsam.errors import NotFound
from sparsam.objects.kinds import PODS
from tests.support.agent import Engine, container
from tests.support.apiserver import free_port, serving

Obj = dict[str, Any]
NOW = "2026-01-01T00:00:00Z"


def write(folder: Path, name: str = "web", *containers: Obj, file: str = "", **metadata: Any) -> Path:
    path = folder / (file or f"{name}.yaml")
    spec = {"containers": list(containers) or [container()], "terminationGracePeriodSeconds": 1}
    beside = folder / f".{path.name}"
    body = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, **metadata}, "spec": spec}
    beside.write_text(json.dumps(body))
    beside.replace(path)
    return path


def names(folder: Folder) -> list[str]:
    return sorted(name for _, name in folder.read(NOW))


def test_a_folder_yields_its_pods_and_bad_files_are_logged_once_with_the_reason(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    write(tmp_path, "good")
    (tmp_path / "bad.yaml").write_text("kind: Pod\napiVersion: v1\nmetadata: {name: bad}\n")
    (tmp_path / "deeper").mkdir()
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "dangling").symlink_to("nowhere")
    (tmp_path / ".hidden").write_text("nonsense")
    folder = Folder(tmp_path, "n1")
    for _ in range(3):
        assert names(folder) == ["good-n1"]
    wrong = [record.getMessage() for record in caplog.records if record.levelno == logging.ERROR]
    assert len(wrong) == 4
    for name, why in (
        ("bad.yaml", "spec.containers: Required value"),
        ("deeper", "not a regular file"),
        ("pipe", "not a regular file"),
        ("dangling", "No such file"),
    ):
        assert [line for line in wrong if f"/{name} " in line and why in line], (name, wrong)


def test_a_file_that_turns_bad_keeps_its_pod_and_one_that_goes_ends_it(tmp_path: Path):
    path = write(tmp_path, "web")
    folder = Folder(tmp_path, "n1")
    before = folder.read(NOW)
    path.write_text("{")
    assert folder.read(NOW) == before
    write(tmp_path, "web", labels={"new": "yes"})
    assert folder.read(NOW)["default", "web-n1"]["metadata"]["labels"] == {"new": "yes"}
    path.unlink()
    assert folder.read(NOW) == {}


def test_the_first_of_two_files_with_one_pod_counts_and_the_other_is_named(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    write(tmp_path, "web", file="a.yaml")
    write(tmp_path, "web", file="b.yaml", labels={"second": "yes"})
    folder = Folder(tmp_path, "n1")
    assert "labels" not in folder.read(NOW)["default", "web-n1"]["metadata"]
    assert "pod default/web-n1 of b.yaml is in another file already" in caplog.text


def test_a_folder_that_cannot_be_read_leaves_what_runs(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    there = tmp_path / "pods"
    there.mkdir()
    write(there, "web")
    folder = Folder(there, "n1")
    assert names(folder) == ["web-n1"]
    there.rename(tmp_path / "away")
    for _ in range(2):
        assert names(folder) == ["web-n1"]
    assert caplog.text.count("cannot be read") == 1


@contextlib.asynccontextmanager
async def agent(engine: Engine) -> AsyncIterator[None]:
    task = asyncio.create_task(run(engine.config))
    try:
        yield
        assert not task.done(), task.exception()
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def poll(look: Any, seconds: float = 60.0) -> Any:
    async with asyncio.timeout(seconds):
        while True:
            with contextlib.suppress(NotFound):
                if value := await look():
                    return value
            await asyncio.sleep(0.05)


async def running(engine: Engine) -> list[str]:
    """Ids of the containers that run."""
    async with Cri(str(engine.containerd.socket)) as cri:
        uids = {sandbox.uid for sandbox in await cri.list_sandboxes()}
        return [run.id for uid in uids for run in await cri.list_containers(uid) if run.running]


@pytest.mark.needs_root
@pytest.mark.needs_containerd
async def test_a_static_pod_needs_no_api_outlives_the_agent_and_is_shown_by_a_mirror(tmp_path: Path):
    folder = tmp_path / "static"
    folder.mkdir()
    path = write(folder)
    engine = Engine()
    name = engine.config.node_name
    async with serving(tmp_path, nodes=(name,), advertise=("192.0.2.2", 6443)) as server:
        config = load_kubeconfig(server.kubeconfig_for(f"node-{name}"))
        nowhere = replace(config, server=f"https://127.0.0.1:{free_port()}")
        try:
            await engine.start()
            # The API server is away, and the agent starts all the same.
            engine.config = replace(engine.config, client=nowhere, static_pods=folder)
            async with agent(engine):
                before = await poll(lambda: running(engine))
            # Another agent, and the API is there: it adopts, and the mirror shows.
            engine.config = replace(engine.config, client=config)
            async with ApiClient(load_kubeconfig(server.kubeconfig)) as client, agent(engine):
                await _check_mirror(client, engine, f"web-{name}", before)
                await _check_changes(client, engine, f"web-{name}", path, before)
        finally:
            await engine.stop()


async def _check_mirror(client: ApiClient, engine: Engine, name: str, before: list[str]) -> None:
    async def ready() -> Obj | None:
        pod = await client.get(PODS, name, "default")
        conditions = {each["type"]: each["status"] for each in pod["status"].get("conditions") or ()}
        return pod if conditions.get("Ready") == "True" else None

    mirror = await poll(ready)
    assert [each["containerID"].partition("://")[2] for each in mirror["status"]["containerStatuses"]] == before
    assert mirror["metadata"]["annotations"]["kubernetes.io/config.mirror"]
    assert mirror["metadata"]["ownerReferences"][0]["kind"] == "Node"
    assert mirror["status"]["podIP"]
    # A mirror that is deleted comes back; the pod knows nothing of it.
    await client.delete(PODS, name, "default")

    async def another() -> bool:
        pod = await ready()
        return pod is not None and pod["metadata"]["uid"] != mirror["metadata"]["uid"]

    await poll(another)
    assert await running(engine) == before


async def _check_changes(client: ApiClient, engine: Engine, name: str, path: Path, before: list[str]) -> None:
    write(path.parent, labels={"version": "2"})

    async def changed() -> list[str]:
        pod = await client.get(PODS, name, "default")
        now = await running(engine)
        fresh = now != before and len(now) == 1 and pod["metadata"].get("labels") == {"version": "2"}
        return now if fresh else []

    await poll(changed)
    path.unlink()

    async def over() -> bool:
        gone = not (await client.list(PODS, "default"))["items"]
        return gone and not await running(engine)

    await poll(over)
