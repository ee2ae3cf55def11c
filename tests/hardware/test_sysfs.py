import os
import tempfile
from pathlib import Path

import pytest

from sparsam.hardware.guards import Verdict
from sparsam.hardware.meter import Fault
from sparsam.hardware.sysfs import entries, read_label, read_number, read_text
from tests.support.sysfs import without_root


def test_text_comes_without_its_line_end(tmp_path):
    (tmp_path / "name").write_text("package-0\n")
    assert read_text(tmp_path / "name") == "package-0"
    assert read_label(tmp_path / "name") == "package-0"


@pytest.mark.parametrize("text", ["", "x", "1.5", "1 2", "\x00", "0x10", "\xff"])
def test_what_is_no_whole_number_is_malformed(tmp_path, text):
    (tmp_path / "energy_uj").write_text(text, encoding="latin-1")
    found = read_number(tmp_path / "energy_uj")
    assert isinstance(found, Verdict) and found.fault is Fault.MALFORMED


def test_a_file_that_is_not_there_or_is_a_folder_is_a_fault(tmp_path):
    absent, folder = read_text(tmp_path / "a" / "b"), read_text(tmp_path)
    assert isinstance(absent, Verdict) and absent.fault is Fault.ABSENT
    assert isinstance(folder, Verdict) and folder.fault is Fault.INACTIVE
    assert read_label(tmp_path / "a", "nothing") == "nothing"
    assert entries(tmp_path / "a") == []


def test_a_file_that_may_not_be_read_is_denied():
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        path = Path(folder) / "energy_uj"
        path.write_text("1")
        path.chmod(0o400 if os.geteuid() == 0 else 0)
        with without_root():
            found = read_number(path)
        assert isinstance(found, Verdict) and found.fault is Fault.DENIED


def test_a_pipe_that_nobody_writes_does_not_block(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    assert read_text(tmp_path / "pipe") == ""
