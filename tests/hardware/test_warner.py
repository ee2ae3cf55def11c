import logging

import pytest

from sparsam.hardware.meter import Fault, Gap
from sparsam.hardware.warner import REMEMBERED, Warner


@pytest.fixture
def warner(caplog) -> Warner:
    caplog.set_level(logging.INFO)
    return Warner(logging.getLogger("test"), quiet_seconds=100.0)


def test_trouble_that_lasts_is_said_once_and_its_end_too(warner, caplog):
    for at in range(10_000):
        warner.gap(Gap(float(at), Fault.STUCK, "", "rapl:psys"))
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    warner.recovered("rapl:psys")
    warner.recovered("rapl:psys")
    assert [record.levelname for record in caplog.records] == ["WARNING", "INFO"]


def test_a_flapping_source_is_heard_of_once_in_a_while(warner, caplog):
    caplog.set_level(logging.WARNING)
    for at in range(0, 250, 10):
        warner.gap(Gap(float(at), Fault.TIMEOUT, "", "redfish"))
        warner.recovered("redfish")
    assert len(caplog.records) == 3


def test_each_kind_of_trouble_and_each_source_is_said(warner, caplog):
    for source in ("a", "b"):
        for fault in (Fault.STUCK, Fault.DENIED):
            assert warner.gap(Gap(0.0, fault, "", source))
    assert len(caplog.records) == 4


def test_a_counters_ordinary_life_is_no_news(warner, caplog):
    for fault in (Fault.FIRST, Fault.TOO_SOON, Fault.UNCHANGED, Fault.ON_MAINS):
        assert not warner.gap(Gap(0.0, fault, "", "a"))
    assert caplog.records == []


def test_made_up_sources_do_not_fill_the_memory(warner, caplog):
    caplog.set_level(logging.ERROR)
    for index in range(3 * REMEMBERED):
        warner.warn(f"source-{index}", "x", "", 0.0)
    assert len(warner._said_at) <= REMEMBERED
