import asyncio

from sparsam.agent.podtasks import PodTasks


async def test_one_operation_of_a_key_runs_and_counts_until_the_next_look():
    kicks, go = [], asyncio.Event()
    tasks = PodTasks("default/p", lambda: kicks.append(1))

    async def work() -> None:
        await go.wait()

    assert tasks.launch("pull", work())
    assert not tasks.launch("pull", work())
    assert "pull" in tasks
    go.set()
    await tasks.wait("pull")
    assert not tasks
    assert (tasks.keys, kicks) == ({"pull"}, [1])
    tasks.look()
    assert tasks.keys == frozenset()


async def test_a_cancelled_operation_kicks_too_and_stopping_waits_for_all():
    kicks = []
    tasks = PodTasks("default/p", lambda: kicks.append(1))
    for key in ("a", "b", "c"):
        tasks.launch(key, asyncio.sleep(60))
    await asyncio.sleep(0)
    tasks.cancel(["a", "nothing"])
    await tasks.wait("a")
    assert len(kicks) == 1
    await tasks.stop()
    assert not tasks
    assert len(kicks) == 3
