"""What a linter does not see: long files, stray paths, promises without a reason, loose locks, tests without a source."""

import re
import subprocess
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
LONGEST = 600
LARGEST_BYTES = 1_000_000
TEXT = {".py", ".md", ".toml", ".yaml", ".yml", ".lock", ".in", ".json", ".csv", ".txt", ""}
LOCKS = ("requirements.lock", "requirements-dev.lock")

# Folders whose tests look at the whole instead of one module.
WHOLE = {"conformance", "e2e", "faults", "deploy"}
# Tests that look at several modules of their package at once, or at the repository.
BROAD = {
    "agent/server/test_kubectl.py",
    "agent/server/test_streams.py",
    "apiserver/tables/test_tables.py",
    "apiserver/test_clients.py",
    "apiserver/test_transcripts.py",
    "cli/test_commands.py",
    "controllers/scheduling/test_faults.py",
    "controllers/test_live.py",
    "controllers/test_workloads.py",
    "hardware/test_cost.py",
    "hardware/test_documentation.py",
    "hardware/test_meters.py",
    "objects/strategies/test_any_object.py",
    "objects/strategies/test_core_kinds.py",
    "objects/strategies/test_jobs.py",
    "objects/strategies/test_other_groups.py",
    "objects/test_transcripts.py",
    "proxy/test_traffic.py",
    "test_docs.py",
    "test_tidy.py",
}


@cache
def files() -> list[Path]:
    """Everything in the repository, also what is new and not ignored."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        pytest.skip(f"not a git clone: {done.stderr.strip()}")
    return sorted(ROOT / name for name in set(done.stdout.split("\0")) if name and (ROOT / name).is_file())


def lines_with(pattern: str) -> list[str]:
    """Where a pattern occurs in text files; this one, which holds the patterns, aside."""
    wanted = re.compile(pattern)
    return [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()[:80]}"
        for path in files()
        if path.suffix in TEXT and path != Path(__file__)
        for number, line in enumerate(path.read_text(errors="replace").splitlines(), start=1)
        if wanted.search(line)
    ]


def mirrors(test: Path) -> bool:
    """Whether `x/test_y.py` or `x/test_y_behaviour.py` has a source `x/y.py` or a package `x/y`."""
    words = test.stem.removeprefix("test_").split("_")
    sources = (ROOT / "src/sparsam" / test.parent / "_".join(words[:count]) for count in range(len(words), 0, -1))
    return any(source.with_suffix(".py").is_file() or source.is_dir() for source in sources)


def test_no_source_file_outgrows_a_reader():
    sources = [path for path in files() if path.suffix == ".py" and ROOT / "src" in path.parents]
    lengths = {str(path.relative_to(ROOT)): len(path.read_text().splitlines()) for path in sources}
    assert {name: length for name, length in lengths.items() if length > LONGEST} == {}


def test_no_file_is_large():
    assert [str(path.relative_to(ROOT)) for path in files() if path.stat().st_size > LARGEST_BYTES] == []


def test_nothing_names_a_place_on_somebodys_machine():
    assert lines_with(r"(?<![\w.$}])/(?:home|Users|work)/\w|\bfile:///\w|[A-Z]:\\\\?Users") == []


def test_nothing_is_left_for_later_without_a_reason():
    assert lines_with(r"\b(?:TODO|FIXME|XXX|HACK)\b(?!\(\S+\): \S)") == []


def test_nothing_is_left_of_a_merge():
    assert lines_with(r"^(?:<{7}|>{7}) ") == []


def test_pages_hold_no_emoji():
    found = lines_with("[\U0001f000-\U0001faff\u2600-\u27bf\u2b50\ufe0f]")
    assert [line for line in found if line.split(":")[0].endswith(".md")] == []


@pytest.mark.parametrize("name", LOCKS)
def test_lock_files_pin_everything_with_hashes_and_name_no_host(name):
    text = (ROOT / name).read_text()
    assert re.findall(r"\S*://\S*|--(?:index-url|extra-index-url|find-links|trusted-host) .*", text) == []
    requirements = [
        line for line in text.replace("\\\n", " ").splitlines() if line.strip() and not line.lstrip().startswith("#")
    ]
    assert requirements
    assert [each for each in requirements if not re.match(r"[\w.-]+==\S+\s.*--hash=sha256:[0-9a-f]{64}", each)] == []


def test_tests_mirror_the_sources():
    tests = [path for path in files() if path.name.startswith("test_") and ROOT / "tests" in path.parents]
    named = {path.relative_to(ROOT / "tests") for path in tests}
    astray = {str(path) for path in named if path.parts[0] not in WHOLE and not mirrors(path)}
    assert astray - BROAD == set(), "name the test for a source, or list it as BROAD"
    assert BROAD - {str(path) for path in named} == set(), "listed as BROAD, but gone"


def test_every_test_lies_where_it_is_run():
    named = [path for path in files() if path.name.startswith("test_") and path.suffix == ".py"]
    assert [str(path.relative_to(ROOT)) for path in named if ROOT / "tests" not in path.parents] == []
