import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import yarl
from hypothesis import example, given
from hypothesis import strategies as st

from sparsam.hardware.guards import Verdict
from sparsam.hardware.meter import Fault
from sparsam.hardware.redfish_session import RedfishConfig, RedfishSession
from tests.support.redfish import PASSWORD, USER, V1, Bmc, bmc
from tests.support.sysfs import SteppedClock

CHASSIS = f"{V1}/Chassis"


@contextlib.asynccontextmanager
async def signed_in(
    folder: Path, vendor: str = "dell", **changes: object
) -> AsyncIterator[tuple[RedfishSession, Bmc, SteppedClock]]:
    """A BMC of that vendor and a session on it, on a clock that the test moves."""
    async with bmc(vendor, folder) as service:
        clock = SteppedClock()
        settings = {"username": USER, "password": PASSWORD, "ca_file": service.ca_file, **changes}
        session = RedfishSession(RedfishConfig(service.url, **settings), clock)
        try:
            yield session, service, clock
        finally:
            await session.close()


def fault(found: object) -> Fault | None:
    return found.fault if isinstance(found, Verdict) else None


async def test_a_session_is_opened_once_and_given_back(tmp_path):
    async with signed_in(tmp_path) as (session, service, _):
        for _ in range(5):
            found = await session.get(CHASSIS)
            assert not isinstance(found, Verdict)
            assert len(found["Members"]) == 2
        counts = await service.steer()
        assert (counts["logins"], counts["tokens"]) == (1, 1)
        await session.close()
        assert (await service.steer())["tokens"] == 0
        # It may be used again, and is given back again.
        assert fault(await session.get(CHASSIS)) is None


async def test_an_expired_session_is_opened_anew_unnoticed(tmp_path):
    async with signed_in(tmp_path) as (session, service, _):
        await session.get(CHASSIS)
        await service.steer(tokens={})
        assert fault(await session.get(CHASSIS)) is None
        assert (await service.steer())["logins"] == 2


async def test_a_service_without_sessions_gets_the_password_each_time(tmp_path):
    async with signed_in(tmp_path) as (session, service, _):
        await service.steer(sessions=False)
        assert fault(await session.get(CHASSIS)) is None
        assert (await service.steer())["tokens"] == 0


async def test_a_refused_password_is_not_tried_again_for_a_minute(tmp_path):
    async with signed_in(tmp_path, password="wrong") as (session, service, clock):
        for _ in range(11):
            found = await session.get(CHASSIS)
            assert fault(found) is Fault.UNAUTHORIZED
            assert "wrong" not in str(found)
            clock.seconds += 5.0
        assert (await service.steer())["requests"] == 2
        clock.seconds += 5.0
        await session.get(CHASSIS)
        assert (await service.steer())["requests"] == 4


async def test_pauses_grow_while_a_bmc_fails_and_end_when_it_answers(tmp_path):
    async with signed_in(tmp_path) as (session, service, clock):
        await session.get(CHASSIS)
        before = (await service.steer(fault="drop"))["requests"]
        for _ in range(600):
            assert fault(await session.get(CHASSIS)) is Fault.UNREACHABLE
            clock.seconds += 1.0
        # At 0, 5, 15, 35, 75, 155 and 315 seconds; each time twice by us and again by aiohttp.
        assert 7 <= (await service.steer())["requests"] - before <= 28
        await service.steer(fault="")
        clock.seconds += 300.0
        assert fault(await session.get(CHASSIS)) is None
        assert fault(await session.get(CHASSIS)) is None


async def test_a_bmc_that_asks_for_a_pause_gets_it(tmp_path):
    async with signed_in(tmp_path) as (session, service, clock):
        await service.steer(fault="throttle")
        assert fault(await session.get(CHASSIS)) is Fault.THROTTLED
        await service.steer(fault="")
        clock.seconds += 119.0
        assert fault(await session.get(CHASSIS)) is Fault.THROTTLED
        clock.seconds += 2.0
        assert fault(await session.get(CHASSIS)) is None


async def test_a_certificate_of_an_unknown_authority_is_refused_before_anything_is_sent(tmp_path):
    async with signed_in(tmp_path, ca_file="") as (session, service, _):
        assert fault(await session.get(CHASSIS)) is Fault.TLS
        assert (await service.steer())["requests"] == 0


async def test_not_verifying_is_possible_when_said(tmp_path):
    async with signed_in(tmp_path, ca_file="", insecure=True) as (session, _, _):
        assert fault(await session.get(CHASSIS)) is None


async def test_a_redirect_within_the_bmc_is_followed_and_one_away_is_not(tmp_path):
    async with signed_in(tmp_path, "hpe") as (session, service, _):
        assert fault(await session.get(CHASSIS)) is None
        await service.steer(fault="away")
        found = await session.get(f"{CHASSIS}/")
        assert isinstance(found, Verdict)
        assert "not an address of this BMC" in found.detail


@pytest.mark.parametrize("path", ["//elsewhere.invalid/x", "https://elsewhere.invalid/x", "", "redfish"])
async def test_links_that_lead_away_are_not_asked(tmp_path, path):
    async with signed_in(tmp_path) as (session, _, _):
        assert fault(await session.get(path)) is Fault.MALFORMED


@given(st.one_of(st.text(), st.from_regex(r"(https?:)?//?[a-z@:\[\]./%?#]*", fullmatch=True)))
@example("//[]@")
def test_no_link_whatsoever_leads_away_or_fails(link):
    session = RedfishSession(RedfishConfig("https://bmc.example", USER, PASSWORD), SteppedClock())
    path = session._own_path(link)
    if path is not None:
        assert yarl.URL("https://bmc.example").join(yarl.URL(path, encoded=True)).origin() == yarl.URL(
            "https://bmc.example"
        )


async def test_a_resource_that_is_missing_is_absent_and_costs_no_pause(tmp_path):
    async with signed_in(tmp_path) as (session, _, _):
        assert fault(await session.get(f"{V1}/Nothing")) is Fault.ABSENT
        assert fault(await session.get(CHASSIS)) is None


async def test_a_bmc_that_is_not_there_is_unreachable():
    session = RedfishSession(RedfishConfig("https://127.0.0.1:1", USER, PASSWORD), SteppedClock())
    assert fault(await session.get(CHASSIS)) is Fault.UNREACHABLE
    await session.close()


@pytest.mark.parametrize("url", ["bmc", "ftp://bmc", "http://bmc", ""])
def test_an_address_that_would_be_wrong_or_unsafe_is_refused(url):
    with pytest.raises(ValueError, match="Redfish address"):
        RedfishConfig(url, USER, PASSWORD)


def test_a_missing_ca_file_is_named():
    with pytest.raises(ValueError, match="CA file '/nothing'"):
        RedfishSession(RedfishConfig("https://bmc", USER, PASSWORD, ca_file="/nothing"), SteppedClock())


def test_a_password_does_not_show_itself():
    assert PASSWORD not in repr(RedfishConfig("https://bmc", USER, PASSWORD))
