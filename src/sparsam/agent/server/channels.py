"""The `*.channel.k8s.io` sub-protocols of exec and attach: one byte of channel, then data. No I/O.

v5 is v4 plus a message that closes a channel, so that a client can end stdin and still read what comes. v1, which has
no number in its name, is v4 with another last word: nothing on success, a sentence otherwise.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import msgspec

V5 = "v5.channel.k8s.io"
V4 = "v4.channel.k8s.io"
V1 = "channel.k8s.io"
WITH_STATUS = (V5, V4)
"""Those whose last word is a Status."""
PROTOCOLS = (*WITH_STATUS, V1)

STDIN, STDOUT, STDERR, ERROR, RESIZE = range(5)
CLOSE = 255

Obj = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Data:
    """Bytes of one channel."""

    channel: int
    payload: bytes


@dataclass(frozen=True, slots=True)
class Closed:
    """The client sends no more on this channel."""

    channel: int


@dataclass(frozen=True, slots=True)
class Resized:
    """The client's terminal has a new size."""

    width: int
    height: int


Message = Data | Closed | Resized


def choose(offered: list[str], known: tuple[str, ...] = PROTOCOLS) -> str | None:
    """The protocol to speak: our favourite among those that the client offers."""
    return next((protocol for protocol in known if protocol in offered), None)


def decode(message: bytes, protocol: str) -> Message | None:
    """What a message says; None for one that says nothing."""
    if not message:
        return None
    channel, payload = message[0], message[1:]
    if channel == RESIZE:
        return _resize(payload)
    if channel == CLOSE and protocol == V5:
        return Closed(payload[0]) if payload else None
    return Data(channel, payload)


def _resize(payload: bytes) -> Resized | None:
    try:
        size = msgspec.json.decode(payload, type=dict[str, int])
    except msgspec.DecodeError:
        return None
    width, height = size.get("Width", 0), size.get("Height", 0)
    return Resized(width, height) if 0 < width < 1 << 16 and 0 < height < 1 << 16 else None


def encode(channel: int, payload: bytes) -> bytes:
    """A message to the client."""
    return bytes((channel,)) + payload


def last_word(status: Obj, protocol: str) -> bytes | None:
    """The message that says how a command ended; None where the protocol says nothing of it."""
    if protocol in WITH_STATUS:
        return encode(ERROR, msgspec.json.encode(status))
    return encode(ERROR, status["message"].encode()) if status["status"] == "Failure" else None


def from_engine(message: bytes, protocol: str) -> bytes | None:
    """An engine's message, which may be the last word, in the client's protocol; None for nothing to send."""
    if protocol in WITH_STATUS or message[:1] != bytes((ERROR,)) or not message[1:]:
        return message
    return last_word(msgspec.json.decode(message[1:]), protocol)


SUCCESS: Obj = {"metadata": {}, "status": "Success"}


def exit_status(code: int, command: list[str]) -> Obj:
    """The last word on a command that ran."""
    if code == 0:
        return SUCCESS
    error = f"error executing command [{' '.join(command)}], exit code {code}"
    return {
        "metadata": {},
        "status": "Failure",
        "message": f"command terminated with non-zero exit code: {error}",
        "reason": "NonZeroExitCode",
        "details": {"causes": [{"reason": "ExitCode", "message": str(code)}]},
    }


def failure(message: str, *, code: int = 500, reason: str = "InternalError") -> Obj:
    """The last word on a command that did not run."""
    text = f"Internal error occurred: {message}" if reason == "InternalError" else message
    status: Obj = {"metadata": {}, "status": "Failure", "message": text, "reason": reason, "code": code}
    if reason == "InternalError":
        status["details"] = {"causes": [{"message": message}]}
    return status
