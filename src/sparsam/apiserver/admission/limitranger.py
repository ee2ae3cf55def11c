"""LimitRanges: what containers get that ask for nothing, and how little or much may be asked for.

Source: upstream's LimitRanger plug-in. Updates are held only to what they change.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from decimal import ROUND_HALF_EVEN, Decimal

from sparsam.apiserver.admission import Admit, Attributes, Reader, forbidden
from sparsam.objects.kinds import LIMITRANGES, PERSISTENTVOLUMECLAIMS, PODS
from sparsam.objects.podresources import Amounts, amounts, of_spec
from sparsam.objects.quantity import Amount, amount
from sparsam.objects.strategy import Obj

ANNOTATION = "kubernetes.io/limit-ranger"
_SIX_DIGITS = Decimal("0.000001")


async def limit_defaults(attributes: Attributes, _obj: Obj | None, reader: Reader) -> Admit | None:
    """Give containers of a new pod the defaults of the namespace; never refuses."""
    if attributes.resource is not PODS or attributes.operation != "CREATE" or attributes.subresource:
        return None
    ranges = await reader.items(LIMITRANGES, attributes.namespace)
    if not ranges:
        return None

    def admit(new: Obj, _old: Obj | None) -> None:
        for each in ranges:
            set_defaults(new, each)

    return admit


async def limits(attributes: Attributes, new: Obj, old: Obj | None, reader: Reader) -> list[str]:
    """Raises Forbidden for a pod or a claim that asks for less or more than it may."""
    if attributes.operation not in ("CREATE", "UPDATE") or not _is_limited(attributes):
        return []
    if old is not None and "deletionTimestamp" in new["metadata"]:
        return []
    check = pod_faults if attributes.resource is PODS else claim_faults
    for each in await reader.items(LIMITRANGES, attributes.namespace):
        faults = list(dict.fromkeys(check(each, new, old)))
        if faults:
            raise forbidden(attributes, new, faults[0] if len(faults) == 1 else f"[{', '.join(faults)}]")
    return []


def _is_limited(attributes: Attributes) -> bool:
    if attributes.resource is PODS:
        return attributes.subresource == ("" if attributes.operation == "CREATE" else "resize")
    return attributes.resource is PERSISTENTVOLUMECLAIMS and not attributes.subresource


def set_defaults(pod: Obj, limit_range: Obj) -> None:
    """Fill in requests and limits, in place, and say so in an annotation."""
    requests: dict[str, str] = {}
    most: dict[str, str] = {}
    for limit in _of_type(limit_range, "Container"):
        requests |= limit.get("defaultRequest") or {}
        most |= limit.get("default") or {}
    told: list[str] = []
    for field, what in (("containers", "container"), ("initContainers", "init container")):
        for container in pod["spec"].get(field) or ():
            resources = container.setdefault("resources", {})
            for kind, defaults in (("requests", requests), ("limits", most)):
                absent = sorted(name for name in defaults if name not in (resources.get(kind) or {}))
                if absent:
                    resources[kind] = {**(resources.get(kind) or {}), **{name: defaults[name] for name in absent}}
                    told.append(f"{', '.join(absent)} {kind[:-1]} for {what} {container['name']}")
    if told:
        metadata = pod["metadata"]
        text = "LimitRanger plugin set: " + "; ".join(told)
        metadata["annotations"] = {**(metadata.get("annotations") or {}), ANNOTATION: text}


def pod_faults(limit_range: Obj, new: Obj, old: Obj | None) -> Iterator[str]:
    """What is wrong with a pod under one LimitRange."""
    spec, before = new["spec"], (old or {}).get("spec") or {}
    for limit in (limit_range.get("spec") or {}).get("limits") or ():
        if limit["type"] == "Container":
            for field in ("containers", "initContainers"):
                known = {each["name"]: each for each in before.get(field) or ()}
                for container in spec.get(field) or ():
                    same = _asked(known[container["name"]]) if container["name"] in known else None
                    yield from _faults(limit, _asked(container), same)
        elif limit["type"] == "Pod":
            whole = of_spec(spec, "requests"), of_spec(spec, "limits")
            same = (of_spec(before, "requests"), of_spec(before, "limits")) if old is not None else None
            yield from _faults(limit, whole, same)


def claim_faults(limit_range: Obj, new: Obj, old: Obj | None) -> Iterator[str]:
    """What is wrong with a claim under one LimitRange."""
    asked = amounts((new["spec"].get("resources") or {}).get("requests"))
    before = amounts((((old or {}).get("spec") or {}).get("resources") or {}).get("requests"))
    for limit in _of_type(limit_range, "PersistentVolumeClaim"):
        for name, text in (limit.get("min") or {}).items():
            if not (name in before and name in asked and before[name].value == asked[name].value):
                yield from _too_little("PersistentVolumeClaim", name, text, (asked, {}))
        for name, text in (limit.get("max") or {}).items():
            if name in before and name in asked and before[name].value == asked[name].value:
                continue
            words = f"maximum {name} usage per PersistentVolumeClaim is {text}"
            if name not in asked:
                yield f"{words}.  No request is specified"
            elif asked[name].value > amount(text).value:
                yield f"{words}, but request is {asked[name]}"


def _of_type(limit_range: Obj, kind: str) -> Sequence[Obj]:
    return [each for each in (limit_range.get("spec") or {}).get("limits") or () if each["type"] == kind]


def _asked(container: Obj) -> tuple[Amounts, Amounts]:
    resources = container.get("resources") or {}
    return amounts(resources.get("requests")), amounts(resources.get("limits"))


def _faults(limit: Obj, asked: tuple[Amounts, Amounts], before: tuple[Amounts, Amounts] | None) -> Iterator[str]:
    checks = (("min", _too_little), ("max", _too_much), ("maxLimitRequestRatio", _too_far_apart))
    for field, check in checks:
        for name, text in (limit.get(field) or {}).items():
            if before is None or not _same(asked, before, name):
                yield from check(limit["type"], name, text, asked)


def _same(asked: tuple[Amounts, Amounts], before: tuple[Amounts, Amounts], name: str) -> bool:
    return all(_value(new, name) == _value(old, name) for new, old in zip(asked, before, strict=True))


def _value(known: Mapping[str, Amount], name: str) -> Decimal | None:
    return known[name].value if name in known else None


def _too_little(kind: str, name: str, text: str, asked: tuple[Amounts, Amounts]) -> Iterator[str]:
    requests, most = asked
    words, least = f"minimum {name} usage per {kind} is {text}", amount(text).value
    if name not in requests:
        yield f"{words}.  No request is specified"
    elif requests[name].value < least:
        yield f"{words}, but request is {requests[name]}"
    elif name in most and most[name].value < least:
        yield f"{words}, but limit is {most[name]}"


def _too_much(kind: str, name: str, text: str, asked: tuple[Amounts, Amounts]) -> Iterator[str]:
    requests, most = asked
    words, allowed = f"maximum {name} usage per {kind} is {text}", amount(text).value
    if name not in most:
        yield f"{words}.  No limit is specified"
    elif most[name].value > allowed:
        yield f"{words}, but limit is {most[name]}"
    elif name in requests and requests[name].value > allowed:
        yield f"{words}, but request is {requests[name]}"


def _too_far_apart(kind: str, name: str, text: str, asked: tuple[Amounts, Amounts]) -> Iterator[str]:
    requests, most = asked
    words = f"{name} max limit to request ratio per {kind} is {text}"
    if name not in requests or not requests[name].value:
        yield f"{words}, but no request is specified or request is 0"
    elif name not in most or not most[name].value:
        yield f"{words}, but no limit is specified or limit is 0"
    elif most[name].value > requests[name].value * amount(text).value:
        ratio = (most[name].value / requests[name].value).quantize(_SIX_DIGITS, rounding=ROUND_HALF_EVEN)
        yield f"{words}, but provided ratio is {ratio}"
