"""From the API's objects to the snapshot's columns. What cannot be read is said and left out; the rest goes on."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from sparsam.client.informer import DELETED
from sparsam.controllers.scheduling.placers import Placers
from sparsam.objects.kinds import (
    CONFIGMAPS,
    CSIDRIVERS,
    CSINODES,
    CSISTORAGECAPACITIES,
    NAMESPACES,
    NODEPOWERS,
    NODES,
    PERSISTENTVOLUMECLAIMS,
    PERSISTENTVOLUMES,
    PODDISRUPTIONBUDGETS,
    PODS,
    POWERPOLICIES,
    REPLICASETS,
    REPLICATIONCONTROLLERS,
    SERVICES,
    STATEFULSETS,
    STORAGECLASSES,
    Resource,
)
from sparsam.power.server import MODEL_ANNOTATION
from sparsam.scheduling.backlog import Change
from sparsam.scheduling.powerpolicy import read_power_policy
from sparsam.scheduling.preemption import Budgets
from sparsam.scheduling.snapshot import ENDED, Snapshot

INSTANCE_LABEL = "node.kubernetes.io/instance-type"

log = logging.getLogger(__name__)

Obj = dict[str, Any]

SELECTING = (SERVICES, REPLICASETS, STATEFULSETS, REPLICATIONCONTROLLERS)
"""Their pods are spread, unless the pods say how themselves."""
STORAGE = (
    PERSISTENTVOLUMES,
    PERSISTENTVOLUMECLAIMS,
    STORAGECLASSES,
    CSINODES,
    CSIDRIVERS,
    CSISTORAGECAPACITIES,
)
NEEDED = (NODES, PODS, NAMESPACES, *SELECTING, PODDISRUPTIONBUDGETS, *STORAGE)
"""Without these nothing can be decided."""
POWER = (NODEPOWERS, POWERPOLICIES)
WELCOME = (*POWER, CONFIGMAPS)
"""A cluster may do without."""


class Feed:
    """Takes objects over into a snapshot, budgets and placers."""

    def __init__(self, snapshot: Snapshot, budgets: Budgets, placers: Placers) -> None:
        self.snapshot, self.budgets, self._placers = snapshot, budgets, placers
        self._takers: dict[Resource, Callable[[str, Obj, Obj | None], Change | None]] = {
            NODES: self._node,
            PODS: self._pod,
            NAMESPACES: self._namespace,
            **{resource: self._selecting(resource) for resource in SELECTING},
            PODDISRUPTIONBUDGETS: self._budget,
            **{resource: self._stored(resource) for resource in STORAGE},
            NODEPOWERS: self._power,
            POWERPOLICIES: self._policy,
            CONFIGMAPS: self._server_models,
        }
        self._nodes: dict[str, Obj] = {}
        self._models: dict[str, str] = {}
        """Power models by node name or instance type, for nodes that are not annotated with one."""

    def take(self, resource: Resource, kind: str, obj: Obj, old: Obj | None = None) -> Change | None:
        """Take over one change (ADDED, MODIFIED or DELETED); returns what it may mean for pods that wait."""
        try:
            return self._takers[resource](kind, obj, old)
        except (ValueError, KeyError, TypeError) as error:
            log.warning("left out %s=%s error=%s", resource.kind.lower(), _name(obj), error or type(error).__name__)
            return None

    def _node(self, kind: str, node: Obj, old: Obj | None) -> Change | None:
        if kind == DELETED:
            self._nodes.pop(node["metadata"]["name"], None)
            self.snapshot.remove_node(node["metadata"]["name"])
            return Change.NODE
        self._nodes[node["metadata"]["name"]] = node
        if old is not None and _node_facts(old) == _node_facts(node):
            return None
        self.snapshot.set_node(self._modelled(node))
        return Change.NODE

    def _modelled(self, node: Obj) -> Obj:
        """The node with the model that others state for it, unless it states one itself."""
        metadata = node["metadata"]
        names = (metadata["name"], (metadata.get("labels") or {}).get(INSTANCE_LABEL, ""))
        model = next((self._models[name] for name in names if name in self._models), None)
        annotations = metadata.get("annotations") or {}
        if model is None or MODEL_ANNOTATION in annotations:
            return node
        return {**node, "metadata": {**metadata, "annotations": {**annotations, MODEL_ANNOTATION: model}}}

    def _server_models(self, kind: str, config_map: Obj, _: Obj | None) -> Change:
        self._models = {} if kind == DELETED else config_map.get("data") or {}
        for node in self._nodes.values():
            self.snapshot.set_node(self._modelled(node))
        return Change.NODE

    def _pod(self, kind: str, pod: Obj, old: Obj | None) -> Change | None:
        key = _name(pod)
        placed = bool(pod["spec"].get("nodeName"))
        if kind == DELETED or _ended(pod):
            self.snapshot.nominees.pop(key, None)
            known = self.snapshot.resident(key) is not None
            self.snapshot.remove_pod(key)
            self.snapshot.storage.break_promises(key)
            return Change.POD_GONE if known or placed else None
        if not placed or (old is not None and _pod_facts(old) == _pod_facts(pod)):
            return None
        self.snapshot.nominees.pop(key, None)
        resident = self.snapshot.resident(key)
        stays = resident is not None and resident.node == pod["spec"]["nodeName"]
        if stays and old is not None and _asks_the_same(old, pod):
            self.snapshot.confirm(pod)
        else:
            self.snapshot.set_pod(pod)
        return Change.POD_PLACED

    def _namespace(self, kind: str, namespace: Obj, _: Obj | None) -> Change:
        labels = {} if kind == DELETED else namespace["metadata"].get("labels") or {}
        self.snapshot.population.set_namespace(namespace["metadata"]["name"], labels)
        return Change.NAMESPACE

    def _selecting(self, resource: Resource) -> Callable[[str, Obj, Obj | None], Change | None]:
        def take(kind: str, obj: Obj, old: Obj | None) -> None:
            obj = {**obj, "kind": resource.kind}  # objects of a list do not say what they are
            if kind == DELETED:
                self.snapshot.remove_selector(obj)
            elif old is None or old.get("spec", {}).get("selector") != obj.get("spec", {}).get("selector"):
                self.snapshot.set_selector(obj)

        return take

    def _budget(self, kind: str, budget: Obj, _: Obj | None) -> None:
        if kind == DELETED:
            self.budgets.remove(budget["metadata"]["namespace"], budget["metadata"]["name"])
        else:
            self.budgets.put(budget)

    def _stored(self, resource: Resource) -> Callable[[str, Obj, Obj | None], Change]:
        storage = self.snapshot.storage
        sets: dict[Resource, Callable[[Obj], None]] = {
            PERSISTENTVOLUMES: storage.set_volume,
            PERSISTENTVOLUMECLAIMS: storage.set_claim,
            STORAGECLASSES: storage.set_class,
            CSINODES: storage.set_limits,
            CSIDRIVERS: storage.set_driver,
            CSISTORAGECAPACITIES: storage.set_capacity,
        }
        removes: dict[Resource, Callable[..., None]] = {
            PERSISTENTVOLUMES: storage.remove_volume,
            PERSISTENTVOLUMECLAIMS: storage.remove_claim,
            STORAGECLASSES: storage.remove_class,
            CSINODES: storage.remove_limits,
            CSIDRIVERS: storage.remove_driver,
            CSISTORAGECAPACITIES: storage.remove_capacity,
        }

        def take(kind: str, obj: Obj, _: Obj | None) -> Change:
            if kind == DELETED:
                removes[resource](*_name(obj).split("/"))
            else:
                sets[resource](obj)
            return Change.VOLUME

        return take

    def _power(self, kind: str, power: Obj, _: Obj | None) -> None:
        status = None if kind == DELETED else power.get("status")
        self.snapshot.set_power(power["metadata"]["name"], status)
        for each in (status or {}).get("pods") or ():
            resident = self.snapshot.resident(f"{each.get('namespace')}/{each.get('name')}")
            if resident is not None and "cpuCores" in each:
                self.snapshot.usage.observe(resident.demand, 1000.0 * float(each["cpuCores"]))

    def _policy(self, kind: str, policy: Obj, _: Obj | None) -> None:
        if kind == DELETED:
            self._placers.remove_policy(policy["metadata"]["name"])
        else:
            self._placers.set_policy(read_power_policy(policy))


def _asks_the_same(old: Obj, pod: Obj) -> bool:
    """Whether nothing but the node has changed of what a pod's demand is compiled from."""
    before, after = dict(old["spec"]), dict(pod["spec"])
    before.pop("nodeName", None)
    after.pop("nodeName", None)
    return before == after and all(
        old["metadata"].get(name) == pod["metadata"].get(name) for name in ("uid", "labels", "ownerReferences")
    )


def _ended(pod: Obj) -> bool:
    return (pod.get("status") or {}).get("phase") in ENDED


def _node_facts(node: Obj) -> tuple[Any, ...]:
    """What placement depends on: a heartbeat changes none of it."""
    metadata, status = node["metadata"], node.get("status") or {}
    facts = (status.get("allocatable"), status.get("images"))
    return (node.get("spec"), *facts, metadata.get("labels"), metadata.get("annotations"))


def _pod_facts(pod: Obj) -> tuple[Any, ...]:
    metadata = pod["metadata"]
    started = (pod.get("status") or {}).get("startTime")
    return (pod["spec"], metadata.get("labels"), "deletionTimestamp" in metadata, started)


def _name(obj: Obj) -> str:
    metadata = obj["metadata"]
    namespace = metadata.get("namespace")
    return f"{namespace}/{metadata['name']}" if namespace else str(metadata["name"])
