"""What is served at the moment: the catalog of resources, and the documents that tell of it.

The one place that holds the current Catalog. When definitions change, it is exchanged as a whole; documents are made
again when they are next asked for, and streams about resources that went, or changed, end.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping

from sparsam.apiserver.http import PathHandler
from sparsam.objects.catalog import BUILT_IN, Catalog
from sparsam.objects.kinds import Resource

Documents = Callable[[Catalog], Mapping[str, PathHandler]]


class Served:
    """The current catalog; `documents` gives the handlers of exact paths for one."""

    def __init__(self, documents: Documents, catalog: Catalog = BUILT_IN) -> None:
        self.catalog = catalog
        self._documents = documents
        self._paths: Mapping[str, PathHandler] | None = None
        self._ends: dict[Resource, asyncio.Event] = {}

    def exchange(self, catalog: Catalog) -> None:
        """Serve this catalog from now on."""
        self.catalog, self._paths = catalog, None
        kept = set(catalog.custom)
        for resource in [each for each in self._ends if each not in kept]:
            self._ends.pop(resource).set()

    def paths(self) -> Mapping[str, PathHandler]:
        """Handlers by exact path."""
        if self._paths is None:
            self._paths = self._documents(self.catalog)
        return self._paths

    def end_of(self, resource: Resource) -> asyncio.Event | None:
        """Set when a resource is not served any more as it is now; None for those that always are."""
        if resource not in self.catalog.custom:
            return None
        return self._ends.setdefault(resource, asyncio.Event())
