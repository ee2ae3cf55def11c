"""What a pod's worker says to the API: its status, its end, events. One seam, so that workers can run without one."""

from __future__ import annotations

from typing import Protocol

from sparsam.agent.payloads import TokenWish
from sparsam.agent.podspec import Obj
from sparsam.agent.references import Sources


class PodApi(Protocol):
    """The API as a worker needs it. Errors are `StatusError`s or the transport's own."""

    async def patch_status(self, pod: Obj, patch: Obj) -> Obj:
        """Change the status of exactly this pod (by uid); returns the pod as it is then."""
        ...

    async def delete(self, pod: Obj) -> None:
        """Delete exactly this pod, now."""
        ...

    async def sources(self, namespace: str, wanted: set[tuple[str, str]], max_age_seconds: float) -> Sources:
        """ConfigMaps and Secrets by (kind, name), not older than that."""
        ...

    async def tokens(self, pod: Obj) -> dict[TokenWish, str]:
        """The service account tokens that the pod's volumes ask for."""
        ...

    async def runtime_handler(self, runtime_class: str) -> str:
        """The engine's handler that a RuntimeClass stands for; raises ConfigFault."""
        ...

    def services(self) -> list[Obj]:
        """All Services known."""
        ...

    def event(self, pod: Obj, kind: str, reason: str, message: str, container: str = "") -> None:
        """Record an event of kind Normal or Warning."""
        ...
