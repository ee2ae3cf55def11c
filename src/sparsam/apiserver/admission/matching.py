"""Which requests the rules and selectors of a webhook are about. Pure.

Source: the API reference of admissionregistration.k8s.io/v1 (RuleWithOperations, matchPolicy, the selectors).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from sparsam.apiserver.admission import Attributes
from sparsam.objects.kinds import NAMESPACES, Resource
from sparsam.objects.objecttypes import type_of
from sparsam.objects.selectors import LabelSelector
from sparsam.objects.strategy import Obj

ADMISSION_GROUP = "admissionregistration.k8s.io"
_EXEMPT = frozenset(
    {
        "validatingwebhookconfigurations",
        "mutatingwebhookconfigurations",
        "validatingadmissionpolicies",
        "validatingadmissionpolicybindings",
        "mutatingadmissionpolicies",
        "mutatingadmissionpolicybindings",
    }
)


@dataclass(frozen=True, slots=True)
class Rule:
    """Operations on resources, as one rule of a configuration names them."""

    operations: frozenset[str]
    groups: frozenset[str]
    versions: frozenset[str]
    resources: tuple[tuple[str, str], ...]
    """Pairs of resource and subresource, either of which may be `*`."""
    scope: str

    def covers(self, attributes: Attributes, resource: Resource) -> bool:
        """Whether the rule is about the request, were it one on this resource."""
        return (
            _has(self.operations, attributes.operation)
            and _has(self.versions, resource.version)
            and _has(self.groups, resource.group)
            and self._covers_scope(attributes)
            and any(
                name in ("*", resource.plural) and part in ("*", attributes.subresource)
                for name, part in self.resources
            )
        )

    def _covers_scope(self, attributes: Attributes) -> bool:
        if self.scope == "*":
            return True
        # Namespaces are no objects of a namespace, though requests on them carry their name as one.
        is_namespaced = attributes.resource.namespaced and bool(attributes.namespace)
        return is_namespaced == (self.scope == "Namespaced")


def parse_rule(rule: Obj) -> Rule:
    """A stored rule."""
    pairs = (each.partition("/") for each in rule.get("resources") or ())
    return Rule(
        frozenset(rule.get("operations") or ()),
        frozenset(rule.get("apiGroups") or ()),
        frozenset(rule.get("apiVersions") or ()),
        tuple((name, part) for name, _, part in pairs),
        rule.get("scope") or "*",
    )


def matched_resource(rules: Iterable[Rule], attributes: Attributes, *, equivalent: bool) -> Resource | None:
    """The resource by which some rule is about the request: its own, else an equivalent one if those count too."""
    known = tuple(rules)
    if any(rule.covers(attributes, attributes.resource) for rule in known):
        return attributes.resource
    others = equivalents(attributes.resource) if equivalent else ()
    return next((other for rule in known for other in others if rule.covers(attributes, other)), None)


def equivalents(resource: Resource) -> tuple[Resource, ...]:
    """Other resources under which the same stored objects are served."""
    return tuple(each for each in type_of(resource).views.values() if each != resource)


def is_exempt(resource: Resource) -> bool:
    """Whether requests are kept from webhooks and policies: those by which a broken one is mended."""
    return resource.group == ADMISSION_GROUP and resource.plural in _EXEMPT


def object_matches(selector: LabelSelector, new: Obj | None, old: Obj | None) -> bool:
    """Whether the object is selected as it is or as it would be."""
    return selector.is_everything or any(selector.matches(labels_of(obj)) for obj in (new, old) if obj is not None)


def labels_of(obj: Obj) -> Mapping[str, str]:
    """An object's labels."""
    return (obj.get("metadata") or {}).get("labels") or {}


def is_free_of_namespaces(attributes: Attributes) -> bool:
    """Whether namespace selectors do not count: for cluster-scoped objects other than namespaces."""
    return not attributes.namespace and attributes.resource != NAMESPACES


def carries_namespace(attributes: Attributes) -> bool:
    """Whether the object of the request is the namespace whose labels count."""
    is_written = attributes.operation in ("CREATE", "UPDATE")
    return attributes.resource == NAMESPACES and not attributes.subresource and is_written


def _has(values: frozenset[str], wanted: str) -> bool:
    return wanted in values or "*" in values
