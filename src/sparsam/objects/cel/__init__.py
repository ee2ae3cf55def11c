"""Kubernetes' expression language (CEL): compiled with types, evaluated within a limit of cost.

The language is that of github.com/cel-expr/cel-spec with the libraries of Kubernetes 1.36; docs/decisions say why it is
written here. `compile_expression` makes a `Program` of a text; `Program.evaluate` runs it on plain JSON.
"""

from __future__ import annotations

from sparsam.objects.cel.errors import CelError, CostExceeded, EvaluationError
from sparsam.objects.cel.program import CALL_LIMIT, Program, compile_expression
from sparsam.objects.cel.types import (
    BOOL,
    BYTES,
    DOUBLE,
    DURATION,
    DYN,
    INT,
    NULL,
    STRING,
    TIMESTAMP,
    UINT,
    Type,
    list_of,
    map_of,
    object_of,
    optional_of,
)

__all__ = [
    "BOOL", "BYTES", "CALL_LIMIT", "DOUBLE", "DURATION", "DYN", "INT", "NULL", "STRING", "TIMESTAMP", "UINT",
    "CelError", "CostExceeded", "EvaluationError", "Program", "Type",
    "compile_expression", "list_of", "map_of", "object_of", "optional_of",
]  # fmt: skip
