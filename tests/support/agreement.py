"""How far an answer agrees with the recorded answer of a real API server.

Four levels, each containing the one before: `code` (HTTP code and Status reason), `fields` (also the causes' reasons and
field paths, and the number of warnings), `full` (also the body, without messages and what differs from run to run) and
`exact` (also the messages).
"""

from __future__ import annotations

import json
import re
from collections import Counter
from typing import Any

LEVELS = ("code", "fields", "full", "exact")

# Another moment, another object, another build: present or absent counts, the value does not.
VOLATILE = {
    "uid", "creationTimestamp", "deletionTimestamp", "resourceVersion", "time", "lastTransitionTime", "lastUpdateTime",
    "firstTimestamp", "lastTimestamp", "startTime", "continue", "remainingItemCount", "lastPhaseTransitionTime",
}  # fmt: skip
# Neither counts: who built the server, where it listens, and what the recordings leave out.
IGNORED = {
    "managedFields", "gitCommit", "gitVersion", "buildDate", "goVersion", "compiler", "platform", "gitTreeState", "major",
    "minor", "emulationMajor", "emulationMinor", "minCompatibilityMajor", "minCompatibilityMinor",
    "serverAddressByClientCIDRs", "storageVersionHash",
}  # fmt: skip
UID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
TOKEN_VOLUME = re.compile(r"kube-api-access-[a-z0-9<>]{3,5}")
ADDRESS = re.compile(r"10(\.\d+){3}")
AGE = re.compile(r"(\d+[smhd])+|<unknown>|<invalid>|\d{4}-\d\d-\d\dT[\d:.]+Z")
NODE_PORT = re.compile(r":3\d{4}/")


def normalise(value: Any, messages: bool, *, top: bool = True) -> Any:
    """A body without what differs from run to run, and without messages unless they are wanted."""
    if isinstance(value, dict):
        out = {
            name: _field(name, item, messages)
            for name, item in value.items()
            if name not in IGNORED and (messages or name != "message")
        }
        if top and out.get("metadata") == {}:
            del out["metadata"]
        return out
    if isinstance(value, list):
        return [normalise(item, messages, top=False) for item in value]
    if isinstance(value, str):
        return UID.sub("<uid>", TOKEN_VOLUME.sub("kube-api-access-<5>", value))
    return value


def _field(name: str, value: Any, messages: bool) -> Any:
    if name in VOLATILE and value != "" and isinstance(value, str | int):
        return "<v>"
    if name == "clusterIP" and value not in ("", "None") and isinstance(value, str):
        return "<ip>"
    if name == "clusterIPs" and value and value[0] != "None":
        return ["<ip>"]
    if name == "nodePort" and value:
        return "<port>"
    if name == "columnDefinitions":
        return [[each.get("name"), each.get("type"), each.get("format", ""), each.get("priority", 0)] for each in value]
    if name == "rows":
        return [normalise([_cell(cell) for cell in row["cells"]], messages, top=False) for row in value]
    return normalise(value, messages, top=False)


def _cell(cell: Any) -> Any:
    if ADDRESS.fullmatch(str(cell)):
        return "<ip>"
    if AGE.fullmatch(str(cell)):
        return "<age>"
    return NODE_PORT.sub(":<port>/", cell) if isinstance(cell, str) else cell


def cause_counts(body: Any) -> Counter[tuple[Any, Any]]:
    """Reasons and field paths of a Status."""
    details = (body.get("details") or {}) if isinstance(body, dict) else {}
    return Counter((cause.get("reason"), cause.get("field")) for cause in details.get("causes") or [])


def agreement(want: dict[str, Any], code: int, body: Any, warnings: list[str]) -> dict[str, bool]:
    """The levels on which an answer agrees with a recorded response."""
    expected = want["body"]
    objects = isinstance(expected, dict) and isinstance(body, dict)
    # Plain text says the same in other words.
    texts = isinstance(expected, str) and isinstance(body, str)
    level = {"code": want["code"] == code and (not objects or expected.get("reason") == body.get("reason"))}
    same_causes = cause_counts(expected) == cause_counts(body)
    level["fields"] = level["code"] and same_causes and len(want.get("warnings") or []) == len(warnings)
    level["full"] = level["fields"] and (texts or normalise(expected, False) == normalise(body, False))
    level["exact"] = level["full"] and (texts or normalise(expected, True) == normalise(body, True))
    return level


def differences(want: Any, got: Any, path: str = "") -> list[str]:
    """Where two normalised bodies differ."""
    if isinstance(want, dict) and isinstance(got, dict):
        found = []
        for name in dict.fromkeys([*want, *got]):
            here = f"{path}.{name}" if path else name
            if name not in want:
                found.append(f"{here}: unexpected {json.dumps(got[name])[:80]}")
            elif name not in got:
                found.append(f"{here}: missing {json.dumps(want[name])[:80]}")
            else:
                found += differences(want[name], got[name], here)
        return found
    if isinstance(want, list) and isinstance(got, list) and len(want) == len(got):
        return [
            line for i, (a, b) in enumerate(zip(want, got, strict=True)) for line in differences(a, b, f"{path}[{i}]")
        ]
    return [] if want == got else [f"{path}: want {json.dumps(want)[:110]} got {json.dumps(got)[:110]}"]


def explain(want: dict[str, Any], answer: tuple[int, Any, list[str]], level: str) -> list[str]:
    """Why an answer does not agree."""
    code, body, warnings = answer
    if want["code"] != code:
        message = str(body.get("message", "")) if isinstance(body, dict) else body[-300:]
        wish = str(want["body"].get("message", "")) if isinstance(want["body"], dict) else str(want["body"])
        return [f"code: want {want['code']} {wish[:200]!r}", f"      got  {code} {message[:300]!r}"]
    missing = cause_counts(want["body"]) - cause_counts(body)
    extra = cause_counts(body) - cause_counts(want["body"])
    lines = [f"cause missing: {cause} x{n}" for cause, n in missing.items()]
    lines += [f"cause extra: {cause} x{n}" for cause, n in extra.items()]
    if len(want.get("warnings") or []) != len(warnings):
        lines.append(f"warnings: want {want.get('warnings')} got {warnings}")
    return lines or differences(normalise(want["body"], level == "exact"), normalise(body, level == "exact"))[:8]
