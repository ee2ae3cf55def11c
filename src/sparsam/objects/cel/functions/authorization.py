"""Questions to the authorizer: Kubernetes' authz libraries. Who answers is the caller's business."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

from sparsam.objects import names
from sparsam.objects.cel.declarations import overload, table
from sparsam.objects.cel.errors import EvaluationError


@dataclass(frozen=True, slots=True)
class Check:
    """What is asked: a verb on a path, or on a resource; as the account, or (empty) as who sent the request."""

    account: str = ""
    """`namespace/name` of a service account."""
    path: str = ""
    group: str = ""
    resource: str = ""
    subresource: str = ""
    namespace: str = ""
    name: str = ""
    verb: str = ""


@dataclass(frozen=True, slots=True)
class Decision:
    """The answer."""

    allowed: bool
    reason: str = ""
    type_name = "kubernetes.authorization.Decision"


Answer = Callable[[Check], Decision]


@dataclass(frozen=True, slots=True)
class Authorizer:
    """The value of the variable `authorizer`."""

    answer: Answer
    account: str = ""
    type_name = "kubernetes.authorization.Authorizer"


@dataclass(frozen=True, slots=True)
class PathCheck:
    """A question about a path, without its verb."""

    answer: Answer
    check: Check
    type_name = "kubernetes.authorization.PathCheck"


@dataclass(frozen=True, slots=True)
class GroupCheck:
    """A question about an API group, without its resource."""

    answer: Answer
    check: Check
    type_name = "kubernetes.authorization.GroupCheck"


@dataclass(frozen=True, slots=True)
class ResourceCheck:
    """A question about a resource, without its verb."""

    answer: Answer
    check: Check = field(default_factory=Check)
    type_name = "kubernetes.authorization.ResourceCheck"


def _path(authorizer: Authorizer, path: str) -> PathCheck:
    if not path.strip():
        raise EvaluationError("path must not be empty")
    return PathCheck(authorizer.answer, Check(account=authorizer.account, path=path))


def _group(authorizer: Authorizer, group: str) -> GroupCheck:
    return GroupCheck(authorizer.answer, Check(account=authorizer.account, group=group))


def _service_account(authorizer: Authorizer, namespace: str, name: str) -> Authorizer:
    if names.dns_subdomain_errors(name):
        raise EvaluationError("Invalid service account name")
    if names.dns_label_errors(namespace):
        raise EvaluationError("Invalid service account namespace")
    return Authorizer(authorizer.answer, f"{namespace}/{name}")


def _resource(asked: GroupCheck, resource: str) -> ResourceCheck:
    if not resource.strip():
        raise EvaluationError("resource must not be empty")
    return ResourceCheck(asked.answer, replace(asked.check, resource=resource))


def _with(name: str) -> Callable[[ResourceCheck, str], ResourceCheck]:
    return lambda asked, value: ResourceCheck(asked.answer, replace(asked.check, **{name: value}))


def _check(asked: ResourceCheck | PathCheck, verb: str) -> Decision:
    return asked.answer(replace(asked.check, verb=verb))


_TYPE = "kubernetes.authorization."

FUNCTIONS = table(
    overload("path", f"({_TYPE}Authorizer, string) -> {_TYPE}PathCheck", _path, member=True),
    overload("group", f"({_TYPE}Authorizer, string) -> {_TYPE}GroupCheck", _group, member=True),
    overload(
        "serviceAccount", f"({_TYPE}Authorizer, string, string) -> {_TYPE}Authorizer", _service_account, member=True
    ),
    overload("resource", f"({_TYPE}GroupCheck, string) -> {_TYPE}ResourceCheck", _resource, member=True),
    *(
        overload(name, f"({_TYPE}ResourceCheck, string) -> {_TYPE}ResourceCheck", _with(name), member=True)
        for name in ("subresource", "namespace", "name")
    ),
    # Rules of roles know no selectors: a check with one is answered as one without, which allows no more.
    *(
        overload(name, f"({_TYPE}ResourceCheck, string) -> {_TYPE}ResourceCheck", lambda asked, _: asked, member=True)
        for name in ("fieldSelector", "labelSelector")
    ),
    overload("check", f"({_TYPE}PathCheck, string) -> {_TYPE}Decision", _check, member=True),
    overload("check", f"({_TYPE}ResourceCheck, string) -> {_TYPE}Decision", _check, member=True),
    overload("allowed", f"({_TYPE}Decision) -> bool", lambda decision: decision.allowed, member=True),
    overload("reason", f"({_TYPE}Decision) -> string", lambda decision: decision.reason, member=True),
    overload("errored", f"({_TYPE}Decision) -> bool", lambda _decision: False, member=True),
    overload("error", f"({_TYPE}Decision) -> string", lambda _decision: "", member=True),
)
