"""Finds drivers by the sockets in the node's `plugins_registry`, and keeps the node's CSINode object true.

A socket that appears is asked who it is and told whether that was accepted; one that goes takes its driver along, one
that is made anew is asked again. Looking into the folder once a second costs some microseconds.
"""

from __future__ import annotations

import logging
import stat
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp

from sparsam.agent.config import AgentConfig
from sparsam.agent.csi.csinode import NodeDriver, write_csi_node
from sparsam.agent.csi.driver import CsiFault, Driver, Endpoint
from sparsam.agent.csi.messages import MESSAGES, REGISTRATION
from sparsam.client.api import ApiClient
from sparsam.clock import Clock
from sparsam.errors import SparsamError

log = logging.getLogger(__name__)

_LOOK_SECONDS = 1.0
_CALL_SECONDS = 10.0
_LAST_PAUSE_SECONDS = 30.0
_FAULTS = (SparsamError, aiohttp.ClientError, OSError, TimeoutError)


@dataclass(slots=True)
class _Socket:
    """A socket in the folder, as it was last seen."""

    made: tuple[int, int]
    """Inode and time of making: another socket of the same name is another one."""
    driver: Driver | None = None
    info: NodeDriver | None = None
    failures: int = 0
    retry_at: float = 0.0


class Registration:
    """Of one node."""

    def __init__(self, config: AgentConfig, client: ApiClient, clock: Clock) -> None:
        self._config, self._client, self._clock = config, client, clock
        self.on_driver: Callable[[], None] = lambda: None
        """Called when a driver came."""
        self._sockets: dict[Path, _Socket] = {}
        self._written: list[NodeDriver] | None = None

    @property
    def folder(self) -> Path:
        """Where drivers put their registration sockets."""
        return self._config.plugins_registry_dir

    def driver(self, name: str) -> Driver:
        """A driver by name; raises CsiFault."""
        for socket in self._sockets.values():
            if socket.driver is not None and socket.driver.name == name:
                return socket.driver
        raise CsiFault(f"driver name {name} not found in the list of registered CSI drivers")

    async def run(self) -> None:
        """Look until cancelled."""
        for folder in (self.folder, self._config.plugins_dir):
            folder.mkdir(parents=True, exist_ok=True, mode=0o750)
        while True:
            await self.look()
            await self._clock.sleep(_LOOK_SECONDS)

    async def look(self) -> None:
        """Register what is new, forget what is gone, write what changed."""
        present = _sockets_in(self.folder)
        for path in [each for each, known in self._sockets.items() if present.get(each) != known.made]:
            await self._forget(path)
        for path, made in present.items():
            known = self._sockets.setdefault(path, _Socket(made))
            if known.driver is None and self._clock.monotonic() >= known.retry_at:
                await self._register(path, known)
        drivers = [each.info for each in self._sockets.values() if each.info is not None]
        if drivers != self._written:
            try:
                await write_csi_node(self._client, self._config.node_name, drivers)
            except _FAULTS as error:
                log.warning("CSINode not written error=%s", error or type(error).__name__)
            else:
                self._written = drivers

    async def _register(self, path: Path, known: _Socket) -> None:
        plugin = Endpoint(path, f"{REGISTRATION}.Registration", self._config.run_dir)
        try:
            info = await plugin.call("GetInfo", MESSAGES["InfoRequest"](), "PluginInfo", _CALL_SECONDS)
            fault = fault_of(info)
            if not fault:
                try:
                    await self._meet(path, info, known)
                except (CsiFault, OSError) as error:
                    fault = str(error)
            status = MESSAGES["RegistrationStatus"](plugin_registered=not fault, error=fault)
            await plugin.call("NotifyRegistrationStatus", status, "RegistrationStatusResponse", _CALL_SECONDS)
        except (CsiFault, OSError) as error:
            fault = str(error)
        finally:
            await plugin.close()
        if fault:
            known.failures += 1
            known.retry_at = self._clock.monotonic() + min(2.0 ** (known.failures - 1), _LAST_PAUSE_SECONDS)
            log.warning("driver not registered socket=%s error=%s", path.name, fault)
        else:
            log.info("driver registered driver=%s socket=%s", info.name, path.name)
            self.on_driver()

    async def _meet(self, path: Path, info: Any, known: _Socket) -> None:
        driver = Driver(info.name, Path(info.endpoint or path), self._config.run_dir)
        try:
            about = await driver.learn()
        except BaseException:
            await driver.close()
            raise
        known.driver = driver
        known.info = NodeDriver(info.name, about.node_id, about.most_volumes, dict(about.topology))

    async def _forget(self, path: Path) -> None:
        known = self._sockets.pop(path)
        if known.driver is not None:
            log.info("driver gone driver=%s", known.driver.name)
            await known.driver.close()


def fault_of(info: Any) -> str:
    """Why a plug-in is not one for us; empty when it is."""
    if info.type != "CSIPlugin":
        return f"no handler registered for plugin type: {info.type}"
    if not info.name:
        return "plugin has no name"
    if not any(version.lstrip("v").split(".")[0] == "1" for version in info.supported_versions):
        return f"driver supports versions {', '.join(info.supported_versions) or 'none'}, not 1"
    return ""


def _sockets_in(folder: Path) -> dict[Path, tuple[int, int]]:
    found = {}
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        try:
            facts = path.lstat()
        except OSError:
            continue
        if stat.S_ISSOCK(facts.st_mode):
            found[path] = facts.st_ino, facts.st_ctime_ns
    return found
