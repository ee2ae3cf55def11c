"""What do admission policies cost a write, and the server's memory?

    python benchmarks/admission.py [--rounds 400]

Starts an API server of its own on loopback and creates the same pod over one connection (as a dry run, so that the disk
has no say) without a policy, with one policy that looks into its containers, with one that is about other kinds, and
with one that mutates. The rounds alternate with and without, so that a busy machine slows down both; medians are
compared. The memory of expressions alone is printed beside.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

from api import POD, Server, send

GROUP = "/apis/admissionregistration.k8s.io/v1"
PODS = "/api/v1/namespaces/bench/pods?dryRun=All"
LOOKS = (
    "object.spec.containers.all(c, c.image.startsWith('registry.example/') && has(c.resources.limits.memory)) "
    "&& quantity(object.spec.containers[0].resources.limits.memory).isLessThan(quantity('1Gi'))"
)
MUTATION = "Object{metadata: Object.metadata{annotations: {'seen': 'yes'}}}"


def policy(name: str, resource: str, **spec: Any) -> dict[str, Any]:
    named = {"apiGroups": [""], "apiVersions": ["v1"], "resources": [resource], "operations": ["CREATE"]}
    return {"metadata": {"name": name}, "spec": {"matchConstraints": {"resourceRules": [named]}, **spec}}


def rounds(server: Server, count: int) -> float:
    """The median time of a create in microseconds."""
    connection, times = server.connect(), []
    for _ in range(count):
        started = time.perf_counter()
        status, body = send(connection, server.token, "POST", PODS, POD)
        times.append(time.perf_counter() - started)
        assert status == 201, body
    connection.close()
    return statistics.median(times) * 1e6


class Enforced:
    """A policy with a binding, while the block runs."""

    def __init__(self, server: Server, kind: str, made: dict[str, Any]) -> None:
        self._server, self._kind, self._made = server, kind, made
        name = made["metadata"]["name"]
        spec = {"policyName": name} | ({"validationActions": ["Deny"]} if kind == "validating" else {})
        self._binding = {"metadata": {"name": name}, "spec": spec}

    def __enter__(self) -> None:
        for what, obj in (("policies", self._made), ("policybindings", self._binding)):
            status, body = self._server.call("POST", f"{GROUP}/{self._kind}admission{what}", obj)
            assert status == 201, body
        time.sleep(1)

    def __exit__(self, *_: object) -> None:
        name = self._made["metadata"]["name"]
        for what in ("policybindings", "policies"):
            self._server.call("DELETE", f"{GROUP}/{self._kind}admission{what}/{name}")
        time.sleep(0.5)


def measure(server: Server, count: int) -> dict[str, Any]:
    for path, obj in (
        ("/api/v1/namespaces", {"metadata": {"name": "bench"}}),
        ("/api/v1/namespaces/bench/serviceaccounts", {"metadata": {"name": "default"}}),
    ):
        server.call("POST", path, obj)
    rounds(server, count)
    before = server.resident_mb()
    mutation = {"patchType": "ApplyConfiguration", "applyConfiguration": {"expression": MUTATION}}
    cases = {
        "about other kinds": ("validating", policy("other", "services", validations=[{"expression": "true"}])),
        "validates": ("validating", policy("validates", "pods", validations=[{"expression": LOOKS}])),
        "mutates": ("mutating", policy("mutates", "pods", mutations=[mutation], reinvocationPolicy="Never")),
    }
    found: dict[str, Any] = {"create_us": {}, "ratio": {}}
    for name, (kind, made) in cases.items():
        without, with_policy = [], []
        for _ in range(3):
            without.append(rounds(server, count))
            with Enforced(server, kind, made):
                with_policy.append(rounds(server, count))
        found["create_us"][name] = (min(without), min(with_policy))
        found["ratio"][name] = min(with_policy) / min(without)
    found["resident_mb"] = (before, server.resident_mb())
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=400)
    parser.add_argument("-o", "--output", choices=("table", "json"), default="table")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="sparsam-bench-") as directory:
        server = Server(Path(directory))
        try:
            found = measure(server, arguments.rounds)
        finally:
            server.stop()
    if arguments.output == "json":
        print(json.dumps(found, indent=2))
        return
    for name, ratio in found["ratio"].items():
        without, with_policy = found["create_us"][name]
        print(f"one policy, {name:18} {without:7.0f} us without {with_policy:7.0f} us with  ratio {ratio:.2f}")
    before, after = found["resident_mb"]
    print(f"resident before the first expression {before:.0f} MB, after {after:.0f} MB")


if __name__ == "__main__":
    main()
