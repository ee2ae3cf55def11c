"""Fleets by name or file."""

from __future__ import annotations

import csv
from pathlib import Path

import yaml

from sparsam.cli.tables import BadInput
from sparsam.simulation.fleet import BadFleet, Fleet, from_nodes, parse_fleet
from sparsam.simulation.fleets import fleet_named
from sparsam.simulation.trace import BadTrace
from sparsam.simulation.traces.openb import NODE_COLUMNS, read_openb_nodes


def open_fleet(fleet: str) -> Fleet:
    """A fleet from a file, or a ready-made one by its name; raises BadInput.

    Files: YAML of groups and nodes, JSON of `kubectl get nodes -o json`, CSV of openb's nodes.
    """
    path = Path(fleet)
    try:
        if not path.exists():
            return fleet_named(fleet)
        return _openb(path) if path.suffix == ".csv" else _document(path)
    except (BadFleet, BadTrace) as error:
        raise BadInput(str(error)) from error
    except (OSError, ValueError, yaml.YAMLError, csv.Error) as error:
        raise BadInput(f"{fleet}: {' '.join(str(error).split())}") from error


def _document(path: Path) -> Fleet:
    document = yaml.safe_load(path.read_text())
    if isinstance(document, dict) and isinstance(document.get("items"), list):
        return from_nodes(document["items"], str(path))
    return parse_fleet(document, str(path))


def _openb(path: Path) -> Fleet:
    with path.open(encoding="utf-8-sig", newline="") as lines:
        rows = csv.DictReader(lines)
        lacking = [name for name in NODE_COLUMNS if name not in (rows.fieldnames or ())]
        if lacking:
            raise BadInput(
                f"{path}: line 1, the header: no column {lacking[0]}; a fleet is YAML, nodes as JSON or openb's"
            )
        return read_openb_nodes(rows, str(path))
