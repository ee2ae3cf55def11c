"""Notices of container exits, so that the agent need not poll.

Three sources, the best that the engine has: CRI's own `GetContainerEvents`; containerd's event service, which
containerd 1.6 has and CRI of its age has not; and a list compared every second. Each yields pod uids or
container ids whose state should be looked at.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from sparsam.agent.cri import Cri, translated
from sparsam.agent.runtime import RuntimeFault, RuntimeUnsupported

log = logging.getLogger(__name__)

_RELIST_SECONDS = 1.0
_RETRY_SECONDS = 1.0
_SUBSCRIBE = "/containerd.services.events.v1.Events/Subscribe"
_FILTER = 'namespace==k8s.io,topic~="^/tasks/(exit|oom)$"'


@dataclass(frozen=True, slots=True)
class Notice:
    """Something happened to a pod (by uid) or to a container (by id)."""

    uid: str = ""
    container_id: str = ""
    oom: bool = False


async def listen(cri: Cri, notify: Callable[[Notice], None]) -> None:
    """Report notices until cancelled; starts over when the engine goes away."""
    sources = [_cri_events, _containerd_events, _relist]
    while True:
        try:
            await sources[0](cri, notify)
        except RuntimeUnsupported:
            sources = sources[1:] or [_relist]
            continue
        except RuntimeFault as error:
            log.warning("engine events lost error=%s", error)
        notify(Notice())
        await asyncio.sleep(_RETRY_SECONDS)


async def _cri_events(cri: Cri, notify: Callable[[Notice], None]) -> None:
    async for uid in cri.events():
        notify(Notice(uid=uid))


async def _containerd_events(cri: Cri, notify: Callable[[Notice], None]) -> None:
    subscribe = cri.channel.unary_stream(_SUBSCRIBE, request_serializer=bytes, response_deserializer=parse_envelope)
    with translated():
        async for notice in subscribe(encode_field(1, _FILTER.encode())):
            if notice is not None:
                notify(notice)


async def _relist(cri: Cri, notify: Callable[[Notice], None]) -> None:
    before = await cri.container_states()
    while True:
        await asyncio.sleep(_RELIST_SECONDS)
        now = await cri.container_states()
        for container_id in before.keys() | now.keys():
            if before.get(container_id) != now.get(container_id):
                uid, _ = now.get(container_id) or before[container_id]
                notify(Notice(uid=uid))
        before = now


def parse_envelope(raw: bytes) -> Notice | None:
    """Read containerd's `Envelope` with a `TaskExit` or `TaskOOM` inside; None for the end of a mere exec.

    Four fields of two small messages are needed, so they are read by number instead of by generated code.
    """
    envelope = dict(fields(raw))
    topic = _text(envelope.get(3))
    payload = dict(fields(_bytes(dict(fields(_bytes(envelope.get(4)))).get(2))))
    container_id, exec_id = _text(payload.get(1)), _text(payload.get(2))
    if topic == "/tasks/oom":
        return Notice(container_id=container_id, oom=True)
    return Notice(container_id=container_id) if exec_id in ("", container_id) else None


def fields(raw: bytes) -> Iterator[tuple[int, int | bytes]]:
    """Fields of a protobuf message: number and value; raises ValueError on broken input."""
    at = 0
    while at < len(raw):
        key, at = _varint(raw, at)
        number, wire_type = key >> 3, key & 7
        if wire_type == 0:
            value, at = _varint(raw, at)
            yield number, value
            continue
        if wire_type == 2:
            length, at = _varint(raw, at)
        elif wire_type in (1, 5):
            length = 8 if wire_type == 1 else 4
        else:
            raise ValueError(f"wire type {wire_type} in a protobuf message")
        if at + length > len(raw):
            raise ValueError("a protobuf message ends in the middle of a field")
        yield number, raw[at : at + length]
        at += length


def encode_field(number: int, value: bytes) -> bytes:
    """One short length-delimited field."""
    if len(value) > 127:
        raise ValueError("only fields of up to 127 bytes")
    return bytes([number << 3 | 2, len(value)]) + value


def _varint(raw: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while at < len(raw):
        byte = raw[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7
    raise ValueError("a protobuf message ends in the middle of a number")


def _bytes(value: int | bytes | None) -> bytes:
    return value if isinstance(value, bytes) else b""


def _text(value: int | bytes | None) -> str:
    return _bytes(value).decode(errors="replace")
