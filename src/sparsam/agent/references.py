"""ConfigMaps, Secrets and claims that a pod refers to, and their values once fetched. Pure."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import msgspec

from sparsam.agent.podspec import Obj, all_containers, ephemeral_containers
from sparsam.errors import SparsamError

CONFIG_MAP = "ConfigMap"
SECRET = "Secret"
CLAIM = "PersistentVolumeClaim"
TRUST_BUNDLE = "ClusterTrustBundle"
TRUST_BUNDLES = "ClusterTrustBundleList"
"""All bundles of a signer that a selector wants; what stands for a name is that projection in JSON."""


class ConfigFault(SparsamError):
    """A container or volume cannot be configured; the message is what the pod's status shows."""


SOURCES_MAX_AGE_SECONDS = 1.0
"""How old a source may be for a start: the pod's volumes were just set up with fresh ones."""


@dataclass(frozen=True, slots=True)
class Sources:
    """What was found for one pod: objects by (kind, name), and why others could not be had."""

    objects: Mapping[tuple[str, str], Obj] = field(default_factory=dict)
    faults: Mapping[tuple[str, str], str] = field(default_factory=dict)

    def data(self, kind: str, name: str, optional: bool, *, text: bool = False) -> dict[str, bytes] | None:
        """All entries as bytes (`text`: without `binaryData`); None when optional and absent. Raises ConfigFault."""
        found = self.objects.get((kind, name))
        if found is None:
            fault = self.faults.get((kind, name))
            if fault is None and optional:
                return None
            raise ConfigFault(fault or f'{kind.lower()} "{name}" not found')
        if kind == SECRET:
            return {entry: base64.b64decode(value or "") for entry, value in (found.get("data") or {}).items()}
        entries = {entry: str(value).encode() for entry, value in (found.get("data") or {}).items()}
        binary = {} if text else found.get("binaryData") or {}
        entries.update({entry: base64.b64decode(value) for entry, value in binary.items()})
        return entries

    def trust_bundles(self, projection: Obj) -> list[Obj]:
        """The ClusterTrustBundles of a projection, by name; none only where that is fine. Raises ConfigFault."""
        kind, name = key = trust_bundle_key(projection)
        found = self.objects.get(key)
        if fault := self.faults.get(key):
            raise ConfigFault(fault)
        bundles = [found] if found is not None and kind == TRUST_BUNDLE else (found or {}).get("items") or []
        if not bundles and not projection.get("optional"):
            if kind == TRUST_BUNDLE:
                raise ConfigFault(f'clustertrustbundle "{name}" not found')
            raise ConfigFault("combination of signerName and labelSelector matched zero ClusterTrustBundles")
        return sorted(bundles, key=lambda bundle: str(bundle["metadata"]["name"]))

    def volume(self, claim: str) -> Obj:
        """The PersistentVolume that a claim is bound to. Raises ConfigFault."""
        found = self.objects.get((CLAIM, claim))
        if found is None:
            raise ConfigFault(self.faults.get((CLAIM, claim)) or f'persistentvolumeclaim "{claim}" not found')
        return found


def claim_of(pod_name: str, volume: Obj) -> str | None:
    """The claim behind a volume; None when it is no such volume."""
    if "persistentVolumeClaim" in volume:
        return str(volume["persistentVolumeClaim"]["claimName"])
    return f"{pod_name}-{volume['name']}" if "ephemeral" in volume else None


def references(pod: Obj) -> set[tuple[str, str]]:
    """Every (kind, name) in environment and volumes."""
    found: set[tuple[str, str]] = set()
    for spec in (*all_containers(pod), *ephemeral_containers(pod)):
        found.update(_env_references(spec))
    for volume in pod["spec"].get("volumes") or ():
        found.update(_volume_references(volume))
        if claim := claim_of(pod["metadata"]["name"], volume):
            found.add((CLAIM, claim))
    return found


def trust_bundle_key(projection: Obj) -> tuple[str, str]:
    """What to fetch for a projected ClusterTrustBundle: one by name, or those of a signer."""
    if projection.get("name"):
        return TRUST_BUNDLE, str(projection["name"])
    wanted = {name: projection.get(name) for name in ("signerName", "labelSelector")}
    return TRUST_BUNDLES, msgspec.json.encode(wanted, order="sorted").decode()


def pull_secret_names(pod: Obj) -> list[str]:
    """Secrets with registry credentials."""
    return [reference["name"] for reference in pod["spec"].get("imagePullSecrets") or () if reference.get("name")]


def _env_references(spec: Obj) -> Iterator[tuple[str, str]]:
    for source in spec.get("envFrom") or ():
        if "configMapRef" in source:
            yield CONFIG_MAP, source["configMapRef"].get("name", "")
        if "secretRef" in source:
            yield SECRET, source["secretRef"].get("name", "")
    for variable in spec.get("env") or ():
        source = variable.get("valueFrom") or {}
        if "configMapKeyRef" in source:
            yield CONFIG_MAP, source["configMapKeyRef"].get("name", "")
        if "secretKeyRef" in source:
            yield SECRET, source["secretKeyRef"].get("name", "")


def _volume_references(volume: Obj) -> Iterator[tuple[str, str]]:
    if "configMap" in volume:
        yield CONFIG_MAP, volume["configMap"].get("name", "")
    if "secret" in volume:
        yield SECRET, volume["secret"].get("secretName", "")
    for source in (volume.get("projected") or {}).get("sources") or ():
        if "clusterTrustBundle" in source:
            yield trust_bundle_key(source["clusterTrustBundle"])
        if "configMap" in source:
            yield CONFIG_MAP, source["configMap"].get("name", "")
        if "secret" in source:
            yield SECRET, source["secret"].get("name", "")
