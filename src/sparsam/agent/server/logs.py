"""`GET /containerLogs/...`: which run of a container is meant, which part of its log, or why there is none."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

from sparsam.agent.podspec import Obj
from sparsam.agent.registry import PodRegistry
from sparsam.agent.runtime import Container, ContainerState
from sparsam.agent.server.http import Query
from sparsam.agent.server.logfile import LogOptions, parse_stamp, read_log
from sparsam.errors import BadRequest, Invalid, NotFound

_WAITING = {
    "ErrImagePull": "image can't be pulled",
    "ImagePullBackOff": "trying and failing to pull image",
}


def container_log(
    registry: PodRegistry, namespace: str, name: str, container: str, query: Query
) -> AsyncGenerator[bytes, None]:
    """The log in chunks; raises StatusError when there is none."""
    options = log_options(query, datetime.now(UTC))
    run = find_run(registry, namespace, name, container, previous=query.flag("previous"))
    return read_log(Path(run.log_path), options, _ended(registry, namespace, name, run))


def log_options(query: Query, now: datetime) -> LogOptions:
    """The parameters' meaning; raises BadRequest and Invalid."""
    since = None
    seconds = query.number("sinceSeconds")
    if seconds is not None:
        if seconds < 1:
            raise Invalid("sinceSeconds: Invalid value: must be greater than 0")
        since = now - timedelta(seconds=seconds)
    elif query.text("sinceTime"):
        since = _since_time(query.text("sinceTime"))
    tail = query.number("tailLines")
    limit = query.number("limitBytes")
    if tail is not None and tail < 0:
        raise Invalid(f"tailLines: Invalid value: {tail}: must be greater than or equal to 0")
    if limit is not None and limit < 1:
        raise Invalid(f"limitBytes: Invalid value: {limit}: must be greater than 0")
    stream = query.text("stream").lower()
    return LogOptions(
        follow=query.flag("follow"),
        tail_lines=tail,
        since=since,
        timestamps=query.flag("timestamps"),
        limit_bytes=limit,
        stream=stream.encode() if stream in ("stdout", "stderr") else None,
    )


def _since_time(text: str) -> datetime:
    try:
        return parse_stamp(text)
    except ValueError:
        raise BadRequest(f'parsing time "{text}" as "2006-01-02T15:04:05Z07:00": cannot parse') from None


def find_run(registry: PodRegistry, namespace: str, name: str, container: str, *, previous: bool) -> Container:
    """The run whose log is meant; raises StatusError in upstream's words."""
    pod = registry.pod(namespace, name)
    if pod is None:
        raise NotFound(f'pod "{name}" does not exist')
    if container not in container_names(pod):
        raise NotFound(f'container "{container}" not found in pod "{name}"')
    status = container_status(pod, container)
    target = registry.container(namespace, name, container)
    current = target.container if target is not None else None
    if previous:
        return _previous_run(registry, namespace, name, container, current=current, status=status)
    if current is None or current.state is ContainerState.CREATED:
        raise BadRequest(_why_not(name, container, status))
    return current


def _previous_run(
    registry: PodRegistry, namespace: str, name: str, container: str, *, current: Container | None, status: Obj
) -> Container:
    if current is not None and current.exited and "waiting" in (status.get("state") or {}):
        # The next run has not begun: the newest one already counts as the one before.
        return current
    earlier = registry.container(namespace, name, container, previous=True)
    if earlier is None:
        raise BadRequest(f'previous terminated container "{container}" in pod "{name}" not found')
    return earlier.container


def _why_not(name: str, container: str, status: Obj) -> str:
    subject = f'container "{container}" in pod "{name}"'
    if not status:
        return f"{subject} is not available"
    state = status.get("state") or {}
    if "terminated" in state:
        return f"{subject} is terminated"
    if "waiting" in state:
        reason = state["waiting"].get("reason", "")
        return f"{subject} is waiting to start: {_WAITING.get(reason, reason)}"
    return f"{subject} is waiting to start - no logs yet"


def container_names(pod: Obj) -> list[str]:
    """All containers that a pod's spec names."""
    spec = pod["spec"]
    lists = (spec.get("initContainers"), spec.get("containers"), spec.get("ephemeralContainers"))
    return [container["name"] for each in lists for container in each or ()]


def container_status(pod: Obj, container: str) -> Obj:
    """A container's status, or an empty one."""
    status = pod.get("status") or {}
    lists = (status.get(f"{kind}Statuses") for kind in ("container", "initContainer", "ephemeralContainer"))
    found: Obj = next((each for one in lists for each in one or () if each.get("name") == container), {})
    return found


def _ended(registry: PodRegistry, namespace: str, name: str, run: Container) -> Callable[[], bool]:
    def ended() -> bool:
        current = next((each for each in registry.containers(namespace, name) if each.id == run.id), None)
        return current is None or current.exited

    return ended
