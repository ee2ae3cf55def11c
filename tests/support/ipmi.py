"""A BMC for the real ipmitool: answers DCMI over the socket of ipmitool's own `dummy` interface.

Layout of the two structures: ipmitool's src/plugins/dummy/dummy.h, on a 64-bit little-endian machine.
"""

from __future__ import annotations

import asyncio
import contextlib
import struct
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

REQUEST = struct.Struct("<BBBBH2xQ")
RESPONSE = struct.Struct("<BBBBB3xi4xQ")
BYE = (0x3F, 0xFF)
DCMI, POWER_READING = 0x2C, 0x02


@dataclass
class FakeBmc:
    """What it answers; a test changes it as it likes."""

    watts: int = 212
    completion_code: int = 0
    active: bool = True
    silent: bool = False

    def power_reading(self) -> bytes:
        """The DCMI response: group, current, least, most, mean, timestamp, period, state."""
        state = 0x40 if self.active else 0x00
        return struct.pack("<BHHHHIIB", 0xDC, self.watts, 18, 419, 208, 1_700_000_000, 1000, state)


@contextlib.asynccontextmanager
async def bmc_socket(path: Path, bmc: FakeBmc) -> AsyncIterator[None]:
    """Serve a BMC at a socket, one ipmitool after another."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                netfn, _lun, command, _target, length, _pointer = REQUEST.unpack(await reader.readexactly(REQUEST.size))
                if (netfn, command) == BYE:
                    break
                await reader.readexactly(length)
                if bmc.silent:
                    await asyncio.sleep(60.0)
                known = (netfn, command) == (DCMI, POWER_READING)
                code = bmc.completion_code if known else 0xC1
                data = bmc.power_reading() if code == 0 else b""
                writer.write(RESPONSE.pack(netfn + 1, command, 0, 0, code, len(data), 0) + data)
                await writer.drain()
        writer.close()

    server = await asyncio.start_unix_server(serve, str(path))
    try:
        yield
    finally:
        server.close()
