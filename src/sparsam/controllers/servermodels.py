"""Puts power models where everything reads them: a ServerModel's JSON becomes an annotation of its nodes.

The scheduler and the meters read the annotation alone, so that the same works on a cluster that has no ServerModel
objects. A model that does not hold up is refused in its status and reaches no node.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable

import msgspec

from sparsam.clock import format_time
from sparsam.controllers.runtime import Context, Controller, Key, Obj, own_key
from sparsam.errors import NotFound
from sparsam.objects.kinds import NODES, SERVERMODELS
from sparsam.power.model import from_json
from sparsam.power.server import MODEL_ANNOTATION

OWNER_ANNOTATION = "power.sparsam.dev/server-model-from"
"""Which ServerModel an annotation came from; one that somebody else wrote is left alone."""
EVERY_NODE: Key = ("", "")


def fault_of(model: Obj) -> str:
    """Why a ServerModel cannot be used; empty when it can."""
    spec = model.get("spec") or {}
    if bool(spec.get("nodeName")) == bool(spec.get("nodeSelector")):
        return "exactly one of spec.nodeName and spec.nodeSelector must be given"
    try:
        from_json(spec.get("model"))
    except ValueError as error:
        return str(error)
    return ""


def chosen(node: Obj, models: Iterable[Obj]) -> Obj | None:
    """The model of a node: the one with its name, else the first by name that selects its labels."""
    name, labels = node["metadata"]["name"], node["metadata"].get("labels") or {}
    fitting = [each for each in models if _fits(each["spec"], name, labels)]
    return min(fitting, key=lambda each: (not each["spec"].get("nodeName"), each["metadata"]["name"]), default=None)


def wanted_annotations(node: Obj, model: Obj | None) -> dict[str, str | None]:
    """What to change of a node's annotations; empty when all is as it should be."""
    present = node["metadata"].get("annotations") or {}
    owner = present.get(OWNER_ANNOTATION)
    if model is None:
        return {MODEL_ANNOTATION: None, OWNER_ANNOTATION: None} if owner else {}
    if MODEL_ANNOTATION in present and not owner:
        return {}
    wanted = {
        MODEL_ANNOTATION: msgspec.json.encode(model["spec"]["model"]).decode(),
        OWNER_ANNOTATION: model["metadata"]["name"],
    }
    return {key: value for key, value in wanted.items() if present.get(key) != value}


class ServerModels:
    """Keyed by node with an empty namespace; `EVERY_NODE` looks at the models themselves."""

    def __init__(self, context: Context) -> None:
        self._client = context.client
        self._clock = context.clock
        self._models = context.informer(SERVERMODELS)
        self._nodes = context.informer(NODES)
        self.controller = Controller("server-models", context, self.sync, workers=1)
        self.controller.watch(self._nodes, own_key)
        self.controller.watch(self._models, lambda _model: [EVERY_NODE])

    async def sync(self, key: Key) -> None:
        """Bring one node's annotations in order, or those of every node and then all models' statuses."""
        models = [each for each in self._models.items() if not fault_of(each)]
        if key != EVERY_NODE:
            node = self._nodes.get(*key)
            if node is None or await self._annotate(node, models):
                self.controller.queue.add(EVERY_NODE)
            return
        for node in self._nodes.items():
            await self._annotate(node, models)
        await self._report(models)

    async def _annotate(self, node: Obj, models: list[Obj]) -> bool:
        """Whether the node had to be changed."""
        changes = wanted_annotations(node, chosen(node, models))
        if changes:
            with contextlib.suppress(NotFound):
                await self._client.patch(NODES, node["metadata"]["name"], {"metadata": {"annotations": changes}})
        return bool(changes)

    async def _report(self, sound: list[Obj]) -> None:
        carriers: dict[str, list[str]] = {}
        for node in self._nodes.items():
            model = chosen(node, sound)
            if model is not None:
                carriers.setdefault(model["metadata"]["name"], []).append(node["metadata"]["name"])
        now = format_time(self._clock.now())
        for model in self._models.items():
            status = status_of(model, fault_of(model), sorted(carriers.get(model["metadata"]["name"], ())), now)
            if status != (model.get("status") or {}):
                with contextlib.suppress(NotFound):
                    name = model["metadata"]["name"]
                    await self._client.patch(SERVERMODELS, name, {"status": status}, subresource="status")


def status_of(model: Obj, fault: str, nodes: list[str], now: str) -> Obj:
    """The status that a model should have; a condition keeps its time while it stays as it is."""
    condition: Obj = {
        "type": "Accepted",
        "status": "False" if fault else "True",
        "reason": "Refused" if fault else "Valid",
        "message": fault or "the model holds up",
        "observedGeneration": model["metadata"].get("generation", 0),
    }
    before: Obj = next(iter((model.get("status") or {}).get("conditions") or ()), {})
    kept = before.get("lastTransitionTime") if before.get("status") == condition["status"] else None
    return {"conditions": [{**condition, "lastTransitionTime": kept or now}], "nodes": nodes}


def _fits(spec: Obj, name: str, labels: dict[str, str]) -> bool:
    if spec.get("nodeName"):
        return bool(spec["nodeName"] == name)
    return all(labels.get(key) == value for key, value in (spec.get("nodeSelector") or {}).items())
