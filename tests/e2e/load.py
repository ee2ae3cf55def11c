"""Someone who keeps asking a URL, a new connection each time, and remembers what went wrong."""

from __future__ import annotations

import threading
import time
import urllib.request


class Load:
    """Asks from two threads while it is entered; an answer without `expected` in it is a failure."""

    def __init__(self, url: str, expected: bytes = b"sparsam demo", pause_seconds: float = 0.005) -> None:
        self.answers = 0
        self.failures: list[str] = []
        self._url, self._expected, self._pause_seconds = url, expected, pause_seconds
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._ask, daemon=True) for _ in range(2)]

    def _ask(self) -> None:
        while not self._stop.is_set():
            began = time.monotonic()
            try:
                with urllib.request.urlopen(self._url, timeout=10) as answer:
                    assert self._expected in answer.read()
                self.answers += 1
            except Exception as error:
                self.failures.append(f"{error!r} after {time.monotonic() - began:.2f} s at {time.time():.2f}")
            time.sleep(self._pause_seconds)

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(15)
