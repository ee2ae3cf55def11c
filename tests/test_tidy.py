"""What a linter does not see."""

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SOURCES = sorted((ROOT / "src").rglob("*.py"))
LONGEST = 500
# Tests that look at several sources at once, and so mirror none.
BROAD = {"conformance", "deploy", "e2e", "support"}
BROAD_FILES = {"test_docs.py", "test_tidy.py"}


def tracked(*patterns):
    done = subprocess.run(["git", "ls-files", "-z", *patterns], cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        pytest.skip(f"not a git clone: {done.stderr.strip()}")
    return [ROOT / name for name in done.stdout.split("\0") if name and (ROOT / name).is_file()]


def test_no_source_file_outgrows_a_reader():
    lengths = {path.name: len(path.read_text().splitlines()) for path in SOURCES}
    assert {name: length for name, length in lengths.items() if length > LONGEST} == {}


def test_no_file_names_a_place_on_somebodys_machine():
    places = re.compile(r"/(?:home|Users)/\w+|/work/\w+")
    texts = tracked("*.py", "*.md", "*.toml", "*.yaml", "*.lock", "Makefile")
    found = [
        str(path.relative_to(ROOT)) for path in texts if path != Path(__file__) and places.search(path.read_text())
    ]
    assert found == []


def test_nothing_is_left_to_do_later_without_a_reason():
    marks = re.compile(r"#\s*(?:TODO|FIXME|XXX|HACK)\b(?!\s*\()")
    found = [path.name for path in tracked("*.py") if path != Path(__file__) and marks.search(path.read_text())]
    assert found == []


@pytest.mark.parametrize("name", ["requirements.lock", "requirements-dev.lock"])
def test_lock_files_name_versions_and_hashes_and_no_host(name):
    text = (ROOT / name).read_text()
    assert "://" not in text
    requirements = re.findall(r"^([\w.\[\]-]+)==", text, re.MULTILINE)
    blocks = re.split(r"^(?=[\w.\[\]-]+==)", text, flags=re.MULTILINE)[1:]
    assert requirements
    assert [each for each, block in zip(requirements, blocks, strict=True) if "--hash=sha256:" not in block] == []


def test_tests_mirror_the_sources():
    modules = {path.relative_to(ROOT / "src/sparsam").with_suffix("") for path in SOURCES}
    places = {path.parent for path in modules}
    astray = [
        str(path.relative_to(ROOT))
        for path in (ROOT / "tests").rglob("test_*.py")
        if not BROAD & set(path.relative_to(ROOT / "tests").parts)
        and path.name not in BROAD_FILES
        and path.relative_to(ROOT / "tests").parent not in places
    ]
    assert astray == []


def test_documents_speak_plainly():
    emoji = re.compile("[\U0001f300-\U0001faff\u2600-\u27bf]")
    assert [path.name for path in tracked("*.md") if emoji.search(path.read_text())] == []
