"""The compiled schema of one version of a custom resource."""

from __future__ import annotations

from functools import cached_property

from sparsam.errors import Cause
from sparsam.objects.shapes import ABSENT, Struct
from sparsam.objects.strategy import Obj
from sparsam.objects.structural import defaulting, embedded, lists, pruning, rules, shaping
from sparsam.objects.structural.checks import compile_rules, run
from sparsam.objects.structural.nodes import Node, Uncompilable, parse
from sparsam.objects.structural.patterns import BadPattern


class Structural:
    """What objects of one version are made of, what they must fulfil and how their fields are owned."""

    def __init__(self, schema: Obj) -> None:
        self.schema: Node = parse(schema)
        try:
            self._rules = compile_rules(schema)[dict]
        except BadPattern as error:
            raise Uncompilable(str(error)) from error

    def prune(self, obj: Obj) -> None:
        """Take away, in place, every field that the schema does not know; apiVersion, kind and metadata stay."""
        pruning.prune(self.schema, obj)

    def unknown_fields(self, obj: Obj) -> list[str]:
        """Paths of the fields that `prune` takes away, sorted: `spec.foo`, `spec.list[0].bar`."""
        return pruning.unknown_fields(self.schema, obj)

    def default(self, obj: Obj) -> None:
        """Put in the defaults of missing fields, in place, and drop nulls where the schema allows none."""
        defaulting.fill(self.schema, obj)

    def validate(self, obj: Obj, old: Obj | None = None) -> list[Cause]:
        """Causes for an object, and for an update that replaces `old`: what it leaves as it was is forgiven."""
        causes: list[Cause] = []
        run(self._rules, obj, ABSENT if old is None else old, "", causes)
        causes += embedded.validate(self.schema, obj)
        found = list(lists.duplicates(self.schema, obj))
        if found and (old is None or not any(lists.duplicates(self.schema, old))):
            causes += found
        if self._tree is not None:
            causes += rules.rule_causes(self._tree, obj, ABSENT if old is None else old, causes)
        return causes

    def shape(self) -> Struct:
        """How the fields of an object are owned and merged."""
        return self._shape

    @cached_property
    def _tree(self) -> rules.Ruled | None:
        # Expressions are compiled when the first object is validated: many definitions are served and never used.
        return rules.compile_tree(self.schema)

    @cached_property
    def _shape(self) -> Struct:
        return shaping.of_root(self.schema)


def compile_schema(json_schema: Obj) -> Structural:
    """A version's `schema.openAPIV3Schema` compiled; raises Uncompilable for one that is not structural."""
    return Structural(json_schema)
