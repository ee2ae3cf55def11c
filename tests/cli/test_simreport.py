import json
import re
import struct
import zlib

import numpy as np
from click.testing import CliRunner

from sparsam.cli.sim import sim
from sparsam.cli.simreport import colours, png
from sparsam.simulation.story import SHADE_ASLEEP

FLEET = "{name: small, groups: [{model: epyc-7742-1s, count: 3, sleep: suspended}, {model: xeon-e5-2660-2s, count: 4}]}"


def report(tmp_path, *arguments):
    (tmp_path / "fleet.yaml").write_text(FLEET)
    asked = ["--fleet", str(tmp_path / "fleet.yaml"), "--days", "0.05", "--report", str(tmp_path / "out"), *arguments]
    return CliRunner().invoke(sim, asked)


def test_a_report_is_a_page_that_needs_nothing_else_with_pictures_and_numbers(tmp_path):
    result = report(tmp_path, "--seeds", "2")
    assert result.exit_code == 0, result.output
    page = (tmp_path / "out/report.html").read_text()
    assert not re.search(r"(src|href)=.?(http|//)", page)
    # So short a run may leave unequal work behind; then that is what the page says first.
    stated = r"sparsam uses \d+\.\d% .*energy than kube-default for the same work"
    assert re.search(rf"<p class=big>({stated}|No saving is stated of sparsam: [\d.]+ core hours done)", page)
    assert "sim --fleet" in page
    assert "--seeds 2" in page
    value = json.loads((tmp_path / "out/report.json").read_text())
    assert len(value["runs"]) == 8
    assert [each["label"] for each in value["story"]["runs"]] == [
        "kube-default", "kube-default, sleep", "sparsam", "sparsam, sleep",
    ]  # fmt: skip
    shown = {path.name for path in (tmp_path / "out").iterdir()}
    assert {"report.html", "report.json", "utilization-first.png", "utilization-last.png"} <= shown
    assert not any(name.startswith(".") for name in shown)


def test_nothing_is_left_half_written(tmp_path):
    (tmp_path / "out").write_text("a file")
    result = report(tmp_path)
    assert result.exit_code == 2
    assert (tmp_path / "out").read_text() == "a file"


def test_pictures_are_what_they_show():
    load = np.array([[0, 100], [SHADE_ASLEEP, 50]], np.int8)
    picture = png(colours(load))
    assert picture[:8] == b"\x89PNG\r\n\x1a\n"
    assert struct.unpack(">II", picture[16:24]) == (2, 2)
    lines = zlib.decompress(picture[41 : picture.index(b"IEND") - 8])
    assert lines == bytes([0, 232, 240, 248, 8, 48, 107, 0, 190, 190, 190, 120, 144, 178])
