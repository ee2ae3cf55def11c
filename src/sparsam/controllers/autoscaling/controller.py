"""Keeps each HorizontalPodAutoscaler's target at the size that its metrics ask for, and says how it came to it."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field

import aiohttp

from sparsam.clock import format_time
from sparsam.controllers.autoscaling import behavior
from sparsam.controllers.autoscaling.behavior import History, Limits
from sparsam.controllers.autoscaling.evaluation import Verdict, evaluate, verdict
from sparsam.controllers.autoscaling.metrics import NOT_SERVED, MetricsReader
from sparsam.controllers.autoscaling.replicas import Sizing, tolerances_of
from sparsam.controllers.runtime import Context, Controller, Key, Obj, key_of
from sparsam.controllers.scales import NoMatch, NoScale, Scales
from sparsam.errors import BadRequest, NotFound, StatusError
from sparsam.objects.conditions import set_status_condition
from sparsam.objects.kinds import HORIZONTALPODAUTOSCALERS, PODS, Resource
from sparsam.objects.selectors import LabelSelector, parse_label_selector

log = logging.getLogger(__name__)

SYNC_SECONDS = 15.0
"""Upstream's --horizontal-pod-autoscaler-sync-period."""
UNABLE = "the HPA was unable to compute the replica count: "


@dataclass(slots=True)
class Round:
    """One look at an autoscaler, and what its status is to say."""

    autoscaler: Obj
    now: str
    status: Obj = field(init=False)

    def __post_init__(self) -> None:
        self.status = dict(self.autoscaler.get("status") or {})

    def condition(self, kind: str, status: str, reason: str, message: str) -> None:
        """Set one condition."""
        condition = {"type": kind, "status": status, "reason": reason, "message": message}
        known = self.status.get("conditions") or ()
        self.status["conditions"] = set_status_condition(known, condition, self.now)

    def report(self, current: int, desired: int | None, metrics: list[Obj], *, rescaled: bool = False) -> None:
        """Set the counts; `desired` stays as it was when it is None."""
        self.status["currentReplicas"] = current
        if desired is not None:
            self.status["desiredReplicas"] = desired
        self.status["currentMetrics"] = metrics or None
        if rescaled:
            self.status["lastScaleTime"] = self.now


class HorizontalPodAutoscalers:
    """Keyed by HorizontalPodAutoscaler; each is looked at every 15 seconds."""

    def __init__(self, context: Context) -> None:
        self._client, self._clock = context.client, context.clock
        self._scales = Scales(context.client)
        self._reader = MetricsReader(context.client, self._scales)
        self._autoscalers, self._pods = context.informer(HORIZONTALPODAUTOSCALERS), context.informer(PODS)
        self._pods.add_index("namespace", lambda pod: [pod["metadata"]["namespace"]])
        self._histories: dict[Key, History] = {}
        self._selectors: dict[Key, LabelSelector] = {}
        self.controller = Controller("horizontal-pod-autoscaler", context, self.sync)
        for informer in (self._autoscalers, self._pods):
            self.controller.needs(informer)
        # A change of the status, which this controller makes itself, is no reason to look again.
        self._autoscalers.add_handler(self._on_change)

    def _on_change(self, _kind: str, old: Obj | None, new: Obj | None) -> None:
        if old is None or new is None or old["spec"] != new["spec"]:
            self.controller.queue.add(key_of(new or old or {}))

    async def sync(self, key: Key) -> None:
        """Look at one autoscaler, and come back."""
        autoscaler = self._autoscalers.get(*key)
        if autoscaler is None:
            self._histories.pop(key, None)
            self._selectors.pop(key, None)
            return
        try:
            turn = Round(autoscaler, format_time(self._clock.now()))
            await self._reconcile(key, turn)
            await self._write(autoscaler, turn.status)
        except (StatusError, aiohttp.ClientError, OSError, TimeoutError) as error:
            log.warning("not scaled autoscaler=%s/%s error=%s", *key, error or type(error).__name__)
        finally:
            self.controller.queue.add_after(key, SYNC_SECONDS)

    async def _write(self, autoscaler: Obj, status: Obj) -> None:
        if status == autoscaler.get("status"):
            return
        try:
            wished = {**autoscaler, "status": status}
            await self._client.update(HORIZONTALPODAUTOSCALERS, wished, subresource="status")
        except NotFound:
            return

    async def _reconcile(self, key: Key, turn: Round) -> None:
        autoscaler = turn.autoscaler
        spec, event = autoscaler["spec"], self.controller.recorder.event
        target = spec["scaleTargetRef"]
        try:
            group = target.get("apiVersion", "").rpartition("/")[0]
            resource = await self._scales.resource(group, target["kind"])
            scale = await self._scales.get(resource, target["name"], key[0])
        except (NoMatch, NoScale, StatusError) as error:
            text = NOT_SERVED if isinstance(error, NoScale) else str(error)
            event(autoscaler, "Warning", "FailedGetScale", text)
            message = f"the HPA controller was unable to get the target's current scale: {text}"
            turn.condition("AbleToScale", "False", "FailedGetScale", message)
            return
        able = "the HPA controller was able to get the target's current scale"
        turn.condition("AbleToScale", "True", "SucceededGetScale", able)
        current = scale.get("spec", {}).get("replicas", 0)
        history = self._histories.setdefault(key, History([(self._clock.now(), current)]))
        least, most = spec.get("minReplicas", 1), spec["maxReplicas"]
        metrics: list[Obj] = []
        if current == 0 and least != 0:
            message = "scaling is disabled since the replica count of the target is zero"
            turn.condition("ScalingActive", "False", "ScalingDisabled", message)
            turn.report(0, 0, [])
            return
        if current > most:
            desired, reason = most, "Current number of replicas above Spec.MaxReplicas"
        elif current < least:
            desired, reason = least, "Current number of replicas below Spec.MinReplicas"
        else:
            found = await self._ask_metrics(key, turn, scale)
            if found is None:
                return
            metrics = found.statuses
            asked = found.replicas or 0
            reason = f"{found.name} above target" if asked > current else "All metrics below target"
            reason = reason if asked != current else ""
            desired = self._decide(turn, history, current, asked)
        if desired != current:
            await self._rescale(key, turn, (resource, scale), (desired, reason), metrics)
        else:
            turn.report(current, current, metrics)

    async def _ask_metrics(self, key: Key, turn: Round, scale: Obj) -> Verdict | None:
        """What the metrics ask for; None, with the reason in the status, when they cannot say."""
        autoscaler, current = turn.autoscaler, scale.get("spec", {}).get("replicas", 0)
        text = scale.get("status", {}).get("selector", "")
        fault = self._selector_fault(key, turn, text)
        if fault:
            turn.report(current, None, [])
            self.controller.recorder.event(autoscaler, "Warning", "FailedComputeMetricsReplicas", fault)
            return None
        selector = self._selectors[key]
        pods = self._selected(key[0], selector)
        behaves = autoscaler["spec"].get("behavior")
        sizing = Sizing(
            pods, current, scale.get("status", {}).get("replicas", 0), tolerances_of(behaves), self._clock.now()
        )
        wanted = autoscaler["spec"].get("metrics") or []
        outcomes = [await evaluate(metric, key[0], text, sizing, self._reader) for metric in wanted]
        found = verdict(outcomes, current)
        for failure in found.failures:
            self.controller.recorder.event(autoscaler, "Warning", failure.reason, failure.detail)
        if found.replicas is None:
            first = found.failures[0]
            turn.condition("ScalingActive", "False", first.reason, UNABLE + first.detail)
            turn.report(current, None, found.statuses)
            self.controller.recorder.event(autoscaler, "Warning", "FailedComputeMetricsReplicas", found.error)
            return None
        if found.failures:
            log.warning("metrics missing autoscaler=%s/%s error=%s", *key, found.error)
        message = f"the HPA was able to successfully calculate a replica count from {found.name}"
        turn.condition("ScalingActive", "True", "ValidMetricFound", message)
        return found

    def _selector_fault(self, key: Key, turn: Round, text: str) -> str:
        """Why the target's selector cannot be used; without a fault it is remembered."""
        event = self.controller.recorder.event
        if not text:
            event(turn.autoscaler, "Warning", "SelectorRequired", "selector is required")
            message = "the HPA target's scale is missing a selector"
            turn.condition("ScalingActive", "False", "InvalidSelector", message)
            return "selector is required"
        try:
            self._selectors[key] = parse_label_selector(text)
        except BadRequest as error:
            fault = f"couldn't convert selector into a corresponding internal selector object: {error}"
            event(turn.autoscaler, "Warning", "InvalidSelector", fault)
            turn.condition("ScalingActive", "False", "InvalidSelector", fault)
            return fault
        pods = self._selected(key[0], self._selectors[key])
        sharing = [
            other
            for other, selector in sorted(self._selectors.items())
            if other[0] == key[0] and any(selector.matches(pod["metadata"].get("labels")) for pod in pods)
        ]
        if len(sharing) < 2:
            return ""
        keys = " ".join(f"{{{name} {namespace}}}" for namespace, name in sharing)
        fault = f"pods by selector {text} are controlled by multiple HPAs: [{keys}]"
        event(turn.autoscaler, "Warning", "AmbiguousSelector", fault)
        turn.condition("ScalingActive", "False", "AmbiguousSelector", fault)
        return fault

    def _selected(self, namespace: str, selector: LabelSelector) -> list[Obj]:
        near = self._pods.by_index("namespace", namespace)
        return [pod for pod in near if selector.matches(pod["metadata"].get("labels"))]

    def _decide(self, turn: Round, history: History, current: int, asked: int) -> int:
        spec = turn.autoscaler["spec"]
        limits = Limits(spec.get("minReplicas", 1), spec["maxReplicas"], spec.get("behavior"))
        decision = behavior.decide(history, limits, current, asked, self._clock.now())
        turn.condition("AbleToScale", "True", *decision.able)
        turn.condition("ScalingLimited", "True" if decision.limited else "False", *decision.limit)
        return decision.replicas

    async def _rescale(
        self, key: Key, turn: Round, target: tuple[Resource, Obj], change: tuple[int, str], metrics: list[Obj]
    ) -> None:
        (resource, scale), (desired, reason) = target, change
        current, event = scale.get("spec", {}).get("replicas", 0), self.controller.recorder.event
        try:
            await self._scales.resize(resource, scale, desired)
        except StatusError as error:
            message = f"New size: {desired}; reason: {reason}; error: {error}"
            event(turn.autoscaler, "Warning", "FailedRescale", message)
            message = f"the HPA controller was unable to update the target scale: {error}"
            turn.condition("AbleToScale", "False", "FailedUpdateScale", message)
            turn.report(current, None, metrics)
            return
        message = f"the HPA controller was able to update the target scale to {desired}"
        turn.condition("AbleToScale", "True", "SucceededRescale", message)
        event(turn.autoscaler, "Normal", "SuccessfulRescale", f"New size: {desired}; reason: {reason}")
        log.info("rescaled autoscaler=%s/%s from=%d to=%d reason=%s", *key, current, desired, reason)
        behavior.record(
            self._histories[key], turn.autoscaler["spec"].get("behavior"), current, desired, self._clock.now()
        )
        turn.report(current, desired, metrics, rescaled=True)
