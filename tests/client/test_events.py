"""The event recorder on a real API server."""

import asyncio

from sparsam.client.events import QUIET, EventRecorder
from sparsam.objects.kinds import EVENTS
from tests.support.controllers import controlled, eventually

POD = {"kind": "Pod", "apiVersion": "v1", "namespace": "default", "name": "p", "uid": "u"}


async def test_the_same_text_again_raises_a_count(tmp_path):
    async with controlled(tmp_path) as client:
        recorder = EventRecorder(client, "tester")
        for _ in range(3):
            recorder.event(POD, "Normal", "Why", "because")
        running = asyncio.create_task(recorder.run())

        async def told():
            events = (await client.list(EVENTS, "default"))["items"]
            return [each["count"] for each in events] == [3]

        assert await eventually(told)
        running.cancel()


async def test_what_is_wanted_only_in_quiet_moments_is_left_out_of_busy_ones(tmp_path):
    async with controlled(tmp_path) as client:
        recorder = EventRecorder(client, "tester")
        for number in range(QUIET + 10):
            recorder.event(POD, "Normal", "Must", f"{number}")
            recorder.event(POD, "Normal", "May", f"{number}", when_quiet=True)
        running = asyncio.create_task(recorder.run())

        async def told():
            reasons = [each["reason"] for each in (await client.list(EVENTS, "default"))["items"]]
            return reasons.count("Must") == QUIET + 10 and 0 < reasons.count("May") < QUIET + 10

        assert await eventually(told)
        running.cancel()
