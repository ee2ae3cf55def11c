"""A stand-in for libnvidia-ml.so.1, compiled for the test: cards whose power and energy the test sets."""

from __future__ import annotations

import ctypes
import subprocess
from pathlib import Path

SOURCE = r"""
#include <stdio.h>
#include <string.h>
typedef struct { unsigned mw; unsigned long long mj; int energy_code, power_code; } card;
static card cards[8];
static unsigned count;
static int init_code, count_code;
void fake_init(int code) { init_code = code; }
void fake_count(unsigned n, int code) { count = n; count_code = code; }
void fake_card(unsigned i, unsigned mw, unsigned long long mj, int energy_code, int power_code) {
  cards[i].mw = mw; cards[i].mj = mj; cards[i].energy_code = energy_code; cards[i].power_code = power_code;
}
int nvmlInit_v2(void) { return init_code; }
int nvmlShutdown(void) { return 0; }
const char *nvmlErrorString(int code) { return code == 15 ? "GPU is lost" : code == 9 ? "Driver Not Loaded" : "Error"; }
int nvmlDeviceGetCount_v2(unsigned *n) { *n = count; return count_code; }
int nvmlDeviceGetHandleByIndex_v2(unsigned i, void **h) { if (i >= count) return 2; *h = &cards[i]; return 0; }
int nvmlDeviceGetName(void *h, char *name, unsigned length) { snprintf(name, length, "Fake %d", (int)((card *)h - cards)); return 0; }
int nvmlDeviceGetTotalEnergyConsumption(void *h, unsigned long long *mj) { *mj = ((card *)h)->mj; return ((card *)h)->energy_code; }
int nvmlDeviceGetPowerUsage(void *h, unsigned *mw) { *mw = ((card *)h)->mw; return ((card *)h)->power_code; }
"""


class FakeNvml:
    """The compiled library, and the test's hold on it."""

    def __init__(self, folder: Path, compiler: str) -> None:
        source, self.path = folder / "nvml.c", str(folder / "libnvidia-ml.so.1")
        source.write_text(SOURCE)
        subprocess.run([compiler, "-shared", "-fPIC", "-o", self.path, str(source)], check=True)
        self._library = ctypes.CDLL(self.path)

    def init(self, code: int) -> None:
        """What the driver answers to being opened."""
        self._library.fake_init(code)

    def count(self, cards: int, code: int = 0) -> None:
        """How many cards there are."""
        self._library.fake_count(cards, code)

    def card(self, index: int, *, watts: float = 0.0, joules: float = 0.0, energy: int = 0, power: int = 0) -> None:
        """What a card shows; `energy` and `power` are the codes of the two calls."""
        millijoules = ctypes.c_ulonglong(round(joules * 1000))
        self._library.fake_card(index, round(watts * 1000), millijoules, energy, power)
