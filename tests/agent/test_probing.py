"""Counting probe results."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from sparsam.agent.probing import LIVENESS, READINESS, STARTUP, ProbeSettings, Tally, Verdict, probe_kinds
from tests.support.agent import container


def test_a_verdict_needs_its_threshold_of_equal_results():
    tally = Tally()
    for success, verdict in (
        (False, Verdict.UNDECIDED), (False, Verdict.UNDECIDED), (True, Verdict.UNDECIDED), (True, Verdict.SUCCESS),
        (False, Verdict.SUCCESS), (False, Verdict.SUCCESS), (False, Verdict.FAILURE), (True, Verdict.FAILURE),
    ):  # fmt: skip
        tally = tally.add(success, 2, 3)
        assert tally.verdict is verdict


@given(st.lists(st.booleans(), min_size=1), st.integers(1, 4), st.integers(1, 4))
def test_a_verdict_is_always_backed_by_a_run_of_results(results: list[bool], successes: int, failures: int):
    tally = Tally()
    for number, success in enumerate(results):
        before, tally = tally, tally.add(success, successes, failures)
        if tally.verdict is not before.verdict:
            length = successes if tally.verdict is Verdict.SUCCESS else failures
            recent = results[number + 1 - length : number + 1]
            assert recent == [tally.verdict is Verdict.SUCCESS] * length


def test_only_the_startup_probe_runs_until_it_is_through():
    spec = container(startupProbe={}, livenessProbe={}, readinessProbe={})
    assert probe_kinds(spec, started=False) == [STARTUP]
    assert probe_kinds(spec, started=True) == [LIVENESS, READINESS]
    assert probe_kinds(container(), started=True) == []


def test_numbers_have_upstreams_defaults():
    assert ProbeSettings.of({}) == ProbeSettings(0, 10, 1, 1, 3)
