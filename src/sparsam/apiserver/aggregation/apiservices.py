"""APIServices as the server reads and writes them: who answers for a group and version, and whether. Pure.

Source: the page "Kubernetes API Aggregation Layer", the API reference of apiregistration.k8s.io/v1; priorities and
words of conditions are upstream's.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

from sparsam.apiserver.authentication import User
from sparsam.objects.strategies.webhook_clients import SERVICE_PORT
from sparsam.objects.strategy import Obj

AUTOMANAGED = "kube-aggregator.kubernetes.io/automanaged"
"""Label of APIServices that the server keeps itself: `onstart` for built-in groups, `true` for custom resources."""
AVAILABLE = "Available"
UNLISTED = frozenset({"metrics.k8s.io"})
"""Groups that are answered without an APIService of their own, so that another server's can be installed."""
AGGREGATOR = User("system:kube-aggregator", ("system:masters",))
"""Who asks for discovery documents."""

_CUSTOM_PRIORITY = (1000, 100)
_OTHER_PRIORITY = (15_000, 9)
_PRIORITIES: Mapping[tuple[str, str], tuple[int, int]] = {
    ("", "v1"): (18_000, 1),
    ("apps", "v1"): (17_800, 15),
    ("events.k8s.io", "v1"): (17_750, 15),
    ("authentication.k8s.io", "v1"): (17_700, 15),
    ("authorization.k8s.io", "v1"): (17_600, 15),
    ("autoscaling", "v1"): (17_500, 15),
    ("autoscaling", "v2"): (17_500, 30),
    ("batch", "v1"): (17_400, 15),
    ("certificates.k8s.io", "v1"): (17_300, 15),
    ("networking.k8s.io", "v1"): (17_200, 15),
    ("policy", "v1"): (17_100, 15),
    ("rbac.authorization.k8s.io", "v1"): (17_000, 15),
    ("storage.k8s.io", "v1"): (16_800, 15),
    ("apiextensions.k8s.io", "v1"): (16_700, 15),
    ("admissionregistration.k8s.io", "v1"): (16_700, 15),
    ("scheduling.k8s.io", "v1"): (16_600, 15),
    ("coordination.k8s.io", "v1"): (16_500, 15),
    ("node.k8s.io", "v1"): (16_300, 15),
    ("discovery.k8s.io", "v1"): (16_200, 15),
    ("flowcontrol.apiserver.k8s.io", "v1"): (16_100, 21),
    ("resource.k8s.io", "v1"): (15_900, 15),
}

# What may stand in the name of a header as it is; everything else is escaped.
_HEADER_NAME = "!#$&'*+-.^_`|~"


@dataclass(frozen=True, slots=True)
class Backend:
    """Another server, and the group and version that it answers for."""

    name: str
    group: str
    version: str
    namespace: str
    service: str
    port: int
    ca_bundle: str
    is_verified: bool
    available: bool
    group_priority: int
    version_priority: int

    @property
    def server_name(self) -> str:
        """The name in the server's certificate."""
        return f"{self.service}.{self.namespace}.svc"

    @property
    def path(self) -> str:
        """Below which everything is the server's."""
        return f"/apis/{self.group}/{self.version}"


@dataclass(frozen=True, slots=True)
class Documents:
    """What another server says that it serves."""

    resources: tuple[Obj, ...] = ()
    """The entries of its APIResourceList."""
    openapi: Mapping[str, str] = field(default_factory=dict)
    """Server-relative URLs of its OpenAPI v3 documents, by path."""


@dataclass(frozen=True, slots=True)
class RemoteVersion:
    """A group and version of another server, for discovery; `documents` is None while the server is not available."""

    group: str
    version: str
    documents: Documents | None


def backend_of(api: Obj) -> Backend | None:
    """The server behind an APIService; None for those that are answered here."""
    spec, metadata = api["spec"], api["metadata"]
    service = spec.get("service")
    if service is None:
        return None
    condition = condition_of(api)
    return Backend(
        metadata["name"],
        spec["group"],
        spec["version"],
        service["namespace"],
        service["name"],
        service.get("port") or SERVICE_PORT,
        spec.get("caBundle") or "",
        not spec.get("insecureSkipTLSVerify"),
        condition.get("status") == "True",
        spec["groupPriorityMinimum"],
        spec["versionPriority"],
    )


def by_priority(backends: Iterable[Backend]) -> list[Backend]:
    """In the order in which discovery names them."""
    return sorted(backends, key=lambda each: (-each.group_priority, each.group, -each.version_priority, each.version))


def condition_of(api: Obj) -> Obj:
    """What is known of an APIService's availability; empty when nothing is."""
    conditions: Sequence[Obj] = (api.get("status") or {}).get("conditions") or ()
    return next((each for each in conditions if each["type"] == AVAILABLE), {})


def condition(reason: str, message: str, *, status: bool) -> Obj:
    """A condition of availability."""
    return {"type": AVAILABLE, "status": "True" if status else "False", "reason": reason, "message": message}


LOCAL = condition("Local", "Local APIServices are always available", status=True)
PASSED = condition("Passed", "all checks passed", status=True)


def local_api_service(group: str, version: str, *, custom: bool = False) -> Obj:
    """The APIService of a group and version that is answered here."""
    known = _CUSTOM_PRIORITY if custom else _PRIORITIES.get((group, version), _OTHER_PRIORITY)
    return {
        "kind": "APIService",
        "apiVersion": "apiregistration.k8s.io/v1",
        "metadata": {"name": f"{version}.{group}", "labels": {AUTOMANAGED: "true" if custom else "onstart"}},
        "spec": {
            "group": group,
            "version": version,
            "groupPriorityMinimum": known[0],
            "versionPriority": known[1],
        },
    }


def identity_headers(user: User) -> list[tuple[str, str]]:
    """Who asks, as the servers behind are told it; they believe it by the certificate that goes along."""
    headers = [("X-Remote-User", user.name), *(("X-Remote-Group", group) for group in user.groups)]
    if user.uid:
        headers.append(("X-Remote-Uid", user.uid))
    for key, values in user.extra.items():
        headers += [(f"X-Remote-Extra-{quote(key, safe=_HEADER_NAME)}", value) for value in values]
    return headers


def aggregated_resources(resources: Iterable[Obj]) -> list[dict[str, Any]]:
    """The entries of an APIResourceList in the form of aggregated discovery: parts below their resources."""
    found: dict[str, dict[str, Any]] = {}
    parts: list[tuple[str, str, Obj]] = []
    for entry in resources:
        plural, slash, part = entry["name"].partition("/")
        if slash:
            parts.append((plural, part, entry))
            continue
        found[plural] = _resource(plural, entry)
    for plural, part, entry in parts:
        below = {"subresource": part, "responseKind": _kind(entry), "verbs": entry.get("verbs") or []}
        if plural in found:
            found[plural].setdefault("subresources", []).append(below)
    return list(found.values())


def _resource(plural: str, entry: Obj) -> dict[str, Any]:
    document: dict[str, Any] = {
        "resource": plural,
        "responseKind": _kind(entry),
        "scope": "Namespaced" if entry.get("namespaced") else "Cluster",
        "singularResource": entry.get("singularName") or "",
        "verbs": entry.get("verbs") or [],
    }
    for name in ("shortNames", "categories"):
        if entry.get(name):
            document[name] = entry[name]
    return document


def _kind(entry: Obj) -> dict[str, str]:
    return {"group": entry.get("group") or "", "version": entry.get("version") or "", "kind": entry.get("kind") or ""}
