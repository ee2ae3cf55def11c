import math

import numpy as np
import pytest

from sparsam.scheduling.placement import GROUP_LABEL
from sparsam.simulation.trace import BadTrace
from sparsam.simulation.traces.swf import read_swf
from tests.support.traces import swf_job as job

HEAD = ("; Version: 2.2", ";  MaxProcs: 128", ";   UnixStartTime: 870000000", "; a remark", "")


def read(*lines: str, **options):
    return read_swf([*HEAD, *lines], "log.swf", **options).reading


def test_the_head_tells_of_the_machine():
    assert read_swf([*HEAD, job()], "log.swf").header == {
        "Version": "2.2",
        "MaxProcs": "128",
        "UnixStartTime": "870000000",
    }


def test_a_parallel_job_is_a_group_of_pods_that_belongs_together():
    found = read(job(7, submit=10, run=60, processors=3), job(8, submit=5)).trace
    assert found.arrival_seconds.tolist() == [5.0, 10.0, 10.0, 10.0]
    assert found.requested_cores.tolist() == [1.0] * 4
    groups = [(found.templates[each]["metadata"].get("labels") or {}).get(GROUP_LABEL) for each in found.template]
    assert groups == [None, "job-7", "job-7", "job-7"]
    assert found.batch.all()


def test_memory_and_use_are_those_of_a_processor():
    found = read(job(run=100, used=40, memory=2048), job(run=100, used=400, used_memory=1024), job()).trace
    memory = [found.templates[each]["spec"]["containers"][0]["resources"]["requests"] for each in found.template]
    assert [each.get("memory") for each in memory] == ["2048Ki", "1024Ki", None]
    np.testing.assert_array_equal(found.usage, [0.4, 1.0, math.nan])


def test_processors_are_those_requested_else_those_allocated():
    assert len(read(job(processors=2, allocated=4)).trace) == 2
    assert len(read(job(processors=-1, allocated=4)).trace) == 4


def test_jobs_that_were_cancelled_before_they_ran_are_no_work():
    reading = read(job(status=5, run=-1), job(status=5, run=0), job(status=5, run=30), job())
    assert reading.trace.duration_seconds.tolist() == [30.0, 60.0]
    assert reading.skipped == 0


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("1 2 3", "row 7, the line: 3 fields instead of 18"),
        (job(run="x"), "row 7, run_time: 'x' is not a number"),
        (job(run="nan"), "row 7, run_time: nan is not a finite"),
        (job(run=-1), "row 7, run_time: unknown"),
        (job(run=-60), "row 7, run_time: -60 is negative"),
        (job(submit=-1), "row 7, submit_time: -1 is negative"),
        (job(processors=-1), "row 7, requested_processors: a job of -1 processors"),
        (job(processors=1e9), "row 7, requested_processors: a job of 1e"),
    ],
)
def test_a_wrong_line_is_named_and_left_out_if_lenient(line, complaint):
    with pytest.raises(BadTrace, match=f"log.swf: {complaint}"):
        read(job(), line)
    assert read(job(), line, lenient=True).skipped == 1
