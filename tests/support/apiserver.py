"""A real API server on a free loopback port, over the in-memory store, with a kubeconfig to reach it.

`async with serving(tmp_path) as server` runs it in the test's own event loop; `with serving_in_thread(tmp_path)` runs
it beside a synchronous test (kubectl, replays, blocking clients). Both end with nothing left behind.
"""

import asyncio
import atexit
import contextlib
import functools
import secrets
import shutil
import socket
import ssl
import tempfile
import threading
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path

import yaml

from sparsam.apiserver.config import ApiServerConfig
from sparsam.apiserver.main import serve_store
from sparsam.apiserver.pki import ensure_pki, node_identity
from sparsam.store.interface import Store
from sparsam.store.memory import MemoryStore

START_SECONDS = 20
SANS = ("127.0.0.1", "localhost", "10.96.0.1", "kubernetes.default.svc")


@dataclass(frozen=True)
class RunningServer:
    """Where the server is and how to be somebody to it."""

    url: str
    port: int
    pki_dir: Path
    config: ApiServerConfig
    store: Store

    @property
    def ca(self) -> Path:
        return self.pki_dir / "ca.crt"

    @property
    def kubeconfig(self) -> Path:
        """An administrator's kubeconfig."""
        return self.kubeconfig_for("admin")

    def kubeconfig_for(self, identity: str) -> Path:
        """A kubeconfig for `admin`, `control`, `scheduler` or `node-NAME` (a name that was asked for at start)."""
        path = self.pki_dir.parent / f"{identity}.kubeconfig"
        if not path.exists():
            user = {
                "client-certificate": str(self.pki_dir / f"{identity}.crt"),
                "client-key": str(self.pki_dir / f"{identity}.key"),
            }
            path.write_text(yaml.safe_dump(_kubeconfig(self.url, str(self.ca), user)))
        return path

    def kubeconfig_with_token(self, token: str) -> Path:
        """A kubeconfig that shows a bearer token."""
        path = self.pki_dir.parent / f"token-{abs(hash(token))}.kubeconfig"
        path.write_text(yaml.safe_dump(_kubeconfig(self.url, str(self.ca), {"token": token})))
        return path

    def tls(self, identity: str | None = "admin") -> ssl.SSLContext:
        """A client's TLS context; None shows no certificate."""
        context = ssl.create_default_context(cafile=str(self.ca))
        if identity:
            context.load_cert_chain(self.pki_dir / f"{identity}.crt", self.pki_dir / f"{identity}.key")
        return context


@contextlib.asynccontextmanager
async def serving(
    tmp_path: Path, *, store: Store | None = None, nodes: tuple[str, ...] = (), **settings: object
) -> AsyncIterator[RunningServer]:
    """A server in the running event loop. `nodes` get client certificates; `settings` go into ApiServerConfig."""
    own_store = store is None
    store = store or await MemoryStore.open()
    port = free_port()
    pki_dir = tmp_path / "pki"
    shutil.copytree(_common_pki(), pki_dir)
    ensure_pki(pki_dir, sans=SANS, identities=[node_identity(name) for name in nodes])
    config = ApiServerConfig(
        data_dir=tmp_path / "store", pki_dir=pki_dir, listen=(("127.0.0.1", port),), shutdown_seconds=2.0, **settings
    )
    ready = asyncio.Event()
    task = asyncio.create_task(serve_store(store, config, ready=ready))
    waiting = asyncio.create_task(ready.wait())
    try:
        await asyncio.wait({task, waiting}, timeout=START_SECONDS, return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            task.result()
        yield RunningServer(f"https://127.0.0.1:{port}", port, pki_dir, config, store)
    finally:
        waiting.cancel()
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        if own_store:
            await store.close()


@contextlib.contextmanager
def serving_in_thread(tmp_path: Path, *, nodes: tuple[str, ...] = (), **settings: object) -> Iterator[RunningServer]:
    """The same in a thread with an event loop of its own."""
    started: list[RunningServer] = []
    up, stop = threading.Event(), threading.Event()
    failures: list[BaseException] = []

    async def main() -> None:
        async with serving(tmp_path, nodes=nodes, **settings) as server:
            started.append(server)
            up.set()
            while not stop.is_set():
                await asyncio.sleep(0.02)

    def body() -> None:
        try:
            asyncio.run(main())
        except BaseException as error:
            failures.append(error)
        finally:
            up.set()

    thread = threading.Thread(target=body, name="apiserver", daemon=True)
    thread.start()
    up.wait(START_SECONDS)
    if failures:
        raise failures[0]
    try:
        yield started[0]
    finally:
        stop.set()
        thread.join(START_SECONDS)
        if failures:
            raise failures[0]


@functools.cache
def _common_pki() -> Path:
    """One authority for all servers of a test run: making keys takes longer than most tests."""
    directory = tempfile.TemporaryDirectory(prefix="sparsam-test-pki-")
    atexit.register(directory.cleanup)
    path = Path(directory.name)
    ensure_pki(path, sans=SANS)
    return path


def free_port() -> int:
    """A loopback port that nothing listens on, from below those that the kernel gives to whoever asks for any."""
    while True:
        port = 20_000 + secrets.randbelow(10_000)  # `random` is seeded alike in every test that hypothesis runs
        with socket.socket() as tcp, socket.socket(type=socket.SOCK_DGRAM) as udp, contextlib.suppress(OSError):
            tcp.bind(("127.0.0.1", port))
            udp.bind(("127.0.0.1", port))
            return port


def _kubeconfig(url: str, ca: str, user: dict[str, str]) -> dict[str, object]:
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "test",
        "clusters": [{"name": "test", "cluster": {"server": url, "certificate-authority": ca}}],
        "users": [{"name": "test", "user": user}],
        "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test"}}],
    }
