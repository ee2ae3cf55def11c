"""Notices of container exits, so that the agent need not poll.

Three sources, the best that the engine has: CRI's own `GetContainerEvents`; containerd's event service, which
containerd 1.6 has and CRI of its age has not; and a list compared every second. Each yields pod uids or
container ids whose state should be looked at.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass

from sparsam.agent.cri import Cri, translated
from sparsam.agent.runtime import RuntimeFault, RuntimeUnsupported
from sparsam.objects.protowire import content, decode, field

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
        async for notice in subscribe(field(1, _FILTER)):
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
    envelope = decode(raw)
    topic = content(envelope, 3).decode(errors="replace")
    payload = decode(content(decode(content(envelope, 4)), 2))
    container_id, exec_id = (content(payload, number).decode(errors="replace") for number in (1, 2))
    if topic == "/tasks/oom":
        return Notice(container_id=container_id, oom=True)
    return Notice(container_id=container_id) if exec_id in ("", container_id) else None
