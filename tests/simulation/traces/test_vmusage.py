import csv
import gzip
from collections import Counter

import numpy as np
import pytest

from sparsam.simulation.trace import BadTrace
from sparsam.simulation.traces.vmusage import PLANETLAB_COLUMNS, STEPS, read_bitbrains, read_planetlab
from tests.conftest import DATA

VMS = "vm_id,start_s,stop_s,cpu_count,memory_mib"
INTERVALS = "vm_id,t_s,duration_s,cpu_util"


def day(number: int, *percent: float, vm: str = "vm-1") -> dict[str, str]:
    cells = (number, vm, *percent, *[percent[-1]] * (STEPS - len(percent)))
    return dict(zip(PLANETLAB_COLUMNS, map(str, cells), strict=True))


def bitbrains(intervals: list[str], vms: list[str], **options):
    rows = csv.DictReader([INTERVALS, *intervals]), csv.DictReader([VMS, *vms])
    return read_bitbrains(*rows, "cpu.csv", "vms.csv", **options)


def test_a_planetlab_row_is_a_service_for_its_day():
    found = read_planetlab([day(20110303, 50, 0), day(20110306, 10), day(20110303, 20, vm="vm-2")], "p").trace
    assert found.arrival_seconds.tolist() == [0.0, 0.0, 86_400.0]
    assert found.duration_seconds.tolist() == [86_400.0] * 3
    assert not found.batch.any()
    lines = found.usage_series.values[found.series]
    np.testing.assert_allclose(lines[:, :2], [[0.5, 0.0], [0.2, 0.2], [0.1, 0.1]])
    np.testing.assert_allclose(found.usage, lines.mean(axis=1), rtol=1e-6)
    assert found.horizon_seconds == 2 * 86_400.0


def test_the_size_of_planetlab_vms_is_the_callers():
    assert read_planetlab([day(1, 5)], "p", requests={"cpu": "2500m"}).trace.requested_cores.tolist() == [2.5]


@pytest.mark.parametrize("cell", ["-1", "nan", "x", "", None])
def test_a_wrong_percentage_is_named(cell):
    with pytest.raises(BadTrace, match="p: row 2, u_300s: "):
        read_planetlab([day(1, 5), {**day(1, 5, vm="vm-2"), "u_300s": cell}], "p")
    assert read_planetlab([day(1, 5), {**day(1, 5, vm="vm-2"), "u_300s": cell}], "p", lenient=True).skipped == 1


def test_a_vm_that_comes_twice_is_named():
    with pytest.raises(BadTrace, match=r"p: row 2, vm_id: 'vm-1' is in a row before it, too"):
        read_planetlab([day(1, 5), day(1, 6)], "p")
    with pytest.raises(BadTrace, match=r"vms.csv: row 2, vm_id: 'a' is in a row before it, too"):
        bitbrains(["a,0,300,0.1"], ["a,0,600,2,512", "a,0,900,2,512"])


def test_a_bitbrains_vm_is_a_pod_of_its_size_from_start_to_stop():
    found = bitbrains(
        ["a,0,300,0.1", "a,300,300,0.2", "a,1500,300,0.3", "b,600,300,0.5"], ["a,-300,1500,2,512", "b,300,600,1,64"]
    ).trace
    assert found.arrival_seconds.tolist() == [0.0, 600.0]
    assert found.duration_seconds.tolist() == [1800.0, 300.0]
    assert found.requested_cores.tolist() == [2.0, 1.0]
    # Between 300 and 1200 nothing was recorded: the value before holds.
    np.testing.assert_allclose(found.usage_series.values[0], [0.1, 0.2, 0.2, 0.2, 0.2, 0.3], rtol=1e-6)
    np.testing.assert_allclose(found.usage_series.values[1], 0.5)


def test_a_longer_interval_holds_for_all_of_its_steps():
    found = bitbrains(["a,300,300,0.1", "a,900,600,0.9"], ["a,0,900,1,1"]).trace
    np.testing.assert_allclose(found.usage_series.values[0], [0.1, 0.9, 0.9], rtol=1e-6)


def test_a_vm_without_readings_is_idle():
    assert bitbrains([], ["a,0,900,1,1"]).trace.usage.tolist() == [0.0]


@pytest.mark.parametrize(
    ("interval", "vm", "complaint"),
    [
        ("a,0,300,nan", "a,0,900,1,1", "cpu.csv: row 1, cpu_util: nan is not a finite"),
        ("a,0,-300,0.1", "a,0,900,1,1", "cpu.csv: row 1, duration_s: -300 is negative"),
        ("b,0,300,0.1", "a,0,900,1,1", "cpu.csv: row 1, vm_id: b is none of the VMs"),
        ("a,x,300,0.1", "a,0,900,1,1", "cpu.csv: row 1, t_s: 'x' is not a number"),
        ("a,0,300,0.1", "a,900,0,1,1", "vms.csv: row 1, stop_s: 0 is before start_s 900"),
        ("a,0,300,0.1", "a,0,inf,1,1", "vms.csv: row 1, stop_s: inf is not a finite"),
        ("a,0,300,0.1", "a,0,900,0,1", "vms.csv: row 1, cpu_count: a VM without CPUs"),
    ],
)
def test_what_is_wrong_is_named_in_its_own_file(interval, vm, complaint):
    with pytest.raises(BadTrace, match=complaint):
        bitbrains([interval], [vm])
    assert bitbrains([interval], [vm, "ok,0,900,1,1"], lenient=True).skipped >= 1


def test_columns_that_are_missing_are_named():
    with pytest.raises(BadTrace, match="p: the header: no column u_0s, u_300s"):
        read_planetlab([{"day": "1", "vm_id": "a"}], "p")


@pytest.mark.needs_data
def test_the_recorded_vms_use_what_their_rows_say_where_nothing_is_missing():
    with gzip.open(DATA / "vm_cpu_bitbrains.csv.gz", "rt") as rows, (DATA / "vm_cpu_bitbrains_vms.csv").open() as vms:
        intervals, sizes = list(csv.DictReader(rows)), list(csv.DictReader(vms))
    found = read_bitbrains(intervals, sizes, "cpu", "vms").trace
    seconds, used = Counter(), Counter()
    for row in intervals:
        seconds[row["vm_id"]] += float(row["duration_s"])
        used[row["vm_id"]] += float(row["duration_s"]) * float(row["cpu_util"])
    stated = {each["vm_id"]: float(each["stop_s"]) - float(each["start_s"]) for each in sizes}
    order = np.argsort([float(each["start_s"]) for each in sizes], kind="stable")
    whole = [
        (row, sizes[place]["vm_id"])
        for row, place in enumerate(order)
        if seconds[sizes[place]["vm_id"]] > 0.99 * stated[sizes[place]["vm_id"]]
    ]
    assert len(whole) > 20
    for row, name in whole:
        assert found.usage[row] == pytest.approx(used[name] / seconds[name], abs=0.005)


@pytest.mark.needs_data
def test_the_recorded_days_have_the_figures_that_are_stated():
    with gzip.open(DATA / "vm_cpu_planetlab.csv.gz", "rt") as rows:
        found = read_planetlab(csv.DictReader(rows), "planetlab").trace
    assert len(found) == 8301
    assert found.usage.mean() == pytest.approx(0.111, abs=0.001)
    assert found.horizon_seconds == 7 * 86_400.0
