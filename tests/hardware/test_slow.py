import asyncio
import threading

import pytest

from sparsam.hardware.slow import SlowRead


async def test_a_quick_call_is_its_result():
    assert await SlowRead(lambda: 7, 10.0)() == 7


async def test_a_call_that_hangs_is_not_started_twice_and_its_result_is_used():
    gate, calls = threading.Event(), []

    def hang() -> int:
        calls.append(1)
        gate.wait(60.0)
        return 7

    read = SlowRead(hang, 0.01)
    assert [await read() for _ in range(3)] == [None, None, None]
    gate.set()
    while (found := await read()) is None:
        await asyncio.sleep(0.01)
    assert (found, calls) == (7, [1])


async def test_an_error_goes_to_the_caller():
    def fail() -> int:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await SlowRead(fail, 10.0)()


async def test_closing_stops_the_wait():
    gate = threading.Event()
    read = SlowRead(lambda: gate.wait(60.0), 0.01)
    assert await read() is None
    read.close()
    gate.set()
