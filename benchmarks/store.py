"""Writes per second and their latency, as multiples of what the disk does in the same run.

The floor is a bare append and fdatasync of a value: no store that keeps its word can acknowledge a single
writer faster. Run `python benchmarks/store.py [-o json] [--directory DIR]`.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import tempfile
import time
from pathlib import Path

from sparsam.store.sqlite import SqliteStore

VALUE = b"x" * 2048
WRITES = 4000
WATCHERS = 1000


def percentile(seconds: list[float], share: float) -> float:
    ordered = sorted(seconds)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]


def disk_floor(directory: Path, writes: int = 1000) -> float:
    """Seconds for an append and its fdatasync, median."""
    handle = os.open(directory / "floor", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    taken = []
    for _ in range(writes):
        start = time.perf_counter()
        os.write(handle, VALUE)
        os.fdatasync(handle)
        taken.append(time.perf_counter() - start)
    os.close(handle)
    return percentile(taken, 0.5)


async def writing(store: SqliteStore, writers: int, prefix: str) -> dict[str, float]:
    taken: list[float] = []

    async def write(worker: int) -> None:
        for number in range(WRITES // writers):
            start = time.perf_counter()
            await store.create(f"{prefix}{worker}-{number}", VALUE)
            taken.append(time.perf_counter() - start)

    start = time.perf_counter()
    await asyncio.gather(*(write(worker) for worker in range(writers)))
    return {
        "writes_per_second": round(len(taken) / (time.perf_counter() - start)),
        "p50_ms": round(percentile(taken, 0.5) * 1e3, 3),
        "p99_ms": round(percentile(taken, 0.99) * 1e3, 3),
    }


async def watched_writing(store: SqliteStore) -> dict[str, float]:
    """The same with many watchers, each on a namespace of its own that one of the writes is in."""

    async def watch(number: int, since: int) -> None:
        async with store.watch(f"/core/pods/watched-{number}/", since=since) as batches:
            async for batch in batches:
                if batch:
                    return

    watches = [asyncio.create_task(watch(number, store.revision)) for number in range(WATCHERS)]
    await asyncio.sleep(0.1)
    result = await writing(store, 32, "/core/pods/elsewhere/")
    await asyncio.gather(*(store.create(f"/core/pods/watched-{number}/a", VALUE) for number in range(WATCHERS)))
    await asyncio.gather(*watches)
    return result


async def measure(directory: Path) -> dict[str, object]:
    floor = disk_floor(directory)
    store = await SqliteStore.open(directory / "store.db")
    report: dict[str, object] = {"fdatasync_ms": round(floor * 1e3, 3)}
    for writers in (1, 32, 256):
        result = await writing(store, writers, f"/core/pods/w{writers}/")
        result["ratio_to_floor"] = round(result["writes_per_second"] * floor, 2)
        report[f"writers_{writers}"] = result
    report[f"writers_32_watchers_{WATCHERS}"] = await watched_writing(store)
    start = time.perf_counter()
    page = await store.list("/core/pods/")
    report["list"] = {"entries": len(page.entries), "ms": round((time.perf_counter() - start) * 1e3, 3)}
    await store.close()
    start = time.perf_counter()
    store = await SqliteStore.open(directory / "store.db")
    report["open"] = {"entries": len(page.entries), "ms": round((time.perf_counter() - start) * 1e3, 3)}
    await store.close()
    return report


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-o", "--output", choices=["text", "json"], default="text")
    parser.add_argument("--directory", type=Path, help="where to write; a disk, not a tmpfs")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.directory or "/var/tmp") as directory:
        report = asyncio.run(measure(Path(directory)))
    if options.output == "json":
        print(json.dumps(report))
        return
    for name, result in report.items():
        print(f"{name:28}", result)


if __name__ == "__main__":
    main()
