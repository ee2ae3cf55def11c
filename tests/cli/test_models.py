import gzip
import json
from xml.etree import ElementTree

import numpy as np
import pytest
from click.testing import CliRunner

from sparsam.cli.models import models
from sparsam.power.model import encode, fit_model
from tests.conftest import DATA
from tests.support.servers import made_up_servers, server_rows, write_rows

SERVERS = made_up_servers()


def run(*arguments, code=0):
    result = CliRunner().invoke(models, [str(one) for one in arguments])
    assert result.exit_code == code, result.output
    return result.stdout if code == 0 else result.stderr


@pytest.fixture
def rows():
    return server_rows(SERVERS)


@pytest.fixture
def table(tmp_path):
    return tmp_path / "servers.csv"


def test_validate_prints_an_object_for_each_family_and_one_for_the_choice(table, rows):
    found = json.loads(run("validate", write_rows(table, rows), "-o", "json"))
    by_family = {one["family"]: one for one in found}
    assert {"linear", "power_law", "exponential", "idle_exponential", "piecewise", "pchip", "akima", "learned"} <= set(
        by_family
    )
    assert [one["family"] for one in found if one["chosen"]] == ["chosen"]
    for one in found:
        assert one["servers"] == 60
        assert 0 < one["pooled_mape_pct"] <= one["p90_server_mape_pct"]
        assert len(one["mape_pct_by_level"]) == 9
    assert sum(one["servers_choosing"] for one in found if not one["chosen"]) == 60
    assert by_family["chosen"]["pooled_mape_pct"] < by_family["linear"]["pooled_mape_pct"]
    assert by_family["chosen"]["less_known"][0]["family"] == "idle_max_cpu"


def test_validate_prints_tables_that_are_not_cut(table, rows):
    text = run("validate", write_rows(table, rows))
    for word in (
        "FAMILY",
        "P90 SERVER",
        "idle_exponential",
        "90%",
        "nothing measured; hardware description",
        "MEASURE NEXT",
    ):
        assert word in text
    assert "…" not in text


def test_validate_learns_from_one_file_and_scores_on_another(tmp_path, table, rows):
    write_rows(table, rows[:50])
    other = write_rows(tmp_path / "other.csv", rows[45:])
    found = json.loads(run("validate", table, "--test", other, "-o", "json"))
    assert {one["servers"] for one in found} == {15}
    assert found[-1]["learned_from"] == "a population learned elsewhere, which knows none of these servers"
    assert "learned" in {one["family"] for one in found}


def test_too_few_servers_to_learn_from_are_refused(table, rows):
    assert "0 servers to learn from" in run("validate", write_rows(table, rows), "--test", table, code=2)


def test_validate_reads_compressed_files(tmp_path, table, rows):
    packed = tmp_path / "servers.csv.gz"
    packed.write_bytes(gzip.compress(write_rows(table, rows).read_bytes()))
    assert run("validate", packed, "-o", "json") == run("validate", table, "-o", "json")


@pytest.mark.needs_data
def test_validate_fits_every_run_of_load_steps():
    found = json.loads(run("validate", DATA / "bare_metal_load_steps.csv", "-o", "json"))
    assert len(found) == 8
    for one in found:
        assert one["mape_pct"] < 5
        assert one["mape_pct"] < one["mape_pct_by_family"]["linear"]
    ratios = [ratio for one in found for ratio in one["full_load_ratio_by_test"].values()]
    assert (min(ratios), max(ratios)) == pytest.approx((0.76, 1.32), abs=0.01)


def spoil(row, column, value):
    def change(rows):
        rows[row][column] = value

    return change


def rename(old, new):
    def change(rows):
        for row in rows:
            row[new] = row.pop(old)

    return change


def constant_load(rows):
    for step in range(1, 11):
        rows[4][f"actual_load_pct_at_{step}0pct"] = "50"


def load_as_ratio(rows):
    for step in range(1, 11):
        rows[6][f"actual_load_pct_at_{step}0pct"] = str(step / 10)


def kilowatts(rows):
    for column in [column for column in rows[2] if column.startswith("power_w")]:
        rows[2][column] = str(float(rows[2][column]) / 1000)


def upside_down(rows):
    columns = ["power_w_idle", *(f"power_w_at_{step}0pct" for step in range(1, 11))]
    values = [rows[1][column] for column in columns]
    rows[1].update(zip(columns, reversed(values), strict=True))


def repeated(rows):
    rows.append(dict(rows[3]))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (spoil(2, "power_w_at_40pct", "lots"), ["row 3", "power_w_at_40pct", "'lots' is not a number"]),
        (spoil(2, "power_w_at_40pct", "1_000"), ["row 3", "power_w_at_40pct", "not a number"]),
        (spoil(2, "power_w_at_40pct", "nan"), ["row 3", "power_w_at_40pct", "not a number"]),
        (spoil(0, "power_w_idle", ""), ["row 1", "power_w_idle", "empty"]),
        (spoil(0, "power_w_idle", "-3"), ["row 1", "power_w_idle", "above zero"]),
        (spoil(5, "cores", "many"), ["row 6", "cores", "'many' is not a number"]),
        (spoil(5, "server_id", " "), ["row 6", "server_id", "empty"]),
        (spoil(1, "power_w_at_50pct", "1"), ["row 2", "power_w_at_50pct", "different units"]),
        (spoil(1, "power_w_at_50pct", "90000"), ["row 2", "power_w_at_50pct", "different units"]),
        (spoil(1, "actual_load_pct_at_50pct", "39"), ["row 2", "actual_load_pct_at_50pct", "not above"]),
        (rename("power_w_at_30pct", "watts_30"), ["no column power_w_at_30pct", "watts_30"]),
        (constant_load, ["row 5", "actual_load_pct_at_20pct", "constant"]),
        (load_as_ratio, ["row 7", "actual_load_pct_at_100pct", "ratio"]),
        (kilowatts, ["row 3", "power_w_at_100pct", "another unit"]),
        (upside_down, ["row 2", "power_w_at_10pct", "falls with load"]),
        (repeated, ["row 61", "server_id", "already in row 4"]),
    ],
)
def test_bad_tables_are_refused_with_file_row_and_column(table, rows, change, words):
    change(rows)
    message = run("validate", write_rows(table, rows), "-o", "json", code=2)
    for word in [str(table), *words]:
        assert word in message


@pytest.mark.parametrize(
    ("content", "word"),
    [
        (b"", "empty"),
        (b"a,b\n", "no known kind"),
        (b"a,b\n1,2\n", "no known kind"),
        (b"server_id,server_id\n1,2\n", "more than once"),
        (b"PAR1\x00\xff\xfe\x00", "not a comma-separated table"),
    ],
)
def test_files_that_are_no_table_of_measurements_are_refused(table, content, word):
    table.write_bytes(content)
    assert word in run("validate", table, code=2)


def test_a_row_that_is_cut_short_is_named(table, rows):
    write_rows(table, rows)
    lines = table.read_text().splitlines()
    lines[9] = lines[9].rsplit(",", 3)[0]
    table.write_text("\n".join(lines))
    message = run("validate", table, code=2)
    assert "row 9 (line 10)" in message


def test_blank_lines_do_not_shift_the_line_that_is_named(table, rows):
    rows[3]["power_w_idle"] = "x"
    write_rows(table, rows)
    lines = table.read_text().splitlines()
    table.write_text("\n".join([*lines[:2], "", "", *lines[2:]]))
    assert "row 4 (line 7)" in run("validate", table, code=2)


@pytest.mark.parametrize(
    ("column", "value", "words"),
    [
        ("pkg_w", "warm", ["row 3", "pkg_w", "not a number"]),
        ("target_load_pct", "0", ["row 3", "target_load_pct", "twice"]),
        ("pkg_w", "5", ["pkg_w", "falls with load"]),
    ],
)
def test_bad_load_steps_are_refused(table, column, value, words):
    rows = [
        {
            "run_id": "r1",
            "instance": "i",
            "test": "cpu",
            "target_load_pct": str(10 * step),
            "pkg_w": str(50 + 20 * step),
        }
        for step in range(11)
    ]
    rows[2][column] = value
    message = run("validate", write_rows(table, rows), code=2)
    for word in words:
        assert word in message


def test_two_load_steps_are_too_few(table):
    rows = [
        {"run_id": "r1", "instance": "i", "test": "cpu", "target_load_pct": load, "pkg_w": watts}
        for load, watts in (("0", "50"), ("100", "200"))
    ]
    assert "2 points" in run("validate", write_rows(table, rows), code=2)


def test_list_filters_by_cpu():
    found = json.loads(run("list", "--cpu", "8180", "-o", "json"))
    assert found
    assert all("8180" in one["cpu"] for one in found)
    assert {one["bias"] for one in found} == {"efficiency", "performance"}
    assert "xeon-platinum-8180-2s" in run("list")


def test_show_prints_the_model_of_a_profile():
    text = run("show", "xeon-platinum-8180-2s")
    assert "PowerEdge" in text
    assert "NINE OF TEN READINGS" in text
    assert json.loads(run("show", "xeon-platinum-8180-2s", "-o", "json"))["model"]["family"] == "idle_exponential"


@pytest.fixture
def own(tmp_path):
    load = np.arange(11) / 10.0
    path = tmp_path / "own.json"
    path.write_bytes(encode(fit_model("akima", load, 50 + 100 * load, source="bench", date="2026-11-23")))
    return path


def test_models_in_files_are_shown_and_compared_with_profiles(own):
    assert "own: akima" in run("show", own)
    found = json.loads(run("compare", own, "epyc-7742-2s", "-o", "json"))
    assert [one["model"] for one in found] == ["own", "epyc-7742-2s"]
    assert found[0]["watts"][5] == 100
    assert "IDLE/MAX" in run("compare", own, "epyc-7742-2s").upper()


def test_a_file_that_is_no_model_is_refused(tmp_path):
    path = tmp_path / "x.json"
    path.write_text("{}")
    assert "unknown schema" in run("show", path, code=2)


def test_an_unknown_name_is_answered_with_near_ones():
    assert "did you mean xeon-platinum-8180-2s" in run("show", "8180", code=2)


def test_plots_are_drawn_in_the_terminal(own):
    text = run("plot", own, "epyc-7742-2s")
    assert "* own" in text
    assert "o epyc-7742-2s" in text


def test_plots_are_written_as_svg_with_an_error_band(tmp_path, own):
    path = tmp_path / "curves.svg"
    run("plot", own, "epyc-7742-2s", "--file", path)
    tags = [element.tag.rpartition("}")[2] for element in ElementTree.parse(path).iter()]
    assert tags.count("polyline") == 2
    assert tags.count("polygon") == 1


def test_nothing_is_written_for_another_format(tmp_path, own):
    path = tmp_path / "curves.tiff"
    assert ".svg" in run("plot", own, "--file", path, code=2)
    assert not path.exists()


def test_estimates_come_with_their_error_and_the_step_to_measure_next():
    hardware = [
        "--cpu",
        "AMD EPYC 7742 64-Core Processor",
        "--sockets",
        2,
        "--cores",
        128,
        "--threads",
        256,
        "--memory",
        512,
    ]
    text = run("estimate", *hardware)
    assert "nothing measured" in text
    assert "MEASURE NEXT" in text
    nothing = json.loads(run("estimate", *hardware, "-o", "json"))
    ends = json.loads(run("estimate", *hardware, "--at", "0=110", "--at", "100%=560", "-o", "json"))
    middle = [next(one["p90Ratio"] for one in model["errorByLevel"] if one["load"] == 0.5) for model in (nothing, ends)]
    assert middle[1] < middle[0] / 2


@pytest.mark.parametrize("point", ["50", "x=3", "50=", "120=300", "50=-1", "=3"])
def test_points_that_make_no_sense_are_refused(point):
    assert point in run("estimate", "--cpu", "EPYC 7742", "--at", point, code=2)


def test_points_that_fall_with_load_are_refused():
    assert "falls with load" in run("estimate", "--cpu", "EPYC 7742", "--at", "0=300", "--at", "100=100", code=2)
