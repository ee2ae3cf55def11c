"""Custom resources that are almost right, by every verb: refused or taken, never failed. SPARSAM_FUZZ_SEED chooses others."""

import asyncio
import copy
import os
import random
from typing import Any

import pytest

from tests.support.apiserver import serving
from tests.support.customresources import definition, version
from tests.support.http import http_client

SEED = os.environ.get("SPARSAM_FUZZ_SEED", "1")
ROUNDS = 120
WIDGETS = "/apis/example.com/{}/namespaces/default/widgets"
TYPES = {
    "json": "application/json-patch+json",
    "merge": "application/merge-patch+json",
    "apply": "application/apply-patch+yaml",
}
TABLE = "application/json;as=Table;g=meta.k8s.io;v=v1"
JUNK: tuple[Any, ...] = (
    *(None, True, 0, -1, 1.5, 10**30, "", "x", "\x00", [], {}, [None], [{}], [[]], {"a": None}, {"labels": []}),
)
TEXT, NUMBER = {"type": "string"}, {"type": "integer", "nullable": True}
PORT = {"type": "object", "required": ["port"], "properties": {"port": {"type": "integer"}, "name": TEXT}}
SPEC = {
    "ports": {"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["port"], "items": PORT},
    "set": {"type": "array", "x-kubernetes-list-type": "set", "items": TEXT},
    "embedded": {
        "type": "object",
        "x-kubernetes-embedded-resource": True,
        "x-kubernetes-preserve-unknown-fields": True,
    },
    "either": {"x-kubernetes-int-or-string": True},
    "map": {"type": "object", "additionalProperties": NUMBER},
    "open": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
    "n": {"type": "integer", "default": 2, "minimum": 1},
}
SCHEMA = {
    "type": "object",
    "properties": {
        "spec": {"type": "object", "properties": SPEC, "x-kubernetes-validations": [{"rule": "self.n < 100"}]},
        "status": {"type": "object", "properties": {"n": {"type": "integer"}, "text": TEXT}},
    },
}
PARTS = {"status": {}, "scale": {"specReplicasPath": ".spec.n", "statusReplicasPath": ".status.n"}}
COLUMNS = [
    {"name": "N", "type": "integer", "jsonPath": ".spec.n"},
    {"name": "P", "type": "string", "jsonPath": ".spec"},
]
GOOD: dict[str, Any] = {
    "kind": "Widget",
    "metadata": {"name": "w", "namespace": "default", "labels": {"a": "b"}, "finalizers": [], "ownerReferences": []},
    "spec": {
        "ports": [{"port": 1, "name": "a"}, {"port": 2}],
        "set": ["a", "b"],
        "embedded": {"apiVersion": "v1", "kind": "K", "metadata": {"name": "x"}, "more": [1]},
        "either": "50%",
        "map": {"a": 1, "b": None},
        "open": {"z": [1, {"y": 2}]},
        "n": 3,
    },
    "status": {"n": 1, "text": "x"},
}


def places(value: Any, holder: Any = None, step: Any = None) -> list[tuple[Any, Any]]:
    found = [] if holder is None else [(holder, step)]
    steps = list(value) if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()
    return found + [place for each in steps for place in places(value[each], value, each)]


def spoiled(value: Any, chance: random.Random) -> Any:
    """A copy with a few places removed or replaced."""
    value = copy.deepcopy(value)
    for _ in range(chance.randint(0, 2)):
        if known := places(value):
            holder, step = chance.choice(known)
            if chance.random() < 0.3:
                del holder[step]
            else:
                holder[step] = copy.deepcopy(chance.choice(JUNK))
    return value


@pytest.mark.timeout(200)
async def test_no_request_about_a_custom_resource_fails(tmp_path):
    chance, failures = random.Random(SEED), []
    versions = [version(each, SCHEMA, subresources=PARTS, additionalPrinterColumns=COLUMNS) for each in ("v1", "v2")]
    async with serving(tmp_path) as server, http_client(server) as http:

        async def ask(method: str, path: str, body: Any = None, **headers: str) -> None:
            code, answer = await http(method, path, body, **headers)
            if code >= 500 and "does not exist" not in str(answer):
                failures.append((method, path, body, answer))

        await http("POST", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions", definition(*versions))
        async with asyncio.timeout(30):
            while (await http("GET", WIDGETS.format("v2")))[0] != 200:
                await asyncio.sleep(0.02)
        for _ in range(ROUNDS):
            served = chance.choice(("v1", "v2"))
            path, body = WIDGETS.format(served), spoiled(GOOD | {"apiVersion": f"example.com/{served}"}, chance)
            one = f"{path}/w{chance.choice(('', '', '/status', '/scale'))}"
            await ask("POST", path + chance.choice(("", "?fieldValidation=Strict", "?dryRun=All")), body)
            await ask("PATCH", f"{one}?fieldManager=f&force=true", body, content_type=TYPES["apply"])
            await ask("PATCH", one, spoiled({"spec": GOOD["spec"], "status": {}}, chance), content_type=TYPES["merge"])
            operations = [{"op": "add", "path": "/spec/n", "value": 5}, {"op": "remove", "path": "/metadata/labels"}]
            await ask("PATCH", one, spoiled(operations, chance), content_type=TYPES["json"])
            await ask("PUT", one, body)
            await ask("GET", one)
            await ask("GET", path, accept=TABLE)
        for path in ("/openapi/v2", "/openapi/v3", "/openapi/v3/apis/example.com/v1", "/apis/example.com/v1"):
            await ask("GET", path)
    assert failures == []
