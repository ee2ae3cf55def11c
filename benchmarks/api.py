"""How fast is the API server? Starts one of its own on loopback and loads it with wrk.

    python benchmarks/api.py [--seconds 5] [--pods 10000] [-o table|json]

Rates depend on the machine and its mood, so each is also given as a ratio to an echo server (uvicorn with TLS, same
size of answer, no work) that is measured in the same run. For orientation, kube-apiserver 1.36 with etcd 3.6 on a
machine of two cores: ready 3.5 s after start; creates 837/s at 32 connections and 248/s at one; gets 2,657/s and
777/s; deletes 628/s; list of 4,000 pods 0.15 s; 316 MB resident at rest, 544 MB after 10,000 pods.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import re
import secrets
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import time
from pathlib import Path

POD = {
    "apiVersion": "v1",
    "kind": "Pod",
    "metadata": {"generateName": "bench-", "namespace": "bench", "labels": {"app": "bench", "tier": "web"}},
    "spec": {
        "containers": [
            {
                "name": "web",
                "image": "registry.example/web:1.27",
                "ports": [{"containerPort": 8080, "name": "http"}],
                "env": [{"name": "MODE", "value": "fast"}, {"name": "LEVEL", "value": "info"}],
                "resources": {"requests": {"cpu": "100m", "memory": "128Mi"}, "limits": {"memory": "256Mi"}},
                "readinessProbe": {"httpGet": {"path": "/healthz", "port": "http"}, "periodSeconds": 5},
            }
        ]
    },
}
ECHO = """
import sys
BODY = b"x" * int(sys.argv[1])
async def app(scope, receive, send):
    if scope["type"] != "http":
        return
    await receive()
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"application/json")]})
    await send({"type": "http.response.body", "body": BODY})
import uvicorn
uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[2]), loop="uvloop", http="zttp", log_level="error", lifespan="off",
            ssl_certfile=sys.argv[3], ssl_keyfile=sys.argv[4])
"""
LUA = """
wrk.method = "%s"
wrk.headers["Authorization"] = "Bearer %s"
wrk.headers["Content-Type"] = "application/json"
wrk.body = [[%s]]
"""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Server:
    """An API server in a process of its own, with a static token for the load generator."""

    def __init__(self, home: Path) -> None:
        self.home, self.port, self.token = home, free_port(), secrets.token_hex(16)
        self.url = f"https://127.0.0.1:{self.port}"
        sparsam = [sys.executable, "-m", "sparsam.cli"]
        self._data = ["--data-dir", str(home / "data")]
        home.joinpath("data").mkdir()
        (home / "data" / "tokens.csv").write_text(f'{self.token},bench,1,"system:masters"\n')
        started = time.monotonic()
        where = [*self._data, "--run-dir", str(home / "run"), "--port", str(self.port)]
        subprocess.run([*sparsam, "up", "--only", "api", "--detach", *where], check=True, capture_output=True)
        self.up_seconds = time.monotonic() - started
        self._down = [*sparsam, "down", "--purge", *self._data]
        self.context = ssl.create_default_context(cafile=str(home / "data" / "pki" / "ca.crt"))

    @property
    def pid(self) -> int:
        return int(json.loads((self.home / "run" / "supervisor.json").read_text())["children"]["api"])

    def resident_mb(self) -> float:
        pages = int(Path(f"/proc/{self.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE") / 1e6

    def restart_seconds(self) -> float:
        """From the death of the process to the first ready answer of its successor."""
        started = time.monotonic()
        os.kill(self.pid, signal.SIGKILL)
        while True:
            try:
                status, _ = self.call("GET", "/readyz")
                if status == 200:
                    return time.monotonic() - started
            except OSError:
                time.sleep(0.005)

    def call(self, method: str, path: str, body: object = None) -> tuple[int, bytes]:
        connection = http.client.HTTPSConnection("127.0.0.1", self.port, context=self.context, timeout=60)
        try:
            return send(connection, self.token, method, path, body)
        finally:
            connection.close()

    def connect(self) -> http.client.HTTPSConnection:
        return http.client.HTTPSConnection("127.0.0.1", self.port, context=self.context, timeout=60)

    def stop(self) -> None:
        subprocess.run(self._down, check=False, capture_output=True)


def send(
    connection: http.client.HTTPSConnection, token: str, method: str, path: str, body: object = None
) -> tuple[int, bytes]:
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    connection.request(method, path, json.dumps(body) if body is not None else None, headers)
    answer = connection.getresponse()
    return answer.status, answer.read()


def wrk(url: str, script: Path, connections: int, seconds: float) -> dict[str, float]:
    command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds:g}s", "--latency", "-s", str(script), url]
    text = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    if "Non-2xx" in text:
        raise SystemExit(f"errors under load:\n{text}")

    def quantile(name: str) -> float:
        number, unit = re.search(rf"{name}%\s+([\d.]+)(us|ms|s)", text).groups()
        return float(number) * {"us": 0.001, "ms": 1.0, "s": 1000.0}[unit]

    rate = float(re.search(r"Requests/sec:\s+([\d.]+)", text).group(1))
    return {"per_second": rate, "p50_ms": quantile("50"), "p99_ms": quantile("99")}


def measure(home: Path, seconds: float, pods: int) -> dict[str, object]:
    server = Server(home)
    try:
        return measure_server(server, home, seconds, pods)
    finally:
        server.stop()


def measure_server(server: Server, home: Path, seconds: float, pods: int) -> dict[str, object]:
    results: dict[str, object] = {
        "ready_seconds": server.restart_seconds(),
        "resident_mb_at_rest": server.resident_mb(),
    }
    server.call("POST", "/api/v1/namespaces", {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "bench"}})
    account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default"}}
    server.call("POST", "/api/v1/namespaces/bench/serviceaccounts", account)
    create, get = home / "create.lua", home / "get.lua"
    create.write_text(LUA % ("POST", server.token, json.dumps(POD)))
    get.write_text(LUA % ("GET", server.token, ""))
    collection = "/api/v1/namespaces/bench/pods"
    status, body = server.call("POST", collection, POD)
    assert status == 201, body
    one = f"{server.url}{collection}/{json.loads(body)['metadata']['name']}"

    port = free_port()
    pki = home / "data" / "pki"
    arguments = [str(len(body)), str(port), str(pki / "apiserver.crt"), str(pki / "apiserver.key")]
    with subprocess.Popen([sys.executable, "-c", ECHO, *arguments]) as echo:
        try:
            wait_for(port)
            for connections in (32, 1):
                results[f"echo_{connections}"] = wrk(f"https://127.0.0.1:{port}/", create, connections, seconds)
        finally:
            echo.terminate()
    for connections in (32, 1):
        results[f"get_{connections}"] = wrk(one, get, connections, seconds)
    for connections in (1, 32):
        results[f"create_{connections}"] = wrk(f"{server.url}{collection}", create, connections, seconds)
    connection = server.connect()
    names = [item["metadata"]["name"] for item in json.loads(server.call("GET", collection)[1])["items"]]
    while len(names) < pods:
        names.append(json.loads(send(connection, server.token, "POST", collection, POD)[1])["metadata"]["name"])
    results["pods"], results["resident_mb_with_pods"] = len(names), server.resident_mb()
    started = time.monotonic()
    send(connection, server.token, "GET", f"{collection}?limit=4000")
    results["list_4000_seconds"] = time.monotonic() - started
    some = names[: min(len(names), 1000)]
    started = time.monotonic()
    for name in some:
        send(connection, server.token, "DELETE", f"{collection}/{name}")
    results["deletes_per_second"] = len(some) / (time.monotonic() - started)
    return results


def wait_for(port: int) -> None:
    for _ in range(200):
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            time.sleep(0.05)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=5.0, help="length of each load phase")
    parser.add_argument("--pods", type=int, default=10_000, help="pods before memory and lists are measured")
    parser.add_argument("-o", "--output", choices=("table", "json"), default="table")
    options = parser.parse_args()
    if shutil.which("wrk") is None:
        raise SystemExit("wrk is missing: apt-get install wrk")
    with tempfile.TemporaryDirectory() as home:
        results = measure(Path(home), options.seconds, options.pods)
    for phase in ("get", "create"):
        for connections in (32, 1):
            figure, echo = results[f"{phase}_{connections}"], results[f"echo_{connections}"]
            figure["ratio_to_echo"] = round(figure["per_second"] / echo["per_second"], 3)
    if options.output == "json":
        print(json.dumps(results, indent=2))
        return
    for name, value in results.items():
        if isinstance(value, dict):
            print(f"{name:22}" + "  ".join(f"{key} {number:10.2f}" for key, number in value.items()))
        else:
            print(f"{name:22}{value:10.2f}")


if __name__ == "__main__":
    main()
