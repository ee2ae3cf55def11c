import gzip
import json
from pathlib import Path

import pytest

from sparsam.cli.tables import BadInput
from sparsam.cli.tracefiles import FORMATS, read_trace
from tests.conftest import DATA
from tests.support.traces import exported_pod as pod
from tests.support.traces import swf_job as job

TABLE = "arrival_seconds,duration_seconds,cpu,labels\n0,60,500m,app=web\n5,60,1,\n"


def written(path: Path, content: str | bytes) -> Path:
    raw = content.encode() if isinstance(content, str) else content
    path.write_bytes(gzip.compress(raw) if path.suffix == ".gz" else raw)
    return path


@pytest.mark.parametrize("ending", ["", ".gz"])
@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("pods.csv", TABLE),
        ("pods.csv", "\ufeff" + TABLE),
        ("openb.csv", "pod_name,cpu_milli,memory_mib,num_gpu,gpu_milli\na,1000,1,0,0\nb,1000,1,0,0\n"),
        ("log.swf", f"; Remark: caf\u00e9\n{job()}\n{job(2)}\n"),
        ("pods.json", json.dumps({"kind": "List", "items": [pod(), pod("web-2")]})),
        ("pods.json", json.dumps([pod(), pod("web-2")])),
    ],
)
def test_name_and_columns_tell_the_format(tmp_path, name, content, ending):
    reading = read_trace(written(tmp_path / f"{name}{ending}", content))
    assert len(reading.trace) == 2
    assert reading.trace.name.endswith(name + ending)


def test_logs_may_have_remarks_in_old_encodings(tmp_path):
    path = written(tmp_path / "log.swf", f"; Remark: caf\u00e9\n{job()}\n".encode("latin-1"))
    assert len(read_trace(path).trace) == 1


def test_parquet_is_read_through_duckdb(tmp_path):
    duckdb = pytest.importorskip("duckdb")
    path = tmp_path / "pods.parquet"
    duckdb.sql(
        "COPY (SELECT i::DOUBLE AS arrival_seconds, 60 AS duration_seconds, 0.5 AS cpu, 'batch' AS kind, "
        "MAP {'app': 'a'} AS labels FROM range(25000) t(i)) TO '" + str(path) + "' (FORMAT parquet)"
    )
    found = read_trace(path).trace
    assert len(found) == 25_000
    assert found.core_seconds.sum() == 25_000 * 30.0
    assert found.templates[0]["metadata"]["labels"] == {"app": "a"}
    assert len(found.templates) == 1


@pytest.mark.parametrize(
    ("name", "content", "complaint"),
    [
        ("pods.csv", "", "line 1, the header: columns of no known trace (none)"),
        ("pods.csv", "a,b\n1,2\n", "line 1, the header: columns of no known trace (a, b)"),
        ("pods.csv", "arrival_seconds,arrival_seconds\n1,2\n", "column arrival_seconds comes more than once"),
        ("pods.csv", "arrival_seconds,cpu\n1,x\n", "row 1, cpu: not a quantity"),
        ("pods.csv", b"arrival_seconds\n" + 20_000 * b"1\n" + b"\xff\n", "cut off or damaged"),
        ("pods.txt", "", "a trace is a .csv, .json, .swf"),
        ("pods.json", "{", "not JSON"),
        ("pods.json", "{}", "items: no list of Pods"),
        ("cpu.csv", "vm_id,t_s,duration_s,cpu_util\n", "no cpu_vms.csv beside it"),
        ("pods.parquet", "nothing", "pods.parquet"),
        ("log.swf", "1 2\n", "row 1, the line: 2 fields instead of 18"),
    ],
)
def test_what_cannot_be_read_is_said_in_one_line(tmp_path, name, content, complaint):
    path = written(tmp_path / name, content)
    with pytest.raises(BadInput) as error:
        read_trace(path)
    assert complaint in error.value.message
    assert str(path) in error.value.message
    assert "\n" not in error.value.message


@pytest.mark.parametrize("name", ["pods.csv.gz", "log.swf.gz", "pods.json.gz"])
def test_a_file_that_breaks_off_is_refused(tmp_path, name):
    content = {"pods.csv.gz": TABLE * 5000, "log.swf.gz": f"{job()}\n" * 5000, "pods.json.gz": json.dumps([pod()] * 99)}
    path = tmp_path / name
    path.write_bytes(gzip.compress(content[name].encode())[:-40])
    with pytest.raises(BadInput, match=name):
        read_trace(path, lenient=True)
    path.write_bytes(b"no gzip at all")
    with pytest.raises(BadInput, match=name):
        read_trace(path)


def test_a_missing_file_and_an_unknown_format_are_named(tmp_path):
    for name in ("pods.csv", "pods.json", "log.swf", "pods.parquet"):
        with pytest.raises(BadInput, match="No such file"):
            read_trace(tmp_path / name)
    with pytest.raises(BadInput, match="no format 'cvs'; there are table, openb"):
        read_trace(written(tmp_path / "pods.csv", TABLE), "cvs")


def test_lenient_reading_counts_what_it_leaves_out(tmp_path):
    reading = read_trace(written(tmp_path / "pods.csv", TABLE + "x,1,1,\n"), lenient=True)
    assert (len(reading.trace), reading.skipped, reading.complaint.row) == (2, 1, 3)


@pytest.mark.needs_data
@pytest.mark.parametrize(
    ("name", "pods"),
    [("openb_pods_default.csv", 8152), ("vm_cpu_bitbrains.csv.gz", 50), ("vm_cpu_planetlab.csv.gz", 8301)],
)
def test_the_recorded_traces_are_recognised(name, pods):
    assert len(read_trace(DATA / name).trace) == pods


def test_every_format_has_a_name():
    assert len(set(FORMATS)) == 6
