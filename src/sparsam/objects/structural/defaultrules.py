"""Whether the defaults of a schema are themselves valid: of the right type, known to the schema, proper metadata."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from typing import Any

from sparsam.errors import Cause
from sparsam.objects.fields import invalid
from sparsam.objects.shapes import ABSENT
from sparsam.objects.structural import embedded, pruning, rules
from sparsam.objects.structural.checks import compile_rules, run
from sparsam.objects.structural.correlation import equal
from sparsam.objects.structural.nodes import META_FIELDS, Node

Surround = Callable[[Any], Any]
"""From a default within metadata to the whole object around it."""
_TYPE_META = {"apiVersion": "validation/v1", "kind": "Validation"}


def default_causes(root: Node, path: str) -> list[Cause]:
    """Causes for all defaults of a structural schema."""
    return list(_causes(root, path, _whole, is_object=True, in_meta=False))


def _whole(value: Any) -> Any:
    return _TYPE_META | value if isinstance(value, dict) else value


def _causes(node: Node, path: str, surround: Surround, *, is_object: bool, in_meta: bool) -> Iterator[Cause]:
    if node.embedded or is_object:
        in_meta, surround, is_object = False, _whole, True
    if node.default is not ABSENT:
        here = f"{path}.default"
        yield from _metadata(node, here, surround) if in_meta else _value(node, here)
        found: list[Cause] = []
        run(compile_rules(node.json)[node.default.__class__], node.default, ABSENT, "", found)
        yield from (_moved(cause, here) for cause in found)
        tree = None if found else rules.compile_tree(node, is_root=False)
        if tree is not None:
            yield from rules.rule_causes(tree, node.default, ABSENT, [], here)
    if node.items is not None:
        yield from _causes(node.items, f"{path}.items", _in_list(surround), is_object=False, in_meta=in_meta)
    for name, child in node.properties.items():
        within = in_meta or (is_object and name in META_FIELDS)
        here = f"{path}.properties[{name}]"
        yield from _causes(child, here, _in_field(surround, name), is_object=False, in_meta=within)


def _in_list(surround: Surround) -> Surround:
    return lambda value: surround([value])


def _in_field(surround: Surround, name: str) -> Surround:
    return lambda value: surround({name: value})


def _moved(cause: Cause, path: str) -> Cause:
    """A cause found in a default as one of the schema that has it."""
    if cause.field in ("", "<nil>"):
        return Cause(cause.reason, cause.message, path)
    return Cause(cause.reason, cause.message, f"{path}.{cause.field}")


def _value(node: Node, path: str) -> Iterator[Cause]:
    pruned = copy.deepcopy(node.default)
    pruning.prune_value(node, pruned)
    if not equal(pruned, node.default):
        yield invalid(path, node.default, "must not have unknown fields")
    yield from embedded.validate(node, node.default, path, is_root=False)


def _metadata(node: Node, path: str, surround: Surround) -> Iterator[Cause]:
    problems = [f"{cause.field}: {cause.message}" for cause in embedded.object_causes(surround(node.default), "")]
    if problems:
        shown = problems[0] if len(problems) == 1 else f"[{', '.join(problems)}]"
        yield invalid(path, node.default, f"must result in valid metadata: {shown}")
