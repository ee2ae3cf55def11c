"""A real Prometheus server, and exporters whose pages a test writes."""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from tests.support.apiserver import free_port

CONFIG = """
global: {{scrape_interval: 100ms, scrape_timeout: 100ms}}
scrape_configs:
  - job_name: power
    static_configs: [{{targets: [{targets}]}}]
"""


class Exporter:
    """One page of metrics; None answers with an error."""

    def __init__(self) -> None:
        self.page: str | None = ""
        self.scrapes = 0
        exporter = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                exporter.scrapes += 1
                self.send_response(500 if exporter.page is None else 200)
                self.send_header("Content-Type", "text/plain; version=0.0.4")
                self.end_headers()
                self.wfile.write((exporter.page or "").encode())

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()
        self.address = f"127.0.0.1:{self._server.server_port}"

    async def shows(self, page: str | None) -> None:
        """Change the page and wait until it has surely been stored."""
        self.page = page
        until = self.scrapes + 3
        async with asyncio.timeout(60.0):
            while self.scrapes < until:
                await asyncio.sleep(0.02)

    def close(self) -> None:
        """Stop serving."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@contextlib.contextmanager
def prometheus(folder: Path, exporters: int) -> Iterator[tuple[str, list[Exporter]]]:
    """The server's address, once it answers, and the exporters that it scrapes."""
    pages = [Exporter() for _ in range(exporters)]
    config = folder / "prometheus.yml"
    config.write_text(CONFIG.format(targets=", ".join(f'"{page.address}"' for page in pages)))
    port = free_port()
    process = subprocess.Popen(
        [
            "prometheus",
            f"--config.file={config}",
            f"--storage.tsdb.path={folder / 'data'}",
            f"--web.listen-address=127.0.0.1:{port}",
            "--log.level=error",
        ]
    )
    try:
        _wait_ready(f"http://127.0.0.1:{port}/-/ready", process)
        yield f"http://127.0.0.1:{port}", pages
    finally:
        process.terminate()
        process.wait()
        for page in pages:
            page.close()


def _wait_ready(url: str, process: subprocess.Popen[bytes]) -> None:
    until = time.monotonic() + 60.0
    while process.poll() is None and time.monotonic() < until:
        with contextlib.suppress(urllib.error.URLError, ConnectionError), urllib.request.urlopen(url, timeout=5.0):
            return
        time.sleep(0.05)
    raise RuntimeError(f"prometheus does not answer (exit code {process.poll()})")
