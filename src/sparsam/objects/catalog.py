"""Everything that is served: the built-in resources, and those that definitions in the cluster add. Immutable.

Whoever serves or looks up resources that may be custom asks a Catalog; when definitions change, another one takes its
place as a whole, so that nobody sees half a change.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from sparsam.objects.kinds import RESOURCES, Resource

_VERSION = re.compile(r"v(\d+)(?:(alpha|beta)(\d+))?")
_STABILITY = {"alpha": 0, "beta": 1, None: 2}


class Catalog:
    """Resources by place and by kind, groups and their versions in the order in which discovery names them."""

    def __init__(self, custom: Iterable[Resource] = ()) -> None:
        self.custom = tuple(custom)
        self.resources: tuple[Resource, ...] = (*RESOURCES, *self.custom)
        self._by_plural: dict[tuple[str, str, str], Resource] = {}
        self._by_kind: dict[tuple[str, str], Resource] = {}
        self._served: dict[str, dict[str, list[Resource]]] = {}
        for resource in self.resources:
            # Built-in ones come first, hence keep their place if a definition claims it.
            self._by_plural.setdefault((resource.group, resource.version, resource.plural), resource)
            self._by_kind.setdefault((resource.api_version, resource.kind), resource)
            self._served.setdefault(resource.group, {}).setdefault(resource.version, []).append(resource)
        built_in = {resource.group for resource in RESOURCES}
        self.groups: dict[str, tuple[str, ...]] = {
            group: tuple(versions if group in built_in else sorted(versions, key=version_rank, reverse=True))
            for group, versions in self._served.items()
        }
        """Versions by group; the first one is preferred."""

    def find(self, group: str, version: str, plural: str) -> Resource | None:
        """The resource served at (group, version, plural), or None."""
        return self._by_plural.get((group, version, plural))

    def by_kind(self, api_version: str, kind: str) -> Resource | None:
        """The resource whose objects carry this apiVersion and kind, or None."""
        return self._by_kind.get((api_version, kind))

    def served(self, group: str, version: str) -> list[Resource]:
        """The resources of one version of a group."""
        return self._served.get(group, {}).get(version, [])


BUILT_IN = Catalog()


def version_rank(version: str) -> tuple[int, int, int, int, tuple[int, ...]]:
    """Rises with preference: v2, v1, v1beta2, v1beta1, v1alpha1, then all other names from a to z.

    Source: Kubernetes documentation, "Versions in CustomResourceDefinitions", version priority.
    """
    match = _VERSION.fullmatch(version)
    if match is None:
        return 0, 0, 0, 0, (*(-ord(character) for character in version), 1)
    major, stability, minor = match.groups()
    return 1, _STABILITY[stability], int(major), int(minor or 0), ()
