"""Write the generated parts of docs/reference.md: commands from click, settings from their dataclass.

    python tools/command_reference.py [--check]

What stands between the markers is replaced, the rest of the page is written by hand. With --check nothing is written
and the exit code is 1 when the page is not current.
"""

from __future__ import annotations

import argparse
import ast
import inspect
import re
import sys
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

import click

from sparsam import settings
from sparsam.cli import sparsam
from sparsam.settings import Settings

PAGE = Path(__file__).parents[1] / "docs/reference.md"
NOT_IN_FILES = frozenset({"server", "pod_cidr"})
"""Settings that `sparsam node join` works out and nobody types."""


def commands() -> str:
    """Every command with its arguments, options and examples."""
    return "\n\n".join(_command(path, command) for path, command in walk(sparsam, ("sparsam",)))


def walk(command: click.Command, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """A command and all below it, each with the words that call it."""
    yield path, command
    if isinstance(command, click.Group):
        context = click.Context(command, info_name=path[-1])
        for name in command.list_commands(context):
            below = command.get_command(context, name)
            assert below is not None
            yield from walk(below, (*path, name))


def setting_table() -> str:
    """The keys of a TOML file with environment variable, default and meaning."""
    rows = ["| key | environment | default | meaning |", "|---|---|---|---|"]
    meanings = _field_docstrings()
    for field in fields(Settings):
        if field.name not in NOT_IN_FILES:
            default = f"`{field.default}`" if field.default != "" else ""
            meaning = meanings[field.name].replace("|", "\\|")
            rows.append(f"| `{field.name}` | `SPARSAM_{field.name.upper()}` | {default} | {meaning} |")
    return "\n".join(rows)


def with_generated_parts(page: str) -> str:
    """The page with every generated part made anew; raises ValueError when a marker is missing."""
    for name, text in (("commands", commands()), ("settings", setting_table())):
        pattern = re.compile(rf"(<!-- begin {name}:[^>]*-->\n)(?:.*?\n)?(<!-- end {name} -->)", re.DOTALL)
        pieces = pattern.split(page)
        if (count := len(pieces) // 3) != 1:
            raise ValueError(f"the page needs the markers of {name} once, and has them {count} times")
        page = f"{pieces[0]}{pieces[1]}\n{text}\n\n{pieces[2]}{pieces[3]}"
    return page


def _command(path: tuple[str, ...], command: click.Command) -> str:
    parts = [f"### {' '.join(path)}"]
    # A command knows its usage best; without a terminal's width it is one line.
    context = click.Context(command, info_name=" ".join(path), terminal_width=1000, max_content_width=1000)
    parts.append("```text\n" + command.get_usage(context).removeprefix("Usage: ") + "\n```")
    parts += _paragraphs(command.help or "")
    rows = [row for each in command.params if isinstance(each, click.Option) for row in [_option(each, context)] if row]
    if rows:
        parts.append("\n".join(["| option | default | meaning |", "|---|---|---|", *rows]))
    return "\n\n".join(parts)


def _paragraphs(text: str) -> Iterator[str]:
    """A help text's paragraphs; what click is told not to wrap is a list of examples."""
    for paragraph in inspect.cleandoc(text).split("\n\n"):
        if paragraph.startswith("\b"):
            heading, *lines = paragraph.removeprefix("\b").strip("\n").splitlines()
            yield f"{heading}\n\n```console\n" + "\n".join(_example(line) for line in lines) + "\n```"
        else:
            yield _escape(" ".join(paragraph.split()))


def _example(line: str) -> str:
    command, *remark = re.split(r"\s{2,}", line.strip(), maxsplit=1)
    return f"$ {command}" + "".join(f"   # {each}" for each in remark)


def _option(option: click.Option, context: click.Context) -> str:
    if option.hidden:
        return ""
    value = "" if option.is_flag else " " + option.make_metavar(context)
    *others, last = sorted(option.opts, key=lambda name: name.startswith("--"))
    names = ", ".join([*(f"`{name}`" for name in others), f"`{last}{value}`"]).replace("|", "\\|")
    # Where a setting decides, the default stands in brackets at the end of the help text.
    meaning, _, default = (option.help or "").rstrip(".").partition(" [")
    default = default.removesuffix("]") or _shown_default(option)
    if option.multiple:
        meaning += "" if "repeated" in meaning else "; may be repeated"
    if option.envvar:
        meaning += f"; also from the environment, `{option.envvar}`"
    return f"| {names} | {_escape(default)} | {_escape(meaning)} |"


def _shown_default(option: click.Option) -> str:
    if option.required:
        return "required"
    shown: Any = option.default if option.show_default else ""
    return f"`{shown}`" if shown else ""


def _escape(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;")


def _field_docstrings() -> dict[str, str]:
    """The text below each field of the settings."""
    tree = ast.parse(inspect.getsource(settings))
    (found,) = (node for node in tree.body if isinstance(node, ast.ClassDef) and node.name == Settings.__name__)
    meanings = {}
    for field, text in zip(found.body, found.body[1:], strict=False):
        if isinstance(field, ast.AnnAssign) and isinstance(text, ast.Expr) and isinstance(text.value, ast.Constant):
            assert isinstance(field.target, ast.Name)
            meanings[field.target.id] = " ".join(str(text.value.value).split())
    return meanings


def main() -> None:
    """Write the page, or say whether it is current."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="only say whether the page is current")
    arguments = parser.parse_args()
    before = PAGE.read_text()
    after = with_generated_parts(before)
    if arguments.check:
        if before != after:
            sys.exit(f"{PAGE} is not current; run: python tools/command_reference.py")
    elif before != after:
        PAGE.write_text(after)


if __name__ == "__main__":
    main()
