"""Which log is meant, and what is said when there is none."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlencode

import pytest

from sparsam.agent.runtime import ContainerState
from sparsam.agent.server.http import Query
from sparsam.agent.server.logs import find_run, log_options
from sparsam.errors import BadRequest, Invalid, NotFound, StatusError
from tests.support.agent import container, pod
from tests.support.nodeserver import FakeRegistry, run_of

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def registry(state: dict[str, Any] | None = None, *runs: Any) -> FakeRegistry:
    web = pod(container(), name="web")
    if state is not None:
        web["status"]["containerStatuses"] = [{"name": "main", "state": state}]
    return FakeRegistry([web], runs)


def refusal(registry: FakeRegistry, name: str = "web", container: str = "main", previous: bool = False) -> StatusError:
    with pytest.raises(StatusError) as caught:
        find_run(registry, "default", name, container, previous=previous)
    return caught.value


@pytest.mark.parametrize(
    ("state", "message"),
    [
        (None, 'container "main" in pod "web" is not available'),
        (
            {"waiting": {"reason": "ContainerCreating"}},
            'container "main" in pod "web" is waiting to start: ContainerCreating',
        ),
        (
            {"waiting": {"reason": "ErrImagePull"}},
            'container "main" in pod "web" is waiting to start: image can\'t be pulled',
        ),
        (
            {"waiting": {"reason": "ImagePullBackOff"}},
            'container "main" in pod "web" is waiting to start: trying and failing to pull image',
        ),
        ({}, 'container "main" in pod "web" is waiting to start - no logs yet'),
    ],
)
def test_a_container_without_a_run_has_no_log_yet(state: dict[str, Any] | None, message: str):
    error = refusal(registry(state))
    assert isinstance(error, BadRequest)
    assert error.message == message


def test_pods_and_containers_that_do_not_exist_are_not_found():
    assert isinstance(refusal(registry(), name="other"), NotFound)
    assert refusal(registry(), container="other").message == 'container "other" not found in pod "web"'


def test_the_newest_run_is_read():
    runs = (run_of(attempt=1), run_of(state=ContainerState.EXITED))
    assert find_run(registry({"running": {}}, *runs), "default", "web", "main", previous=False) is runs[0]
    assert find_run(registry({"running": {}}, *runs), "default", "web", "main", previous=True) is runs[1]


def test_a_run_that_is_only_created_has_no_log_yet():
    created = registry({"waiting": {"reason": "ContainerCreating"}}, run_of(state=ContainerState.CREATED))
    assert "waiting to start: ContainerCreating" in refusal(created).message


def test_without_an_earlier_run_there_is_no_previous_log():
    error = refusal(registry({"running": {}}, run_of()), previous=True)
    assert error.message == 'previous terminated container "main" in pod "web" not found'


def test_between_two_runs_the_last_one_is_the_previous():
    ended = run_of(state=ContainerState.EXITED)
    waiting = registry({"waiting": {"reason": "CrashLoopBackOff"}}, ended)
    assert find_run(waiting, "default", "web", "main", previous=True) is ended
    assert find_run(waiting, "default", "web", "main", previous=False) is ended


def options(**parameters: str) -> Any:
    return log_options(Query(urlencode(parameters).encode()), NOW)


def test_parameters_are_read_as_upstream_does():
    read = options(follow="true", tailLines="3", sinceSeconds="60", timestamps="1", limitBytes="10", stream="Stderr")
    assert (read.follow, read.tail_lines, read.timestamps, read.limit_bytes) == (True, 3, True, 10)
    assert read.since == NOW - timedelta(minutes=1)
    assert read.stream == b"stderr"
    assert options(sinceTime="2026-01-01T00:00:00+02:00").since == NOW - timedelta(hours=2)
    assert options(follow="false") == options()


@pytest.mark.parametrize(
    ("parameters", "error"),
    [
        ({"tailLines": "x"}, BadRequest),
        ({"tailLines": "-1"}, Invalid),
        ({"limitBytes": "0"}, Invalid),
        ({"sinceSeconds": "0"}, Invalid),
        ({"sinceTime": "yesterday"}, BadRequest),
    ],
)
def test_impossible_parameters_are_refused(parameters: dict[str, str], error: type[StatusError]):
    with pytest.raises(error):
        options(**parameters)
