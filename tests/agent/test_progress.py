import pytest

from sparsam.agent.lifecycle import FIRST_BACKOFF_SECONDS, LAST_BACKOFF_SECONDS
from sparsam.agent.podstate import Progress, Waiting
from sparsam.agent.progress import LAST_RETRY_SECONDS, after_failed_start, begun, pause_seconds
from sparsam.agent.starting import StartFailed


def test_pauses_double_up_to_the_last():
    assert [pause_seconds(failures) for failures in (1, 2, 3)] == [1.0, 2.0, 4.0]
    assert pause_seconds(30) == LAST_RETRY_SECONDS


@pytest.mark.parametrize(
    ("reason", "first", "last"),
    [("ErrImagePull", FIRST_BACKOFF_SECONDS, LAST_BACKOFF_SECONDS), ("RunContainerError", 1.0, LAST_RETRY_SECONDS)],
)
def test_a_failed_start_is_tried_again_later_each_time(reason, first, last):
    progress = after_failed_start(Progress(), StartFailed(reason, "why"), 100.0)
    assert (progress.fault, progress.retry_at) == (Waiting(reason, "why"), 100.0 + first)
    for _ in range(20):
        progress = after_failed_start(progress, StartFailed(reason, "why"), 100.0)
    assert progress.retry_at == 100.0 + last


def test_of_a_new_run_nothing_is_known_but_the_back_off_stays():
    old = Progress("a", ready=True, started=True, failed_probe="liveness", failures=3, backoff_seconds=20.0)
    assert begun(old, "b") == Progress("b", backoff_seconds=20.0)
