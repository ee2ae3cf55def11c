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
from sparsam.objects.objecttypes import ObjectType, type_of

LAST_WORDS_SECONDS = 1.0
"""How long a stream about what is not served any more goes on: events may still be on their way."""

Documents = Callable[[Catalog], Mapping[str, PathHandler]]


class Served:
    """The current catalog; `documents` gives the handlers of exact paths for one."""

    def __init__(self, documents: Documents, catalog: Catalog = BUILT_IN) -> None:
        self.catalog = catalog
        self._documents = documents
        self._paths: Mapping[str, PathHandler] | None = None
        self._ends: dict[ObjectType, asyncio.Event] = {}
        self.exchanged = asyncio.Event()
        """Set after each exchange; who waits for it clears it."""

    def exchange(self, catalog: Catalog) -> None:
        """Serve this catalog from now on."""
        self.catalog, self._paths = catalog, None
        kept = {type_of(resource) for resource in catalog.custom}
        for kind in [each for each in self._ends if each not in kept]:
            self._end(kind)
        self.exchanged.set()

    def _end(self, kind: ObjectType) -> None:
        # What happened to the last objects is told before the stream ends.
        asyncio.get_running_loop().call_later(LAST_WORDS_SECONDS, self._ends.pop(kind).set)

    def forget(self) -> None:
        """Make the documents again: what other servers serve has changed."""
        self._paths = None

    def paths(self) -> Mapping[str, PathHandler]:
        """Handlers by exact path."""
        if self._paths is None:
            self._paths = self._documents(self.catalog)
        return self._paths

    def end_of(self, resource: Resource) -> asyncio.Event | None:
        """Set when objects of a resource are not served any more as they are now; None for those that always are."""
        kind = type_of(resource)
        if not kind.is_custom:
            return None
        ended = self._ends.setdefault(kind, asyncio.Event())
        now = self.catalog.find(resource.group, resource.version, resource.plural)
        if now is None or type_of(now) != kind:
            # It went between the request and the stream.
            self._end(kind)
        return ended
