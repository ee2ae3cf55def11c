import asyncio
import contextlib

from sparsam.apiserver.mirror import Mirror
from sparsam.objects import codec
from sparsam.objects.kinds import CONFIGMAPS
from sparsam.store.memory import MemoryStore

KEY = CONFIGMAPS.key("a", "default")


def value(**data):
    return codec.encode({"metadata": {"name": "a", "namespace": "default"}, "data": data})


async def test_a_mirror_is_like_the_store_from_its_first_look_on():
    store, changes = await MemoryStore.open(), asyncio.Queue()
    await store.create(KEY, value(x="1"))
    mirror = Mirror(store, CONFIGMAPS, lambda: changes.put_nowait(dict(mirror.objects)))
    await mirror.load()
    assert (await changes.get())["default", "a"]["data"] == {"x": "1"}
    task = asyncio.create_task(mirror.run())
    await changes.get()
    revision = (await store.get(KEY)).revision
    await store.update(KEY, value(x="2"), expected=revision)
    assert (await changes.get())["default", "a"]["data"] == {"x": "2"}
    await store.delete(KEY)
    assert await changes.get() == {}
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
    await store.close()
