"""Questions about identity and permission: who am I, whose token is this, may they do that. Nothing is stored."""

from __future__ import annotations

from typing import Any

from sparsam.apiserver.authentication import Authenticator, User
from sparsam.apiserver.authorization import Action, Authorizer
from sparsam.apiserver.nodeauthorizer import node_of
from sparsam.apiserver.statuses import invalid
from sparsam.apiserver.tokens import ServiceAccountTokens
from sparsam.errors import BadRequest, Cause
from sparsam.objects.kinds import Resource
from sparsam.objects.strategy import Obj

KINDS = frozenset(
    {
        "SelfSubjectReview",
        "TokenReview",
        "SelfSubjectAccessReview",
        "SubjectAccessReview",
        "LocalSubjectAccessReview",
        "SelfSubjectRulesReview",
    }
)


class Reviews:
    """Answers reviews."""

    def __init__(self, authenticator: Authenticator, authorizer: Authorizer, tokens: ServiceAccountTokens) -> None:
        self._authenticator = authenticator
        self._authorizer = authorizer
        self._tokens = tokens

    async def answer(self, resource: Resource, obj: Obj, user: User, namespace: str) -> Obj:
        """The review with its status filled in."""
        spec = obj.get("spec") or {}
        if resource.kind == "SelfSubjectReview":
            obj["status"] = {"userInfo": user_info(user)}
        elif resource.kind == "TokenReview":
            obj["status"] = await self._token(spec)
        elif resource.kind == "SelfSubjectRulesReview":
            obj["status"] = self._rules(user, spec)
        else:
            obj["status"] = self._access(resource, spec, user, namespace)
        return obj

    async def _token(self, spec: dict[str, Any]) -> dict[str, Any]:
        token, audiences = spec.get("token", ""), spec.get("audiences") or []
        if not token:
            raise BadRequest("token is required for TokenReview in authentication")
        if audiences:
            user = await self._tokens.review(token, audiences)
        else:
            user = await self._authenticator.of_token(token)
        if user is None:
            return {"user": {}, "error": "[invalid bearer token]"}
        return {"authenticated": True, "user": user_info(user), "audiences": audiences or [self._tokens.issuer]}

    def _access(self, resource: Resource, spec: dict[str, Any], user: User, namespace: str) -> dict[str, Any]:
        if resource.kind != "SelfSubjectAccessReview":
            user = User(
                spec.get("user", ""), tuple(spec.get("groups") or ()), spec.get("uid", ""), spec.get("extra") or {}
            )
            if not user.name and not user.groups:
                raise _invalid_review(resource, "spec.user", "at least one of user or group must be specified")
        action = _action(resource, spec)
        if resource.kind == "LocalSubjectAccessReview" and action.namespace != namespace:
            raise BadRequest(f"spec.resourceAttributes.namespace must match namespace: {namespace}")
        if self._authorizer.allows(user, action):
            return {"allowed": True}
        why = self._authorizer.why_not(user, action)
        return {"allowed": False, "reason": why} if why else {"allowed": False}

    def _rules(self, user: User, spec: dict[str, Any]) -> dict[str, Any]:
        rules = self._authorizer.rules(user, spec.get("namespace", ""))
        answer: dict[str, Any] = {
            "resourceRules": [rule for rule in rules if "nonResourceURLs" not in rule],
            "nonResourceRules": [rule for rule in rules if "nonResourceURLs" in rule],
            "incomplete": node_of(user) is not None,
        }
        if answer["incomplete"]:
            answer["evaluationError"] = "node authorizer does not support user rule resolution"
        return answer


def user_info(user: User) -> dict[str, Any]:
    """authentication/v1 UserInfo."""
    info: dict[str, Any] = {"username": user.name}
    if user.uid:
        info["uid"] = user.uid
    if user.groups:
        info["groups"] = list(user.groups)
    if user.extra:
        info["extra"] = {key: list(values) for key, values in user.extra.items()}
    return info


def _action(resource: Resource, spec: dict[str, Any]) -> Action:
    about: dict[str, str] | None = spec.get("resourceAttributes")
    path: dict[str, str] | None = spec.get("nonResourceAttributes")
    if (about is None) == (path is None):
        detail = "exactly one of nonResourceAttributes or resourceAttributes must be specified"
        raise _invalid_review(resource, "spec.resourceAttributes", detail)
    if about is None:
        path = path or {}
        return Action(verb=path.get("verb", ""), path=path.get("path", ""))
    return Action(
        verb=about.get("verb", ""),
        group=about.get("group", ""),
        version=about.get("version", ""),
        resource=about.get("resource", "") or "*",
        subresource=about.get("subresource", ""),
        namespace=about.get("namespace", ""),
        name=about.get("name", ""),
        field_selector=_selector(about.get("fieldSelector")),
        label_selector=_selector(about.get("labelSelector")),
    )


def _selector(asked: Any) -> str:
    """A selector as text. Only what allows one value counts: nothing else grants anything here."""
    if not asked:
        return ""
    if asked.get("rawSelector"):
        return str(asked["rawSelector"])
    single = [
        (each["key"], each["values"][0])
        for each in asked.get("requirements") or ()
        if each.get("operator") == "In" and len(each.get("values") or ()) == 1
    ]
    return ",".join(f"{key}={value}" for key, value in single if "," not in f"{key}{value}")


def _invalid_review(resource: Resource, field: str, detail: str) -> Exception:
    return invalid(
        resource.kind, "", [Cause("FieldValueInvalid", f"Invalid value: null: {detail}", field)], group=resource.group
    )
