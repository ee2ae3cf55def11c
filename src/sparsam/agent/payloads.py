"""Files of ConfigMap, Secret, downward API and projected volumes, computed before anything is written. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from sparsam.agent.downward import PodFacts, field_value, resource_value
from sparsam.agent.podspec import Obj, all_containers, effective, ephemeral_containers
from sparsam.agent.references import CONFIG_MAP, SECRET, ConfigFault, Sources

_DEFAULT_MODE = 0o644
_TOKEN_SECONDS = 3600
_PEM = re.compile(r"-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----", re.DOTALL)


@dataclass(frozen=True, slots=True)
class File:
    """One file of a volume."""

    content: bytes
    mode: int = _DEFAULT_MODE
    owner: int | None = None
    """User that the file belongs to; None is root."""


@dataclass(frozen=True, slots=True)
class TokenWish:
    """A service account token that a projected volume asks for."""

    audience: str
    expiration_seconds: int
    path: str


def volume_files(
    volume: Obj, facts: PodFacts, sources: Sources, tokens: Mapping[TokenWish, str]
) -> dict[str, File] | None:
    """Files by path, or None for a volume of another kind. Raises ConfigFault."""
    if "configMap" in volume:
        source = volume["configMap"]
        return _entries((CONFIG_MAP, source.get("name", "")), source, facts, sources, _mode(source))
    if "secret" in volume:
        source = volume["secret"]
        return _entries((SECRET, source.get("secretName", "")), source, facts, sources, _mode(source))
    if "downwardAPI" in volume:
        return _downward(volume["downwardAPI"], facts, _mode(volume["downwardAPI"]))
    if "projected" in volume:
        return _projected(volume["projected"], facts, sources, tokens)
    return None


def has_content(pod: Obj) -> bool:
    """Whether any volume has files that may change while the pod runs."""
    kinds = ("configMap", "secret", "downwardAPI", "projected")
    return any(kind in volume for volume in pod["spec"].get("volumes") or () for kind in kinds)


def token_wishes(pod: Obj) -> list[TokenWish]:
    """Every token that the pod's projected volumes ask for."""
    projected = [volume.get("projected") or {} for volume in pod["spec"].get("volumes") or ()]
    sources = [source for volume in projected for source in volume.get("sources") or ()]
    return [_token_wish(source["serviceAccountToken"]) for source in sources if "serviceAccountToken" in source]


def _token_wish(source: Obj) -> TokenWish:
    return TokenWish(source.get("audience", ""), int(source.get("expirationSeconds") or _TOKEN_SECONDS), source["path"])


def _projected(projected: Obj, facts: PodFacts, sources: Sources, tokens: Mapping[TokenWish, str]) -> dict[str, File]:
    files: dict[str, File] = {}
    mode = _mode(projected)
    private, owner = _private(facts.pod, mode)
    for source in projected.get("sources") or ():
        if "configMap" in source:
            key = CONFIG_MAP, source["configMap"].get("name", "")
            files.update(_entries(key, source["configMap"], facts, sources, mode))
        if "secret" in source:
            key = SECRET, source["secret"].get("name", "")
            files.update(_entries(key, source["secret"], facts, sources, mode))
        if "downwardAPI" in source:
            files.update(_downward(source["downwardAPI"], facts, mode))
        if "clusterTrustBundle" in source:
            bundle = source["clusterTrustBundle"]
            files[bundle["path"]] = File(trust_anchors(sources.trust_bundles(bundle)), mode)
        if "serviceAccountToken" in source:
            wish = _token_wish(source["serviceAccountToken"])
            files[wish.path] = File(tokens[wish].encode(), private, owner)
    return files


def trust_anchors(bundles: Iterable[Obj]) -> bytes:
    """The certificates of bundles, each once, without what stands between them."""
    blocks = (block for bundle in bundles for block in _PEM.findall(bundle["spec"]["trustBundle"]))
    return "".join(f"{block}\n" for block in dict.fromkeys(blocks)).encode()


def _private(pod: Obj, mode: int) -> tuple[int, int | None]:
    """Mode and owner of files that prove the pod's identity: for its one user alone, if it has one."""
    group = (pod["spec"].get("securityContext") or {}).get("fsGroup")
    users = {effective(pod, spec, "runAsUser") for spec in (*all_containers(pod), *ephemeral_containers(pod))}
    owner = users.pop() if len(users) == 1 else None
    return (mode if group is None and owner is None else 0o600), owner


def _entries(key: tuple[str, str], source: Obj, facts: PodFacts, sources: Sources, mode: int) -> dict[str, File]:
    kind, name = key
    optional = bool(source.get("optional"))
    data = sources.data(kind, name, optional)
    if data is None:
        return {}
    items = source.get("items")
    if not items:
        return {path: File(content, mode) for path, content in data.items()}
    files = {}
    for item in items:
        if item["key"] in data:
            files[item["path"]] = File(data[item["key"]], _mode(item, mode, "mode"))
        elif not optional:
            what = "secret" if kind == SECRET else "config"
            raise ConfigFault(f"references non-existent {what} key: {item['key']}")
    return files


def _downward(source: Obj, facts: PodFacts, mode: int) -> dict[str, File]:
    files = {}
    for item in source.get("items") or ():
        if "fieldRef" in item:
            text = field_value(facts, item["fieldRef"]["fieldPath"])
        else:
            text = resource_value(facts, item["resourceFieldRef"], None)
        files[item["path"]] = File(text.encode(), _mode(item, mode, "mode"))
    return files


def _mode(source: Obj, default: int = _DEFAULT_MODE, field: str = "defaultMode") -> int:
    value = source.get(field)
    return default if value is None else int(value)
