"""What this machine can do decides which tests run; every skip says why.

SPARSAM_REQUIRE=root,nft,containerd,data,prometheus turns such skips into failures, for machines that should be able to.
"""

import os
import shutil
import subprocess
from functools import cache
from pathlib import Path

import pytest
from hypothesis import settings

# A slow machine is no failure.
settings.register_profile("sparsam", deadline=None, print_blob=True)
settings.load_profile("sparsam")

DATA = Path(os.environ.get("SPARSAM_DATA", Path(__file__).parents[2] / "shared" / "data"))


@cache
def lack(need: str) -> str:
    """Why this machine cannot serve a need; empty when it can."""
    if need == "data":
        return "" if (DATA / "api_transcripts.jsonl.gz").exists() else f"no recordings in {DATA}; set SPARSAM_DATA"
    if need == "prometheus":
        return "" if shutil.which("prometheus") else "needs Debian's prometheus; run make setup"
    if os.geteuid() != 0:
        return "needs root"
    if need == "root":
        return ""
    programs = {"nft": ("nft", "ip"), "containerd": ("containerd", "runc", "ctr")}[need]
    missing = [program for program in programs if shutil.which(program) is None]
    if missing:
        return f"needs {', '.join(missing)}; run make setup"
    if need == "nft":
        probe = subprocess.run(["unshare", "-n", "nft", "list", "ruleset"], capture_output=True, text=True, check=False)
        return "" if probe.returncode == 0 else f"nftables does not work here: {probe.stderr.strip()}"
    return "" if Path("/usr/lib/cni/bridge").exists() else "needs containernetworking-plugins; run make setup"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Long modules first, so that none is still running alone when all others are through."""
    items.sort(key=lambda item: item.get_closest_marker("slow") is None)


def pytest_runtest_setup(item: pytest.Item) -> None:
    required = os.environ.get("SPARSAM_REQUIRE", "").split(",")
    for need in ("data", "root", "nft", "containerd", "prometheus"):
        if item.get_closest_marker(f"needs_{need}") and (why := lack(need)):
            if need in required:
                pytest.fail(f"SPARSAM_REQUIRE names {need}, but: {why}", pytrace=False)
            pytest.skip(why)
