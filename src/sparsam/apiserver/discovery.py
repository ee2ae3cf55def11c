"""What is served, told to clients: /api, /apis, their groups and versions, and the aggregated form of both.

Everything is rendered once for a catalog; the documents change when the next one takes its place.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

import msgspec

from sparsam.apiserver.aggregation.apiservices import RemoteVersion, aggregated_resources
from sparsam.apiserver.http import Reply, Request
from sparsam.apiserver.media import negotiate
from sparsam.objects.catalog import Catalog
from sparsam.objects.kinds import Resource
from sparsam.objects.objecttypes import type_of

# Subresources whose kind is not their parent's, or whose verbs are not get, patch and update.
_WRITE_PART = ("get", "patch", "update")
_PROXY = ("create", "delete", "get", "patch", "update")
_SUBRESOURCES: dict[str, tuple[str, str, tuple[str, ...]]] = {
    "scale": ("autoscaling/v1", "Scale", _WRITE_PART),
    "pods/attach": ("", "PodAttachOptions", ("create", "get")),
    "pods/binding": ("", "Binding", ("create",)),
    "pods/eviction": ("policy/v1", "Eviction", ("create",)),
    "pods/exec": ("", "PodExecOptions", ("create", "get")),
    "pods/log": ("", "Pod", ("get",)),
    "pods/portforward": ("", "PodPortForwardOptions", ("create", "get")),
    "pods/proxy": ("", "PodProxyOptions", _PROXY),
    "nodes/proxy": ("", "NodeProxyOptions", _PROXY),
    "services/proxy": ("", "ServiceProxyOptions", _PROXY),
    "namespaces/finalize": ("", "Namespace", ("update",)),
    "serviceaccounts/token": ("authentication.k8s.io/v1", "TokenRequest", ("create",)),
}

Doc = dict[str, Any]
Groups = Mapping[str, Sequence[str]]
Handler = Callable[[Request], Awaitable[Reply]]


def paths(catalog: Catalog, server_address: str, remote: Sequence[RemoteVersion] = ()) -> dict[str, Handler]:
    """Handlers by path; `remote` is what other servers answer for."""
    every = _with_remote(catalog.groups, remote)
    groups = {group: versions for group, versions in every.items() if group}
    handlers = {
        "/api": _either(_api_versions(server_address), _aggregated(catalog, {"": every[""]}, ())),
        "/apis": _either(_group_list(groups), _aggregated(catalog, groups, remote)),
    }
    for group, versions in every.items():
        base = f"/apis/{group}" if group else "/api"
        if group:
            handlers[base] = _plain(_group(group, versions))
        for version in versions:
            handlers[f"{base}/{version}"] = _plain(_resource_list(group, version, catalog.served(group, version)))
    return handlers


def subresource_verbs(resource: Resource, subresource: str) -> tuple[str, ...]:
    """The verbs of a subresource; empty when the resource does not have it."""
    return _part(resource, subresource)[2] if subresource in resource.subresources else ()


def _plain(document: Doc) -> Handler:
    body = msgspec.json.encode(document)

    async def handle(request: Request) -> Reply:
        negotiate(request.header(b"accept"))
        return Reply(body)

    return handle


def _either(plain: Doc, aggregated: Doc) -> Handler:
    plain_body, aggregated_body = msgspec.json.encode(plain), msgspec.json.encode(aggregated)
    tag = f'"{hashlib.sha256(aggregated_body).hexdigest().upper()}"'
    aggregated_type = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"

    async def handle(request: Request) -> Reply:
        if not negotiate(request.header(b"accept")).kind:
            return Reply(plain_body, headers=[("vary", "Accept")])
        headers = [("vary", "Accept"), ("etag", tag)]
        if request.header(b"if-none-match") == tag:
            return Reply(b"", 304, aggregated_type, headers)
        return Reply(aggregated_body, 200, aggregated_type, headers)

    return handle


def _api_versions(server_address: str) -> Doc:
    by_client = [{"clientCIDR": "0.0.0.0/0", "serverAddress": server_address}]
    return {"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": by_client}


def _group_list(groups: Groups) -> Doc:
    entries = [_group_entry(group, versions) for group, versions in groups.items()]
    return {"kind": "APIGroupList", "apiVersion": "v1", "groups": entries}


def _group(group: str, versions: Sequence[str]) -> Doc:
    return {"kind": "APIGroup", "apiVersion": "v1", **_group_entry(group, versions)}


def _group_entry(group: str, versions: Sequence[str]) -> Doc:
    entries = [{"groupVersion": f"{group}/{version}", "version": version} for version in versions]
    return {"name": group, "versions": entries, "preferredVersion": entries[0]}


def _resource_list(group: str, version: str, served: list[Resource]) -> Doc:
    document: Doc = {"kind": "APIResourceList", "apiVersion": "v1"} if group else {"kind": "APIResourceList"}
    document["groupVersion"] = f"{group}/{version}" if group else version
    document["resources"] = [entry for resource in served for entry in (_resource(resource), *_parts(resource))]
    return document


def _resource(resource: Resource) -> Doc:
    document: Doc = {
        "name": resource.plural,
        "singularName": resource.singular_name,
        "namespaced": resource.namespaced,
        "kind": resource.kind,
        "verbs": resource.verbs,
    }
    if resource.short_names:
        document["shortNames"] = resource.short_names
    if resource.categories:
        document["categories"] = resource.categories
    if "watch" in resource.verbs:
        document["storageVersionHash"] = _storage_hash(resource)
    return document


def _parts(resource: Resource) -> list[Doc]:
    parts = []
    for subresource in resource.subresources:
        group_version, kind, verbs = _part(resource, subresource)
        document: Doc = {
            "name": f"{resource.plural}/{subresource}",
            "singularName": "",
            "namespaced": resource.namespaced,
        }
        if group_version:
            document["group"], _, document["version"] = group_version.rpartition("/")
        parts.append(document | {"kind": kind, "verbs": verbs})
    return parts


def _part(resource: Resource, subresource: str) -> tuple[str, str, tuple[str, ...]]:
    known = _SUBRESOURCES.get(f"{resource.plural}/{subresource}") or _SUBRESOURCES.get(subresource)
    return known or ("", resource.kind, _WRITE_PART)


def _with_remote(groups: Groups, remote: Sequence[RemoteVersion]) -> dict[str, list[str]]:
    """Versions by group; those of other servers come after our own."""
    every = {group: list(versions) for group, versions in groups.items()}
    for each in remote:
        versions = every.setdefault(each.group, [])
        if each.version not in versions:
            versions.append(each.version)
    return every


def _aggregated(catalog: Catalog, groups: Groups, remote: Sequence[RemoteVersion]) -> Doc:
    elsewhere = {(each.group, each.version): each for each in remote}
    items = []
    for group, versions in groups.items():
        entries = [
            _remote_version(elsewhere[group, version])
            if (group, version) in elsewhere
            else {
                "version": version,
                "resources": [_aggregated_resource(resource) for resource in catalog.served(group, version)],
                "freshness": "Current",
            }
            for version in versions
        ]
        items.append({"metadata": {"name": group} if group else {}, "versions": entries})
    return {
        "kind": "APIGroupDiscoveryList",
        "apiVersion": "apidiscovery.k8s.io/v2",
        "metadata": {},
        "items": items,
    }


def _remote_version(remote: RemoteVersion) -> Doc:
    if remote.documents is None:
        return {"version": remote.version, "freshness": "Stale"}
    resources = aggregated_resources(remote.documents.resources)
    return {"version": remote.version, "resources": resources, "freshness": "Current"}


def _aggregated_resource(resource: Resource) -> Doc:
    document: Doc = {
        "resource": resource.plural,
        "responseKind": _response_kind(resource),
        "scope": "Namespaced" if resource.namespaced else "Cluster",
        "singularResource": resource.singular_name,
        "verbs": resource.verbs,
    }
    if resource.short_names:
        document["shortNames"] = resource.short_names
    if resource.categories:
        document["categories"] = resource.categories
    if resource.subresources:
        document["subresources"] = [_aggregated_part(resource, part) for part in resource.subresources]
    return document


def _aggregated_part(resource: Resource, subresource: str) -> Doc:
    group_version, kind, verbs = _part(resource, subresource)
    group, _, version = group_version.rpartition("/")
    named = {"group": group, "version": version, "kind": kind}
    return {
        "subresource": subresource,
        "responseKind": named if group_version else _response_kind(resource) | {"kind": kind},
        "verbs": verbs,
    }


def _response_kind(resource: Resource) -> Doc:
    """What the objects are; upstream names group and version of custom resources only."""
    is_custom = type_of(resource).is_custom
    group, version = (resource.group, resource.version) if is_custom else ("", "")
    return {"group": group, "version": version, "kind": resource.kind}


def _storage_hash(resource: Resource) -> str:
    """The same for all versions that are stored alike."""
    stored_as = type_of(resource).stored_as or f"{resource.group}/{resource.version}"
    text = f"{stored_as}/{resource.kind}"
    return base64.b64encode(hashlib.sha256(text.encode()).digest()[:8]).decode()
