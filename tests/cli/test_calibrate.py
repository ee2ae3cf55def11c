import asyncio
import json
import threading

import numpy as np
import pytest
import yaml
from aiohttp import web
from click.testing import CliRunner

from sparsam.cli import telemetryfiles
from sparsam.cli.calibrate import calibrate
from sparsam.cli.drive import NothingToMeasureWith
from sparsam.cli.telemetryfiles import read_telemetry
from sparsam.controllers.servermodels import fault_of
from sparsam.power.model import decode
from tests.support.apiserver import free_port
from tests.support.sysfs import FakeSysfs

SAMPLES = 3000


def samples(*, percent=True, top=1.0):
    chance = np.random.default_rng(7)
    load = np.repeat(chance.uniform(0.0, top, SAMPLES // 5), 5)
    load[:300] = 0.0
    load = np.roll(load, 1234)
    load[::10] = 0.0
    watts = 80.0 + 60.0 * load + 40.0 * load**3 + chance.normal(0.0, 0.5, SAMPLES)
    return np.arange(SAMPLES) * 60.0, load * (100.0 if percent else 1.0), watts


def write(path, columns, rows):
    lines = [",".join(columns), *(",".join(map(str, row)) for row in rows)]
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.fixture
def table(tmp_path):
    time, load, watts = samples()
    rows = zip(time, np.round(load, 3), np.round(watts, 2), 2e9 * (1 + load), 1e9 * (1 + load), strict=True)
    return write(tmp_path / "worker-1.csv", ("t_s", "cpu_util", "power_w", "cycles", "instructions"), rows)


def run(*arguments, code=0):
    result = CliRunner().invoke(calibrate, [str(each) for each in arguments])
    assert result.exit_code == code, result.output
    return result.output


def test_telemetry_becomes_a_model_an_object_and_a_report(table, tmp_path):
    out = tmp_path / "out"
    said = run("--from", table, "-O", out)
    model = decode((out / "worker-1.model.json").read_bytes())
    assert model.idle_watts == pytest.approx(80.0, abs=1.0)
    assert model.max_watts == pytest.approx(180.0, rel=0.03)
    document = yaml.safe_load((out / "worker-1.servermodel.yaml").read_text())
    assert fault_of(document) == ""
    assert document["spec"]["nodeName"] == "worker-1"
    annotations = yaml.safe_load((out / "worker-1.annotation.yaml").read_text())["metadata"]["annotations"]
    assert decode(annotations["power.sparsam.dev/server-model"].encode()) == model
    page = (out / "worker-1.html").read_text()
    for words in ("Families", "Power over load", "Error by load level", "CPI per watt over speed", "per cent"):
        assert words in page
    assert "80.0 W idle" in said or "79." in said or "80." in said
    assert "root mean square, on time held out" in said


def test_the_report_has_a_picture(table, tmp_path):
    pytest.importorskip("matplotlib")
    run("--from", table, "-O", tmp_path)
    assert (tmp_path / "worker-1.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("form", ["csv", "csv.gz", "parquet"])
def test_the_same_sums_come_from_every_form_and_reader(table, tmp_path, form, monkeypatch):
    duckdb = pytest.importorskip("duckdb")
    path = table
    if form != "csv":
        path = tmp_path / f"copy.{form}"
        query = f"COPY (SELECT * FROM read_csv('{table}')) TO '{path}'"
        duckdb.sql(query + (" (FORMAT parquet)" if form == "parquet" else " (FORMAT csv, COMPRESSION gzip)"))
    found = read_telemetry(path, {})
    monkeypatch.setattr(telemetryfiles, "_reader", telemetryfiles._CsvReader)
    plain = read_telemetry(table, {})
    for name in ("count", "load", "watts", "square"):
        np.testing.assert_allclose(getattr(found.statistics, name), getattr(plain.statistics, name), rtol=1e-9)
    np.testing.assert_allclose(found.sums["cycles"], plain.sums["cycles"], rtol=1e-9)
    assert found.percent


def test_columns_can_be_named(tmp_path):
    time, load, watts = samples(percent=False)
    path = write(tmp_path / "t.csv", ("when", "busy", "pdu"), zip(time, load, watts, strict=True))
    assert "name it with --map utilization=COLUMN; there are when, busy, pdu" in run("--from", path, code=2)
    run("--from", path, "--map", "utilization=busy", "--map", "watts=pdu", "-O", tmp_path / "out")


def test_servers_of_the_same_cpu_say_what_lies_above_the_highest_load(tmp_path):
    time, load, watts = samples(top=0.5)
    path = write(tmp_path / "half.csv", ("t_s", "util", "watts"), zip(time, load / 100.0, watts, strict=True))
    run("--from", path, "--cpu", "AMD EPYC 7742", "--cores", "64", "--threads", "128", "-O", tmp_path)
    model = decode((tmp_path / "half.model.json").read_bytes())
    assert model.estimated
    assert model.watts(1.0) > 1.2 * model.watts(0.5)


def spoiled(how):
    time, load, watts = samples()
    rows = [list(map(str, row)) for row in zip(time, load, watts, strict=True)]
    how(rows)
    return rows


def text_in_numbers(rows):
    rows[41][2] = "n/a"


def negative(rows):
    rows[41][2] = "-5"


def mixed_units(rows):
    for row in rows[:1500]:
        row[1] = str(float(row[1]) * 100)


def kilowatts(rows):
    for row in rows:
        row[2] = str(float(row[2]) / 1000)


def falling(rows):
    for row in rows:
        row[2] = str(300 - float(row[1]))


def constant(rows):
    for row in rows:
        row[1] = "50"


def two_rows(rows):
    del rows[2:]


def short_row(rows):
    del rows[9][2]


@pytest.mark.parametrize(
    ("how", "words"),
    [
        (text_in_numbers, ["row 42", "column power_w", "n/a", "not a number"]),
        (negative, ["row 42", "column power_w", "negative"]),
        (mixed_units, ["column cpu_util", "in one unit throughout"]),
        (kilowatts, ["column power_w", "no server's power"]),
        (falling, ["power falls with load"]),
        (constant, ["no sample is idle"]),
        (two_rows, ["2 samples"]),
        (short_row, ["row 10", "2 cells, but 3 columns"]),
    ],
)
@pytest.mark.parametrize("reader", ["duckdb", "csv"])
def test_telemetry_that_carries_no_model_is_refused_and_nothing_is_written(tmp_path, how, words, reader, monkeypatch):
    if reader == "csv":
        monkeypatch.setattr(telemetryfiles, "_reader", telemetryfiles._CsvReader)
    else:
        pytest.importorskip("duckdb")
    path = write(tmp_path / "bad.csv", ("t_s", "cpu_util", "power_w"), spoiled(how))
    said = run("--from", path, "-O", tmp_path / "out", code=2)
    for word in ["bad.csv", *words]:
        assert word in said
    assert not (tmp_path / "out").exists()


def test_exactly_one_source_must_be_named(table):
    assert "give one of --from FILE, --prometheus URL and --drive" in run(code=2)
    assert "give one of" in run("--from", table, "--prometheus", "http://x", code=2)
    assert "needs --query-utilization" in run("--prometheus", "http://x", code=2)


class Server:
    """Range queries as Prometheus answers them, for two nodes, one of them without watts."""

    def __init__(self):
        self.port, self.percent, self.reason = free_port(), False, ""
        self._loop = asyncio.new_event_loop()
        self._up = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        self._up.wait(10)

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}"

    async def _answer(self, request):
        form = await request.post()
        if self.reason:
            return web.json_response({"status": "error", "error": self.reason}, status=400)
        moments = np.arange(float(form["start"]), float(form["end"]) + 1e-3, float(form["step"]))
        load = 0.5 + 0.5 * np.sin(np.arange(len(moments)) / 9.0)
        load[load < 0.05] = 0.0
        values = {"u": load * (100.0 if self.percent else 1.0), "w": 80.0 + 100.0 * load}[form["query"]]
        nodes = ("n1", "n2") if form["query"] == "u" else ("n1",)
        pairs = [[moment, str(value)] for moment, value in zip(moments, values, strict=True)]
        pairs[3][1] = "NaN"
        result = [{"metric": {"instance": node}, "values": pairs} for node in nodes]
        return web.json_response({"status": "success", "data": {"resultType": "matrix", "result": result}})

    def _run(self):
        asyncio.set_event_loop(self._loop)
        app = web.Application()
        app.router.add_post("/api/v1/query_range", self._answer)
        runner = web.AppRunner(app)
        self._loop.run_until_complete(runner.setup())
        self._loop.run_until_complete(web.TCPSite(runner, "127.0.0.1", self.port).start())
        self._up.set()
        self._loop.run_forever()
        self._loop.run_until_complete(runner.cleanup())
        self._loop.close()

    def close(self):
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)


@pytest.fixture
def server():
    server = Server()
    yield server
    server.close()


def ask(server, tmp_path, *more, code=0):
    queries = ("--query-utilization", "u", "--query-watts", "w")
    return run("--prometheus", server.url, *queries, "-O", tmp_path, *more, code=code)


def test_nodes_of_a_prometheus_server_get_their_models(server, tmp_path):
    ask(server, tmp_path, "--hours", "400")
    model = decode((tmp_path / "n1.model.json").read_bytes())
    assert (model.idle_watts, model.max_watts) == pytest.approx((80.0, 180.0), rel=0.02)
    assert not (tmp_path / "n2.model.json").exists()
    assert json.loads((tmp_path / "n1.model.json").read_text())["source"] == f"Prometheus {server.url}"


def test_what_prometheus_refuses_is_said(server, tmp_path):
    server.reason = "parse error: unexpected end of input"
    assert "u: parse error" in ask(server, tmp_path, code=2)
    server.reason, server.percent = "", True
    assert "must give a ratio in 0..1" in ask(server, tmp_path, code=2)
    server.percent = False
    assert "no label 'rack'" in ask(server, tmp_path, "--node-label", "rack", code=2)
    assert "is called n9" in ask(server, tmp_path, "--node", "n9", code=2)
    assert "unreachable" in run(
        "--prometheus", f"http://127.0.0.1:{free_port()}", "--query-utilization", "u", "--query-watts", "w", code=2
    )


def test_a_machine_without_sensors_is_not_driven(tmp_path):
    (tmp_path / "stat").write_text("cpu 0 0 0 100 0 0 0 0\n")
    roots = ("--sys-root", tmp_path / "sys", "--proc-root", tmp_path)
    result = CliRunner().invoke(calibrate, [str(each) for each in ("--drive", *roots)])
    assert isinstance(result.exception, NothingToMeasureWith)
    assert "nothing to measure with" in str(result.exception)


def test_a_plan_that_makes_no_sense_is_refused():
    assert "kinds of work are integer, matrix, memory" in run("--drive", "--mixes", "poetry", code=2)
    assert "levels must rise" in run("--drive", "--levels", "50,20", code=2)


@pytest.mark.slow
def test_the_machine_is_driven_and_gets_its_model(tmp_path):
    """A stand-in for stress-ng notes its level; the sensors and the CPU time of a made-up machine follow it."""
    level, stop = tmp_path / "level", threading.Event()
    sysfs, stat = FakeSysfs(tmp_path / "sys"), tmp_path / "proc" / "stat"
    stat.parent.mkdir()
    program = tmp_path / "stress"
    program.write_text(
        f"#!/bin/sh\necho $4 > {level}; trap 'echo 0 > {level}; exit' TERM; while :; do sleep 0.05; done\n"
    )
    program.chmod(0o755)
    level.write_text("0")
    sysfs.write("class/hwmon/hwmon0/name", "power_meter")
    sysfs.write("class/hwmon/hwmon0/power1_average", 90_000_000)
    stat.write_text("cpu 0 0 0 0 0 0 0 0\n")

    def machine():
        busy = total = 0.0
        while not stop.is_set():
            load = float(level.read_text().strip() or 0) / 100.0
            busy, total = busy + 5 * load, total + 5
            fresh = stat.with_name("stat.new")
            fresh.write_text(f"cpu {round(busy)} 0 0 {round(total - busy)} 0 0 0 0\n")
            fresh.replace(stat)
            sysfs.write("class/hwmon/hwmon0/power1_average", round((90 + 110 * load) * 1e6))
            stop.wait(0.05)

    thread = threading.Thread(target=machine)
    thread.start()
    try:
        quick = [
            "--mixes",
            "integer,matrix",
            "--levels",
            "0,50,100",
            "--repeats",
            "1",
            "--settle",
            "0",
            "--measure",
            "6",
        ]
        places = ("--sys-root", sysfs.root, "--proc-root", stat.parent, "--stress-program", program)
        said = run("--drive", "--node", "rig", *quick, *places, "-O", tmp_path / "out")
    finally:
        stop.set()
        thread.join()
    model = decode((tmp_path / "out" / "rig.model.json").read_bytes())
    assert (model.idle_watts, model.max_watts) == pytest.approx((90.0, 200.0), rel=0.1)
    assert "wind tunnel: integer, matrix; measured by hwmon:acpi power meter" in model.source
    assert "integer work" in (tmp_path / "out" / "rig.html").read_text()
    assert "W idle" in said
