"""Gives every namespace its `default` service account and the `kube-root-ca.crt` ConfigMap."""

from __future__ import annotations

from collections.abc import Callable

from sparsam.controllers.runtime import Context, Controller, Key, Obj
from sparsam.errors import AlreadyExists, Forbidden, NotFound
from sparsam.objects.kinds import CONFIGMAPS, NAMESPACES, SERVICEACCOUNTS, Resource

ACCOUNT = "default"
ROOT_CA = "kube-root-ca.crt"
CA_DESCRIPTION = (
    "Contains a CA bundle that can be used to verify the kube-apiserver when using internal endpoints such as the "
    "internal service IP or kubernetes.default.svc. No other usage is guaranteed across distributions of Kubernetes "
    "clusters."
)


class ServiceAccountController:
    """Keyed by namespace."""

    def __init__(self, context: Context) -> None:
        self._client = context.client
        self._namespaces = context.informer(NAMESPACES)
        self._accounts = context.informer(SERVICEACCOUNTS)
        self._config_maps = context.informer(CONFIGMAPS)
        self._ca = (context.client.config.ca or b"").decode()
        self.controller = Controller("service-account", context, self.sync)
        self.controller.watch(self._namespaces, lambda obj: [("", obj["metadata"]["name"])])
        self.controller.watch(self._accounts, _namespace_of(ACCOUNT))
        self.controller.watch(self._config_maps, _namespace_of(ROOT_CA))

    async def sync(self, key: Key) -> None:
        """Create or mend what a namespace must have."""
        _, namespace = key
        found = self._namespaces.get("", namespace)
        if found is None or "deletionTimestamp" in found["metadata"]:
            return
        if self._accounts.get(namespace, ACCOUNT) is None:
            await self._create(SERVICEACCOUNTS, {"metadata": {"name": ACCOUNT, "namespace": namespace}})
        known = self._config_maps.get(namespace, ROOT_CA)
        data = {"ca.crt": self._ca}
        if known is None:
            metadata = {
                "name": ROOT_CA,
                "namespace": namespace,
                "annotations": {"kubernetes.io/description": CA_DESCRIPTION},
            }
            await self._create(CONFIGMAPS, {"metadata": metadata, "data": data})
        elif known.get("data") != data:
            await self._client.update(CONFIGMAPS, {**known, "data": data})

    async def _create(self, resource: Resource, obj: Obj) -> None:
        try:
            await self._client.create(resource, {"apiVersion": resource.api_version, "kind": resource.kind, **obj})
        except (AlreadyExists, NotFound, Forbidden):
            # Made by somebody else, or the namespace is going.
            return


def _namespace_of(name: str) -> Callable[[Obj], list[Key]]:
    def keys(obj: Obj) -> list[Key]:
        return [("", obj["metadata"]["namespace"])] if obj["metadata"]["name"] == name else []

    return keys
