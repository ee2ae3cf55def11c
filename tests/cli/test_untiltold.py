import asyncio
import os
import signal

import pytest

from sparsam.cli.untiltold import until_told


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_and_lets_it_tidy_up(number):
    tidied = []

    async def main() -> None:
        asyncio.get_running_loop().call_soon(os.kill, os.getpid(), number)
        try:
            await asyncio.sleep(60)
        finally:
            await asyncio.sleep(0)
            tidied.append(number)

    asyncio.run(until_told(main()))
    assert tidied == [number]


def test_what_goes_wrong_is_told():
    async def main() -> None:
        raise OSError("no such device")

    with pytest.raises(OSError, match="no such device"):
        asyncio.run(until_told(main()))
