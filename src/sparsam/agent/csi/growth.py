"""Volumes that grow while the node has them: the node's part of it, once the storage itself has become larger.

Whoever resizes the storage makes the PersistentVolume larger than its claim says it is, and leaves the rest to nodes:
the driver grows the file system, then the claim says how large it is. What fails is told, and tried again at the next
turn.
"""

from __future__ import annotations

import logging
from typing import Any

from sparsam.agent.csi.api import CsiApi
from sparsam.agent.csi.driver import Ability, CsiFault, Driver
from sparsam.agent.csi.plan import CsiVolume
from sparsam.agent.podspec import Obj
from sparsam.agent.references import ConfigFault
from sparsam.units import parse_bytes

log = logging.getLogger(__name__)

_PENDING, _IN_PROGRESS, _INFEASIBLE = "NodeResizePending", "NodeResizeInProgress", "NodeResizeInfeasible"
_ABOUT_GROWTH = frozenset({"FileSystemResizePending", "Resizing", "ControllerResizeError", "NodeResizeError"})
_FINAL = frozenset({"InvalidArgument", "OutOfRange", "NotFound"})
"""Codes that say that no further try can succeed."""


class Growth:
    """Of one node."""

    def __init__(self, api: CsiApi, node_name: str) -> None:
        self._api, self._node_name = api, node_name
        self._sizes: dict[tuple[str, str], int] = {}
        """How large volumes are on this node, in bytes: others may have grown them there, and the claim with them."""

    def is_due(self, volume: CsiVolume, driver: Driver) -> bool:
        """Whether a volume may have to grow here."""
        able = Ability.EXPAND in driver.abilities and volume.claim is not None and not volume.read_only
        return able and self._sizes.get(volume.key) != parse_bytes(volume.capacity)

    def forget(self, key: tuple[str, str]) -> None:
        """The node does not have the volume any more."""
        self._sizes.pop(key, None)

    async def grow(self, pod: Obj, volume: CsiVolume, driver: Driver, **request: Any) -> None:
        """Grow a volume that is mounted to what its PersistentVolume says."""
        try:
            await self._grow(pod, volume, driver, request)
        except (CsiFault, ConfigFault) as error:
            log.warning("volume not grown volume=%s error=%s", volume.name, error)

    async def _grow(self, pod: Obj, volume: CsiVolume, driver: Driver, request: dict[str, Any]) -> None:
        claim = await self._api.claim(*volume.claim) if volume.claim else None
        if claim is None:
            return
        wanted, said = parse_bytes(volume.capacity), _said(claim)
        here = self._sizes.setdefault(volume.key, said)
        if here >= wanted and said >= wanted:
            self._sizes[volume.key] = wanted
            return
        if said < wanted and not is_nodes_turn(claim):
            return
        if _step(claim) == _PENDING:
            claim = await self._api.patch_claim(claim, {"allocatedResourceStatuses": {"storage": _IN_PROGRESS}})
        secrets = await self._api.secret(*volume.expand_secret) if volume.expand_secret else {}
        room = {"required_bytes": wanted}
        try:
            await driver.expand(volume_id=volume.handle, capacity_range=room, secrets=secrets, **request)
        except CsiFault as error:
            why = f'NodeExpandVolume.NodeExpandVolume failed for volume "{volume.name}" : {error}'
            self._api.event(pod, "Warning", "VolumeResizeFailed", why)
            if error.code in _FINAL and said < wanted:
                await self._api.patch_claim(claim, infeasible(claim, str(error)))
            raise
        self._sizes[volume.key] = wanted
        if said < wanted:
            await self._api.patch_claim(claim, grown(claim, volume.capacity))
        what = f'MountVolume.NodeExpandVolume succeeded for volume "{volume.name}" {self._node_name}'
        for each in (pod, claim):
            self._api.event(each, "Normal", "FileSystemResizeSuccessful", what)


def is_nodes_turn(claim: Obj) -> bool:
    """Whether nobody else still works on a claim's growth, or has given it up."""
    return _step(claim) in ("", _PENDING, _IN_PROGRESS)


def grown(claim: Obj, capacity: str) -> Obj:
    """What the status of a claim that has grown becomes, as a merge patch."""
    return {
        "capacity": {"storage": capacity},
        "allocatedResourceStatuses": {"storage": None},
        "conditions": _other_conditions(claim),
    }


def infeasible(claim: Obj, why: str) -> Obj:
    """The same of a claim that cannot grow so far."""
    condition = {"type": "NodeResizeError", "status": "True", "message": f"failed to expand pvc with {why}"}
    return {
        "allocatedResourceStatuses": {"storage": _INFEASIBLE},
        "conditions": [*_other_conditions(claim), condition],
    }


def _other_conditions(claim: Obj) -> list[Obj]:
    conditions = (claim.get("status") or {}).get("conditions") or ()
    return [each for each in conditions if each["type"] not in _ABOUT_GROWTH]


def _step(claim: Obj) -> str:
    return str(((claim.get("status") or {}).get("allocatedResourceStatuses") or {}).get("storage") or "")


def _said(claim: Obj) -> int:
    return parse_bytes(((claim.get("status") or {}).get("capacity") or {}).get("storage") or "0")
