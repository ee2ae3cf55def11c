"""Structural schemas of custom resources, compiled once: pruning, defaults, validation, ownership. Pure."""

from __future__ import annotations

from sparsam.objects.structural.nodes import Uncompilable
from sparsam.objects.structural.resource import Structural, compile_schema

__all__ = ["Structural", "Uncompilable", "compile_schema"]
