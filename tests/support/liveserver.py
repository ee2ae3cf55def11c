"""A real API server process, started as a user starts it, with its log: `sparsam up --only api` on a loopback port.

Needs no root. `with live_server(tmp_path) as server` ends with the process gone and its data removed.
"""

from __future__ import annotations

import base64
import contextlib
import json
import ssl
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.support.apiserver import free_port

COMMAND_SECONDS = 60


@dataclass(frozen=True)
class LiveServer:
    """Where the server is, how to be its administrator, and what it wrote to its log."""

    port: int
    data_dir: Path

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self.port}"

    @property
    def kubeconfig(self) -> Path:
        return self.data_dir / "kubeconfig"

    @property
    def log(self) -> str:
        return (self.data_dir / "log" / "api.log").read_text(errors="replace")

    def start(self) -> None:
        """Bring the server up, and wait until it is ready."""
        where = ("--data-dir", str(self.data_dir), "--run-dir", str(self.data_dir.with_name("run")))
        _sparsam("up", "--only", "api", "--detach", "--listen", "127.0.0.1", "--port", str(self.port), *where)

    def stop(self, *, purge: bool = False) -> None:
        """End the server; its data stays unless it is to be purged."""
        _sparsam("down", *(["--purge"] if purge else []), "--data-dir", str(self.data_dir))

    def tls(self, *, admin: bool = True) -> ssl.SSLContext:
        """A client's TLS context; an administrator's, or one without certificate."""
        context = ssl.create_default_context(cafile=str(self.data_dir / "pki" / "ca.crt"))
        if admin:
            pki = self.data_dir / "pki"
            context.load_cert_chain(pki / "admin.crt", pki / "admin.key")
        return context


@contextlib.contextmanager
def live_server(tmp_path: Path) -> Iterator[LiveServer]:
    """Start a server over an empty store; prints the end of its log when the body fails."""
    server = LiveServer(free_port(), tmp_path / "data")
    try:
        server.start()
        yield server
    except BaseException:
        with contextlib.suppress(OSError):
            print(f"== {server.data_dir}/log/api.log\n{server.log[-6000:]}")
        raise
    finally:
        server.stop(purge=True)


def tls_from_kubeconfig(path: Path) -> tuple[str, ssl.SSLContext]:
    """The URL and a TLS context with the client certificate of a kubeconfig written by `sparsam up`."""
    config = json.loads(path.read_text())
    cluster, user = config["clusters"][0]["cluster"], config["users"][0]["user"]
    context = ssl.create_default_context(cadata=base64.b64decode(cluster["certificate-authority-data"]).decode())
    certificate = path.with_name("client.pem")
    try:
        certificate.touch(mode=0o600)
        pair = (user["client-certificate-data"], user["client-key-data"])
        certificate.write_bytes(b"".join(base64.b64decode(part) for part in pair))
        context.load_cert_chain(certificate)
    finally:
        certificate.unlink(missing_ok=True)
    return cluster["server"], context


def _sparsam(*arguments: str) -> None:
    command = [sys.executable, "-m", "sparsam.cli", *arguments]
    result = subprocess.run(command, capture_output=True, text=True, timeout=COMMAND_SECONDS, check=False)
    assert result.returncode == 0, f"{' '.join(arguments)}: {result.stdout}{result.stderr}"
