"""What was metered, in the forms that others read: Prometheus' text, a NodePower's status, plain JSON. Pure.

Few series by default: fifteen for each node and two for each pod. Containers have theirs only on demand.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from sparsam.hardware.meter import Gap, Provenance
from sparsam.metering.node import Metered, PodPower
from sparsam.power.learned import encode
from sparsam.power.online import Trust

Obj = dict[str, Any]
Sample = tuple[Mapping[str, str], float]

FAMILIES = {
    "sparsam_node_power_watts": ("gauge", "Watts of the whole node, and where they come from."),
    "sparsam_node_power_error_ratio": (
        "gauge",
        "Half width of the 95 % interval of the node's watts, as a share of them.",
    ),
    "sparsam_node_part_watts": ("gauge", "Parts of the node's watts: idle, pods, system, unattributed."),
    "sparsam_node_energy_joules_total": ("counter", "Energy of the node, by the same parts."),
    "sparsam_node_energy_gap_seconds_total": ("counter", "Time for which no energy was counted."),
    "sparsam_node_utilization_ratio": ("gauge", "CPU utilization of the node, 0 to 1."),
    "sparsam_node_model_watts": ("gauge", "Watts that the node's learned model expects at its utilization."),
    "sparsam_node_model_error_ratio": ("gauge", "Root mean square of that model's recent errors."),
    "sparsam_node_model_trust": ("gauge", "0 ok, 1 drifting, 2 out of tolerance, 3 unknown."),
    "sparsam_node_component_watts": ("gauge", "Measured watts of a component, such as package-0."),
    "sparsam_node_residual_ratio": ("gauge", "The chosen power source less another one, as a share of the other."),
    "sparsam_node_source_gap": ("gauge", "1 for a power source that gives no number, with the reason."),
    "sparsam_node_inlet_celsius": ("gauge", "Temperature of the air that the node takes in."),
    "sparsam_meter_power_watts": ("gauge", "Estimated watts of metering itself."),
    "sparsam_pod_power_watts": ("gauge", "Watts that a pod's load draws; idle watts belong to no pod."),
    "sparsam_pod_energy_joules_total": ("counter", "Energy of the same."),
    "sparsam_pod_requests_total": ("counter", "Requests that a pod's own counter tells."),
    "sparsam_pod_joules_per_request": ("gauge", "Energy of a pod's load for each request, over the last minute."),
    "sparsam_container_power_watts": ("gauge", "Watts that a container's load draws."),
}


def prometheus(metered: Metered, *, containers: bool = False) -> str:
    """Prometheus' text format, version 0.0.4."""
    samples: dict[str, list[Sample]] = {name: [] for name in FAMILIES}
    for name, labels, value in _node_samples(metered):
        samples[name].append((labels, value))
    for pod in metered.pods:
        labels = {"node": metered.node, "namespace": pod.namespace, "pod": pod.name}
        samples["sparsam_pod_power_watts"].append((labels, pod.watts))
        samples["sparsam_pod_energy_joules_total"].append((labels, pod.joules))
        if pod.requests is not None:
            counter = {**labels, "counter": pod.requests.counter}
            samples["sparsam_pod_requests_total"].append((counter, pod.requests.total))
            if pod.requests.joules_each is not None:
                samples["sparsam_pod_joules_per_request"].append((counter, pod.requests.joules_each))
        if containers:
            for name, watts in pod.containers.items():
                samples["sparsam_container_power_watts"].append(({**labels, "container": name}, watts))
    return "".join(_family(name, found) for name, found in samples.items() if found)


def _node_samples(metered: Metered) -> Iterator[tuple[str, Mapping[str, str], float]]:
    node = {"node": metered.node}
    reading = metered.reading
    if reading is not None:
        where = {
            "source": reading.source,
            "covers": reading.domain.value,
            "provenance": reading.provenance.value,
        }
        yield "sparsam_node_power_watts", {**node, **where}, reading.watts
        yield "sparsam_node_power_error_ratio", node, reading.uncertainty_ratio
        for part, watts in metered.parts.items():
            yield "sparsam_node_part_watts", {**node, "part": part}, watts
    for part, joules in metered.joules.items():
        yield "sparsam_node_energy_joules_total", {**node, "part": part}, joules
    yield "sparsam_node_energy_gap_seconds_total", node, metered.gap_seconds
    yield "sparsam_node_utilization_ratio", node, metered.utilization
    yield "sparsam_node_model_watts", node, metered.model.watts
    yield "sparsam_node_model_error_ratio", node, metered.model.error_ratio
    yield "sparsam_node_model_trust", {**node, "trust": metered.model.trust.label}, float(metered.model.trust)
    for component, watts in metered.power.parts.items():
        yield "sparsam_node_component_watts", {**node, "component": component}, watts
    for check in metered.power.checks:
        if check.same_domain:
            yield "sparsam_node_residual_ratio", {**node, "other": check.other.source}, check.residual_ratio
    for gap in metered.power.gaps:
        yield "sparsam_node_source_gap", {**node, "source": gap.source, "fault": gap.fault.value}, 1.0
    if metered.inlet_celsius is not None:
        yield "sparsam_node_inlet_celsius", node, metered.inlet_celsius
    yield "sparsam_meter_power_watts", node, metered.power.own.watts


def _family(name: str, samples: Iterable[Sample]) -> str:
    kind, text = FAMILIES[name]
    lines = (f"{name}{_labels(labels)} {value!r}\n" for labels, value in samples)
    return f"# HELP {name} {text}\n# TYPE {name} {kind}\n" + "".join(lines)


def _labels(labels: Mapping[str, str]) -> str:
    return "{" + ",".join(f'{key}="{_escaped(value)}"' for key, value in labels.items()) + "}"


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def node_power_status(metered: Metered) -> Obj:
    """`status` of the node's NodePower object."""
    reading, power = metered.reading, metered.power
    status: Obj = {
        "time": metered.time,
        "joules": round(sum(metered.joules.values()), 1),
        "intervalSeconds": round(metered.seconds, 1),
        "meterWatts": round(power.own.watts, 3),
        "utilization": round(metered.utilization, 4),
        "model": _model_status(metered),
        "note": _note(metered),
        "pods": [
            {
                "namespace": pod.namespace,
                "name": pod.name,
                "uid": pod.uid,
                "watts": round(pod.watts, 3),
                "joules": round(pod.joules, 1),
                "cpuCores": round(pod.cpu_cores, 4),
            }
            for pod in metered.pods
            if pod.namespace
        ],
    }
    if metered.inlet_celsius is not None:
        status["inletCelsius"] = round(metered.inlet_celsius, 1)
    if metered.cpu_pressure is not None:
        status["cpuPressure"] = round(metered.cpu_pressure, 4)
    if reading is None:
        return status
    status |= {
        "watts": round(reading.watts, 3),
        "idleWatts": round(metered.parts["idle"], 3),
        "podWatts": round(metered.parts["pods"], 3),
        "systemWatts": round(metered.parts["system"], 3),
        "unattributedWatts": round(metered.parts["unattributed"], 3),
        "source": reading.source,
        "covers": reading.domain.value,
        "provenance": reading.provenance.value,
        "errorRatio": round(reading.uncertainty_ratio, 4),
    }
    check = next((each for each in power.checks if each.same_domain), None)
    if check is not None:
        status["crossCheck"] = {
            "source": check.other.source,
            "watts": round(check.other.watts, 3),
            "residualRatio": round(-check.residual_watts / reading.watts, 4) if reading.watts else 0.0,
        }
    return status


def _model_status(metered: Metered) -> Obj:
    model = metered.model
    status: Obj = {
        "source": metered.model_source,
        "trust": model.trust.label,
        "watts": round(model.watts, 3),
        "errorRatio": round(model.error_ratio, 4),
        "readings": model.readings,
    }
    learned = model.learned if model.readings else None
    if learned is not None:
        status["learned"] = encode(learned).decode()
    return status


def _note(metered: Metered) -> str:
    power = metered.power.power
    if isinstance(power, Gap):
        return f"no power reading: {power}"
    estimated = power.provenance is Provenance.ESTIMATED
    trust = metered.model.trust
    doubted = trust in (Trust.DRIFTING, Trust.OUT_OF_TOLERANCE)
    parts = [
        power.note,
        f"model: {metered.model_source}" if estimated else "",
        f"the model is {trust.label.replace('_', ' ')}: calibrate again" if doubted else "",
    ]
    if metered.machine_nodes > 1:
        parts.append(f"the whole machine, which {metered.machine_nodes} nodes share")
    return "; ".join(filter(None, parts))


def _requests(pod: PodPower) -> Obj:
    rate = pod.requests
    if rate is None:
        return {}
    found = {
        "counter": rate.counter,
        "total": rate.total,
        "perSecond": round(rate.per_second, 4),
        "windowSeconds": round(rate.window_seconds, 1),
    }
    return {"requests": found if rate.joules_each is None else {**found, "joulesPerRequest": rate.joules_each}}


def as_json(metered: Metered) -> Obj:
    """Everything, for people and programs that look at one node; pods of unknown name go by their uid."""
    status = node_power_status(metered)
    status["pods"] = [
        {
            "namespace": pod.namespace,
            "name": pod.name,
            "uid": pod.uid,
            "watts": round(pod.watts, 3),
            "joules": round(pod.joules, 1),
            "cpuCores": round(pod.cpu_cores, 4),
            "memoryBytes": pod.memory_bytes,
            "containers": {name: round(watts, 3) for name, watts in pod.containers.items()},
            **_requests(pod),
        }
        for pod in metered.pods
    ]
    return {
        "node": metered.node,
        "gaps": [str(gap) for gap in (*metered.power.gaps, *metered.absent)],
        **status,
    }
