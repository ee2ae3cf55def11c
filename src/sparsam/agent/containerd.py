"""A containerd of our own: own root, state, socket and configuration, never one that exists already.

It runs in a session of its own and outlives the agent, as its shims do; an agent that starts again finds the
socket alive and adopts it. Only an orderly `down` stops it.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import shutil
import signal
import subprocess
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from sparsam.agent.images import PAUSE_IMAGE
from sparsam.agent.network import PLUGIN_DIR
from sparsam.errors import SparsamError

log = logging.getLogger(__name__)

NAMESPACE = "k8s.io"
_START_SECONDS = 30.0
_STOP_SECONDS = 10.0
_CAP_SYS_RESOURCE = 1 << 24
_READ_BYTES = 4096
_LONGEST_SOCKET_PATH = 100
_CRI_PLUGIN = "io.containerd.grpc.v1.cri"
_TASK_PLUGIN = "io.containerd.runtime.v2.task"
_SHIM = b"containerd-shim-runc-v2"
SHIM_SOCKETS = Path("/run/containerd/s")
"""Where every containerd of the machine has its shims' sockets."""
_UNUSED_PLUGINS = (
    "io.containerd.snapshotter.v1.aufs",
    "io.containerd.snapshotter.v1.btrfs",
    "io.containerd.snapshotter.v1.devmapper",
    "io.containerd.snapshotter.v1.zfs",
    "io.containerd.tracing.processor.v1.otlp",
    "io.containerd.internal.v1.tracing",
)


class EngineFailed(SparsamError):
    """The container engine cannot be started or reached."""


@dataclass(frozen=True, slots=True)
class Containerd:
    """Where one containerd lives. `data_dir` is durable, `run_dir` (short) is not."""

    data_dir: Path
    run_dir: Path

    @property
    def root(self) -> Path:
        """Images and snapshots."""
        return self.data_dir / "containerd"

    @property
    def state(self) -> Path:
        """Sandboxes, shims' bundles, network namespaces."""
        return self.run_dir / "c"

    @property
    def socket(self) -> Path:
        """The gRPC socket, for CRI and containerd's own services."""
        return self.run_dir / "containerd.sock"

    @property
    def conf_dir(self) -> Path:
        """CNI configuration."""
        return self.data_dir / "cni" / "conf"

    @property
    def netns_dir(self) -> Path:
        """Where the network namespaces of sandboxes are mounted."""
        return self.state / _CRI_PLUGIN / "netns"

    @property
    def record_dirs(self) -> tuple[Path, ...]:
        """Directories with one entry, named by its id, for each container or sandbox."""
        cri = (base / _CRI_PLUGIN / kind for base in (self.state, self.root) for kind in ("containers", "sandboxes"))
        tasks = (base / _TASK_PLUGIN / NAMESPACE for base in (self.state, self.root))
        return (*tasks, self.state / "runc" / NAMESPACE, *cri)

    @property
    def _config_file(self) -> Path:
        return self.root / "config.toml"

    @property
    def _pid_file(self) -> Path:
        return self.run_dir / "containerd.pid"

    async def start(self) -> bool:
        """Make sure it runs; returns False when a live one was adopted. Raises EngineFailed."""
        if len(str(self.socket)) > _LONGEST_SOCKET_PATH:
            raise EngineFailed(f"run_dir is too long for a socket: {self.socket}")
        if await self.alive():
            log.info("containerd adopted socket=%s", self.socket)
            return False
        if self._daemon_pid() is not None and await self._comes_up():
            return (
                False  # a killed agent had just started it; a second one would wait for the first one's lock for ever
            )
        binary = shutil.which("containerd")
        if binary is None:
            raise EngineFailed("containerd is not installed")
        for directory in (self.root, self.state, self.conf_dir):
            directory.mkdir(parents=True, exist_ok=True)
        self._config_file.write_text(self.configuration())
        self.socket.unlink(missing_ok=True)
        with (self.data_dir / "containerd.log").open("ab") as output:
            process = await asyncio.create_subprocess_exec(
                binary, "--config", str(self._config_file),
                stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True,
            )  # fmt: skip
        self._pid_file.write_text(str(process.pid))
        await self._wait_until_alive(process)
        log.info("containerd started pid=%d socket=%s", process.pid, self.socket)
        return True

    async def ended(self) -> None:
        """Return once nobody answers on the socket any more; costs nothing meanwhile."""
        while True:
            try:
                reader, writer = await asyncio.open_unix_connection(str(self.socket))
            except OSError:
                return
            with contextlib.suppress(OSError):
                while await reader.read(_READ_BYTES):  # the engine hangs up on who stays silent: then ask again
                    pass
            writer.close()

    async def alive(self) -> bool:
        """Whether something answers on the socket."""
        try:
            _, writer = await asyncio.wait_for(asyncio.open_unix_connection(str(self.socket)), 5)
        except (OSError, TimeoutError):
            return False
        writer.close()
        return True

    async def stop(self) -> None:
        """Stop the daemon; containers and shims are the caller's to remove first."""
        pid = self._daemon_pid()
        if pid is not None:
            for number in (signal.SIGTERM, signal.SIGKILL):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, number)
                if await _gone(pid, _STOP_SECONDS):
                    break
            log.info("containerd stopped pid=%d", pid)
        for path in (self._pid_file, self.socket, self.socket.with_name(self.socket.name + ".ttrpc")):
            path.unlink(missing_ok=True)

    async def import_image(self, archive: Path) -> None:
        """Load an image archive; raises EngineFailed."""
        code, output = await _ctr(str(self.socket), "images", "import", str(archive))
        if code != 0:
            raise EngineFailed(f"cannot import {archive}: {output}")

    def shims(self) -> dict[str, int]:
        """Pids of our shims by the id of their sandbox; they carry our socket's path in their arguments."""
        marker, found = os.fsencode(self.socket), {}
        for path in Path("/proc").glob("[0-9]*/cmdline"):
            try:
                arguments = path.read_bytes().split(b"\0")
            except OSError:
                continue
            if arguments[0].endswith(_SHIM) and marker in arguments and b"-id" in arguments:
                found[arguments[arguments.index(b"-id") + 1].decode()] = int(path.parent.name)
        return found

    def shim_socket(self, sandbox_id: str) -> Path:
        """Where the shim of a sandbox listens: at a name made of the engine's address, its namespace and the id."""
        return SHIM_SOCKETS / sha256(f"{self.socket}/{NAMESPACE}/{sandbox_id}".encode()).hexdigest()

    async def leases(self) -> set[str]:
        """What keeps content from being collected; each lasts for a day at most."""
        code, output = await _ctr(str(self.socket), "leases", "list", "-q")
        return set(output.split()) if code == 0 else set()

    async def remove_lease(self, name: str) -> None:
        """Give up a lease; a missing one is fine."""
        await _ctr(str(self.socket), "leases", "rm", name)

    def configuration(self) -> str:
        """The configuration file."""
        disabled = ", ".join(f'"{plugin}"' for plugin in _UNUSED_PLUGINS)
        restrict = "false" if _may_lower_oom_score() else "true"
        cri = 'plugins."io.containerd.grpc.v1.cri"'
        return f"""version = 2
root = "{self.root}"
state = "{self.state}"
disabled_plugins = [{disabled}]

[grpc]
address = "{self.socket}"

[plugins."io.containerd.internal.v1.opt"]
path = "{self.root}/opt"

[{cri}]
sandbox_image = "{PAUSE_IMAGE}"
restrict_oom_score_adj = {restrict}
netns_mounts_under_state_dir = true
tolerate_missing_hugetlb_controller = true
disable_apparmor = {"false" if Path("/sys/module/apparmor").exists() else "true"}

[{cri}.cni]
bin_dir = "{PLUGIN_DIR}"
conf_dir = "{self.conf_dir}"
ip_pref = "cni"

[{cri}.containerd]
snapshotter = "overlayfs"
default_runtime_name = "runc"

[{cri}.containerd.runtimes.runc]
runtime_type = "io.containerd.runc.v2"

[{cri}.containerd.runtimes.runc.options]
SystemdCgroup = false
Root = "{self.state}/runc"

[{cri}.registry]
config_path = "{self.data_dir}/certs.d"
"""

    async def _comes_up(self) -> bool:
        deadline = asyncio.get_running_loop().time() + _START_SECONDS
        while self._daemon_pid() is not None and asyncio.get_running_loop().time() < deadline:
            if await self.alive():
                return True
            await asyncio.sleep(0.02)
        return False

    async def _wait_until_alive(self, process: asyncio.subprocess.Process) -> None:
        deadline = asyncio.get_running_loop().time() + _START_SECONDS
        while not await self.alive():
            if process.returncode is not None:
                raise EngineFailed(f"containerd ended with {process.returncode}; see {self.data_dir}/containerd.log")
            if asyncio.get_running_loop().time() > deadline:
                raise EngineFailed(f"containerd does not answer; see {self.data_dir}/containerd.log")
            await asyncio.sleep(0.02)

    def _daemon_pid(self) -> int | None:
        """The pid on file, if it still is our containerd: pids are used again."""
        with contextlib.suppress(OSError, ValueError):
            pid = int(self._pid_file.read_text())
            command = Path(f"/proc/{pid}/cmdline").read_bytes()
            if str(self._config_file).encode() in command.split(b"\0"):
                return pid
        return None


async def mount_image(socket: str, reference: str, target: Path) -> None:
    """Show an image's content, read-only, at a directory; raises EngineFailed."""
    code, output = await _ctr(socket, "images", "mount", reference, str(target))
    if code != 0 and "already exists" in output:  # whoever mounted it was killed before it was done
        await unmount_image(socket, target)
        code, output = await _ctr(socket, "images", "mount", reference, str(target))
    if code != 0:
        raise EngineFailed(f"cannot mount image {reference}: {output}")


async def unmount_image(socket: str, target: Path) -> None:
    """Undo `mount_image`, snapshot and lease included; what is not there is fine."""
    await _ctr(socket, "images", "unmount", "--rm", str(target))
    await _ctr(socket, "snapshots", "rm", str(target))
    await _ctr(socket, "leases", "rm", str(target))


async def _ctr(socket: str, *arguments: str) -> tuple[int, str]:
    """Run containerd's own client; its exit code and what it said."""
    process = await asyncio.create_subprocess_exec(
        "ctr", "--address", socket, "--namespace", NAMESPACE, *arguments,
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    output, _ = await process.communicate()
    return process.returncode or 0, output.decode(errors="replace").strip()


async def _gone(pid: int, seconds: float) -> bool:
    deadline = asyncio.get_running_loop().time() + seconds
    while _alive(pid):
        if asyncio.get_running_loop().time() > deadline:
            return False
        await asyncio.sleep(0.02)
    return True


def _alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def _may_lower_oom_score() -> bool:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("CapEff:"):
            return bool(int(line.split()[1], 16) & _CAP_SYS_RESOURCE)
    return False
