"""Admission: what the cluster, rather than the schema, objects to or fills in.

The seam: `Admission.admit` may read the cluster (it is async) and returns a plain function that the pure pipeline
calls on the defaulted object. Each plug-in is a module of this package with the signature of `Plugin`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from sparsam.apiserver import statuses
from sparsam.apiserver.authentication import User
from sparsam.errors import Forbidden
from sparsam.objects.kinds import Resource
from sparsam.objects.strategy import Obj

Admit = Callable[[Obj, Obj | None], None]
"""(new, old): change `new` in place, or raise StatusError."""


@dataclass(frozen=True, slots=True)
class Attributes:
    """What admission may know about a request besides the object."""

    operation: str
    """CREATE, UPDATE, DELETE or CONNECT."""
    resource: Resource
    namespace: str
    name: str
    user: User
    subresource: str = ""
    dry_run: bool = False
    options: Mapping[str, Any] = field(default_factory=dict)
    """The CreateOptions and so on that the client sent along."""


class Reader(Protocol):
    """Reads the cluster for plug-ins."""

    async def find(self, resource: Resource, name: str, namespace: str = "") -> Obj | None:
        """The object, or None."""
        ...

    async def items(self, resource: Resource, namespace: str = "") -> list[Obj]:
        """All objects of a namespace, or of the cluster."""
        ...


def forbidden(attributes: Attributes, obj: Obj | None, why: str) -> Forbidden:
    """A refusal in upstream's words, by the name that the object has so far."""
    metadata = (obj or {}).get("metadata") or {}
    name = attributes.name or metadata.get("name") or metadata.get("generateName") or "Unknown"
    return Forbidden(
        f'{attributes.resource.group_resource} "{name}" is forbidden: {why}',
        details=statuses.details_of(attributes.resource, name),
    )


Plugin = Callable[[Attributes, Obj | None, Reader], Awaitable[Admit | None]]
"""(request, object as sent if there is one, reader): a function to run on the object, None to abstain, or an error."""


Validator = Callable[[Attributes, Obj, Obj | None, Reader], Awaitable[list[str]]]
"""(request, object as it would be stored, object as it is stored, reader): warnings, or an error. Changes nothing.

For a DELETE the first of the objects is empty. For a CONNECT, and for a subresource that is created, it is what the
client sent, and there is no second.
"""

Rerun = Callable[[Obj], Awaitable[None]]
Mutator = Callable[[Attributes, Obj, Obj | None, Rerun], Awaitable[tuple[Obj, list[str]]]]
"""(request, object as it is after the plug-ins, object as it is stored, the plug-ins once more): the object as it is
then, and warnings, or an error. For a DELETE the first of the objects is empty."""


async def unchanged(_attributes: Attributes, new: Obj, _old: Obj | None, _rerun: Rerun) -> tuple[Obj, list[str]]:
    """The mutator of a cluster in which nobody configured anything."""
    return new, []


class Admission:
    """Runs the plug-ins in order, then the mutator.

    The validators come last, when the object is known to be valid by itself.
    """

    def __init__(
        self,
        plugins: Sequence[Plugin],
        reader: Reader,
        validators: Sequence[Validator] = (),
        mutate: Mutator = unchanged,
    ) -> None:
        self._plugins = tuple(plugins)
        self._validators = tuple(validators)
        self._reader = reader
        self.mutate = mutate

    async def validate(self, attributes: Attributes, new: Obj, old: Obj | None) -> list[str]:
        """All validators' warnings; raises StatusError."""
        warnings: list[str] = []
        for validator in self._validators:
            warnings += await validator(attributes, new, old, self._reader)
        return warnings

    async def admit(self, attributes: Attributes, obj: Obj | None) -> Admit:
        """All plug-ins' verdicts as one function; raises StatusError."""
        steps: list[Admit] = []
        for plugin in self._plugins:
            step = await plugin(attributes, obj, self._reader)
            if step is not None:
                steps.append(step)
        if len(steps) == 1:
            return steps[0]

        def run(new: Obj, old: Obj | None) -> None:
            for step in steps:
                step(new, old)

        return run
