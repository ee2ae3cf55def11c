"""Agents that die before, during or after any call to a driver: no order is ever wrong, nothing is left."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sparsam.agent.config import AgentPaths
from sparsam.agent.csi.driver import Ability
from sparsam.agent.csi.volumes import CsiVolumes
from sparsam.agent.mounts import mount_tmpfs, mounts_below, unmount, unmount_below
from sparsam.agent.references import CLAIM, Sources
from sparsam.agent.volumes import PodDirectory
from tests.support.agent import container, pod

pytestmark = pytest.mark.needs_root

VOLUME = {
    "metadata": {"name": "pv"},
    "spec": {"csi": {"driver": "d", "volumeHandle": "h"}, "accessModes": ["ReadWriteMany"]},
}
SOURCES = Sources({(CLAIM, "c"): VOLUME})
PODS = ("u1", "u2")


class Died(Exception):
    """The agent was killed."""


class Strict:
    """A driver whose mounts are real and that takes note of what comes in a wrong order."""

    name = "d"
    abilities = frozenset({int(Ability.STAGE)})

    def __init__(self, deaths: Iterator[str]) -> None:
        self.deaths, self.wrong, self.published = deaths, [], set()

    def driver(self, _name: str) -> Any:
        return self

    async def stage(self, *, staging_target_path: str, **_: Any) -> None:
        self._call(lambda: self._mount(Path(staging_target_path)))

    async def publish(self, *, staging_target_path: str, target_path: str, **_: Any) -> None:
        def work() -> None:
            if not mounts_below(Path(staging_target_path)):
                self.wrong.append(f"{target_path} published before it was staged")
            Path(target_path).mkdir(exist_ok=True)
            self._mount(Path(target_path))
            self.published.add(target_path)

        self._call(work)

    async def unpublish(self, _volume: str, path: Path) -> None:
        def work() -> None:
            if mounts_below(path):
                unmount(path)
            if path.exists():
                path.rmdir()
            self.published.discard(str(path))

        self._call(work)

    async def unstage(self, _volume: str, path: Path) -> None:
        def work() -> None:
            if self.published:
                self.wrong.append(f"unstaged while published at {self.published}")
            if mounts_below(path):
                unmount(path)

        self._call(work)

    def _mount(self, path: Path) -> None:
        if not mounts_below(path):
            mount_tmpfs(path)

    def _call(self, work: Any) -> None:
        death = next(self.deaths, "")
        if death == "before":
            raise Died
        work()
        if death == "after":
            raise Died


class Api:
    async def driver(self, name: str) -> dict[str, Any]:
        return {"spec": {"attachRequired": False}}


async def act(paths: AgentPaths, strict: Strict, steps: list[tuple[str, str]]) -> None:
    async def report() -> None:
        return

    def agent() -> CsiVolumes:
        return CsiVolumes(paths, strict, Api(), report)

    volumes = agent()
    for step, uid in [*steps, *(("clear", uid) for uid in PODS), ("sweep", "")]:
        for _ in range(50):
            try:
                if step == "set up":
                    claims = [{"name": "v", "persistentVolumeClaim": {"claimName": "c"}}]
                    await volumes.set_up(pod(container(), uid=uid, volumes=claims), SOURCES)
                elif step == "clear":
                    await volumes.clear(uid)
                    PodDirectory(paths.pods_dir, uid).remove()
                else:
                    await volumes.sweep()
            except Died:
                volumes = agent()
                if step == "set up":
                    break  # its pod may well be gone by the time that the next agent looks
            else:
                break
    assert volumes.in_use() == []


@settings(max_examples=20)
@given(
    st.lists(st.tuples(st.sampled_from(["set up", "clear", "sweep"]), st.sampled_from(PODS)), max_size=8),
    st.lists(st.sampled_from(["", "", "before", "after"]), max_size=12),
)
def test_whatever_dies_orders_are_right_and_nothing_stays(steps, deaths):
    base = Path(tempfile.mkdtemp(prefix="spd-"))
    strict = Strict(iter(deaths))
    try:
        asyncio.run(act(AgentPaths(node_name="n", data_dir=base, run_dir=base), strict, steps))
        assert strict.wrong == []
        assert mounts_below(base) == []
        assert not [each for each in base.rglob("*") if each.is_file()]
    finally:
        unmount_below(base)
        shutil.rmtree(base)
