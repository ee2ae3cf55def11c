import re
import subprocess
import sys
from pathlib import Path

from sparsam.hardware.redfish_vendors import VENDORS

PAGE = (Path(__file__).parents[2] / "docs" / "metering.md").read_text()


def test_the_example_runs_and_says_where_its_watts_are_from():
    (example,) = re.findall(r"```python\n(.+?)```", PAGE, re.DOTALL)
    done = subprocess.run([sys.executable, "-W", "error", "-c", example], capture_output=True, text=True, check=True)
    assert "Reading(" in done.stdout
    assert "source=" in done.stdout
    assert done.stderr == ""


def test_every_vendor_of_the_table_is_on_the_page():
    for vendor in VENDORS:
        assert f"| {vendor.name} |" in PAGE
