"""Images that were pulled with credentials are for those who have them."""

from __future__ import annotations

from pathlib import Path

from sparsam.agent.pullrecords import PullRecords

MINE, OTHERS = {"username": "me", "password": "secret"}, {"username": "you", "password": "other"}


def test_an_image_is_for_those_whose_credentials_the_registry_took(tmp_path: Path):
    records = PullRecords(tmp_path / "pulls.json")
    assert records.allows("loaded", [])
    records.note("private", MINE)
    assert records.allows("private", [OTHERS, MINE])
    assert not records.allows("private", [])
    assert not records.allows("private", [OTHERS])
    records.note("private", OTHERS)
    records.note("public", None)
    again = PullRecords(tmp_path / "pulls.json")
    assert again.allows("private", [MINE])
    assert again.allows("private", [OTHERS])
    assert again.allows("public", [])
    assert not again.allows("private", [])
    assert "secret" not in (tmp_path / "pulls.json").read_text()


def test_a_spoilt_file_forgets_rather_than_fails(tmp_path: Path):
    path = tmp_path / "pulls.json"
    path.write_text("{")
    records = PullRecords(path)
    assert records.allows("any", [])
    records.note("any", MINE)
    assert not PullRecords(path).allows("any", [])
