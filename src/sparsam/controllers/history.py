"""ControllerRevisions: the pod templates that a StatefulSet or DaemonSet has had, as `kubectl rollout` reads them."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass

from sparsam.controllers.runtime import Context, Obj, controller_of, controller_reference, key_of
from sparsam.controllers.templatehash import template_hash
from sparsam.errors import AlreadyExists, NotFound
from sparsam.objects.kinds import CONTROLLERREVISIONS, Resource
from sparsam.objects.selectors import parse_label_selector_object

HASH_LABEL = "controller.kubernetes.io/hash"
REVISION_LABEL = "controller-revision-hash"
"""On pods: the name of their revision (StatefulSet) or its hash (DaemonSet)."""


def revision_data(owner: Obj) -> Obj:
    """What a revision keeps: a patch that brings the template back."""
    return {"spec": {"template": {**owner["spec"]["template"], "$patch": "replace"}}}


def template_of(revision: Obj) -> Obj:
    """The pod template that a revision keeps."""
    template = revision["data"]["spec"]["template"]
    return {name: value for name, value in template.items() if name != "$patch"}


def superfluous(revisions: Iterable[Obj], live: Collection[str], limit: int) -> list[Obj]:
    """The oldest revisions beyond the limit that nothing uses; `revisions` in order, `live` by name."""
    idle = [each for each in revisions if each["metadata"]["name"] not in live]
    return idle[: max(len(idle) - limit, 0)]


@dataclass(frozen=True, slots=True)
class Histories:
    """An owner's revisions, oldest first, the one of its present template, and how many names were taken."""

    all: list[Obj]
    update: Obj
    collisions: int


class History:
    """The revisions of the owners of one kind."""

    def __init__(self, context: Context, resource: Resource) -> None:
        self._client, self._resource = context.client, resource
        self.revisions = context.informer(CONTROLLERREVISIONS)
        self.revisions.add_index("namespace", lambda each: [each["metadata"]["namespace"]])

    async def of(self, owner: Obj) -> Histories:
        """The owner's revisions, with the present template's made or renumbered as the newest."""
        known = await self._claim(owner)
        data, collisions = revision_data(owner), owner.get("status", {}).get("collisionCount") or 0
        newest = known[-1]["revision"] if known else 0
        same = [each for each in known if each["data"] == data]
        if same and same[-1] is known[-1]:
            return Histories(known, same[-1], collisions)
        if same:
            update = await self._client.update(CONTROLLERREVISIONS, {**same[-1], "revision": newest + 1})
            return Histories([*(each for each in known if each is not same[-1]), update], update, collisions)
        update, collisions = await self._create(owner, data, newest + 1, collisions)
        return Histories([*known, update], update, collisions)

    async def truncate(self, owner: Obj, histories: Histories, live: Collection[str]) -> None:
        """Delete the oldest beyond `revisionHistoryLimit` that are not live."""
        limit = owner["spec"].get("revisionHistoryLimit", 10)
        for each in superfluous(histories.all, {histories.update["metadata"]["name"], *live}, limit):
            try:
                await self._client.delete(CONTROLLERREVISIONS, each["metadata"]["name"], each["metadata"]["namespace"])
            except NotFound:
                continue

    async def _claim(self, owner: Obj) -> list[Obj]:
        selector = parse_label_selector_object(owner["spec"]["selector"])
        mine = []
        for each in self.revisions.by_index("namespace", owner["metadata"]["namespace"]):
            above = controller_of(each)
            if above is not None and above["uid"] == owner["metadata"]["uid"]:
                mine.append(each)
            elif above is None and selector.matches(each["metadata"].get("labels") or {}):
                references = [*(each["metadata"].get("ownerReferences") or ()), self._reference(owner)]
                metadata = {**each["metadata"], "ownerReferences": references}
                mine.append(await self._client.update(CONTROLLERREVISIONS, {**each, "metadata": metadata}))
        return sorted(mine, key=lambda each: (each["revision"], each["metadata"]["creationTimestamp"]))

    async def _create(self, owner: Obj, data: Obj, number: int, collisions: int) -> tuple[Obj, int]:
        namespace, name = key_of(owner)
        while True:
            digest = template_hash(data, collisions)
            labels = (owner["spec"]["template"].get("metadata") or {}).get("labels") or {}
            revision = {
                "apiVersion": CONTROLLERREVISIONS.api_version,
                "kind": CONTROLLERREVISIONS.kind,
                "metadata": {
                    "name": f"{name}-{digest}",
                    "namespace": namespace,
                    "labels": {**labels, HASH_LABEL: digest, REVISION_LABEL: digest},
                    "annotations": dict(owner["metadata"].get("annotations") or {}),
                    "ownerReferences": [self._reference(owner)],
                },
                "data": data,
                "revision": number,
            }
            try:
                return await self._client.create(CONTROLLERREVISIONS, revision), collisions
            except AlreadyExists:
                present = await self._client.get(CONTROLLERREVISIONS, f"{name}-{digest}", namespace)
                above = controller_of(present)
                if above is not None and above["uid"] == owner["metadata"]["uid"] and present["data"] == data:
                    return present, collisions
                collisions += 1

    def _reference(self, owner: Obj) -> Obj:
        return controller_reference(owner, self._resource)
