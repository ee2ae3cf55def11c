"""Filters and scores that look at one node alone: taints, affinity, ports, images."""

from __future__ import annotations

from collections.abc import Iterable

from tests.support.twin.cluster import Cluster, Obj, expression_holds, labels_of, name_of

FULL = 100
MIB = 1024 * 1024
SMALLEST_IMAGES, LARGEST_IMAGE = 23 * MIB, 1000 * MIB
UNSCHEDULABLE: Obj = {"key": "node.kubernetes.io/unschedulable", "effect": "NoSchedule"}


def tolerates(toleration: Obj, taint: Obj) -> bool:
    """Whether one toleration covers one taint."""
    if toleration.get("effect") and toleration["effect"] != taint["effect"]:
        return False
    if toleration.get("key") and toleration["key"] != taint["key"]:
        return False
    operator = toleration.get("operator") or "Equal"
    if operator == "Exists":
        return True
    return operator == "Equal" and (toleration.get("value") or "") == (taint.get("value") or "")


def tolerated(pod: Obj, taint: Obj) -> bool:
    """Whether any of the pod's tolerations covers the taint."""
    return any(tolerates(each, taint) for each in pod["spec"].get("tolerations") or ())


def taints_of(node: Obj) -> list[Obj]:
    """The node's taints."""
    return (node.get("spec") or {}).get("taints") or []


def taints_allow(pod: Obj, node: Obj) -> bool:
    """Whether the pod tolerates each taint that keeps pods away."""
    return all(tolerated(pod, taint) for taint in taints_of(node) if taint["effect"] in ("NoSchedule", "NoExecute"))


def unschedulable(pod: Obj, node: Obj) -> bool:
    """Whether the node is cordoned for this pod."""
    return bool((node.get("spec") or {}).get("unschedulable")) and not tolerated(pod, UNSCHEDULABLE)


def disliked_taints(pod: Obj, node: Obj) -> int:
    """How many PreferNoSchedule taints the pod does not tolerate."""
    tolerations = [
        each for each in pod["spec"].get("tolerations") or () if each.get("effect") in (None, "", "PreferNoSchedule")
    ]
    return sum(
        not any(tolerates(each, taint) for each in tolerations)
        for taint in taints_of(node)
        if taint["effect"] == "PreferNoSchedule"
    )


def node_affinity(pod: Obj) -> Obj:
    """The pod's node affinity, perhaps empty."""
    return (pod["spec"].get("affinity") or {}).get("nodeAffinity") or {}


def term_matches(term: Obj, node: Obj) -> bool:
    """Whether a node selector term matches; an empty one matches nothing."""
    expressions, fields = term.get("matchExpressions") or [], term.get("matchFields") or []
    if not expressions and not fields:
        return False
    own_fields = {"metadata.name": name_of(node)}
    return all(expression_holds(each, labels_of(node)) for each in expressions) and all(
        expression_holds(each, own_fields) for each in fields
    )


def affinity_allows(pod: Obj, node: Obj) -> bool:
    """Whether nodeSelector and required node affinity both hold."""
    labels = labels_of(node)
    if any(labels.get(key) != value for key, value in (pod["spec"].get("nodeSelector") or {}).items()):
        return False
    required = node_affinity(pod).get("requiredDuringSchedulingIgnoredDuringExecution")
    return not required or any(term_matches(term, node) for term in required.get("nodeSelectorTerms") or ())


def named_nodes(pod: Obj) -> set[str] | None:
    """The nodes that matchFields name, None where any may be meant: others are not looked at."""
    required = node_affinity(pod).get("requiredDuringSchedulingIgnoredDuringExecution") or {}
    terms = required.get("nodeSelectorTerms") or []
    names: set[str] = set()
    for term in terms:
        fields = [each for each in term.get("matchFields") or () if each["operator"] == "In"]
        if not fields:
            return None
        names |= set.intersection(*(set(each.get("values") or ()) for each in fields))
    return names if terms else None


def preferred_terms(pod: Obj) -> list[Obj]:
    """The pod's preferred node affinity."""
    return node_affinity(pod).get("preferredDuringSchedulingIgnoredDuringExecution") or []


def preference(pod: Obj, node: Obj) -> int:
    """The weights of the preferred terms that match; an empty one matches no node."""
    return sum(each["weight"] for each in preferred_terms(pod) if term_matches(each["preference"], node))


def host_ports(pod: Obj) -> set[tuple[str, str, int]]:
    """Address, protocol and number of each port wanted on the host; sidecars' too."""
    sidecars = [each for each in pod["spec"].get("initContainers") or () if each.get("restartPolicy") == "Always"]
    return {
        (port.get("hostIP") or "0.0.0.0", port.get("protocol") or "TCP", port["hostPort"])
        for container in [*pod["spec"]["containers"], *sidecars]
        for port in container.get("ports") or ()
        if port.get("hostPort")
    }


def ports_free(pod: Obj, others: Iterable[Obj]) -> bool:
    """Whether none of the ports is taken, on the same address or on all."""
    taken = set().union(*map(host_ports, others))
    return not any(
        (protocol, number) == (protocol2, number2) and (address == address2 or "0.0.0.0" in (address, address2))
        for address, protocol, number in host_ports(pod)
        for address2, protocol2, number2 in taken
    )


def image_locality(cluster: Cluster, pod: Obj, node: Obj) -> int:
    """How much of the pod's images the node holds, each counted by the share of nodes that hold it."""
    containers = [*(pod["spec"].get("initContainers") or ()), *pod["spec"]["containers"]]
    sizes, holders = _images(node), [_images(each) for each in cluster.nodes.values()]
    total = 0
    for container in containers:
        image = _full_name(container.get("image", ""))
        if image in sizes:
            share = sum(image in each for each in holders) / len(holders)
            total += int(sizes[image] * share)
    most = LARGEST_IMAGE * len(containers)
    held = min(max(total, SMALLEST_IMAGES), most)
    return FULL * (held - SMALLEST_IMAGES) // (most - SMALLEST_IMAGES)


def _images(node: Obj) -> dict[str, int]:
    images = (node.get("status") or {}).get("images") or []
    return {name: image.get("sizeBytes", 0) for image in images for name in image.get("names") or ()}


def _full_name(image: str) -> str:
    return image if image.rfind(":") > image.rfind("/") else f"{image}:latest"
