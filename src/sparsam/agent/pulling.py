"""Images for containers: pull policy, credentials, and the words that upstream reports each case in."""

from __future__ import annotations

import asyncio
import base64
import logging
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import msgspec

from sparsam.agent.cri import Cri
from sparsam.agent.podapi import PodApi
from sparsam.agent.podspec import Obj
from sparsam.agent.pullrecords import PullRecords
from sparsam.agent.references import SECRET, SOURCES_MAX_AGE_SECONDS, Sources, pull_secret_names
from sparsam.agent.runtime import Image, RuntimeFault
from sparsam.errors import SparsamError

log = logging.getLogger(__name__)

Emit = Callable[[str, str, str], None]
"""Records an event by type, reason and message."""
_NAME = re.compile(
    r"(?:(?P<domain>(?:localhost|[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)+|[A-Za-z0-9-]+(?=:[0-9]))(?::[0-9]+)?)/)?"
    r"(?P<path>[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*(?:/[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*)*)"
    r"(?::(?P<tag>[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}))?(?:@(?P<digest>[a-z0-9]+:[0-9a-f]{32,}))?\Z"
)
_DOCKER_KEYS = {"docker.io", "index.docker.io", "https://index.docker.io/v1/", "registry-1.docker.io"}


class PullFailed(SparsamError):
    """No image; `reason` is the waiting reason."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message


def normalized(reference: str) -> str:
    """The full name of an image, with registry and tag; raises ValueError for a name against the rules."""
    match = _NAME.match(reference)
    if match is None:
        raise ValueError("invalid reference format")
    domain, path, tag, digest = match["domain"] or "docker.io", match["path"], match["tag"], match["digest"]
    if domain == "docker.io" and "/" not in path:
        path = f"library/{path}"
    suffix = (f":{tag}" if tag else "") + (f"@{digest}" if digest else "")
    return f"{domain}/{path}{suffix or ':latest'}"


def pull_policy(spec: Obj) -> str:
    """The policy, defaulted as the API server does: Always for `latest`."""
    policy = spec.get("imagePullPolicy")
    if policy:
        return str(policy)
    match = _NAME.match(spec["image"])
    latest = match is not None and not match["digest"] and (match["tag"] or "latest") == "latest"
    return "Always" if latest else "IfNotPresent"


@dataclass(frozen=True, slots=True)
class PullLimits:
    """How images are pulled on a node."""

    parallel: int = 3
    """Pulls from one registry at once; one that hangs thus holds up nobody but itself."""
    seconds: float = 900.0
    """The longest a pull may take; layers that came in that time stay, so that the next try gets further."""


@dataclass(slots=True)
class Puller:
    """Pulls images for all pods of a node, a few at a time from each registry."""

    cri: Cri
    api: PodApi
    records: PullRecords
    limits: PullLimits = PullLimits()
    _slots: dict[str, asyncio.Semaphore] = field(default_factory=dict)

    async def ensure(self, pod: Obj, spec: Obj, emit: Emit) -> Image:
        """The container's image, pulled if the policy says so. Raises PullFailed."""
        image_name, policy = spec["image"], pull_policy(spec)
        try:
            reference = normalized(image_name)
        except ValueError as error:
            message = (
                f'Failed to apply default image tag "{image_name}": couldn\'t parse image name "{image_name}": {error}'
            )
            emit("Warning", "InspectFailed", message)
            emit("Warning", "Failed", "Error: InvalidImageName")
            raise PullFailed("InvalidImageName", message) from error
        try:
            present = await self.cri.image(reference)
        except RuntimeFault as error:
            raise PullFailed("ImageInspectError", f'Failed to inspect image "{image_name}": {error}') from error
        auths = await self._credentials(pod, reference, emit)
        allowed = present is not None and self.records.allows(present.id, auths)
        if present is not None and allowed and policy != "Always":
            emit("Normal", "Pulled", f'Container image "{image_name}" already present on machine')
            return present
        if policy == "Never":
            message = f'Container image "{image_name}" is not present with pull policy of Never'
            if present is not None:
                message = f'Container image "{image_name}" was pulled with credentials that this pod does not have'
            emit("Warning", "ErrImageNeverPull", message)
            emit("Warning", "Failed", "Error: ErrImageNeverPull")
            raise PullFailed("ErrImageNeverPull", message)
        return await self._pull(image_name, reference, auths, emit)

    async def _pull(self, image_name: str, reference: str, auths: list[dict[str, str]], emit: Emit) -> Image:
        emit("Normal", "Pulling", f'Pulling image "{image_name}"')
        clock = asyncio.get_running_loop().time
        asked = clock()
        registry = reference.partition("/")[0]
        async with self._slots.setdefault(registry, asyncio.Semaphore(self.limits.parallel)):
            began = clock()
            try:
                image = await self._pull_with_any(reference, auths)
            except RuntimeFault as error:
                emit("Warning", "Failed", f'Failed to pull image "{image_name}": {error}')
                emit("Warning", "Failed", "Error: ErrImagePull")
                raise PullFailed("ErrImagePull", str(error)) from error
        if image is None:
            raise PullFailed("ErrImagePull", f'image "{image_name}" vanished after it was pulled')
        ended = clock()
        emit(
            "Normal",
            "Pulled",
            f'Successfully pulled image "{image_name}" in {_duration(ended - began)} '
            f"({_duration(ended - asked)} including waiting). Image size: {image.size_bytes} bytes.",
        )
        return image

    async def _pull_with_any(self, reference: str, auths: list[dict[str, str]]) -> Image | None:
        """Pull with the first credentials that the registry takes; the last fault is the one that counts."""
        last = auths[-1] if auths else None
        for auth in auths[:-1]:
            try:
                await self.cri.pull(reference, auth, self.limits.seconds)
                return await self._pulled(reference, auth)
            except RuntimeFault as error:
                log.info("image not pulled, trying other credentials image=%s error=%s", reference, error)
        await self.cri.pull(reference, last, self.limits.seconds)
        return await self._pulled(reference, last)

    async def _pulled(self, reference: str, auth: dict[str, str] | None) -> Image | None:
        image = await self.cri.image(reference)
        if image is not None:
            try:
                self.records.note(image.id, auth)
            except OSError as error:
                log.warning("pull not recorded image=%s error=%s", reference, error)
        return image

    async def _credentials(self, pod: Obj, reference: str, emit: Emit) -> list[dict[str, str]]:
        names = pull_secret_names(pod)
        if not names:
            return []
        sources = await self.api.sources(
            pod["metadata"]["namespace"], {(SECRET, name) for name in names}, SOURCES_MAX_AGE_SECONDS
        )
        missing = [name for name in names if (SECRET, name) not in sources.objects]
        if missing:
            words = f"Unable to retrieve some image pull secrets ({', '.join(missing)}); "
            emit("Warning", "FailedToRetrieveImagePullSecret", words + "attempting to pull the image may not succeed.")
        return credentials(sources, names, reference)


def credentials(sources: Sources, names: list[str], reference: str) -> list[dict[str, str]]:
    """The registry credentials among pull secrets that fit an image, those with the longest matching key first."""
    found: list[tuple[int, dict[str, str]]] = []
    for name in names:
        secret = sources.objects.get((SECRET, name))
        for key, entry in _auth_entries(secret or {}).items():
            host = key.removeprefix("https://").removeprefix("http://").rstrip("/")
            prefix = "docker.io" if key in _DOCKER_KEYS else host
            if (reference + "/").startswith(prefix + "/") or reference.startswith(prefix + ":"):
                found.append((len(prefix), _auth(entry)))
    return [auth for _, auth in sorted(found, key=lambda each: -each[0])]


def _auth_entries(secret: Obj) -> dict[str, Any]:
    data = secret.get("data") or {}
    try:
        if ".dockerconfigjson" in data:
            return dict(msgspec.json.decode(base64.b64decode(data[".dockerconfigjson"])).get("auths") or {})
        if ".dockercfg" in data:
            return dict(msgspec.json.decode(base64.b64decode(data[".dockercfg"])))
    except (ValueError, AttributeError):
        return {}
    return {}


def _auth(entry: Any) -> dict[str, str]:
    names = {"username": "username", "password": "password", "identitytoken": "identity_token"}
    auth = {ours: entry[theirs] for theirs, ours in names.items() if entry.get(theirs)}
    if entry.get("auth"):
        user, _, password = base64.b64decode(entry["auth"]).decode().partition(":")
        auth.setdefault("username", user)
        auth.setdefault("password", password)
    return auth


def _duration(seconds: float) -> str:
    return f"{seconds * 1000:.0f}ms" if seconds < 1 else f"{seconds:.3f}s"
