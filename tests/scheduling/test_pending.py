import pytest

from sparsam.scheduling.pending import is_pending, unsupported
from tests.support.scheduling import pod

NAMES = ("default-scheduler", "sparsam")


@pytest.mark.parametrize(
    ("change", "waits"),
    [
        ({}, True),
        ({"schedulerName": "sparsam"}, True),
        ({"schedulerName": "other"}, False),
        ({"nodeName": "n"}, False),
        ({"schedulingGates": [{"name": "g"}]}, False),
    ],
)
def test_who_waits_by_spec(change, waits):
    assert is_pending(pod("p", **change), NAMES) is waits


def test_the_ended_and_the_leaving_do_not_wait():
    ended = pod("p") | {"status": {"phase": "Failed"}}
    assert not is_pending(ended, NAMES)
    leaving = pod("p")
    leaving["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    assert not is_pending(leaving, NAMES)


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ({}, None),
        ({"volumes": [{"name": "v", "emptyDir": {}}]}, None),
    ],
)
def test_hard_constraints_that_cannot_be_kept_yet_are_named(spec, words):
    assert unsupported(pod("p", **spec)) == words
