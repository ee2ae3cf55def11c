"""From URL path to what it names: /api/v1/namespaces/NS/PLURAL/NAME/SUBRESOURCE/REST and its shorter forms."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from sparsam.apiserver.authorization import Action, asked_value
from sparsam.objects.catalog import Catalog
from sparsam.objects.kinds import NAMESPACES, Resource

_SELECTING_VERBS = frozenset({"list", "watch", "deletecollection"})
_NO_QUERY: Mapping[str, str] = MappingProxyType({})
_VERBS = {"GET": "get", "HEAD": "get", "POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}


@dataclass(slots=True)
class Route:
    """A path below a group and version. `resource` is None when nothing is served there."""

    group: str
    version: str
    plural: str
    namespace: str = ""
    name: str = ""
    subresource: str = ""
    rest: str = ""
    resource: Resource | None = None

    def action(self, method: str, *, watch: bool, query: Mapping[str, str] = _NO_QUERY) -> Action:
        """What a request with this method wants, for authorization."""
        verb = self.verb(method, watch=watch)
        many = verb in _SELECTING_VERBS
        fields = query.get("fieldSelector", "") if many else ""
        return Action(
            verb=verb,
            group=self.group,
            version=self.version,
            resource=self.plural,
            subresource=self.subresource,
            namespace=self.namespace,
            name=self.name or (asked_value(fields, "metadata.name") if fields else ""),
            field_selector=fields,
            label_selector=query.get("labelSelector", "") if many else "",
        )

    def verb(self, method: str, *, watch: bool) -> str:
        """Upstream's verb of a method here."""
        if self.name:
            return _VERBS.get(method, "")
        if method in ("GET", "HEAD"):
            return "watch" if watch else "list"
        return "deletecollection" if method == "DELETE" else _VERBS.get(method, "")


def parse(path: str, catalog: Catalog) -> Route | None:
    """The route of a path to what is served, or None when it does not lie below a group and version."""
    parts = path.split("/")
    if parts[1] == "api" and len(parts) > 3:
        group, version, tail = "", parts[2], parts[3:]
    elif parts[1] == "apis" and len(parts) > 4:
        group, version, tail = parts[2], parts[3], parts[4:]
    else:
        return None
    if tail[-1] == "" and len(tail) > 1:
        tail.pop()
    if not tail[0]:
        return None
    return _route(group, version, tail, catalog)


def _route(group: str, version: str, tail: list[str], catalog: Catalog) -> Route:
    namespace = ""
    if len(tail) > 2 and tail[0] == "namespaces" and not _is_namespace_subresource(group, tail):
        namespace, tail = tail[1], tail[2:]
    plural, name, subresource, *rest = (*tail, "", "") if len(tail) < 3 else tail
    resource = catalog.find(group, version, plural)
    if resource is not None and namespace and not resource.namespaced:
        resource = None
    if resource is not None and not namespace and name and resource.namespaced:
        resource = None
    rest_text = "/".join(rest) if len(tail) > 3 else ""
    return Route(group, version, plural, namespace, name, subresource, rest_text, resource)


def _is_namespace_subresource(group: str, tail: list[str]) -> bool:
    return not group and len(tail) == 3 and tail[2] in NAMESPACES.subresources
