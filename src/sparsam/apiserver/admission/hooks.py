"""Webhooks as their configurations have them: read once, in the order in which they are called."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sparsam.apiserver.admission import Attributes, matching
from sparsam.apiserver.mirror import Mirror
from sparsam.objects.kinds import Resource, find
from sparsam.objects.selectors import LabelSelector, parse_label_selector_object
from sparsam.objects.strategy import Obj
from sparsam.store.interface import Store

if TYPE_CHECKING:
    from sparsam.objects.cel.conditions import Conditions


@dataclass(frozen=True, slots=True)
class Hook:
    """One webhook of a configuration, read once."""

    uid: str
    name: str
    spec: Obj
    rules: tuple[matching.Rule, ...]
    namespaces: LabelSelector
    objects: LabelSelector
    conditions: Conditions | None
    """Compiled match conditions, where there are some."""

    @property
    def may_fail(self) -> bool:
        """Whether a request goes on without its word."""
        return bool(self.spec.get("failurePolicy") == "Ignore")

    @property
    def is_called_again(self) -> bool:
        """Whether it wants to see what others changed after it."""
        return bool(self.spec.get("reinvocationPolicy") == "IfNeeded")

    def seen_as(self, attributes: Attributes) -> Resource | None:
        """The resource by which a rule is about the request."""
        equivalent = self.spec.get("matchPolicy") != "Exact"
        return matching.matched_resource(self.rules, attributes, equivalent=equivalent)


def read_hooks(configurations: Iterable[Obj]) -> tuple[Hook, ...]:
    """The webhooks of all configurations, in the order in which they are called."""
    found = []
    for configuration in sorted(configurations, key=lambda each: each["metadata"]["name"]):
        for position, spec in enumerate(configuration.get("webhooks") or ()):
            found.append(
                Hook(
                    f"{configuration['metadata']['name']}/{spec['name']}/{position}",
                    spec["name"],
                    spec,
                    tuple(matching.parse_rule(rule) for rule in spec.get("rules") or ()),
                    parse_label_selector_object(spec.get("namespaceSelector") or {}),
                    parse_label_selector_object(spec.get("objectSelector") or {}),
                    _conditions(spec.get("matchConditions") or ()),
                )
            )
    return tuple(found)


def _conditions(expressions: Sequence[Mapping[str, str]]) -> Conditions | None:
    if not expressions:
        return None
    # Not loaded by servers whose webhooks have none.
    from sparsam.objects.cel.conditions import Conditions

    return Conditions(expressions)


class HookBook:
    """The webhooks of one kind of configuration, kept like the store."""

    def __init__(self, store: Store, kind: str) -> None:
        resource = find(matching.ADMISSION_GROUP, "v1", kind)
        if resource is None:
            raise ValueError(f"{kind} is not served")
        self.mirror = Mirror(store, resource, self._read)
        self.hooks: tuple[Hook, ...] = ()

    def _read(self) -> None:
        self.hooks = read_hooks(self.mirror.objects.values())
