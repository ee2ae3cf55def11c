"""Fleets by name or file."""

from __future__ import annotations

from pathlib import Path

import yaml

from sparsam.errors import SparsamError
from sparsam.simulation.fleet import Fleet, FleetError, built_in, read_fleet


class BadFleet(SparsamError):
    """A fleet that cannot be used; the message names file and field."""


def open_fleet(fleet: str) -> Fleet:
    """A fleet from a YAML file, or a built-in one by its name; raises BadFleet."""
    path = Path(fleet)
    try:
        if not path.exists():
            return built_in(fleet)
        return read_fleet(yaml.safe_load(path.read_text()))
    except FleetError as error:
        raise BadFleet(f"{fleet}: {error}" if path.exists() else str(error)) from error
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise BadFleet(f"{fleet}: {' '.join(str(error).split())}") from error
