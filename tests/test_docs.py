"""The documentation is true: links lead somewhere, commands and options exist, manifests and settings are accepted."""

import re
import shlex
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import click
import pytest
import yaml

from sparsam.cli import sparsam
from sparsam.objects import pipeline
from sparsam.objects.kinds import by_kind
from sparsam.settings import load_settings
from sparsam.simulation.fleet import parse_fleet
from tests.support.objects import context
from tools import command_reference

ROOT = Path(__file__).parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "deploy").rglob("*.md")])
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)")
SPAN = re.compile(r"`([^`\n]+)`")
HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)
SHELL = ("console", "sh", "bash")
PUNCTUATION = "();<>|&"

each_page = pytest.mark.parametrize("page", PAGES, ids=[str(page.relative_to(ROOT)) for page in PAGES])


# What a page holds.


@cache
def text(page: Path) -> str:
    return page.read_text()


def blocks(page: Path, *languages: str) -> Iterator[str]:
    yield from (body for language, body in FENCE.findall(text(page)) if language in languages)


def prose(page: Path) -> str:
    return FENCE.sub("", text(page))


def anchors(page: Path) -> set[str]:
    """What GitHub makes of the headings."""
    plain = (re.sub(r"[^\w\- ]", "", heading.lower()) for heading in HEADING.findall(prose(page)))
    return {heading.strip().replace(" ", "-") for heading in plain}


def typed_lines(page: Path) -> Iterator[str]:
    """What the page tells to type, without the prompt; a line that ends in a backslash goes on."""
    for body in blocks(page, *SHELL):
        for line in body.replace("\\\n", " ").splitlines():
            if line.startswith("$ "):
                yield line[2:]
    for span in SPAN.findall(prose(page)):
        if span.startswith(("sparsam ", "python ", "make ")):
            yield span


def calls(line: str, program: str) -> Iterator[list[str]]:
    """The arguments of each call of a program in a line of shell."""
    line = line.replace("$(", " ; ").replace("`", " ; ")
    lexer = shlex.shlex(line, posix=True, punctuation_chars=PUNCTUATION)
    lexer.whitespace_split, lexer.commenters = True, "#"
    words: list[str] = []
    for token in [*lexer, ";"]:
        if token[0] in PUNCTUATION:
            while words and re.fullmatch(r"\w+=.*", words[0]):
                del words[0]
            if words and words[0].rpartition("/")[2] == program:
                yield words[1:]
            words = []
        else:
            words.append(token)


# What is checked.


def unknown_words(arguments: list[str]) -> list[str]:
    """Subcommands and options among the arguments of `sparsam` that it does not have; PART stands for any."""
    command: click.Command = sparsam
    words = list(arguments)
    while words and isinstance(command, click.Group) and not words[0].startswith("-"):
        name = words.pop(0)
        if name.isupper():
            return []
        found = command.get_command(click.Context(command), name)
        if found is None:
            return [name]
        command = found
    known = {name for option in command.params for name in (*option.opts, *option.secondary_opts)} | {"-h", "--help"}
    return [word for word in words if word.startswith("-") and word.partition("=")[0] not in known]


def manifests() -> Iterator[Any]:
    pages = [(path, text(path)) for folder in ("examples", "deploy") for path in sorted((ROOT / folder).glob("*.yaml"))]
    pages += [(page, body) for page in PAGES for body in blocks(page, "yaml")]
    for page, body in pages:
        for document in yaml.safe_load_all(body):
            if "kind" in document:
                yield pytest.param(document, id=f"{page.name}:{document['kind']}")


def test_fleets_are_fleets():
    bodies = (yaml.safe_load(body) for page in PAGES for body in blocks(page, "yaml"))
    fleets = [body for body in bodies if "kind" not in body]
    assert fleets
    assert all(parse_fleet(fleet, "docs").size for fleet in fleets)


@each_page
def test_links_lead_somewhere(page):
    wrong = []
    for target in LINK.findall(prose(page)):
        if "://" not in target:
            name, _, anchor = target.partition("#")
            other = (page.parent / name).resolve() if name else page
            if not other.exists() or (anchor and anchor not in anchors(other)):
                wrong.append(target)
    assert wrong == []


@each_page
def test_commands_and_options_exist(page):
    found = [arguments for line in typed_lines(page) for arguments in calls(line, "sparsam")]
    assert {shlex.join(each): unknown for each in found if (unknown := unknown_words(each))} == {}


@each_page
def test_scripts_and_targets_exist(page):
    makefile = text(ROOT / "Makefile")
    for line in typed_lines(page):
        for target, *_ in calls(line, "make"):
            assert re.search(rf"^{re.escape(target)}:", makefile, re.MULTILINE), line
        for script, *words in calls(line, "python"):
            if script.endswith(".py"):
                source = text(ROOT / script)
                assert [word for word in words if word.startswith("--") and f'"{word}"' not in source] == []


@each_page
def test_options_in_prose_exist(page):
    known = {
        name
        for _, command in command_reference.walk(sparsam, ("sparsam",))
        for option in command.params
        for name in (*option.opts, *option.secondary_opts)
    }
    for folder in ("tools", "benchmarks", "tests"):
        for path in (ROOT / folder).rglob("*.py"):
            known |= set(re.findall(r'add_(?:argument|option)\(\s*"(--[\w-]+)"', text(path)))
    spans = {span.split()[0].partition("=")[0] for span in SPAN.findall(prose(page)) if span.startswith("--")}
    assert spans - known - {"--help", "--version"} == set()


@each_page
def test_files_named_in_prose_exist(page):
    places = ("src/", "tests/", "docs/", "examples/", "benchmarks/", "tools/")
    named = [span.split("::")[0] for span in SPAN.findall(prose(page)) if span.startswith(places) and " " not in span]
    assert [name for name in named if not any(ROOT.glob(name.rstrip("/")))] == []


@each_page
def test_annotations_and_variables_exist(page):
    sources = "\n".join(text(path) for folder in ("src", "tests") for path in (ROOT / folder).rglob("*.py"))
    settings = {
        f"SPARSAM_{row.upper()}" for row in re.findall(r"^\| `(\w+)` \|", command_reference.setting_table(), re.M)
    }
    for name in set(re.findall(r"\bpower\.sparsam\.dev/[a-z][a-z-]+", text(page))):
        assert name in sources, name
    for name in set(re.findall(r"\bSPARSAM_[A-Z_]+", text(page))):
        assert name in settings or name in sources, name


@pytest.mark.parametrize("document", manifests())
def test_manifests_are_accepted_without_a_warning(document):
    resource = by_kind(document["apiVersion"], document["kind"])
    assert resource is not None
    chosen = context(namespace="default" if resource.namespaced else "", field_validation="Strict")
    raw = yaml.safe_dump(document).encode()
    decoded, decoding_warnings = pipeline.decode(resource, raw, "application/yaml", chosen)
    created, warnings = pipeline.create(resource, decoded, chosen)
    assert created["metadata"]["name"] == document["metadata"]["name"]
    assert [*decoding_warnings, *warnings] == []


@each_page
def test_settings_files_are_accepted(page, tmp_path):
    for number, body in enumerate(blocks(page, "toml")):
        file = tmp_path / f"{number}.toml"
        file.write_text(body)
        load_settings({}, config=file, environ={})


def test_every_page_can_be_reached_from_the_first_one():
    reached: set[Path] = set()
    waiting = [ROOT / "README.md"]
    while waiting:
        page = waiting.pop()
        page = page / "README.md" if page.is_dir() else page
        if page in PAGES and page not in reached:
            reached.add(page)
            waiting += [(page.parent / target.partition("#")[0]).resolve() for target in LINK.findall(prose(page))]
    assert [str(page.relative_to(ROOT)) for page in PAGES if page not in reached] == []


def test_every_annotation_is_in_the_reference():
    sources = "\n".join(text(path) for path in (ROOT / "src").rglob("*.py"))
    annotations = set(re.findall(r'_ANNOTATION = "(power.sparsam.dev/[^"]+)"', sources))
    assert annotations
    assert [name for name in sorted(annotations) if f"`{name}`" not in text(command_reference.PAGE)] == []


def test_every_dependency_says_why():
    project = tomllib.loads(text(ROOT / "pyproject.toml"))["project"]
    packages = re.search(r"^PACKAGES := (.*)$", text(ROOT / "Makefile"), re.MULTILINE)
    assert packages
    names = [re.split(r"[\s<>=\[]", each)[0] for each in project["dependencies"]] + packages[1].split()
    page = text(ROOT / "docs/dependencies.md")
    assert [name for name in names if not re.search(rf"(?<![\w-]){re.escape(name)}(?![\w-])", page)] == []


def test_the_command_reference_is_current():
    page = text(command_reference.PAGE)
    assert command_reference.with_generated_parts(page) == page, "run: python tools/command_reference.py"


@pytest.mark.parametrize(
    ("line", "unknown"),
    [
        ("sparsam up --nodes 3", []),
        ("sparsam up --knots 3", ["--knots"]),
        ("sparsam fly", ["fly"]),
        ("export A=$(sparsam kubeconfig --row) B=c", ["--row"]),
        ("X=1 .venv/bin/sparsam down --purgatory && true # sparsam top --all", ["--purgatory"]),
    ],
)
def test_a_wrong_command_would_be_noticed(line, unknown):
    assert [word for arguments in calls(line, "sparsam") for word in unknown_words(arguments)] == unknown
