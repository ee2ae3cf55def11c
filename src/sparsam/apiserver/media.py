"""Which representation a client gets, from its Accept header, and which one it sent, from its Content-Type."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from sparsam.apiserver.http import JSON, YAML
from sparsam.errors import NotAcceptable

AVAILABLE = "application/json, application/yaml"

_JSON_TYPES = frozenset({"application/json", "*/*", "application/*"})
_TRANSFORMS = frozenset({"Table", "PartialObjectMetadata", "PartialObjectMetadataList"})
_DISCOVERY = "APIGroupDiscoveryList"


@dataclass(frozen=True, slots=True)
class Media:
    """The negotiated form: a content type and, if asked for, another kind to convert to."""

    content_type: str = JSON
    kind: str = ""
    """Table, PartialObjectMetadata(List), APIGroupDiscoveryList, or empty for the object itself."""
    version: str = ""

    @property
    def is_yaml(self) -> bool:
        """Whether the body is to be YAML."""
        return self.content_type == YAML


_PLAIN = Media()


@lru_cache(maxsize=256)
def negotiate(accept: str) -> Media:
    """The first acceptable form that is offered here; raises NotAcceptable."""
    if not accept:
        return _PLAIN
    for clause in _by_quality(accept):
        media = _offered(clause)
        if media is not None:
            return media
    raise NotAcceptable(f"406: Not Acceptable\n\nAvailable representations: {AVAILABLE}", details={})


def _by_quality(accept: str) -> list[dict[str, str]]:
    clauses = []
    for text in accept.split(","):
        essence, *parameters = (part.strip() for part in text.split(";"))
        clause = {"": essence}
        for parameter in parameters:
            key, _, value = parameter.partition("=")
            clause[key.strip()] = value.strip().strip('"')
        clauses.append(clause)
    return sorted(clauses, key=_quality, reverse=True)


def _quality(clause: dict[str, str]) -> float:
    try:
        return float(clause.get("q", "1"))
    except ValueError:
        return 0.0


def _offered(clause: dict[str, str]) -> Media | None:
    essence = clause[""]
    if essence in _JSON_TYPES:
        content_type = JSON
    elif essence == YAML:
        content_type = YAML
    else:
        return None
    kind, group, version = clause.get("as", ""), clause.get("g", ""), clause.get("v", "")
    if not kind:
        return Media(content_type)
    if kind in _TRANSFORMS and group == "meta.k8s.io" and version in ("v1", "v1beta1"):
        return Media(content_type, kind, version)
    if kind == _DISCOVERY and group == "apidiscovery.k8s.io" and version == "v2":
        return Media(content_type, kind, version)
    return None


def essence(content_type: str) -> str:
    """A content type without its parameters."""
    return content_type.partition(";")[0].strip().lower()
