"""Replay recorded requests against a running API server and count how far its answers agree.

    python -m tests.support.replay [--kubeconfig FILE] [--only REGEX] [--show N] [--level full]

Without a kubeconfig it starts an API server of its own. The server should be fresh, without controllers. Scenarios run one
after the other, since lists and tables of some show the objects of all. `tests.support.agreement` tells the levels.
"""

from __future__ import annotations

import argparse
import contextlib
import gzip
import http.client
import json
import os
import re
import ssl
import tempfile
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from tests.support.agreement import LEVELS, agreement, explain, normalise
from tests.support.liveserver import live_server, tls_from_kubeconfig

DATA = Path(os.environ.get("SPARSAM_DATA") or Path(__file__).parents[2].parent / "shared" / "data")
FILE = DATA / "api_transcripts.jsonl.gz"
JSON = "application/json"
SECONDS = 60
FAMILIES = {
    "bad": "bad scale",
    "create name": "create with a bad name",
    "create remove": "create with a field removed",
    "create set": "create with a field set to something wrong",
    "create unknown": "create with an unknown field",
    "get": "get (object, status, scale, after delete)",
    "json patch": "JSON patch",
    "patch": "patch scale",
    "put": "update with an outdated version",
    "remove": "remove a finalizer",
    "strategic": "strategic merge of lists",
    "strategic patch": "strategic merge patch",
    "unsupported patch": "patch of an unsupported type",
    "update": "update of one field",
}
UNKNOWN_CAUSE = "not explained"
Answer = tuple[int, Any, list[str]]


@dataclass(frozen=True, slots=True)
class Step:
    """One recorded request, the answer it got here, and the levels on which both agree."""

    scenario: str
    resource: str
    case: str
    request: dict[str, Any]
    want: dict[str, Any]
    answer: Answer
    levels: dict[str, bool]

    @property
    def family(self) -> str:
        """The kind of case."""
        if self.resource == "general":
            return (
                "server-side apply"
                if self.case.startswith("apply")
                else "discovery, lists, selectors, names, content types"
            )
        words = self.case.split()
        short = " ".join(words[:2]) if words[0] == "create" or words[1:] == ["patch"] else words[0]
        return FAMILIES.get(short, short)


class Caller:
    """One connection to a server."""

    def __init__(self, url: str, tls: ssl.SSLContext) -> None:
        host = urlsplit(url)
        self._connection = http.client.HTTPSConnection(host.hostname or "", host.port, context=tls, timeout=SECONDS)

    def __call__(
        self,
        method: str,
        path: str,
        data: bytes | None = None,
        *,
        content_type: str = JSON,
        accept: str = JSON,
        **more: str,
    ) -> Answer:
        headers = {"Accept": accept} | ({"Content-Type": content_type} if data is not None else {}) | more
        self._connection.request(method, path, body=data, headers=headers)
        reply = self._connection.getresponse()
        raw = reply.read()
        body: Any
        try:
            body = json.loads(raw)
        except ValueError:
            body = raw.decode(errors="replace")
        return reply.status, body, [value for name, value in reply.getheaders() if name.lower() == "warning"]

    def create(self, path: str, obj: dict[str, Any]) -> None:
        self("POST", path, json.dumps(obj).encode())

    def close(self) -> None:
        self._connection.close()


def replay(call: Caller, file: Path = FILE, only: str = "") -> Iterator[Step]:
    """Every recorded step, asked again."""
    _prepare(call)
    with gzip.open(file, "rt") as lines:
        for scenario in map(json.loads, lines):
            if not re.search(only, scenario["scenario"]):
                continue
            for step in scenario["steps"]:
                answer = _ask(call, step)
                yield Step(
                    scenario["scenario"], scenario.get("resource", "general"), step["case"], step["request"],
                    step["response"], answer, agreement(step["response"], *answer),
                )  # fmt: skip
            if "name" in scenario:
                call("DELETE", f"{scenario['path']}/{scenario['name']}?gracePeriodSeconds=0")


def _prepare(call: Caller) -> None:
    """What was there before the recording: a namespace, its service account, five ConfigMaps to select from."""
    call.create("/api/v1/namespaces", {"metadata": {"name": "t"}})
    call.create("/api/v1/namespaces/t/serviceaccounts", {"metadata": {"name": "default"}})
    for number in range(5):
        labels = {"i": str(number), "par": "odd" if number % 2 else "even"}
        call.create("/api/v1/namespaces/t/configmaps", {"metadata": {"name": f"l{number}", "labels": labels}})


def _ask(call: Caller, step: dict[str, Any]) -> Answer:
    request = step["request"]
    body = request.get("body")
    if isinstance(body, str) and body.startswith("<last get"):
        body = _changed(call("GET", request["path"].partition("?")[0])[1], step.get("set"))
    data = request["raw"].encode() if "raw" in request else None if body is None else json.dumps(body).encode()
    kind, accept = request.get("contentType", JSON), request.get("accept", JSON)
    return call(request["method"], request["path"], data, content_type=kind, accept=accept)


def _changed(current: Any, change: dict[str, Any] | None) -> Any:
    """The object as last read, with one field set, or of an outdated version; as it is where there is no such field."""
    path, value = (change["path"], change["value"]) if change else (["metadata", "resourceVersion"], "1")
    target = current
    with contextlib.suppress(KeyError, IndexError, TypeError):
        for part in path[:-1]:
            target = target[part]
        target[path[-1]] = value
    return current


@dataclass(slots=True)
class Tally:
    """Agreement of a group of steps."""

    steps: int = 0
    agreeing: Counter[str] | None = None

    def add(self, step: Step) -> None:
        self.steps += 1
        self.agreeing = self.agreeing or Counter()
        self.agreeing.update(level for level in LEVELS if step.levels[level])

    def percent(self, level: str) -> float:
        return 100 * (self.agreeing or Counter())[level] / (self.steps or 1)


def tally(steps: Iterable[Step], group: Callable[[Step], str] = lambda _: "total") -> dict[str, Tally]:
    """Agreement by group, the groups in alphabetical order."""
    found: dict[str, Tally] = defaultdict(Tally)
    for step in steps:
        found[group(step)].add(step)
    return dict(sorted(found.items()))


def _of_openshift(step: Step) -> bool:
    """Whether all would agree without that ConfigMap; an update of the place where it stands has none to change here."""
    if step.levels["full"]:
        return False
    if not step.levels["code"]:
        return "projected.sources.3." in step.case
    return normalise(_without_others(step.want["body"]), False) == normalise(step.answer[1], False)


def _without_others(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _without_others(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_without_others(item) for item in value if not _is_others(item)]
    return value


def _is_others(item: Any) -> bool:
    config_map = item.get("configMap") if isinstance(item, dict) else None
    return isinstance(config_map, dict) and config_map.get("name") == "openshift-service-ca.crt"


def _of_storage(step: Step) -> bool:
    if step.resource == "persistentvolumeclaims":
        return not step.levels["full"] and "storageClassName" not in json.dumps(step.want["body"])
    return step.case == "table" and step.resource in ("storageclasses", "csidrivers")


def _is_dump(step: Step) -> bool:
    message = step.want["body"]["message"]
    return "\n@@ " in message or '"Spec":{' in message or '"Rules":[' in message


def _is_emptiness(step: Step) -> bool:
    message = step.want["body"]["message"]
    return message.replace(" []", " null").replace(" {}", " null") == step.answer[1]["message"]


# Why steps disagree, the first that holds: reasons that concern the answer, then those of messages alone.
CAUSES: tuple[tuple[str, Callable[[Step], bool]], ...] = (
    ("the recorded server projects a ConfigMap of OpenShift's into every token volume", _of_openshift),
    ("a definition is looked at before or after its controller was there", lambda step: step.resource == "customresourcedefinitions" and not step.levels["full"]),
    ("a StorageClass and a CSIDriver of our own are there", _of_storage),
    ("ControllerRevisions keep the bytes of their data", lambda step: step.resource == "controllerrevisions"),
    ("roles of upstream's controllers are not created, some of our own are", lambda step: step.case == "table" and "role" in step.resource),
    ("bootstrap priority levels are not created", lambda step: step.resource == "prioritylevelconfigurations"),
    ("two API groups more are served", lambda step: step.case in ("get /apis", "aggregated /apis")),
    ("a watch from a bad resourceVersion gets 400, not 500", lambda step: "watch=1&resourceVersion=abc" in step.case),
    ("messages: Go's diff of two objects, or its dump of one", lambda step: step.levels["full"] and _is_dump(step)),
    ("messages: an empty list or map is shown as null", lambda step: step.levels["full"] and _is_emptiness(step)),
    ("messages: others", lambda step: step.levels["full"]),
)  # fmt: skip


def cause(step: Step) -> str:
    """Why a step does not agree exactly."""
    return next((name for name, holds in CAUSES if holds(step)), UNKNOWN_CAUSE)


def _print_causes(steps: Iterable[Step]) -> None:
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    for step in steps:
        first = next((level for level in LEVELS if not step.levels[level]), "")
        if first:
            counts[cause(step)][first] += 1
    print(f"\n| cause | steps | {' | '.join(LEVELS)} |\n|---|{'---:|' * (len(LEVELS) + 1)}")
    for name, count in sorted(counts.items(), key=lambda item: -item[1].total()):
        print(f"| {name} | {count.total()} | {' | '.join(str(count[level]) for level in LEVELS)} |")


def _print_table(title: str, groups: dict[str, Tally]) -> None:
    print(f"\n| {title} | steps | {' | '.join(LEVELS)} |\n|---|{'---:|' * (len(LEVELS) + 1)}")
    for name, group in groups.items():
        shares = " | ".join(f"{group.percent(level):.1f}" for level in LEVELS)
        print(f"| {name} | {group.steps:,} | {shares} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kubeconfig", type=Path, help="as `sparsam up` wrote it; a server of its own when left out")
    parser.add_argument("--only", default="", help="scenarios to replay, a regular expression such as 'pods'")
    parser.add_argument("--show", type=int, default=0, help="how many disagreeing steps to explain")
    parser.add_argument("--level", choices=LEVELS, default="full", help="level at which a step disagrees")
    parser.add_argument("file", nargs="?", type=Path, default=FILE)
    options = parser.parse_args()
    with contextlib.ExitStack() as stack:
        if options.kubeconfig:
            url, tls = tls_from_kubeconfig(options.kubeconfig)
        else:
            directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="sparsam-replay-")))
            server = stack.enter_context(live_server(directory))
            url, tls = server.url, server.tls()
        call = stack.enter_context(contextlib.closing(Caller(url, tls)))
        steps = list(replay(call, options.file, options.only))
    for step in [step for step in steps if not step.levels[options.level]][: options.show]:
        print(f"- {step.scenario} | {step.case}", *explain(step.want, step.answer, options.level), sep="\n    ")
    _print_table("all", tally(steps))
    _print_causes(steps)
    _print_table("kind of case", tally(steps, lambda step: step.family))
    _print_table("resource", tally(steps, lambda step: step.resource))


if __name__ == "__main__":
    main()
