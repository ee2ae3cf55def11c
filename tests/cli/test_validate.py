import json

import numpy as np
import pytest
from click.testing import CliRunner

from sparsam.cli.models import models
from sparsam.cli.seriesfiles import read_series
from tests.conftest import DATA
from tests.support.servers import write_rows

SAMPLES = 600


def run(*arguments, code=0):
    result = CliRunner().invoke(models, ["validate", *(str(one) for one in arguments)])
    assert result.exit_code == code, result.output
    return result.stdout if code == 0 else result.stderr


@pytest.fixture
def rows():
    chance = np.random.default_rng(4)
    load = np.clip(np.repeat(chance.random(SAMPLES // 20), 20) + chance.normal(0, 0.01, SAMPLES), 0.01, 1)
    cycles = 6e10 * load**0.8
    watts = 150 + 150 * (cycles / 6e10) + chance.normal(0, 1, SAMPLES)
    return [
        {
            "timestamp_s": str(1_700_000_000 + 3 * index),
            "bpf_cpu_time_raw": f"{32000 * load[index]:.1f}",
            "cpu_cycles_per_s": f"{cycles[index]:.0f}",
            "cpu_instructions_per_s": f"{1.2 * cycles[index]:.0f}",
            "cache_misses_per_s": f"{1e6 + 1e8 * load[index]:.0f}",
            "rapl_package_w": f"{watts[index] - 80:.2f}",
            "rapl_dram_w": "20",
            "node_power_w": f"{watts[index]:.0f}",
        }
        for index in range(SAMPLES)
    ]


@pytest.fixture
def table(tmp_path):
    return tmp_path / "counters.csv"


def test_counters_are_scored_beside_utilization_with_the_same_fields_as_servers(table, rows):
    found = json.loads(run(write_rows(table, rows), "-o", "json"))
    assert {"utilization", "counters", "rapl"} <= {one["family"] for one in found}
    assert sum(one["chosen"] for one in found) == 1
    for one in found:
        assert {"family", "pooled_mape_pct", "p90_server_mape_pct", "servers", "chosen"} <= set(one)
        assert one["servers"] == 1
    assert "first 70 %" in run(table)


def test_another_file_can_be_the_test(tmp_path, table, rows):
    other = write_rows(tmp_path / "later.csv", rows[400:])
    assert "judged on later.csv" in run(write_rows(table, rows[:400]), "--test", other)


def test_samples_are_put_in_the_order_of_time(table, rows):
    shuffled = [rows[index] for index in np.random.default_rng(1).permutation(SAMPLES)]
    series = read_series(write_rows(table, shuffled))
    ordered = read_series(write_rows(table, rows))
    np.testing.assert_array_equal(series.watts, ordered.watts)
    np.testing.assert_array_equal(series.columns["cycles"], ordered.columns["cycles"])


@pytest.mark.needs_data
def test_counters_are_good_to_five_per_cent_later_on_and_never_worse_than_utilization():
    found = {one["family"]: one for one in json.loads(run(DATA / "node_counters_nx12.csv", "-o", "json"))}
    assert found["counters"]["pooled_mape_pct"] <= 5.0
    assert found["counters"]["pooled_mape_pct"] <= found["utilization"]["pooled_mape_pct"]


@pytest.mark.parametrize(
    ("row", "column", "value", "words"),
    [
        (4, "cpu_cycles_per_s", "many", ["row 5 (line 6)", "cpu_cycles_per_s", "'many' is not a number"]),
        (4, "node_power_w", "", ["row 5", "node_power_w", "empty"]),
        (4, "node_power_w", "0", ["row 5", "node_power_w", "above zero"]),
        (4, "node_power_w", "0.2", ["row 5", "node_power_w", "different units"]),
        (4, "node_power_w", "250000", ["row 5", "node_power_w", "different units"]),
        (4, "cache_misses_per_s", "-1", ["row 5", "cache_misses_per_s", "below zero"]),
        (4, "timestamp_s", "1700000003", ["row 5", "timestamp_s", "already in row 2"]),
    ],
)
def test_bad_samples_are_refused_with_row_and_column(table, rows, row, column, value, words):
    rows[row][column] = value
    message = run(write_rows(table, rows), code=2)
    for word in [str(table), *words]:
        assert word in message


def test_a_load_that_never_changes_is_refused(table, rows):
    for row in rows:
        row["bpf_cpu_time_raw"] = "16000"
    assert "constant load" in run(write_rows(table, rows), code=2)


def test_missing_columns_are_named(table, rows):
    for row in rows:
        row["cycles"] = row.pop("cpu_cycles_per_s")
    message = run(write_rows(table, rows), code=2)
    assert "no column cpu_cycles_per_s" in message
    assert "cycles" in message


def card_rows():
    chance = np.random.default_rng(2)
    rows = []
    for server in ("a", "b"):
        for hour in range(200):
            load = 0.0 if hour % 3 else float(chance.random())
            watts = 30.0 if load == 0.0 else 70 + 200 * load
            rows.append(
                {
                    "server": server,
                    "gpu_model": "X1",
                    "time_local": f"2026-01-{1 + hour // 24:02} {hour % 24:02}:00",
                    "gpu_util_pct_mean": f"{100 * load:.3f}",
                    "gpu_power_w_mean": f"{watts:.2f}",
                }
            )
    return rows


def test_cards_are_fitted_server_by_server(table):
    found = json.loads(run(write_rows(table, card_rows()), "-o", "json"))
    assert [one["server"] for one in found] == ["a", "b"]
    for one in found:
        assert one["idle_watts"] == pytest.approx(30)
        assert one["awake_watts"] == pytest.approx(70, abs=1)
        assert one["mape_pct"] < 2
    assert "AWAKE W" in run(table)


@pytest.mark.needs_data
def test_cards_of_every_measured_server_are_fitted():
    found = json.loads(run(DATA / "gpu_power_hourly.csv.gz", "-o", "json"))
    assert len(found) == 4
    assert all(one["active_mape_pct"] < 25 for one in found)


@pytest.mark.parametrize(
    ("row", "column", "value", "words"),
    [
        (4, "gpu_util_pct_mean", "120", ["row 5", "gpu_util_pct_mean", "per cent"]),
        (4, "gpu_power_w_mean", "0.03", ["row 5", "gpu_power_w_mean", "different units"]),
        (4, "gpu_power_w_mean", "off", ["row 5", "gpu_power_w_mean", "not a number"]),
    ],
)
def test_bad_readings_of_cards_are_refused(table, row, column, value, words):
    rows = card_rows()
    rows[row][column] = value
    message = run(write_rows(table, rows), code=2)
    for word in words:
        assert word in message


def test_repeated_readings_of_cards_are_refused(table):
    rows = card_rows()
    assert "already in row 4" in run(write_rows(table, [*rows, rows[3]]), code=2)


def test_cards_whose_load_never_changes_are_refused(table):
    rows = [{**row, "gpu_util_pct_mean": "0"} for row in card_rows()]
    assert "hardly changes" in run(write_rows(table, rows), code=2)


def test_load_steps_and_cards_take_no_other_file(table):
    assert "--test" in run(write_rows(table, card_rows()), "--test", table, code=2)


@pytest.mark.parametrize("count", [1, 2, 15])
def test_too_few_samples_are_refused(table, rows, count):
    run(write_rows(table, rows[:count]), code=2)
