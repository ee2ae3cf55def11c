"""Service accounts: every pod runs as one, and gets its token mounted. Upstream's ServiceAccount plug-in."""

from __future__ import annotations

import secrets

from sparsam.apiserver import statuses
from sparsam.apiserver.admission import Admit, Attributes, Reader
from sparsam.errors import Forbidden
from sparsam.objects.kinds import PODS, SERVICEACCOUNTS
from sparsam.objects.strategy import Obj

VOLUME_PREFIX = "kube-api-access-"
MOUNT_PATH = "/var/run/secrets/kubernetes.io/serviceaccount"
TOKEN_SECONDS = 3607
"""An hour and seven seconds: upstream's mark for tokens that admission asked for."""
MIRROR_ANNOTATION = "kubernetes.io/config.mirror"
_SUFFIX_LETTERS = "bcdfghjklmnpqrstvwxz2456789"


async def service_account(attributes: Attributes, obj: Obj | None, reader: Reader) -> Admit | None:
    """Raises Forbidden when the account does not exist."""
    if attributes.resource is not PODS or attributes.operation != "CREATE" or attributes.subresource or obj is None:
        return None
    spec = obj.get("spec") or {}
    if MIRROR_ANNOTATION in ((obj.get("metadata") or {}).get("annotations") or {}):
        return None
    name = spec.get("serviceAccountName") or spec.get("serviceAccount") or "default"
    account = await reader.find(SERVICEACCOUNTS, name, attributes.namespace)
    if account is None:
        raise _unknown_account(attributes, obj, name)
    volume = VOLUME_PREFIX + "".join(secrets.choice(_SUFFIX_LETTERS) for _ in range(5))

    def admit(new: Obj, _old: Obj | None) -> None:
        pod_spec = new["spec"]
        pod_spec["serviceAccountName"] = pod_spec["serviceAccount"] = name
        if not pod_spec.get("imagePullSecrets") and account.get("imagePullSecrets"):
            pod_spec["imagePullSecrets"] = [dict(each) for each in account["imagePullSecrets"]]
        wanted = pod_spec.get("automountServiceAccountToken", account.get("automountServiceAccountToken", True))
        if wanted:
            _mount_token(pod_spec, volume)

    return admit


def _mount_token(spec: Obj, volume: str) -> None:
    """Mount the token where no container has something of its own there already; one volume serves all."""
    volumes = [each.get("name", "") for each in spec.get("volumes") or ()]
    names = [each for each in volumes if each.startswith(VOLUME_PREFIX)]
    volume, used = names[0] if names else volume, False
    for container in [*(spec.get("initContainers") or ()), *(spec.get("containers") or ())]:
        mounts = container.setdefault("volumeMounts", [])
        if any(mount.get("mountPath") == MOUNT_PATH for mount in mounts):
            continue
        mounts.append({"name": volume, "readOnly": True, "mountPath": MOUNT_PATH})
        used = True
    if used and not names:
        spec.setdefault("volumes", []).append({"name": volume, "projected": _token_volume()})


def _token_volume() -> Obj:
    namespace = {"path": "namespace", "fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.namespace"}}
    return {
        "sources": [
            {"serviceAccountToken": {"expirationSeconds": TOKEN_SECONDS, "path": "token"}},
            {"configMap": {"name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "ca.crt"}]}},
            {"downwardAPI": {"items": [namespace]}},
        ],
        "defaultMode": 0o644,
    }


def _unknown_account(attributes: Attributes, obj: Obj, account: str) -> Forbidden:
    name = (obj.get("metadata") or {}).get("name") or attributes.name
    return Forbidden(
        f'pods "{name}" is forbidden: error looking up service account {attributes.namespace}/{account}: '
        f'serviceaccount "{account}" not found',
        details=statuses.details_of(PODS, name),
    )
