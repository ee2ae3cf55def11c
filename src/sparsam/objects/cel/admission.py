"""What expressions of admission policies and webhooks' match conditions may name, and how they are compiled.

Source: the API reference of admissionregistration.k8s.io/v1 and the page "Validating Admission Policy".
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache

from sparsam.objects.cel.program import Program, compile_expression
from sparsam.objects.cel.types import BOOL, DYN, INT, STRING, TIMESTAMP, Type, list_of, map_of, object_of

POLICY_LIMIT = 10_000_000
"""What all expressions of one policy may cost for one request; upstream's RuntimeCELCostBudget."""
CONDITIONS_LIMIT = 2_500_000
"""The same for match conditions."""

_TEXTS = map_of(STRING, STRING)


def _object(kind: str, /, **fields: Type) -> Type:
    return object_of(f"kubernetes.{kind}", fields)


_KIND = _object("GroupVersionKind", group=STRING, version=STRING, kind=STRING)
_RESOURCE = _object("GroupVersionResource", group=STRING, version=STRING, resource=STRING)
_USER = _object("UserInfo", username=STRING, uid=STRING, groups=list_of(STRING), extra=map_of(STRING, list_of(STRING)))
REQUEST = _object(
    "AdmissionRequest",
    kind=_KIND,
    resource=_RESOURCE,
    subResource=STRING,
    requestKind=_KIND,
    requestResource=_RESOURCE,
    requestSubResource=STRING,
    name=STRING,
    namespace=STRING,
    operation=STRING,
    userInfo=_USER,
    dryRun=BOOL,
    options=DYN,
)
NAMESPACE_METADATA: Mapping[str, Type] = {
    "name": STRING,
    "generateName": STRING,
    "namespace": STRING,
    "labels": _TEXTS,
    "annotations": _TEXTS,
    "UID": STRING,
    "creationTimestamp": TIMESTAMP,
    "deletionGracePeriodSeconds": INT,
    "deletionTimestamp": TIMESTAMP,
    "generation": INT,
    "resourceVersion": STRING,
    "finalizers": list_of(STRING),
}
_CONDITION = _object(
    "NamespaceCondition", status=STRING, type=STRING, lastTransitionTime=TIMESTAMP, message=STRING, reason=STRING
)
NAMESPACE = _object(
    "Namespace",
    metadata=object_of("kubernetes.NamespaceMetadata", NAMESPACE_METADATA),
    spec=_object("NamespaceSpec", finalizers=list_of(STRING)),
    status=_object("NamespaceStatus", conditions=list_of(_CONDITION), phase=STRING),
)
_AUTHORIZER = Type("kubernetes.authorization.Authorizer")
_RESOURCE_CHECK = Type("kubernetes.authorization.ResourceCheck")


class Environment:
    """The variables of one policy or webhook; its own ones are added with `declare`, in their order."""

    def __init__(
        self,
        *,
        params: Type | None = None,
        kind: Type = DYN,
        composed: bool = False,
        structs: Mapping[str, Type] | None = None,
    ) -> None:
        self._own: dict[str, Type] = {}
        self._structs = structs or {}
        self._variables: dict[str, Type] = {"object": kind, "oldObject": kind}
        self._variables |= {"request": REQUEST, "namespaceObject": NAMESPACE}
        if params is not None:
            self._variables["params"] = params
        if composed:
            self._variables["variables"] = object_of("kubernetes.variables", self._own)

    def declare(self, name: str, kind: Type) -> None:
        """From here on there is `variables.NAME`."""
        self._own[name] = kind

    def compile(self, text: str, returns: Type | Sequence[Type] = BOOL, *, authorizer: bool = True) -> Program:
        """Compile one expression; raises CelError."""
        known = {**self._variables, **(_authorizers() if authorizer else {})}
        return compile_expression(text, known, returns=returns, structs=self._structs)


@cache
def _authorizers() -> Mapping[str, Type]:
    return {"authorizer": _AUTHORIZER, "authorizer.requestResource": _RESOURCE_CHECK}
