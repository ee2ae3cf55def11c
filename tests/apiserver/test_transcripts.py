"""What a real API server answered to general requests, replayed against ours (per-kind recordings: conformance)."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.apiserver import serving_in_thread

DATA = Path(os.environ.get("SPARSAM_DATA") or Path(__file__).parents[3] / "shared" / "data")
TRANSCRIPTS = DATA / "api_transcripts.jsonl.gz"
REPLAY = DATA.parent / "tools" / "replay_api.py"
LEAST_AGREEMENT = 0.92


@pytest.mark.needs_data
def test_general_requests_are_answered_as_the_real_server_answers_them(tmp_path):
    if not TRANSCRIPTS.exists() or not REPLAY.exists():
        pytest.skip(f"no recordings in {DATA}")
    with serving_in_thread(tmp_path) as server:
        report = tmp_path / "report.json"
        command = [
            sys.executable,
            REPLAY,
            "--kubeconfig",
            server.kubeconfig,
            "--only",
            "^general$",
            "--json",
            report,
            TRANSCRIPTS,
        ]
        subprocess.run(command, check=True, capture_output=True, timeout=100)
    total = json.loads(report.read_text())["total"]
    assert total["full"] / total["n"] >= LEAST_AGREEMENT
