"""Tokens of pods: bound, kept, renewed in time and never given when they are over."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from sparsam.agent.api import ClusterApi
from sparsam.agent.payloads import TokenWish
from sparsam.agent.references import ConfigFault
from sparsam.clock import format_time
from sparsam.objects.kinds import Resource
from tests.support.agent import container, pod

Obj = dict[str, Any]
START = datetime(2026, 1, 1, tzinfo=UTC)


@dataclass
class FakeClock:
    moment: datetime = START

    def now(self) -> datetime:
        return self.moment

    def monotonic(self) -> float:
        return (self.moment - START).total_seconds()

    async def sleep(self, seconds: float) -> None:
        raise AssertionError("nobody sleeps here")


@dataclass
class FakeClient:
    clock: FakeClock
    asked: list[Obj] = field(default_factory=list)
    away: bool = False

    async def create(self, resource: Resource, request: Obj, namespace: str, *, name: str, subresource: str) -> Obj:
        if self.away:
            raise OSError("away")
        assert (resource.plural, subresource, namespace) == ("serviceaccounts", "token", "default")
        self.asked.append({**request["spec"], "account": name})
        end = self.clock.moment + timedelta(seconds=request["spec"]["expirationSeconds"])
        return {"status": {"token": f"token-{len(self.asked)}", "expirationTimestamp": format_time(end)}}


def made(seconds: int) -> tuple[FakeClock, FakeClient, ClusterApi, Obj, TokenWish]:
    clock = FakeClock()
    client = FakeClient(clock)
    api = ClusterApi(client, None, None, clock)
    source = {"serviceAccountToken": {"path": "jwt", "audience": "me", "expirationSeconds": seconds}}
    volume = {"name": "token", "projected": {"sources": [source]}}
    one = pod(container(), name="web", uid="u1", volumes=[volume], serviceAccountName="robot")
    return clock, client, api, one, TokenWish("me", seconds, "jwt")


async def test_a_token_is_bound_to_its_pod_and_renewed_after_four_fifths_of_its_life():
    clock, client, api, one, wish = made(1000)
    assert await api.tokens(one) == {wish: "token-1"}
    assert client.asked == [
        {
            "audiences": ["me"],
            "expirationSeconds": 1000,
            "boundObjectRef": {"kind": "Pod", "apiVersion": "v1", "name": "web", "uid": "u1"},
            "account": "robot",
        }
    ]
    clock.moment = START + timedelta(seconds=799)
    assert await api.tokens(one) == {wish: "token-1"}
    clock.moment = START + timedelta(seconds=800)
    assert await api.tokens(one) == {wish: "token-2"}


async def test_a_token_that_holds_for_a_year_is_renewed_after_a_day():
    clock, _, api, one, wish = made(365 * 86_400)
    await api.tokens(one)
    clock.moment = START + timedelta(hours=23, minutes=59)
    assert await api.tokens(one) == {wish: "token-1"}
    clock.moment = START + timedelta(hours=24)
    assert await api.tokens(one) == {wish: "token-2"}


async def test_while_the_api_is_away_the_old_token_serves_as_long_as_it_holds():
    clock, client, api, one, wish = made(1000)
    await api.tokens(one)
    client.away = True
    clock.moment = START + timedelta(seconds=900)
    assert await api.tokens(one) == {wish: "token-1"}
    clock.moment = START + timedelta(seconds=1000)
    with pytest.raises(ConfigFault, match="failed to fetch token"):
        await api.tokens(one)
    client.away = False
    assert await api.tokens(one) == {wish: "token-2"}


async def test_another_pod_gets_another_token():
    _, _, api, one, wish = made(1000)
    other = {**one, "metadata": {**one["metadata"], "uid": "u2"}}
    assert (await api.tokens(one))[wish] != (await api.tokens(other))[wish]
