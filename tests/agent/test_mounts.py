"""Mounts that containers see and make, in a mount namespace of their own."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = """
import sys
from pathlib import Path
from sparsam.agent.mounts import mounts_below, share

folder = Path(sys.argv[1])
share(folder)
share(folder)
lines = [line.split() for line in Path("/proc/self/mountinfo").read_text().splitlines()]
mine = [line for line in lines if line[4] == str(folder)]
print(len(mine), any(each.startswith("shared:") for line in mine for each in line[6:line.index("-")]))
print((folder / "kept").read_text(), mounts_below(folder) == [str(folder)] * len(mine))
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
@pytest.mark.parametrize(("around", "expected"), [("rprivate", "1 True"), ("rshared", "0 False")])
def test_a_directory_is_mounted_on_itself_once_unless_it_lies_on_a_shared_mount(
    tmp_path: Path, around: str, expected: str
):
    (tmp_path / "kept").write_text("kept")
    command = f"mount --make-{around} / && exec {sys.executable} -c '{SCRIPT}' '{tmp_path}'"
    result = subprocess.run(["unshare", "-m", "sh", "-c", command], capture_output=True, text=True, check=False)
    if "unshare" in result.stderr:
        pytest.skip(result.stderr.strip())
    assert result.stdout.splitlines() == [expected, "kept True"], result.stderr
