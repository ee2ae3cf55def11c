"""The kernel's nftables, driven by libnftables inside this process; the `nft` program where the library is missing.

Everything acts on the network namespace of the calling thread.
"""

from __future__ import annotations

import ctypes
import subprocess
from typing import Protocol

from sparsam.errors import SparsamError

_LIBRARY = "libnftables.so.1"
_PROCESS_SECONDS = 60.0


class NftablesError(SparsamError):
    """The kernel or the parser refused a transaction, which then changed nothing."""


class Nftables(Protocol):
    """Runs a text of nft commands as one transaction."""

    def run(self, commands: str) -> str:
        """What nft printed; raises NftablesError."""
        ...


class Library:
    """libnftables: ten times faster than a process for small changes."""

    def __init__(self) -> None:
        self._lib = ctypes.CDLL(_LIBRARY)
        for name in ("nft_ctx_get_output_buffer", "nft_ctx_get_error_buffer"):
            function = getattr(self._lib, name)
            function.argtypes, function.restype = [ctypes.c_void_p], ctypes.c_char_p
        self._lib.nft_ctx_new.argtypes, self._lib.nft_ctx_new.restype = [ctypes.c_uint32], ctypes.c_void_p
        self._lib.nft_run_cmd_from_buffer.argtypes = [ctypes.c_void_p, ctypes.c_char_p]
        for name in ("nft_ctx_buffer_output", "nft_ctx_buffer_error", "nft_ctx_free"):
            getattr(self._lib, name).argtypes = [ctypes.c_void_p]

    def run(self, commands: str) -> str:
        """What nft printed; raises NftablesError."""
        # A context keeps the namespace's socket and a cache; a fresh one each time can never be stale.
        context = self._lib.nft_ctx_new(0)
        if not context:
            raise NftablesError("libnftables: out of memory")
        try:
            self._lib.nft_ctx_buffer_output(context)
            self._lib.nft_ctx_buffer_error(context)
            if self._lib.nft_run_cmd_from_buffer(context, commands.encode()) != 0:
                raise NftablesError(_text(self._lib.nft_ctx_get_error_buffer(context)) or "nft failed")
            return _text(self._lib.nft_ctx_get_output_buffer(context))
        finally:
            self._lib.nft_ctx_free(context)


class Program:
    """The `nft` command."""

    def run(self, commands: str) -> str:
        """What nft printed; raises NftablesError."""
        try:
            done = subprocess.run(
                ["nft", "-f", "-"],
                input=commands,
                capture_output=True,
                text=True,
                timeout=_PROCESS_SECONDS,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise NftablesError(f"nft: {error}") from error
        if done.returncode != 0:
            raise NftablesError(done.stderr.strip() or f"nft ended with {done.returncode}")
        return done.stdout


def open_nftables() -> Nftables:
    """The library if this machine has it, else the program."""
    try:
        return Library()
    except (OSError, AttributeError):
        return Program()


def delete_table(nftables: Nftables, table: str) -> None:
    """Remove the table if it is there; its name begins with its family."""
    nftables.run(f"add table {table}\ndelete table {table}\n")


def has_table(nftables: Nftables, table: str) -> bool:
    """Whether the table is there; its name begins with its family."""
    return f"table {table}" in nftables.run("list tables\n").splitlines()


def _text(buffer: bytes | None) -> str:
    return (buffer or b"").decode(errors="replace").strip()
