"""The status of ValidatingAdmissionPolicies: that they were looked at, and what their types say against them.

Every API server looks for itself; who comes second finds it written.
"""

from __future__ import annotations

import asyncio
import logging

from sparsam.apiserver.bootstrap import SELF
from sparsam.apiserver.mirror import Mirror
from sparsam.apiserver.registry import Call, Registry
from sparsam.apiserver.served import Served
from sparsam.errors import NotFound, StatusError
from sparsam.objects.cel import typechecking
from sparsam.objects.kinds import VALIDATINGADMISSIONPOLICIES as POLICIES
from sparsam.objects.strategy import Obj
from sparsam.store.interface import StoreError

log = logging.getLogger(__name__)

RETRY_SECONDS = 1.0
"""After which a policy whose status could not be written is looked at again."""


class PolicyStatus:
    """Writes `status.observedGeneration` and `status.typeChecking` once for each generation of a policy."""

    def __init__(self, registry: Registry, served: Served) -> None:
        self._registry, self._served = registry, served
        self._changed = asyncio.Event()
        self._mirror = Mirror(registry.store, POLICIES, self._changed.set)

    async def run(self) -> None:
        """Look at what changes until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._mirror.run(), name="policies to check")
            group.create_task(self._check(), name="type checking")

    async def _check(self) -> None:
        while True:
            await self._changed.wait()
            self._changed.clear()
            for policy in list(self._mirror.objects.values()):
                if (policy.get("status") or {}).get("observedGeneration") == policy["metadata"]["generation"]:
                    continue
                try:
                    await self._look_at(policy)
                except (StatusError, StoreError) as error:
                    log.warning("policy will be checked again name=%s error=%s", policy["metadata"]["name"], error)
                    await asyncio.sleep(RETRY_SECONDS)
                    self._changed.set()

    async def _look_at(self, policy: Obj) -> None:
        # The language is loaded when the first policy is met.
        found = await asyncio.to_thread(typechecking.warnings, policy, self._served.catalog)
        metadata = policy["metadata"]

        def write(current: Obj) -> None:
            if current["metadata"]["generation"] == metadata["generation"]:
                checked = {"expressionWarnings": found} if found else {}
                current["status"] = {
                    **(current.get("status") or {}),
                    "observedGeneration": metadata["generation"],
                    "typeChecking": checked,
                }

        try:
            await self._registry.mutate(Call(POLICIES, "", metadata["name"], SELF), write)
        except NotFound:
            return
