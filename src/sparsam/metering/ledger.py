"""The energy ledger on disk, so that joules go on where they were after a restart."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path

import msgspec

from sparsam.metering.files import write_whole
from sparsam.power.attribution import EnergyLedger

log = logging.getLogger(__name__)


class LedgerFile:
    """One ledger and its file, or without a path a ledger that is forgotten.

    A file that cannot be read is put aside, not overwritten.
    """

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self.ledger = self._load()

    def _load(self) -> EnergyLedger:
        if self._path is None:
            return EnergyLedger()
        try:
            return msgspec.json.decode(self._path.read_bytes(), type=EnergyLedger)
        except FileNotFoundError:
            return EnergyLedger()
        except (OSError, msgspec.DecodeError) as error:
            log.error("energy ledger unreadable, energy begins at zero path=%s error=%s", self._path, error)
            aside = self._path.with_suffix(".broken")
            if self._path.exists():
                self._path.replace(aside)
            return EnergyLedger()

    async def save(self) -> None:
        """Write the ledger down; what was there before stays whole until the new one is on the disk."""
        if self._path is None:
            return
        data = msgspec.json.encode(self.ledger)
        try:
            await asyncio.to_thread(write_whole, self._path, data)
        except OSError as error:
            log.error("energy ledger not written path=%s error=%s", self._path, error)
