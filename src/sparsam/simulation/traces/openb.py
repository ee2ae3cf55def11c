"""The openb GPU cluster (alibaba/clusterdata, cluster-trace-gpu-v2023): its pods as a trace, its nodes as a fleet.

Cards are counted in thousandths beside whole ones, so shares and whole cards never add up to more than there are; that
a share must lie on one card is not modelled. Nodes have no known power, so the prior by thread count holds.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from sparsam.simulation.fleet import (
    GPU_LABEL,
    GPU_RESOURCE,
    GPU_SHARE_RESOURCE,
    HOSTNAME_LABEL,
    INSTANCE_LABEL,
    Fleet,
    gpu_amounts,
    parse_fleet,
)
from sparsam.simulation.trace import Obj, Trace
from sparsam.simulation.traces.rows import Arrival, BadField, Columns, Reading, Row, Source, Templates, number, pod

POD_COLUMNS = ("pod_name", "cpu_milli", "memory_mib", "num_gpu", "gpu_milli")
TIMES = ("creation_s", "scheduled_s", "deletion_s")
NODE_COLUMNS = ("node_name", "cpu_milli", "memory_mib", "gpu_count", "gpu_model")

PRIORITY = {"LS": 1000, "Guaranteed": 1000, "Burstable": 100, "BE": 0}
"""By `qos`. What serves people goes before what fills the rest; the steps are ours."""
SERVICES = ("LS", "Guaranteed")
WHOLE = 1000


def read_openb_pods(rows: Iterable[Row], file: str, *, lenient: bool = False) -> Reading:
    """Rows of openb_pods_*.csv.

    A pod stays for the time from its start to its deletion; one that never started, until its user gave it up. Files
    without times give pods that come a second apart, in the order of the file, and stay.
    """
    source, templates, columns = Source(file, lenient), Templates(), Columns()

    def parse(row: Row) -> Arrival:
        found = _arrival(row, templates, len(columns.template))
        source.once("pod_name", str(row["pod_name"]))
        return found

    for arrival in source.tabled(rows, parse, POD_COLUMNS):
        columns.add(arrival)
    return source.reading(columns.trace(file, templates))


def _arrival(row: Row, templates: Templates, place: int) -> Arrival:
    """`place` is how many pods came before."""
    service = row.get("qos", "LS") in SERVICES
    template = _template(row, templates)
    if TIMES[0] not in row:
        return Arrival(template, float(place), math.inf, batch=not service)
    created, deleted = number(row, "creation_s"), number(row, "deletion_s", math.inf)
    started = number(row, "scheduled_s", created)
    if started < created:
        raise BadField("scheduled_s", f"{started:g} is before creation_s {created:g}")
    if deleted < started:
        raise BadField("deletion_s", f"{deleted:g} is before the start at {started:g}")
    return Arrival(template, created, deleted - started, batch=not service)


def read_openb_nodes(rows: Iterable[Row], file: str) -> Fleet:
    """Rows of openb_nodes.csv; raises BadTrace for a row and BadFleet for nodes that overlap."""
    nodes = list(Source(file).tabled(rows, _node, NODE_COLUMNS))
    return parse_fleet({"name": "openb", "nodes": nodes}, file)


def without_cards(trace: Trace) -> Trace:
    """The same pods with CPU and memory alone: nobody asks for cards, and none waits for a model of them."""
    return replace(trace, templates=tuple(_bare(each) for each in trace.templates))


def _bare(template: Obj) -> Obj:
    spec = {name: value for name, value in template["spec"].items() if name != "affinity" or not _is_about_cards(value)}
    spec["containers"] = [_cardless(each) for each in spec["containers"]]
    return {**template, "spec": spec}


def _cardless(container: Obj) -> Obj:
    resources = {
        kind: {name: amount for name, amount in amounts.items() if name not in (GPU_RESOURCE, GPU_SHARE_RESOURCE)}
        for kind, amounts in (container.get("resources") or {}).items()
    }
    return {**container, "resources": resources}


def _is_about_cards(affinity: Obj) -> bool:
    required = (affinity.get("nodeAffinity") or {}).get("requiredDuringSchedulingIgnoredDuringExecution") or {}
    terms = required.get("nodeSelectorTerms") or ()
    keys = {each["key"] for term in terms for each in term.get("matchExpressions") or ()}
    return keys == {GPU_LABEL}


def _template(row: Row, templates: Templates) -> int:
    millicores, mebibytes = number(row, "cpu_milli"), number(row, "memory_mib")
    cards, share = number(row, "num_gpu"), number(row, "gpu_milli")
    if share > WHOLE or (share < WHOLE and cards > 1.0) or not cards.is_integer():
        raise BadField("gpu_milli", f"{share:g} of each of {cards:g} cards")
    models, qos = row.get("gpu_spec") or "", row.get("qos") or "LS"
    if qos not in PRIORITY:
        raise BadField("qos", f"{qos!r} is none of {', '.join(PRIORITY)}")
    key = (millicores, mebibytes, cards, share, models, qos)

    def make() -> Obj:
        requests = {"cpu": f"{millicores:.0f}m", "memory": f"{mebibytes:.0f}Mi"} | _cards(int(cards), int(share))
        return pod(requests, labels={"qos": qos}, spec={"priority": PRIORITY[qos]} | _affinity(models))

    return templates.number(key, make)


def _cards(cards: int, share: int) -> dict[str, str]:
    if share == WHOLE:
        return gpu_amounts(cards)
    return {GPU_SHARE_RESOURCE: str(share)} if cards and share else {}


def _affinity(models: str) -> dict[str, Any]:
    if not models:
        return {}
    wanted = {"key": GPU_LABEL, "operator": "In", "values": list(dict.fromkeys(models.split("|")))}
    terms = {"nodeSelectorTerms": [{"matchExpressions": [wanted]}]}
    return {"affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": terms}}}


def _node(row: Row) -> Obj:
    name, model = row["node_name"], row["gpu_model"]
    if not name:
        raise BadField("node_name", "is empty")
    millicores, mebibytes, cards = (int(number(row, column)) for column in NODE_COLUMNS[1:4])
    if bool(cards) != bool(model):
        raise BadField("gpu_model", f"{model!r} for {cards} cards")
    amounts = {"cpu": f"{millicores}m", "memory": f"{mebibytes}Mi", "pods": "110"} | gpu_amounts(cards)
    kind = f"openb-{millicores // 1000}c-{mebibytes // 1024}g" + (f"-{cards}x{model}" if cards else "")
    labels = {HOSTNAME_LABEL: name, INSTANCE_LABEL: kind} | ({GPU_LABEL: model} if model else {})
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": name, "labels": labels},
        "spec": {},
        "status": {"capacity": amounts, "allocatable": amounts},
    }
