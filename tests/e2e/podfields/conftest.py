"""One cluster for all tests of pod fields; each module's objects are created at once and then looked at one by one."""

import json
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from tests.e2e.conftest import Cluster, running_cluster, until

SHELL = "localhost/sparsam/busybox:1"
DONE = ("Succeeded", "Failed")
_PREFIX = re.compile(r"(?<=[^\n])(\[pod/[^/\]]+/[^\]]+\] )")
_LINE = re.compile(r"\[pod/([^/]+)/([^\]]+)\] ?(.*)")

Obj = dict[str, Any]


def container(script: str = "sleep 3600", name: str = "c", **fields: Any) -> Obj:
    """A shell script; its errors are lines of the same stream, since two have no order."""
    return {"name": name, "image": SHELL, "command": ["sh", "-c", f"exec 2>&1; {script}"], **fields}


def pod(name: str, *containers: Obj, labels: dict[str, str] | None = None, **spec: Any) -> Obj:
    """A pod that ends for good when its containers do; what they print is what the test reads."""
    fields = {"restartPolicy": "Never", "terminationGracePeriodSeconds": 1, "automountServiceAccountToken": False}
    metadata = {"name": name, "labels": {"fields": "yes", **(labels or {})}}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": metadata,
        "spec": {**fields, "containers": list(containers) or [container()], **spec},
    }


def config_map(name: str, **data: str) -> Obj:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data}


@dataclass
class Batch:
    """Objects of one module in a namespace of their own."""

    cluster: Cluster
    namespace: str
    _logs: dict[tuple[str, str], list[str]] = field(default_factory=dict)

    def kubectl(self, *arguments: str, **options: Any) -> str:
        return self.cluster.kubectl("-n", self.namespace, *arguments, **options)

    def create(self, *objects: Obj) -> None:
        items = [{**each, "metadata": {"namespace": self.namespace, **each["metadata"]}} for each in objects]
        self.cluster.kubectl("create", "-f", "-", stdin="\n---\n".join(json.dumps(item) for item in items))

    def pod(self, name: str) -> Obj:
        return self.cluster.get("pod", name, "-n", self.namespace)

    def until(self, name: str, holds: Any, seconds: float = 240) -> Obj:
        """The pod once it is as wanted; the failure shows how it was instead."""
        seen: list[Obj] = []

        def look() -> Obj | None:
            seen.append(self.pod(name))
            return seen[-1] if holds(seen[-1]) else None

        try:
            return until(look, seconds)
        except AssertionError as error:
            raise AssertionError(f"{error}: {json.dumps(seen[-1]['status'], indent=1)}") from None

    def ended(self, name: str) -> Obj:
        return self.until(name, lambda pod: pod["status"].get("phase") in DONE)

    def running(self, name: str) -> Obj:
        return self.until(name, lambda pod: pod["status"].get("phase") == "Running" and condition(pod, "Ready"))

    def lines(self, name: str, container: str = "c") -> list[str]:
        """What a container of an ended pod printed; the logs of all ended pods are read in one go."""
        if (name, container) not in self._logs:
            phase = self.ended(name)["status"]["phase"]
            self._read_logs()
            assert (name, container) in self._logs, f"{name} {phase} printed nothing: {self.pod(name)['status']}"
        return self._logs[name, container]

    def said(self, name: str, container: str = "c") -> str:
        return "\n".join(self.lines(name, container))

    def exec(self, name: str, script: str, container: str = "c") -> str:
        return self.kubectl("exec", name, "-c", container, "--", "sh", "-c", script).strip()

    def events(self, name: str) -> list[tuple[str, str]]:
        found = self.cluster.get("events", "-n", self.namespace, "--field-selector", f"involvedObject.name={name}")
        return [(event["reason"], event["message"]) for event in found["items"]]

    def until_event(self, name: str, reason: str, words: str = "", seconds: float = 200) -> str:
        def look() -> str | None:
            return next((said for why, said in self.events(name) if why == reason and words in said), None)

        try:
            return until(look, seconds)
        except AssertionError:
            raise AssertionError(f"no event {reason} {words!r} of {name}: {self.events(name)}") from None

    def refused(self, obj: Obj) -> str:
        """What the API server says to an object that it does not take."""
        said = self.kubectl("create", "-f", "-", stdin=json.dumps(obj), check=False)
        assert "created" not in said, said
        return said

    def _read_logs(self) -> None:
        done = "status.phase!=Running,status.phase!=Pending"
        names = self.kubectl("get", "pods", "-l", "fields=yes", "--field-selector", done, "-o", "name").split()
        missing = [name for name in names if not any(key[0] == name.removeprefix("pod/") for key in self._logs)]
        # The engine says that a container has ended a little before it has written the last of what it printed, and
        # among these may be pods that have ended just now.
        time.sleep(1)
        for start in range(0, len(missing), 40):
            self._read(missing[start : start + 40])

    def _read(self, names: list[str]) -> None:
        label = {name.removeprefix("pod/") for name in names}
        text = self.kubectl(
            "logs", "-l", "fields=yes", "--prefix", "--tail=-1", "--all-containers", "--ignore-errors",
            "--max-log-requests=200",
        )  # fmt: skip
        read: dict[tuple[str, str], list[str]] = {}
        # What ends without the end of a line has the next container's first line behind it.
        for line in _PREFIX.sub(r"\n\1", text).splitlines():
            match = _LINE.match(line)
            if match and match[1] in label:
                read.setdefault((match[1], match[2]), []).append(match[3])
        self._logs.update(read)


def condition(pod: Obj, kind: str) -> bool:
    return any(each["type"] == kind and each["status"] == "True" for each in pod["status"].get("conditions") or ())


def state(pod: Obj, name: str = "c") -> Obj:
    """The state of a container, as `{"waiting": ...}` or the like."""
    lists = ("containerStatuses", "initContainerStatuses", "ephemeralContainerStatuses")
    statuses = [each for field in lists for each in pod["status"].get(field) or ()]
    return next((each["state"] for each in statuses if each["name"] == name), {})


def waits(reason: str, words: str = "", name: str = "c") -> Any:
    """Whether a container waits for this reason."""

    def holds(pod: Obj) -> bool:
        waiting = state(pod, name).get("waiting") or {}
        return waiting.get("reason") == reason and words in waiting.get("message", "")

    return holds


@pytest.fixture(scope="package")
def fields_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with running_cluster(tmp_path_factory.mktemp("fields"), "--node-name", "fields") as one:
        yield one


@pytest.fixture(scope="module")
def batch(fields_cluster: Cluster, request: pytest.FixtureRequest) -> Iterator[Batch]:
    """The module's `OBJECTS`, created at once."""
    name = request.module.__name__.rpartition("test_")[2].replace("_", "-")
    fields_cluster.kubectl("create", "namespace", name)
    until(lambda: fields_cluster.get("serviceaccounts", "-n", name)["items"], what="default service account")
    made = Batch(fields_cluster, name)
    prepare = getattr(request.module, "prepare", None)
    objects = list(request.module.OBJECTS) + (prepare(made) if prepare else [])
    made.create(*objects)
    yield made
    fields_cluster.kubectl("delete", "namespace", name, "--wait=false")
