"""Which server a Node probably is, from what the Node object says, and how sure that is.

In this order: a whole model in an annotation (ServerModels end there too), idle and full-load watts in annotations, a
server of the catalogue named by the instance type, a CPU named by some label, and the prior by thread count, which is
also what the scheduler takes. What is guessed is labelled estimated.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from sparsam.power.calibration import Peers, estimate
from sparsam.power.catalogue import population_for, populations, profiles
from sparsam.power.description import Description
from sparsam.power.model import ServerModel, decode, encode
from sparsam.power.nodemodel import node_model
from sparsam.power.server import IDLE_ANNOTATION, MAX_ANNOTATION, MODEL_ANNOTATION
from sparsam.scheduling.powercolumns import UNKNOWN_ERROR_RATIO
from sparsam.simulation.fleet import INSTANCE_LABEL
from sparsam.units import parse_bytes, parse_millicores

Obj = Mapping[str, Any]

THREADS_PER_CORE = 2
"""Of servers that name their CPU and not its cores; all server CPUs of the catalogue since 2012 have two."""
SLICE_RATIO = 0.5
"""A node with a smaller share of a CPU's threads is a virtual machine, and its CPU's name says little of its watts."""
_NAMES_CPU = re.compile(r"cpu|processor", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Guess:
    """The power model of a node and where it is from."""

    model: ServerModel
    sureness: str
    """`model`, `stated`, `catalogue`, `cpu` or `prior`, the surest first."""
    kind: str
    """What nodes of the same hardware are called: they share the model and its error."""
    error_stated: bool
    """Whether the model states its own error; else the scheduler's assumption stands in."""

    @property
    def idle_error_ratio(self) -> float:
        """What nine of ten errors of the idle watts stay below."""
        return self._error(0.0)

    @property
    def load_error_ratio(self) -> float:
        """The same at full load."""
        return self._error(1.0)

    def _error(self, load: float) -> float:
        if not self.error_stated:
            return UNKNOWN_ERROR_RATIO
        low, high = self.model.interval(load)
        watts = self.model.watts(load)
        return (high - low) / 2.0 / watts if watts > 0.0 else 0.0


def guess(node: Obj) -> Guess:
    """The server that a Node with a capacity or allocatable amounts is taken for."""
    metadata = node["metadata"]
    annotations, labels = metadata.get("annotations") or {}, metadata.get("labels") or {}
    threads, memory_bytes = _size(node)
    model, sureness = _model(annotations, labels, threads, memory_bytes)
    return Guess(model, sureness, _kind(labels, model, threads, memory_bytes), bool(model.error_by_level))


def with_guess(node: Obj) -> Obj:
    """The node with its guessed model where it states none, for whoever reads the annotation alone."""
    annotations = node["metadata"].get("annotations") or {}
    found = guess(node)
    if found.sureness not in ("catalogue", "cpu"):
        return node
    written = {**annotations, MODEL_ANNOTATION: encode(found.model).decode()}
    return {**node, "metadata": {**node["metadata"], "annotations": written}}


def threads_of(node: Obj) -> float:
    """Hardware threads of a node, those that its own daemons keep included."""
    return _size(node)[0]


def _size(node: Obj) -> tuple[float, int]:
    status = node.get("status") or {}
    amounts = {**(status.get("allocatable") or {}), **(status.get("capacity") or {})}
    return max(parse_millicores(amounts.get("cpu", "1")) / 1000.0, 1.0), parse_bytes(amounts.get("memory", "0"))


def _model(
    annotations: Mapping[str, str], labels: Mapping[str, str], threads: float, memory_bytes: int
) -> tuple[ServerModel, str]:
    if MODEL_ANNOTATION in annotations and _is_sound(annotations[MODEL_ANNOTATION]):
        return node_model(annotations, threads), "model"
    if IDLE_ANNOTATION in annotations and MAX_ANNOTATION in annotations:
        stated = node_model(annotations, threads)
        return stated, "prior" if stated.estimated else "stated"
    described = _described(labels.get(INSTANCE_LABEL, ""), memory_bytes)
    if described is not None:
        return _estimated(described), "catalogue"
    for name in (*_cpu_texts(labels), *_cpu_texts(annotations)):
        if cpu := known_cpu(name):
            described = _of_cpu(cpu, threads, memory_bytes)
            if described is not None:
                return _estimated(described), "cpu"
    return node_model({}, threads), "prior"


def _is_sound(text: str) -> bool:
    try:
        decode(text.encode())
    except ValueError:
        return False
    return True


def _described(instance_type: str, memory_bytes: int) -> Description | None:
    found = next((each for each in profiles() if each.name == instance_type), None)
    if found is None:
        return None
    return Description(
        cpu_name=found.cpu_name,
        chips=found.chips,
        cores=found.cores,
        threads=found.threads,
        memory_gb=_gibibytes(memory_bytes) or found.memory_gb,
    )


def _of_cpu(cpu: str, threads: float, memory_bytes: int) -> Description | None:
    per_chip = populations().population("node").encoding.typical[cpu].cores_per_chip
    if not threads >= SLICE_RATIO * THREADS_PER_CORE * per_chip:
        return None
    cores = threads / THREADS_PER_CORE
    return Description(cpu_name=cpu, cores=cores, threads=threads, memory_gb=_gibibytes(memory_bytes) or None)


@cache
def _estimated(described: Description) -> ServerModel:
    return estimate(Peers(population_for(described), described), date="")


def known_cpu(text: str) -> str:
    """The CPU of the catalogue's servers that a text names, by its key; empty when it names none.

    Labels hold no blanks, so words are compared: `Intel-Xeon-E5-2660-v4` is `xeon e5-2660 v4`, not the first
    `xeon e5-2660`.
    """
    words = tuple(re.findall(r"[a-z0-9]+", text.lower()))
    for key, wanted in _cpu_words():
        for start in range(len(words) - len(wanted) + 1):
            after = words[start + len(wanted) : start + len(wanted) + 1]
            if words[start : start + len(wanted)] == wanted and not re.fullmatch(r"v\d", "".join(after)):
                return key
    return ""


@cache
def _cpu_words() -> list[tuple[str, tuple[str, ...]]]:
    """The words of each CPU that has a number, the longest first; the brand goes where more than a number is left."""
    found = []
    for key in populations().population("node").cpus:
        words = tuple(re.findall(r"[a-z0-9]+", key))
        if words[0] == "xeon" and len(words) > 2:
            words = words[1:]
        if any(re.search(r"\d", word) for word in words) and len(words) > 1:
            found.append((key, words))
    return sorted(found, key=lambda each: (-len(each[1]), each[0]))


def _cpu_texts(texts: Mapping[str, str]) -> list[str]:
    return [value for name, value in sorted(texts.items()) if _NAMES_CPU.search(name)]


def _gibibytes(memory_bytes: int) -> float:
    """Whole ones: what a machine reports as its memory is a little less than what is in it."""
    return float(round(memory_bytes / (1 << 30)))


def _kind(labels: Mapping[str, str], model: ServerModel, threads: float, memory_bytes: int) -> str:
    name = labels.get(INSTANCE_LABEL) or labels.get("beta.kubernetes.io/instance-type") or ""
    size = f"{threads:g} CPUs, {_gibibytes(memory_bytes):g} GiB"
    watts = f"{model.idle_watts:.0f} to {model.max_watts:.0f} W"
    return f"{name} ({size}, {watts})" if name else f"{size}, {watts}"
