"""Paths to fields of a schema."""

import pytest

from sparsam.objects.structural.fieldpaths import BadFieldPath, resolve
from sparsam.objects.structural.nodes import parse

TEXT = {"type": "string"}
ROOT = parse(
    {
        "type": "object",
        "properties": {
            "spec": {"type": "object", "properties": {"a.b": TEXT, "c": TEXT, "it's": TEXT}},
            "labels": {"type": "object", "additionalProperties": TEXT},
            "list": {"type": "array", "items": TEXT},
        },
    }
)


@pytest.mark.parametrize(
    ("path", "steps"),
    [
        (".spec.c", [".spec", ".c"]),
        (".spec['a.b']", [".spec", ".a.b"]),
        (".spec['it\\'s']", [".spec", ".it's"]),
        (".labels.x", [".labels", "[x]"]),
        (".labels['x/y']", [".labels", "[x/y]"]),
        (".list", [".list"]),
    ],
)
def test_a_path_is_followed(path, steps):
    found, node = resolve(path, ROOT)
    assert found == steps
    assert node.type in ("string", "array")


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("spec", "expected [ or . but got: spec"),
        (".spec.", "unexpected end of JSON path"),
        (".spec.x", "does not refer to a valid field"),
        (".list.x", "does not refer to a valid field"),
        (".list[0]", "expected single quoted string but got 0"),
        (".spec['c'", "unexpected end of JSON path"),
        (".spec['c'x", "expected ] but got x"),
        (".spec['\\c']", "invalid string literal: invalid escape char \\c"),
    ],
)
def test_a_path_that_leads_nowhere_is_told_why(path, words):
    with pytest.raises(BadFieldPath) as refusal:
        resolve(path, ROOT)
    assert str(refusal.value) == words


def test_brackets_may_be_forbidden():
    with pytest.raises(BadFieldPath, match="array notation is not allowed"):
        resolve(".spec['c']", ROOT, allows_brackets=False)
