import csv
import json
import math
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sparsam.simulation.trace import BadTrace
from sparsam.simulation.traces.rows import SHORT
from sparsam.simulation.traces.table import COLUMNS, read_table
from tests.support.traces import SECONDS

HEADER = "name,arrival_seconds,duration_seconds,cpu,memory,kind,usage,priority,namespace,labels,spec"


def rows(*lines: str, header: str = HEADER) -> Iterator[dict]:
    return csv.DictReader([header, *lines], restval=SHORT)


def read(*lines: str, **options):
    return read_table(rows(*lines), "pods.csv", **options)


def test_a_row_becomes_a_pod():
    spec = json.dumps({"nodeSelector": {"disk": "ssd"}}).replace('"', '""')
    found = read(
        'b,20,inf,500m,1Gi,service,0.4,1000,shop,"app=web,tier=front",',
        f'a,10,60,2,,batch,,,,,"{spec}"',
    ).trace
    assert found.arrival_seconds.tolist() == [10.0, 20.0]
    assert found.duration_seconds.tolist() == [60.0, math.inf]
    assert found.batch.tolist() == [True, False]
    np.testing.assert_array_equal(found.usage, [np.nan, 0.4])
    assert found.horizon_seconds == 70.0
    batch, service = (found.templates[number] for number in found.template)
    assert service["metadata"] == {"namespace": "shop", "labels": {"app": "web", "tier": "front"}}
    assert service["spec"]["priority"] == 1000
    assert service["spec"]["containers"][0]["resources"] == {"requests": {"cpu": "500m", "memory": "1Gi"}}
    assert batch["metadata"] == {"namespace": "default"}
    assert batch["spec"]["nodeSelector"] == {"disk": "ssd"}
    assert "name" not in batch["metadata"]


def test_only_the_arrival_is_required():
    found = read_table([{"arrival_seconds": 3}], "pods").trace
    assert found.requested_cores.tolist() == [0.0]
    assert found.duration_seconds.tolist() == [math.inf]
    assert found.batch.tolist() == [False]


def test_equal_pods_share_a_template():
    found = read(*(f"n{number},{number},5,{1 + number % 3},1Gi,batch,,,,," for number in range(30))).trace
    assert len(found.templates) == 3


def test_parquet_brings_numbers_and_mappings():
    row = {"arrival_seconds": 1.5, "cpu": 0.25, "priority": 7, "labels": {"a": "b"}, "spec": {"tolerations": []}}
    found = read_table([row, dict(row), {**row, "spec": None, "labels": None}], "pods.parquet").trace
    assert len(found.templates) == 2
    assert found.requested_cores.tolist() == [0.25] * 3
    assert found.templates[0]["metadata"]["labels"] == {"a": "b"}


def test_containers_of_the_spec_stay_and_the_columns_go_before_their_requests():
    containers = [{"name": "x", "resources": {"requests": {"cpu": "9", "nvidia.com/gpu": "1"}}}, {"name": "y"}]
    found = read_table([{"arrival_seconds": 0, "cpu": "2", "spec": {"containers": containers}}], "pods").trace
    assert [each["name"] for each in found.templates[0]["spec"]["containers"]] == ["x", "y"]
    requests = found.templates[0]["spec"]["containers"][0]["resources"]["requests"]
    assert requests == {"cpu": "2", "nvidia.com/gpu": "1"}


@given(st.lists(st.tuples(SECONDS, SECONDS, st.integers(1, 64_000), st.booleans()), min_size=1, max_size=50))
def test_no_pod_is_lost_and_none_changes(pods):
    given_rows = [
        {
            "arrival_seconds": str(at),
            "duration_seconds": str(stay),
            "cpu": f"{cpu}m",
            "kind": "batch" if b else "service",
        }
        for at, stay, cpu, b in pods
    ]
    found = read_table(given_rows, "pods").trace
    columns = found.arrival_seconds, found.duration_seconds, np.rint(found.requested_cores * 1000.0), found.batch
    assert sorted(zip(*(column.tolist() for column in columns), strict=True)) == sorted(pods)


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("a,,1,1,,,,,,,", "row 2, arrival_seconds: is empty"),
        ("a,soon,1,1,,,,,,,", "row 2, arrival_seconds: 'soon' is not a number"),
        ("a,1_0,1,1,,,,,,,", "row 2, arrival_seconds: '1_0' is not a number"),
        ("a,nan,1,1,,,,,,,", "row 2, arrival_seconds: nan is not a finite number"),
        ("a,-3,1,1,,,,,,,", "row 2, arrival_seconds: -3 is negative"),
        ("a,3,-1,1,,,,,,,", "row 2, duration_seconds: -1 is negative"),
        ("a,3,nan,1,,,,,,,", "row 2, duration_seconds: nan is not a finite number"),
        ("a,3,1,one,,,,,,,", "row 2, cpu: not a quantity: 'one'"),
        ("a,3,1,-1,,,,,,,", "row 2, cpu: cpu: must not be negative"),
        ("a,3,1,1,1 GB,,,,,,", "row 2, memory: not a quantity"),
        ("a,3,1,1,,job,,,,,", "row 2, kind: 'job' is neither service nor batch"),
        ("a,3,1,1,,,-0.1,,,,", "row 2, usage: -0.1 is negative"),
        ("a,3,1,1,,,,high,,,", "row 2, priority: 'high' is no whole number"),
        ("a,3,1,1,,,,,,web,", "row 2, labels: 'web' is neither"),
        ('a,3,1,1,,,,,,"{""a"": 1}",', "row 2, labels: a: 1 is no text"),
        ("a,3,1,1,,,,,,,{", "row 2, spec: is not JSON"),
        ("a,3,1,1,,,,,,,[]", r"row 2, spec: \[\] is no object"),
        ('a,3,1,1,,,,,,,"{""containers"": [7]}"', "row 2, spec: is no pod's"),
        ('a,3,1,1,,,,,,,"{""tolerations"": 7}"', "row 2, spec: is no pod's"),
        ("a,3,1,1,,,,,,,,,", "row 2, the row: more cells than columns"),
        ("a", "row 2, the row: fewer cells than columns"),
        ("good,3,1,1,,,,,,,", "row 2, name: 'good' is in a row before it, too"),
    ],
)
def test_a_wrong_row_is_named_with_its_field_and_left_out_if_lenient(line, complaint):
    good, other = "good,0,1,1,,,,,,,", "other,0,1,1,,,,,,,"
    with pytest.raises(BadTrace, match=f"pods.csv: {complaint}"):
        read(good, line)
    reading = read(good, line, other, lenient=True)
    assert len(reading.trace) == 2
    assert reading.skipped == 1
    assert reading.complaint.row == 2


def test_names_count_within_their_namespace_and_may_be_left_out():
    found = read("a,0,1,1,,,,,shop,,", "a,0,1,1,,,,,,,", ",0,1,1,,,,,,,", ",0,1,1,,,,,,,")
    assert len(found.trace) == 4


def test_columns_that_are_missing_or_misspelt_are_named():
    with pytest.raises(BadTrace, match="the header: no column arrival_seconds; there are start, cpu"):
        read_table(rows("1,1", header="start,cpu"), "pods.csv")
    with pytest.raises(BadTrace, match="the header: no 'duration'; did you mean duration_seconds"):
        read_table(rows("1,1", header="arrival_seconds,duration"), "pods.csv")
    assert len(read_table(rows("1,1", header="arrival_seconds,duration"), "pods.csv", lenient=True).trace) == 1


def test_a_file_without_pods_is_refused():
    with pytest.raises(BadTrace, match=r"pods.csv: rows: not one pod"):
        read()
    with pytest.raises(BadTrace, match=r"not one pod"):
        read("a,x,,,,,,,,,", lenient=True)


def test_a_file_that_breaks_off_is_refused_even_if_lenient():
    def broken():
        yield {"arrival_seconds": "1"}
        raise EOFError("end-of-stream marker missing")

    with pytest.raises(BadTrace, match=r"pods.gz: row 2, the file: cut off or damaged: end-of-stream"):
        read_table(broken(), "pods.gz", lenient=True)


def test_the_header_of_these_tests_is_the_whole_format():
    assert HEADER.split(",") == list(COLUMNS)


def test_the_page_on_the_format_names_every_column_and_its_example_is_read():
    page = (Path(__file__).parents[3] / "docs" / "traces.md").read_text()
    assert [name for name in COLUMNS if f"`{name}`" not in page] == []
    [example] = re.findall(r"```csv\n(.*?)```", page, re.DOTALL)
    found = read_table(csv.DictReader(example.splitlines()), "docs/traces.md").trace
    assert found.requested_cores.tolist() == [0.5, 4.0]
    assert found.templates[1]["spec"]["nodeSelector"] == {"disk": "ssd"}


def test_a_file_that_no_memory_holds_is_refused_at_the_row_where_that_is_certain(monkeypatch):
    monkeypatch.setattr("sparsam.simulation.traces.rows.MOST_ROWS", 2)
    with pytest.raises(BadTrace, match=r"pods.csv: row 3, the file: has more than 2 rows"):
        read(*(f"p{number},0,1,1,,,,,,," for number in range(3)), lenient=True)
