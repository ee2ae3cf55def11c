from sparsam.objects.conditions import set_status_condition

NOW, LATER = "2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z"


def condition(status, **more):
    return {"type": "Ready", "status": status, **more}


def test_a_condition_moves_in_time_only_when_its_status_does():
    other = {"type": "Other", "status": "True", "lastTransitionTime": NOW}
    first = set_status_condition([other], condition("True"), NOW)
    assert first == [other, {"type": "Ready", "status": "True", "lastTransitionTime": NOW}]
    same = set_status_condition(first, condition("True", reason="R"), LATER)
    assert same[1] == {"type": "Ready", "status": "True", "reason": "R", "lastTransitionTime": NOW}
    assert set_status_condition(same, condition("False"), LATER)[1]["lastTransitionTime"] == LATER
    assert first[1]["lastTransitionTime"] == NOW
