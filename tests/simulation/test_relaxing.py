import numpy as np
import pytest

from sparsam.scheduling.demand import compile_pod
from sparsam.simulation import relaxing
from sparsam.simulation.reach import VOLUME_LABEL
from sparsam.simulation.trace import UsageSeries
from tests.simulation.test_world import INF, trace

TERM = {"labelSelector": {"matchLabels": {"app": "x"}}, "topologyKey": "zone"}
REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"
PREFERRED = "preferredDuringSchedulingIgnoredDuringExecution"
AFFINITY = {"podAntiAffinity": {REQUIRED: [TERM], PREFERRED: [{"weight": 1, "podAffinityTerm": TERM}]}}
IN_ZONE = {"nodeSelectorTerms": [{"matchExpressions": [{"key": "zone", "operator": "In", "values": ["a"]}]}]}
HARD = {"maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "DoNotSchedule", "labelSelector": {}}
SPECS = {
    relaxing.AFFINITY: {"affinity": AFFINITY},
    relaxing.SPREAD: {"topologySpreadConstraints": [HARD, {**HARD, "whenUnsatisfiable": "ScheduleAnyway"}]},
    relaxing.SELECTORS: {"nodeSelector": {"disk": "ssd"}, "affinity": {"nodeAffinity": {REQUIRED: IN_ZONE}}},
    relaxing.VOLUMES: {"nodeSelector": {f"{VOLUME_LABEL}0": "true"}},
}
UNKNOWN = np.array([np.nan])


def of(spec, **extra):
    return trace((0, INF, "1", {"spec": spec, **extra}))


@pytest.mark.parametrize("kind", SPECS)
def test_each_kind_is_found_and_goes_alone(kind):
    found = of(SPECS[kind])
    assert relaxing.carriers(found, UNKNOWN) == {kind: 1}
    free = relaxing.relaxed(found, kind, UNKNOWN)
    assert relaxing.carriers(free, UNKNOWN) == {}
    for other in SPECS:
        if other != kind:
            assert relaxing.relaxed(found, other, UNKNOWN).templates == found.templates


def test_what_is_only_preferred_stays():
    spec = relaxing.relaxed(of(SPECS[relaxing.AFFINITY]), relaxing.AFFINITY, UNKNOWN).templates[0]["spec"]
    assert spec["affinity"] == {"podAntiAffinity": {PREFERRED: AFFINITY["podAntiAffinity"][PREFERRED]}}


def test_requests_far_above_use_are_cut_and_use_stays_the_same():
    found = trace((0, INF, "4", {"usage": 0.1}), (0, INF, "4", {"usage": 0.6}))
    assert relaxing.carriers(found, np.full(2, np.nan)) == {relaxing.REQUESTS: 1}
    cut = relaxing.relaxed(found, relaxing.REQUESTS, np.full(2, np.nan))
    millicores = [compile_pod(each).scored_cpu_millicores for each in cut.templates]
    assert millicores == [480, 4000]
    assert cut.usage * np.array(millicores) == pytest.approx([400.0, 2400.0])


def test_the_highest_use_counts_and_series_keep_their_cores():
    series = UsageSeries(60.0, np.array([[0.1, 0.3], [0.1, 0.7]], np.float32))
    found = trace((0, INF, "1", {"usage": 0.2, "series": 0}), (0, INF, "1", {"usage": 0.4, "series": 1}), series=series)
    cut = relaxing.relaxed(found, relaxing.REQUESTS, np.full(2, np.nan))
    assert [compile_pod(each).scored_cpu_millicores for each in cut.templates] == [360, 1000]
    assert cut.usage_series.values[0] * 360 == pytest.approx([100.0, 300.0], rel=1e-5)
    assert cut.usage_series.values[1] == pytest.approx([0.1, 0.7])


def test_memory_is_cut_where_its_use_is_known():
    spec = {"containers": [{"name": "c", "resources": {"requests": {"cpu": "1", "memory": "1000"}}}]}
    found = of(spec)
    assert relaxing.carriers(found, UNKNOWN) == {}
    cut = relaxing.relaxed(found, relaxing.REQUESTS, np.array([100.0]))
    assert dict(compile_pod(cut.templates[0]).requests) == {"cpu": 1000, "memory": 120}
