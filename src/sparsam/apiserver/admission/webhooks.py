"""Admission webhooks: servers of the cluster's users that change or refuse what is written.

Mutating ones are called one after the other, in the order of their configurations' names; what one changed the next one
sees. When one changed something, the built-in plug-ins look again, and earlier webhooks do that asked for it
(reinvocationPolicy), once. Validating ones are called all at once. Source: the page "Dynamic Admission Control".
"""

from __future__ import annotations

import asyncio
import contextlib
import copy
import logging
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

from sparsam.apiserver.admission import Attributes, Reader, Rerun, admissionreview, forbidden, matching
from sparsam.apiserver.admission.admissionreview import BadAnswer, Unreadable, Verdict
from sparsam.apiserver.admission.hooks import Hook, HookBook
from sparsam.apiserver.admission.views import View
from sparsam.apiserver.authorization import Authorizer
from sparsam.apiserver.converting import Convert
from sparsam.apiserver.webhookclient import BadClient, CallFailed, WebhookClient
from sparsam.errors import BadRequest, InternalError, Invalid, StatusError, Timeout
from sparsam.objects.fields import quote
from sparsam.objects.kinds import NAMESPACES, Resource
from sparsam.objects.patches import json_patch
from sparsam.objects.strategy import Obj
from sparsam.store.interface import Store

if TYPE_CHECKING:
    pass

log = logging.getLogger(__name__)

REQUEST_SECONDS = 34.0
"""For all mutating webhooks of a request, and for all validating ones: upstream's limit for a write."""
QUICK = 20_000
"""What conditions may cost before they are evaluated beside the event loop."""
_TIMED_OUT = "Timeout: request did not complete within requested timeout - context deadline exceeded"


class HookFailed(Exception):
    """A webhook that could not be asked, or did not answer: its failurePolicy decides."""


@dataclass(slots=True)
class Writing:
    """A request on its way through the webhooks, with what is found out about it only once."""

    attributes: Attributes
    old: Obj | None
    reader: Reader
    deadline: float
    labels: dict[str, str] | None = None
    warnings: list[str] = field(default_factory=list)

    async def applies(self, hook: Hook, new: Obj | None) -> Resource | None:
        """The resource by which the webhook is to be asked, but for its conditions; None when it is not."""
        if not matching.object_matches(hook.objects, new, self.old):
            return None
        seen_as = hook.seen_as(self.attributes)
        if seen_as is None or hook.namespaces.is_everything or matching.is_free_of_namespaces(self.attributes):
            return seen_as
        return seen_as if hook.namespaces.matches(await self._namespace_labels(new)) else None

    async def _namespace_labels(self, new: Obj | None) -> dict[str, str]:
        attributes = self.attributes
        if matching.carries_namespace(attributes) and new is not None:
            return dict(matching.labels_of(new))
        if self.labels is None:
            name = attributes.name if attributes.resource == NAMESPACES else attributes.namespace
            namespace = await self.reader.find(NAMESPACES, name)
            self.labels = dict(matching.labels_of(namespace)) if namespace else {}
        return self.labels

    def seconds_left(self) -> float:
        """How long webhooks may take; raises Timeout when there is nothing left."""
        left = self.deadline - asyncio.get_running_loop().time()
        if left <= 0:
            raise Timeout(_TIMED_OUT, details={})
        return left


@dataclass(slots=True)
class Reinvocation:
    """Which webhooks have to look again."""

    is_second: bool = False
    changed: bool = False
    invoked: set[str] = field(default_factory=set)
    required: set[str] = field(default_factory=set)

    def note_change(self) -> None:
        """Something changed: those asked before must see it."""
        self.changed = True
        self.required |= self.invoked
        self.invoked.clear()


class Webhooks:
    """Calls what is configured; costs nothing while nothing is."""

    def __init__(
        self, store: Store, reader: Reader, client: WebhookClient, convert: Convert, *, authorizer: Authorizer
    ) -> None:
        self._reader, self._client, self._convert = reader, client, convert
        self._authorizer = authorizer
        self._mutating = HookBook(store, "mutatingwebhookconfigurations")
        self._validating = HookBook(store, "validatingwebhookconfigurations")

    async def load(self) -> None:
        """Read the configurations, so that no request slips through before they are followed."""
        for book in (self._mutating, self._validating):
            await book.mirror.load()

    async def run(self) -> None:
        """Follow the configurations until cancelled."""
        async with asyncio.TaskGroup() as group:
            for book in (self._mutating, self._validating):
                group.create_task(book.mirror.run(), name="webhook configurations")

    async def mutate(self, attributes: Attributes, new: Obj, old: Obj | None, rerun: Rerun) -> tuple[Obj, list[str]]:
        """`new` (empty for a delete) as the webhooks want it, and their warnings; raises StatusError.

        The object that is given may be changed in place.
        """
        hooks = self._mutating.hooks
        if not hooks or matching.is_exempt(attributes.resource):
            return new, []
        writing, state = self._writing(attributes, old), Reinvocation()
        with _telling(writing):
            new = await self._mutate_once(hooks, writing, new, state)
            if state.changed and attributes.operation in ("CREATE", "UPDATE"):
                state.is_second, before = True, copy.deepcopy(new)
                await rerun(new)
                if new != before:
                    state.note_change()
                new = await self._mutate_once(hooks, writing, new, state)
        return new, writing.warnings

    async def validate(self, attributes: Attributes, new: Obj, old: Obj | None, _reader: Reader) -> list[str]:
        """All validating webhooks' warnings; raises StatusError with the first refusal."""
        hooks = self._validating.hooks
        if not hooks or matching.is_exempt(attributes.resource):
            return []
        writing = self._writing(attributes, old)
        asked = [(hook, seen_as) for hook in hooks if (seen_as := await self._applies(hook, writing, new)) is not None]
        answers = await asyncio.gather(
            *(self._validate_one(hook, seen_as, writing, new) for hook, seen_as in asked), return_exceptions=True
        )
        with _telling(writing):
            for answer in answers:
                if isinstance(answer, BaseException):
                    raise answer
        return writing.warnings

    def _writing(self, attributes: Attributes, old: Obj | None) -> Writing:
        return Writing(attributes, old, self._reader, asyncio.get_running_loop().time() + REQUEST_SECONDS)

    async def _mutate_once(self, hooks: tuple[Hook, ...], writing: Writing, new: Obj, state: Reinvocation) -> Obj:
        for hook in hooks:
            if state.is_second and hook.uid not in state.required:
                continue
            seen_as = await self._applies(hook, writing, new)
            if seen_as is None:
                continue
            verdict = await self._ask(hook, seen_as, writing, new, mutating=True)
            if verdict is not None and verdict.patch:
                patched = await self._patched(hook, seen_as, writing.attributes, new, verdict)
                if patched != new:
                    new = patched
                    state.note_change()
            if hook.is_called_again:
                state.invoked.add(hook.uid)
        return new

    async def _applies(self, hook: Hook, writing: Writing, new: Obj) -> Resource | None:
        """The resource by which the webhook is to be asked; raises Forbidden when its conditions cannot tell."""
        seen_as = await writing.applies(hook, _absent(writing.attributes, new))
        if seen_as is None or hook.conditions is None:
            return seen_as
        from sparsam.apiserver.admission import policyvalues
        from sparsam.objects.cel import CostExceeded, EvaluationError

        attributes, view = writing.attributes, View(writing.attributes, seen_as, self._convert)
        shown = await view.show(_absent(attributes, new))
        name = attributes.name or ((new or writing.old or {}).get("metadata") or {}).get("name", "")
        values = {
            "object": shown,
            "oldObject": await view.show(writing.old),
            "request": policyvalues.request_value(attributes, seen_as, shown),
            **policyvalues.authorizer_values(self._authorizer, attributes, name),
        }
        matches = partial(hook.conditions.matches, values, fail=not hook.may_fail)
        try:
            try:
                met = matches(limit=QUICK)
            except CostExceeded:
                met = await asyncio.to_thread(matches)
        except EvaluationError as error:
            raise forbidden(attributes, new, str(error)) from None
        return seen_as if met else None

    async def _validate_one(self, hook: Hook, seen_as: Resource, writing: Writing, new: Obj) -> None:
        await self._ask(hook, seen_as, writing, new, mutating=False)

    async def _ask(
        self, hook: Hook, seen_as: Resource, writing: Writing, new: Obj, *, mutating: bool
    ) -> Verdict | None:
        """The verdict of a webhook that allows the request; None when it failed and may. Raises StatusError."""
        try:
            verdict = await self._call(hook, seen_as, writing, new, mutating=mutating)
        except HookFailed as failure:
            text = f"failed calling webhook {quote(hook.name)}: {failure}"
            if hook.may_fail:
                log.warning("webhook failed and is ignored webhook=%s error=%s", hook.name, failure)
                writing.seconds_left()
                return None
            raise internal(text) from failure
        writing.warnings += verdict.warnings
        if not verdict.allowed:
            raise admissionreview.denial(hook.name, verdict.status)
        return verdict

    async def _call(self, hook: Hook, seen_as: Resource, writing: Writing, new: Obj, *, mutating: bool) -> Verdict:
        attributes = writing.attributes
        if attributes.dry_run and hook.spec.get("sideEffects") not in ("None", "NoneOnDryRun"):
            raise BadRequest(f"admission webhook {quote(hook.name)} does not support dry run")
        version = admissionreview.review_version(hook.spec["admissionReviewVersions"])
        if version is None:
            why = "webhook does not accept known AdmissionReview versions (v1, v1beta1)"
            raise HookFailed(f"could not create admission objects: {why}")
        uid = str(uuid.uuid4())
        view = View(attributes, seen_as, self._convert)
        objects = await view.show(_absent(attributes, new)), await view.show(writing.old)
        review = admissionreview.build(attributes, seen_as, version, uid, objects)
        seconds = min(hook.spec.get("timeoutSeconds") or 10, writing.seconds_left())
        try:
            raw = await self._client.post(hook.spec["clientConfig"], review, seconds)
        except BadClient as error:
            raise HookFailed(f"could not get REST client: {error}") from error
        except CallFailed as error:
            raise HookFailed(f"failed to call webhook: {error}") from error
        try:
            return admissionreview.read(raw, version, uid, mutating=mutating)
        except Unreadable as error:
            raise HookFailed(f"failed to call webhook: {error}") from None
        except BadAnswer as error:
            raise HookFailed(f"received invalid webhook response: {error}") from None
        except ValueError as error:
            raise internal(str(error)) from None

    async def _patched(self, hook: Hook, seen_as: Resource, attributes: Attributes, new: Obj, verdict: Verdict) -> Obj:
        """The object with a webhook's patch; raises InternalError where it does not fit."""
        view = View(attributes, seen_as, self._convert)
        shown = await view.show(_absent(attributes, new))
        if shown is None:
            text = f"admission webhook {quote(hook.name)} attempted to modify the object, which is not supported"
            raise internal(f"{text} for this operation")
        try:
            return await view.take_back(_apply(shown, verdict.patch), new)
        except InternalError:
            raise
        except StatusError as error:
            raise internal(error.message) from error
        except RecursionError:
            raise internal("the patched object is nested too deeply") from None


@contextlib.contextmanager
def _telling(writing: Writing) -> Iterator[None]:
    """What webhooks had to say goes with a refusal too."""
    try:
        yield
    except StatusError as error:
        error.warnings = (*error.warnings, *writing.warnings)
        raise


def _apply(shown: Obj, operations: Sequence[Obj]) -> Obj:
    """The object after a patch; raises InternalError that names the operation which does not apply."""
    try:
        whole = json_patch(shown, operations)
        if isinstance(whole, dict):
            return whole
    except Invalid:
        for operation in operations:
            try:
                shown = json_patch(shown, [operation])
            except Invalid:
                raise internal(_fault(operation)) from None
    raise internal("the patched object is no object")


def _fault(operation: Obj) -> str:
    name, path = operation.get("op"), operation.get("path")
    if name == "test":
        return f"testing value {path} failed: test failed"
    if name not in ("add", "copy", "move", "remove", "replace"):
        return f"Unexpected kind: {name}"
    return f'{name} operation does not apply: doc is missing path: "{path}": missing value'


def internal(text: str) -> InternalError:
    """Upstream's internal error, which tells what happened."""
    return InternalError(f"Internal error occurred: {text}", details={"causes": [{"message": text}]})


def _absent(attributes: Attributes, new: Obj) -> Obj | None:
    """The new object; None for a delete, which has none."""
    return None if attributes.operation == "DELETE" else new
