"""Fleets by name or file."""

from __future__ import annotations

from pathlib import Path

import yaml

from sparsam.cli.tables import BadInput
from sparsam.simulation.fleet import BadFleet, Fleet, parse_fleet
from sparsam.simulation.fleets import fleet_named


def open_fleet(fleet: str) -> Fleet:
    """A fleet from a YAML file, or a ready-made one by its name; raises BadInput."""
    path = Path(fleet)
    try:
        return parse_fleet(yaml.safe_load(path.read_text()), fleet) if path.exists() else fleet_named(fleet)
    except BadFleet as error:
        raise BadInput(str(error)) from error
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise BadInput(f"{fleet}: {' '.join(str(error).split())}") from error
