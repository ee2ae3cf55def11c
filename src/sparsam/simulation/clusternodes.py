"""The nodes of a cluster that exists, made ready for a twin: what belongs to a node goes into the node.

Pods of DaemonSets, static pods, and use that no pod explains make a node's idle watts higher and its room smaller,
since they come and go with it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from sparsam.power.model import ServerModel, encode, fit_model
from sparsam.power.server import MODEL_ANNOTATION
from sparsam.scheduling.curvetables import STEPS
from sparsam.scheduling.demand import amount_of
from sparsam.scheduling.powercolumns import SLEEP_ANNOTATION
from sparsam.simulation.fleet import BadFleet, from_nodes
from sparsam.simulation.guess import threads_of

Obj = Mapping[str, Any]

CONTROL_PLANE_LABELS = ("node-role.kubernetes.io/control-plane", "node-role.kubernetes.io/master")
MOMENTARY_TAINT = "node.kubernetes.io/"
OWN_LOAD_STEPS = 100
"""Load of a node's own pods is rounded to such steps, so that equal servers keep sharing a curve."""

LEAST_WATTS = 0.001
"""A model has to be above zero."""


@dataclass(frozen=True, slots=True)
class OwnLoad:
    """What a node's own pods and its system take of it."""

    cores: float = 0.0
    """That they use."""
    requests: Mapping[str, int] = field(default_factory=dict)
    """Amounts that the pods ask for, and how many there are under `pods`."""


class EmptyCluster(ValueError):
    """There is nothing to replay; the message says why."""


def usable(nodes: Sequence[Obj], notes: list[str]) -> list[Obj]:
    """The nodes that are ready and state what they have; the rest is noted. Raises EmptyCluster where none is left."""
    if not nodes:
        raise EmptyCluster("the cluster has no nodes")
    ready = [node for node in nodes if _is_ready(node)]
    if len(ready) < len(nodes):
        notes.append(f"{len(nodes) - len(ready)} nodes that are not ready were left out")
    kept, why = [], ""
    for node in ready:
        try:
            from_nodes([node], "the cluster")
        except BadFleet as error:
            why = why or error.why
        else:
            kept.append(node)
    if not kept:
        raise EmptyCluster(f"no node can be used: {why or 'none is ready'}")
    if len(kept) < len(ready):
        notes.append(f"{len(ready) - len(kept)} nodes were left out: {why}")
    return kept


def _is_ready(node: Obj) -> bool:
    conditions = (node.get("status") or {}).get("conditions") or ()
    return all(each.get("status") == "True" for each in conditions if each.get("type") == "Ready")


def prepared(node: Obj, model: ServerModel, own: OwnLoad, *, sleep: str, labels: Mapping[str, str]) -> Obj:
    """The node with its own pods in its watts and out of its room; `sleep` is how it sleeps if it does not say.

    Nodes of the control plane never sleep. Taints that tell of a moment's state go.
    """
    metadata, status, spec = node["metadata"], node["status"], node.get("spec") or {}
    left = {}
    for name, text in status["allocatable"].items():
        amount = max(amount_of(name, text) - own.requests.get(name, 0), 1 if name == "cpu" else 0)
        left[name] = f"{amount}m" if name == "cpu" else str(amount)
    cores = amount_of("cpu", left["cpu"]) / 1000.0
    model = with_own_load(model, own.cores, cores, threads_of(node))
    annotations = {**(metadata.get("annotations") or {}), MODEL_ANNOTATION: encode(model).decode()}
    stays = any(name in (metadata.get("labels") or {}) for name in CONTROL_PLANE_LABELS)
    if stays:
        annotations.pop(SLEEP_ANNOTATION, None)
    else:
        annotations.setdefault(SLEEP_ANNOTATION, sleep)
    taints = [each for each in spec.get("taints") or () if not str(each.get("key", "")).startswith(MOMENTARY_TAINT)]
    return {
        "metadata": {**metadata, "annotations": annotations, "labels": {**(metadata.get("labels") or {}), **labels}},
        "spec": {**spec, "taints": taints},
        "status": {**status, "allocatable": left},
    }


def with_own_load(model: ServerModel, own_cores: float, left_cores: float, threads: float) -> ServerModel:
    """The model over the load of pods that are free to move, as a share of the room that they have.

    Between them the loads of the server are those from its own pods' upwards.
    """
    own = round(OWN_LOAD_STEPS * min(own_cores / threads, 1.0)) / OWN_LOAD_STEPS
    load = np.linspace(0.0, 1.0, STEPS + 1)
    at = np.minimum(own + load * left_cores / threads, 1.0)
    watts = model.curves().take(np.zeros(len(load), dtype=np.intp)).watts(at)
    points = fit_model(
        "piecewise", load, np.maximum.accumulate(np.maximum(watts, LEAST_WATTS)), source=model.source, date=model.date
    )
    return ServerModel(
        family=points.family,
        coefficients=points.coefficients,
        load_range=model.load_range,
        error_by_level=model.error_by_level,
        source=model.source,
        date=model.date,
        estimated=True,
    )
