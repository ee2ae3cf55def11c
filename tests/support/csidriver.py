"""A CSI driver for tests: a process of its own that bind-mounts directories and refuses whatever comes out of order.

    python -m tests.support.csidriver --name csi.test --node-id n1 --root NODE_DIRECTORY --store DIRECTORY

What is mounted is read from the kernel, so that the driver may be killed at any time. Each call goes into
`STORE/journal` as one line of JSON, with the code that was answered.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc

from sparsam.agent.csi.driver import Ability
from sparsam.agent.csi.messages import MESSAGES
from sparsam.agent.mounts import mounts_below

STAGE_SECRET, PUBLISH_SECRET = "stage-me", "publish-me"
ABILITIES = (Ability.STAGE, Ability.STATS, Ability.EXPAND)
MOST_BYTES = 5 << 30
"""No volume grows beyond that."""
REPOSITORY = Path(__file__).parents[2]


class Refused(Exception):
    def __init__(self, code: grpc.StatusCode, why: str) -> None:
        super().__init__(why)
        self.code = code


def out_of_order(why: str) -> Refused:
    return Refused(grpc.StatusCode.FAILED_PRECONDITION, why)


def mounted(path: str) -> bool:
    return str(Path(path).resolve()) in mounts_below(Path(path))


class NodeService:
    """What a volume is: a directory of its name below the store, made by whoever provisions it."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options, self.store = options, options.store
        self.lock = threading.Lock()

    def node_get_info(self, _request: Any) -> Any:
        topology = MESSAGES["Topology"](segments={f"{self.options.name}/zone": "z1"})
        most = self.options.most
        node_id = self.options.node_id
        return MESSAGES["NodeGetInfoResponse"](node_id=node_id, max_volumes_per_node=most, accessible_topology=topology)

    def node_get_capabilities(self, _request: Any) -> Any:
        able = [MESSAGES["NodeServiceCapability"](rpc={"type": int(each)}) for each in ABILITIES]
        return MESSAGES["NodeGetCapabilitiesResponse"](capabilities=able)

    def node_stage_volume(self, request: Any) -> Any:
        self._check_attached(request)
        if dict(request.secrets) != {"word": STAGE_SECRET}:
            raise Refused(grpc.StatusCode.UNAUTHENTICATED, "wrong secret for staging")
        path = request.staging_target_path
        if not Path(path).is_dir():
            raise out_of_order("the staging directory was not made")
        if request.volume_capability.HasField("block"):
            if not (Path(path) / "device").exists():
                disk = self._directory(request.volume_id) / "disk"
                device = subprocess.run(
                    ["losetup", "--find", "--show", str(disk)], check=True, capture_output=True, text=True
                ).stdout.strip()
                (Path(path) / "device").write_text(device)
        elif not mounted(path):
            self._bind(self._directory(request.volume_id), path)
        return MESSAGES["NodeStageVolumeResponse"]()

    def node_unstage_volume(self, request: Any) -> Any:
        path = request.staging_target_path
        users = [each for each in self._state() if each["volume"] == request.volume_id]
        if users and Path(path).exists():
            raise out_of_order(f"unstaged while published at {users}")
        if mounted(path):
            subprocess.run(["umount", path], check=True)
        if (Path(path) / "device").exists():
            subprocess.run(["losetup", "-d", (Path(path) / "device").read_text()], check=True)
            (Path(path) / "device").unlink()
        return MESSAGES["NodeUnstageVolumeResponse"]()

    def node_publish_volume(self, request: Any) -> Any:
        context, target = dict(request.volume_context), Path(request.target_path)
        if not target.parent.is_dir():
            raise out_of_order("the parent of the target was not made")
        if context.get("csi.storage.k8s.io/ephemeral") == "true":
            source = str(self._directory(request.volume_id, make=True))
            (Path(source) / "context.json").write_text(json.dumps(context))
        else:
            self._check_attached(request)
            source = request.staging_target_path
            if request.volume_capability.HasField("block") and (Path(source) / "device").exists():
                source = (Path(source) / "device").read_text()
                target.touch()
            elif not source or not mounted(source):
                raise out_of_order("published before it was staged")
        if context.get("secret") and dict(request.secrets) != {"word": PUBLISH_SECRET}:
            raise Refused(grpc.StatusCode.UNAUTHENTICATED, "wrong secret for publishing")
        if not mounted(str(target)):
            if not target.exists():
                target.mkdir()
            self._bind(source, str(target), read_only=request.readonly)
        self._note(str(target), request.volume_id)
        return MESSAGES["NodePublishVolumeResponse"]()

    def node_unpublish_volume(self, request: Any) -> Any:
        target = Path(request.target_path)
        if mounted(str(target)):
            subprocess.run(["umount", str(target)], check=True)
        if target.is_dir():
            target.rmdir()
        target.unlink(missing_ok=True)
        self._note(str(target), None)
        if request.volume_id.startswith("csi-"):
            shutil.rmtree(self._directory(request.volume_id, make=True))
        return MESSAGES["NodeUnpublishVolumeResponse"]()

    def node_expand_volume(self, request: Any) -> Any:
        if not mounted(request.volume_path) or not mounted(request.staging_target_path):
            raise out_of_order("grown where it is not mounted")
        wanted = request.capacity_range.required_bytes
        if wanted > MOST_BYTES:
            raise Refused(grpc.StatusCode.OUT_OF_RANGE, "no room")
        (self._directory(request.volume_id) / "size").write_text(str(wanted))
        return MESSAGES["NodeExpandVolumeResponse"](capacity_bytes=wanted)

    def node_get_volume_stats(self, request: Any) -> Any:
        if not mounted(request.volume_path):
            raise Refused(grpc.StatusCode.NOT_FOUND, "not published")
        size = self._directory(request.volume_id) / "size"
        total = int(size.read_text()) if size.exists() else 1 << 30
        room = MESSAGES["VolumeUsage"](total=total, used=1000, available=total - 1000, unit=1)
        inodes = MESSAGES["VolumeUsage"](total=100, used=7, available=93, unit=2)
        return MESSAGES["NodeGetVolumeStatsResponse"](usage=[inodes, room])

    def _check_attached(self, request: Any) -> None:
        if self.options.attached and dict(request.publish_context) != {"device": "/dev/test"}:
            raise out_of_order("not attached")

    def _directory(self, volume: str, *, make: bool = False) -> Path:
        path = self.store / "volumes" / volume
        if make:
            path.mkdir(parents=True, exist_ok=True)
        if not path.is_dir():
            raise Refused(grpc.StatusCode.NOT_FOUND, f"no volume {volume}")
        return path

    def _bind(self, source: Path | str, target: str, *, read_only: bool = False) -> None:
        subprocess.run(["mount", "--bind", str(source), target], check=True)
        if read_only:
            subprocess.run(["mount", "-o", "remount,bind,ro", target], check=True)

    def _state(self) -> list[dict[str, str]]:
        """Targets and their volumes, of those that are mounted."""
        path = self.store / "published"
        lines = path.read_text().splitlines() if path.exists() else []
        known = dict(json.loads(line) for line in lines)
        return [{"target": t, "volume": v} for t, v in known.items() if v and mounted(t)]

    def _note(self, target: str, volume: str | None) -> None:
        with (self.store / "published").open("a") as file:
            file.write(json.dumps([target, volume]) + "\n")

    def handle(self, method: str, request: Any, context: grpc.ServicerContext) -> Any:
        with self.lock:
            code, why = "OK", ""
            try:
                return getattr(self, re.sub(r"(?<!^)(?=[A-Z])", "_", method).lower())(request)
            except Refused as error:
                code, why = error.code.name, str(error)
                context.abort(error.code, str(error))
            except Exception as error:
                code, why = "INTERNAL", repr(error)
                context.abort(grpc.StatusCode.INTERNAL, repr(error))
            finally:
                entry = {"method": method, "code": code, "why": why, "node": self.options.node_id}
                for field in ("volume_id", "target_path", "readonly", "staging_target_path"):
                    if hasattr(request, field):
                        entry[field] = getattr(request, field)
                if hasattr(request, "volume_capability"):
                    mount = request.volume_capability.mount
                    entry |= {"fs_type": mount.fs_type, "flags": list(mount.mount_flags)}
                    entry["mode"] = request.volume_capability.access_mode.mode
                if hasattr(request, "volume_context"):
                    entry["context"] = dict(request.volume_context)
                with (self.store / "journal").open("a") as file:
                    file.write(json.dumps(entry) + "\n")
        return None


class RegistrationService:
    def __init__(self, options: argparse.Namespace, endpoint: Path) -> None:
        self.options, self.endpoint = options, endpoint

    def get_info(self, _request: Any) -> Any:
        return MESSAGES["PluginInfo"](
            type="CSIPlugin", name=self.options.name, endpoint=str(self.endpoint), supported_versions=["1.0.0"]
        )

    def notify(self, request: Any) -> Any:
        text = "registered" if request.plugin_registered else request.error
        (self.options.store / f"status-{self.options.node_id}").write_text(text)
        return MESSAGES["RegistrationStatusResponse"]()


def listen(socket: Path, service: str, handlers: dict[str, grpc.RpcMethodHandler]) -> grpc.Server:
    """Serve at a socket, bound by a relative name: the path may be longer than an address can be."""
    server = grpc.server(ThreadPoolExecutor(4))
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, handlers),))
    socket.parent.mkdir(parents=True, exist_ok=True)
    socket.unlink(missing_ok=True)
    os.chdir(socket.parent)
    server.add_insecure_port(f"unix:{socket.name}")
    server.start()
    return server


def handler(request: str, answer: str, function: Any) -> grpc.RpcMethodHandler:
    return grpc.unary_unary_rpc_method_handler(
        function,
        request_deserializer=MESSAGES[request].FromString,
        response_serializer=MESSAGES[answer].SerializeToString,
    )


def main() -> None:
    parser = argparse.ArgumentParser()
    for name in ("name", "node-id"):
        parser.add_argument(f"--{name}", required=True)
    for name in ("root", "store"):
        parser.add_argument(f"--{name}", required=True, type=Path)
    parser.add_argument("--most", type=int, default=0)
    parser.add_argument("--attached", action="store_true")
    options = parser.parse_args()
    endpoint = options.root / "plugins" / options.name / "csi.sock"
    node, registration = NodeService(options), RegistrationService(options, endpoint)
    methods = [name.title().replace("_", "") for name in dir(NodeService) if name.startswith("node_")]
    calls = {
        name: handler(f"{name}Request", f"{name}Response", lambda r, c, name=name: node.handle(name, r, c))
        for name in methods
    }
    servers = [listen(endpoint, "csi.v1.Node", calls)]
    servers.append(
        listen(
            options.root / "plugins_registry" / f"{options.name}-reg.sock",
            "pluginregistration.Registration",
            {
                "GetInfo": handler("InfoRequest", "PluginInfo", lambda r, _: registration.get_info(r)),
                "NotifyRegistrationStatus": handler(
                    "RegistrationStatus",
                    "RegistrationStatusResponse",
                    lambda r, _: registration.notify(r),
                ),
            },
        )
    )
    signal.sigwait({signal.SIGTERM, signal.SIGINT})


@contextlib.contextmanager
def driver_process(root: Path, store: Path, node_id: str, *flags: str, name: str = "csi.test") -> Iterator[int]:
    """The driver running beside a node's directory; its pid. Returns once it is registered."""
    store.mkdir(parents=True, exist_ok=True)
    status = store / f"status-{node_id}"
    status.unlink(missing_ok=True)
    command = [sys.executable, "-m", "tests.support.csidriver", "--name", name, "--node-id", node_id]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(REPOSITORY / "src"), str(REPOSITORY)])}
    process = subprocess.Popen(
        [*command, "--root", str(root), "--store", str(store), *flags], cwd=REPOSITORY, env=environment
    )
    try:
        yield process.pid
    finally:
        process.kill()
        process.wait()
        (root / "plugins_registry" / f"{name}-reg.sock").unlink(missing_ok=True)


def wait_registered(store: Path, node_id: str, seconds: float = 60) -> str:
    """What the node answered to the driver's registration."""
    deadline = time.monotonic() + seconds
    while True:
        with contextlib.suppress(OSError):
            text = (store / f"status-{node_id}").read_text()
            if text:
                return text
        assert time.monotonic() < deadline, "the driver was not registered"
        time.sleep(0.05)


def journal(store: Path) -> list[dict[str, Any]]:
    """Every call, in order."""
    path = store / "journal"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


if __name__ == "__main__":
    main()
