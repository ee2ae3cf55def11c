"""Fleets by name or file, also those of a cluster's nodes as kubectl saves them, and of openb's."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import msgspec
import yaml

from sparsam.cli.tables import BadInput
from sparsam.simulation.fleet import BadFleet, Fleet, from_nodes, parse_fleet
from sparsam.simulation.fleets import fleet_named
from sparsam.simulation.guess import with_guess
from sparsam.simulation.trace import BadTrace
from sparsam.simulation.traces.openb import NODE_COLUMNS, read_openb_nodes
from sparsam.simulation.traces.rows import SHORT


def open_fleet(fleet: str) -> Fleet:
    """A fleet from a YAML or JSON file, or a ready-made one by its name; raises BadInput."""
    path = Path(fleet)
    try:
        if not path.exists():
            return fleet_named(fleet)
        if path.suffix == ".csv":
            return _openb(path)
        document = _document(path)
        nodes = _nodes(document)
        return parse_fleet(document, fleet) if nodes is None else fleet_of(nodes, fleet)
    except (BadFleet, BadTrace) as error:
        raise BadInput(str(error)) from error
    except (OSError, ValueError, yaml.YAMLError, csv.Error) as error:
        raise BadInput(f"{fleet}: {' '.join(str(error).split())}") from error


def fleet_of(nodes: list[dict[str, Any]], source: str) -> Fleet:
    """Node objects as a fleet; raises BadInput."""
    if not nodes:
        raise BadInput(f"{source}: no nodes")
    try:
        from_nodes(nodes, source)
        return from_nodes([with_guess(node) for node in nodes], source)
    except BadFleet as error:
        raise BadInput(str(error)) from error


def _document(path: Path) -> Any:
    text = path.read_text()
    # Thousands of nodes take YAML's reader minutes.
    return msgspec.json.decode(text) if path.suffix == ".json" else yaml.safe_load(text)


def _nodes(document: Any) -> list[Any] | None:
    """The nodes of `kubectl get nodes -o json`, or of one of them; None for other documents."""
    if not isinstance(document, dict):
        return None
    if document.get("kind") == "Node":
        return [document]
    items = document.get("items")
    return items if document.get("kind") in ("List", "NodeList") and isinstance(items, list) else None


def _openb(path: Path) -> Fleet:
    with path.open(encoding="utf-8-sig", newline="") as lines:
        rows = csv.DictReader(lines, restval=SHORT)
        lacking = [name for name in NODE_COLUMNS if name not in (rows.fieldnames or ())]
        if lacking:
            raise BadInput(
                f"{path}: line 1, the header: no column {lacking[0]}; a fleet is YAML, nodes as JSON or openb's"
            )
        return read_openb_nodes(rows, str(path))
