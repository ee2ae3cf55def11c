import pytest

from sparsam.scheduling.pending import is_pending, queue_order, unsupported
from tests.support.scheduling import pod


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
    assert is_pending(pod("p", **change)) is waits


def test_the_ended_and_the_leaving_do_not_wait():
    ended = pod("p") | {"status": {"phase": "Failed"}}
    assert not is_pending(ended)
    leaving = pod("p")
    leaving["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    assert not is_pending(leaving)


def test_priority_then_age_then_name():
    young, old, urgent = pod("young"), pod("old"), pod("urgent", priority=10)
    young["metadata"]["creationTimestamp"] = "2026-01-02T00:00:00Z"
    old["metadata"]["creationTimestamp"] = "2026-01-01T00:00:00Z"
    urgent["metadata"]["creationTimestamp"] = "2026-01-03T00:00:00Z"
    assert sorted([young, old, urgent], key=queue_order) == [urgent, old, young]


REQUIRED = {"requiredDuringSchedulingIgnoredDuringExecution": [{"topologyKey": "zone"}]}


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ({}, None),
        ({"affinity": {"podAntiAffinity": REQUIRED}}, "required pod anti-affinity"),
        ({"affinity": {"podAffinity": REQUIRED}}, "required pod affinity"),
        ({"affinity": {"podAntiAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [{}]}}}, None),
        ({"topologySpreadConstraints": [{"whenUnsatisfiable": "ScheduleAnyway"}]}, None),
        (
            {"topologySpreadConstraints": [{"whenUnsatisfiable": "DoNotSchedule"}]},
            "topology spread constraints with DoNotSchedule",
        ),
        ({"volumes": [{"name": "v", "persistentVolumeClaim": {"claimName": "c"}}]}, "persistentVolumeClaim volumes"),
        ({"volumes": [{"name": "v", "emptyDir": {}}]}, None),
    ],
)
def test_hard_constraints_that_cannot_be_kept_yet_are_named(spec, words):
    assert unsupported(pod("p", **spec)) == words
