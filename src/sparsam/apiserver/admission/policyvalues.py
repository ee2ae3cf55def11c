"""What the expressions of admission policies see of a request."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sparsam.apiserver.admission import Attributes, Reader, admissionreview
from sparsam.apiserver.authentication import User
from sparsam.apiserver.authorization import Action
from sparsam.apiserver.authorization import Authorizer as Decider
from sparsam.objects.catalog import Catalog
from sparsam.objects.cel.admission import NAMESPACE_METADATA
from sparsam.objects.cel.functions.authorization import Authorizer, Check, Decision, ResourceCheck
from sparsam.objects.kinds import Resource
from sparsam.objects.selectors import parse_label_selector_object
from sparsam.objects.strategy import Obj

_ACCOUNT = "system:serviceaccount"


class ConfigurationFault(Exception):
    """A policy or binding that cannot be asked: failurePolicy decides."""


def request_value(attributes: Attributes, seen_as: Resource, new: Obj | None) -> Obj:
    """The variable `request`: the AdmissionRequest without its objects."""
    review = admissionreview.build(attributes, seen_as, "v1", "", (new, None))
    request: Obj = review["request"]
    return {key: value for key, value in request.items() if key not in ("uid", "object", "oldObject")}


def namespace_value(namespace: Obj | None) -> Obj | None:
    """The variable `namespaceObject`."""
    if namespace is None:
        return None
    metadata = {key: value for key, value in namespace["metadata"].items() if key in NAMESPACE_METADATA}
    return {"metadata": metadata, "spec": namespace.get("spec") or {}, "status": namespace.get("status") or {}}


def authorizer_values(decider: Decider, attributes: Attributes, name: str) -> Mapping[str, Any]:
    """The variables `authorizer` and `authorizer.requestResource`."""

    def answer(check: Check) -> Decision:
        user = _account(check.account) if check.account else attributes.user
        action = Action(
            verb=check.verb,
            path=check.path,
            group=check.group,
            version="*",
            resource=check.resource,
            subresource=check.subresource,
            namespace=check.namespace,
            name=check.name,
        )
        return Decision(decider.allows(user, action))

    resource = attributes.resource
    own = Check(
        group=resource.group,
        resource=resource.plural,
        subresource=attributes.subresource,
        namespace=attributes.namespace,
        name=name,
    )
    return {"authorizer": Authorizer(answer), "authorizer.requestResource": ResourceCheck(answer, own)}


def _account(account: str) -> User:
    namespace, _, name = account.partition("/")
    groups = (f"{_ACCOUNT}s", f"{_ACCOUNT}s:{namespace}", "system:authenticated")
    return User(f"{_ACCOUNT}:{namespace}:{name}", groups)


async def parameters(
    kind: Mapping[str, str] | None, reference: Obj | None, namespace: str, catalog: Catalog, reader: Reader
) -> list[Obj | None]:
    """The values of `params` for which a binding asks its policy, one after the other; raises ConfigurationFault."""
    if kind is None or reference is None:
        return [None]
    resource = catalog.by_kind(kind["apiVersion"], kind["kind"])
    if resource is None:
        shown = f"&ParamKind{{APIVersion:{kind['apiVersion']},Kind:{kind['kind']},}}"
        raise ConfigurationFault(f"paramKind kind `{shown}` not known")
    where = _parameters_namespace(resource, reference.get("namespace") or "", namespace)
    if reference.get("name"):
        one = await reader.find(resource, reference["name"], where)
        found = [one] if one is not None else []
    else:
        selector = parse_label_selector_object(reference.get("selector") or {})
        known = await reader.items(resource, where)
        found = [each for each in known if selector.matches(each["metadata"].get("labels") or {})]
    if not found and reference.get("parameterNotFoundAction") == "Deny":
        raise ConfigurationFault("no params found for policy binding with `Deny` parameterNotFoundAction")
    return list(found)


def _parameters_namespace(resource: Resource, named: str, own: str) -> str:
    if not resource.namespaced:
        if named:
            raise ConfigurationFault("paramRef.namespace must not be provided for a cluster-scoped `paramKind`")
        return ""
    if not named and not own:
        why = "cannot use namespaced paramRef in policy binding that matches cluster-scoped resources"
        raise ConfigurationFault(why)
    return named or own
