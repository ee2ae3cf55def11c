"""What nodes may do: everything about their own pods, and nothing about those of others.

Upstream's authorization mode Node (documentation: "Using Node Authorization", with AuthorizeNodeWithSelectors). What
cannot be told from a request alone, such as the contents of a new object, is left to the admission plug-in
`admission.noderestriction`. Two things more than upstream: a node may delete its own Node object, since a joining node
that lost the race for a pod network makes itself anew; and it may work on the local volumes that lie on it.
"""

from __future__ import annotations

import asyncio

import msgspec

from sparsam.apiserver.authentication import User
from sparsam.apiserver.authorization import Action, Authorizer, asked_value
from sparsam.apiserver.defaultroles import NODE_RULES
from sparsam.apiserver.following import follow, key_of
from sparsam.apiserver.nodegraph import NodeGraph
from sparsam.apiserver.roles import rule_allows
from sparsam.objects.kinds import PERSISTENTVOLUMES, PODS, RESOURCESLICES, VOLUMEATTACHMENTS, Resource
from sparsam.objects.localvolumes import NODE_LABEL
from sparsam.objects.strategy import Obj
from sparsam.store.interface import Entry, Event, EventType, Store

NODES_GROUP = "system:nodes"
LEASE_NAMESPACE = "kube-node-lease"
_PREFIX = "system:node:"
_READS = ("get", "list", "watch")
_OWN_VERBS = ("get", "create", "update", "patch", "delete")
_BOUND = b'"nodeName"'
_LATER_REFERENCES = (b'"ephemeralContainers"', b"laimStatus")
"""Only pods with these in their bytes get new references once they are bound."""


def node_of(user: User) -> str | None:
    """The name of the node that a user is, or None."""
    if not user.name.startswith(_PREFIX) or NODES_GROUP not in user.groups:
        return None
    return user.name.removeprefix(_PREFIX) or None


class NodeAuthorizer:
    """Grants what another authorizer does, and nodes what is theirs."""

    def __init__(self, first: Authorizer, store: Store) -> None:
        self._first, self._store = first, store
        self._graph = NodeGraph()
        self._owners: dict[Resource, dict[str, str]] = {VOLUMEATTACHMENTS: {}, RESOURCESLICES: {}}
        self._to_load = {PODS, PERSISTENTVOLUMES, *self._owners}
        self.loaded = asyncio.Event()
        """Set once all that the store held is known."""

    def allows(self, user: User, action: Action) -> bool:
        """Whether the user may."""
        node = node_of(user)
        return (node is not None and self._refusal(node, action) is None) or self._first.allows(user, action)

    def why_not(self, user: User, action: Action) -> str:
        """What a node is told."""
        node = node_of(user)
        refusal = None if node is None else self._refusal(node, action)
        return refusal or self._first.why_not(user, action)

    def rules(self, user: User, namespace: str) -> list[Obj]:
        """What roles say: the rest depends on pods, and upstream does not list it either."""
        return self._first.rules(user, namespace)

    def _refusal(self, node: str, action: Action) -> str | None:
        """Why a node may not; None when it may."""
        match action.group, action.resource:
            case "", "secrets" | "configmaps":
                return self._read_single(node, action)
            case "", "persistentvolumeclaims" if action.subresource == "status":
                verbs_fit = action.verb in ("update", "patch")
                return self._related(node, action) if verbs_fit else "can only get/update/patch this type"
            case "", "persistentvolumes":
                return self._volume(node, action)
            case ("", "persistentvolumeclaims") | ("resource.k8s.io", "resourceclaims"):
                return self._get(node, action)
            case "storage.k8s.io", "volumeattachments":
                return self._get(node, action)
            case "", "serviceaccounts":
                return self._token(node, action)
            case "coordination.k8s.io", "leases":
                return _lease(node, action)
            case "storage.k8s.io", "csinodes":
                return _csi_node(node, action)
            case "resource.k8s.io", "resourceslices":
                return self._slice(node, action)
            case "", "nodes":
                return _node(node, action)
            case "", "pods":
                return self._pod(node, action)
        return None if any(rule_allows(rule, action) for rule in NODE_RULES) else ""

    def _read_single(self, node: str, action: Action) -> str | None:
        if action.verb not in _READS:
            return "can only read resources of this type"
        if action.subresource:
            return "cannot read subresource"
        if not action.namespace:
            return "can only read namespaced object of this type"
        return self._related(node, action)

    def _get(self, node: str, action: Action) -> str | None:
        if action.verb != "get":
            return "can only get individual resources of this type"
        return "cannot get subresource" if action.subresource else self._related(node, action)

    def _related(self, node: str, action: Action) -> str | None:
        if not action.name:
            return "No Object name found"
        if self._has(node, action):
            return None
        return f"no relationship found between node '{node}' and this object"

    def _has(self, node: str, action: Action) -> bool:
        match action.resource:
            case "pods":
                return self._graph.has_pod(node, action.namespace, action.name)
            case "persistentvolumes":
                return self._graph.has_volume(node, action.name)
            case "volumeattachments":
                return self._owners[VOLUMEATTACHMENTS].get(action.name) == node
            case "resourceslices":
                return self._owners[RESOURCESLICES].get(action.name) == node
        return self._graph.has(node, action.resource, action.namespace, action.name)

    def _volume(self, node: str, action: Action) -> str | None:
        """As upstream's, and those that lie on the node."""
        if action.subresource:
            return "cannot get subresource"
        if action.verb in ("update", "patch", "delete") and self._graph.holds_volume(node, action.name):
            return None
        if action.verb in ("list", "watch") and asked_value(action.label_selector, NODE_LABEL) == node:
            return None
        return self._get(node, action)

    def _token(self, node: str, action: Action) -> str | None:
        if action.verb != "create" or not action.name:
            return "can only create tokens for individual service accounts"
        if action.subresource != "token":
            return "can only create token subresource of serviceaccount"
        return self._related(node, action)

    def _slice(self, node: str, action: Action) -> str | None:
        if action.subresource:
            return "cannot authorize ResourceSlice subresources"
        if action.verb == "create":
            # For whom is for admission to check, which sees the slice.
            return None
        if action.verb in ("list", "watch", "deletecollection"):
            if asked_value(action.field_selector, "spec.nodeName") == node:
                return None
            return "can only list/watch/deletecollection resourceslices with nodeName field selector"
        return self._related(node, action)

    def _pod(self, node: str, action: Action) -> str | None:
        """The authorizer does not see which pod is made, changed or deleted: admission does."""
        match action.subresource, action.verb:
            case "", "get":
                return self._related(node, action)
            case "", "list" | "watch":
                if asked_value(action.field_selector, "spec.nodeName") == node:
                    return None
                if action.name:
                    return self._related(node, action)
                return "can only list/watch pods with spec.nodeName field selector"
            case ("", "create" | "delete") | ("status", "update" | "patch") | ("eviction", "create"):
                return None
        return ""

    async def run(self) -> None:
        """Keep the graph like the store until cancelled."""
        async with asyncio.TaskGroup() as group:
            for resource in tuple(self._to_load):
                group.create_task(self._follow(resource), name=f"node graph {resource.plural}")

    async def _follow(self, resource: Resource) -> None:
        def reset(entries: list[Entry]) -> None:
            self._forget(resource)
            for entry in entries:
                self._put(resource, entry)
            self._to_load.discard(resource)
            if not self._to_load:
                self.loaded.set()

        def change(event: Event) -> None:
            if event.type is EventType.DELETED:
                self._drop(resource, event.entry)
            else:
                self._put(resource, event.entry)

        await follow(self._store, resource, reset, change)

    def _forget(self, resource: Resource) -> None:
        if resource in self._owners:
            self._owners[resource].clear()
        elif resource is PODS:
            self._graph.forget_pods()
        else:
            self._graph.forget_volumes()

    def _put(self, resource: Resource, entry: Entry) -> None:
        key, value = key_of(resource, entry), entry.value
        if resource is PODS:
            # Most writes to pods are of their status: reading those would be in vain.
            fresh = not self._graph.knows_pod(key) and _BOUND in value
            if fresh or any(field in value for field in _LATER_REFERENCES):
                self._graph.put_pod(key, msgspec.json.decode(value))
        elif resource is PERSISTENTVOLUMES:
            self._graph.put_volume(key[1], msgspec.json.decode(value))
        else:
            self._owners[resource][key[1]] = msgspec.json.decode(value).get("spec", {}).get("nodeName", "")

    def _drop(self, resource: Resource, entry: Entry) -> None:
        key = key_of(resource, entry)
        if resource is PODS:
            self._graph.drop_pod(key)
        elif resource is PERSISTENTVOLUMES:
            self._graph.drop_volume(key[1])
        else:
            self._owners[resource].pop(key[1], None)


def _node(node: str, action: Action) -> str | None:
    match action.subresource, action.verb:
        case ("", "create" | "update" | "patch") | ("status", "update" | "patch"):
            return None
        case "", "get" | "list" | "watch":
            if action.name == node:
                return None
            if not action.name:
                return f"node '{node}' cannot read all nodes, only its own Node object"
            return f"node '{node}' cannot read '{action.name}', only its own Node object"
        case "", "delete" if action.name == node:
            return None
    return ""


def _lease(node: str, action: Action) -> str | None:
    if action.verb not in _OWN_VERBS:
        return "can only get, create, update, patch, or delete a node lease"
    if action.namespace != LEASE_NAMESPACE:
        return f'can only access leases in the "{LEASE_NAMESPACE}" system namespace'
    if action.verb != "create" and action.name != node:
        return "can only access node lease with the same name as the requesting node"
    return None


def _csi_node(node: str, action: Action) -> str | None:
    if action.verb not in _OWN_VERBS:
        return "can only get, create, update, patch, or delete a CSINode"
    if action.subresource:
        return "cannot authorize CSINode subresources"
    if action.verb != "create" and action.name != node:
        return "can only access CSINode with the same name as the requesting node"
    return None
