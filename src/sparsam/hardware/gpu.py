"""NVIDIA cards through NVML, the driver's own library, by ctypes: nothing to install, nothing without a driver.

Where a card counts its energy (Volta and later) the counter is used: the driver's momentary power is sampled for a
part of the time only on several generations. AMD cards show themselves through `hwmon`.
"""

from __future__ import annotations

import ctypes
from dataclasses import dataclass

from sparsam.clock import Clock
from sparsam.hardware.guards import CounterState, Delta, Limits, Verdict, advance, judge_watts
from sparsam.hardware.meter import Domain, Fault, Gap, Provenance, Reading
from sparsam.hardware.slow import SlowRead

LIBRARY = "libnvidia-ml.so.1"
SOURCE = "gpu:nvml"
LIMITS = Limits(max_watts=2_000.0)
"""One card; the largest today take 1.4 kW."""
UNCERTAINTY_RATIO = 0.05
"""NVML's reference promises five per cent."""
READ_SECONDS = 2.0

SUCCESS, NOT_SUPPORTED, NO_PERMISSION, DRIVER_NOT_LOADED = 0, 3, 4, 9
FAULTS = {NO_PERMISSION: Fault.DENIED, DRIVER_NOT_LOADED: Fault.ABSENT, NOT_SUPPORTED: Fault.ABSENT}


class NvmlError(Exception):
    """A call that NVML refused."""

    def __init__(self, call: str, code: int, text: str) -> None:
        super().__init__(f"{call}: {text}")
        self.verdict = Verdict(FAULTS.get(code, Fault.UNREACHABLE), f"{call}: {text}")
        self.code = code


@dataclass(frozen=True, slots=True)
class CardSample:
    """What one card said."""

    name: str
    joules: float | None
    watts: float | None


class Nvml:
    """The library's few functions that matter here. Raises NvmlError, and OSError where there is no library."""

    def __init__(self, library: str = LIBRARY) -> None:
        self._library = ctypes.CDLL(library)
        self._library.nvmlErrorString.restype = ctypes.c_char_p
        self._call("nvmlInit_v2")

    def cards(self) -> list[CardSample]:
        """A sample of each card, in the driver's order."""
        count = ctypes.c_uint()
        self._call("nvmlDeviceGetCount_v2", ctypes.byref(count))
        return [self._card(index) for index in range(count.value)]

    def close(self) -> None:
        """Let the driver forget us."""
        self._library.nvmlShutdown()

    def _card(self, index: int) -> CardSample:
        handle, name = ctypes.c_void_p(), ctypes.create_string_buffer(96)
        millijoules, milliwatts = ctypes.c_ulonglong(), ctypes.c_uint()
        self._call("nvmlDeviceGetHandleByIndex_v2", ctypes.c_uint(index), ctypes.byref(handle))
        self._call("nvmlDeviceGetName", handle, name, ctypes.c_uint(len(name)))
        text = name.value.decode(errors="replace")
        if self._supported("nvmlDeviceGetTotalEnergyConsumption", handle, ctypes.byref(millijoules)):
            return CardSample(text, millijoules.value / 1000.0, None)
        if self._supported("nvmlDeviceGetPowerUsage", handle, ctypes.byref(milliwatts)):
            return CardSample(text, None, milliwatts.value / 1000.0)
        return CardSample(text, None, None)

    def _supported(self, name: str, *arguments: object) -> bool:
        try:
            self._call(name, *arguments)
        except NvmlError as error:
            if error.code == NOT_SUPPORTED:
                return False
            raise
        return True

    def _call(self, name: str, *arguments: object) -> None:
        code = int(getattr(self._library, name)(*arguments))
        if code != SUCCESS:
            text = self._library.nvmlErrorString(code) or b"unknown error"
            raise NvmlError(name, code, text.decode(errors="replace"))


def nvml_meter(clock: Clock, library: str = LIBRARY) -> NvmlMeter | Gap:
    """A meter of all cards, or why there is none."""
    now = clock.monotonic()
    try:
        nvml = Nvml(library)
        cards = nvml.cards()
    except (OSError, AttributeError) as error:
        return Gap(now, Fault.ABSENT, f"no NVIDIA driver: {error}", SOURCE)
    except NvmlError as error:
        return Gap(now, error.verdict.fault, error.verdict.detail, SOURCE)
    if not cards:
        nvml.close()
        return Gap(now, Fault.ABSENT, "the driver sees no card", SOURCE)
    return NvmlMeter(nvml, clock)


class NvmlMeter:
    """The sum of all cards."""

    source = SOURCE
    domain = Domain.GPU
    provenance = Provenance.MEASURED

    def __init__(self, nvml: Nvml, clock: Clock) -> None:
        self._nvml = nvml
        self._clock = clock
        self._states: dict[str, CounterState | None] = {}
        self._samples = SlowRead(self._sample, READ_SECONDS)

    async def read(self) -> Reading | Gap:
        """Watts of all cards; a gap if one of them cannot be believed."""
        samples = await self._samples()
        now = self._clock.monotonic()
        if samples is None:
            return Gap(now, Fault.TIMEOUT, f"the driver does not answer within {READ_SECONDS:g} s", self.source)
        if isinstance(samples, Verdict):
            return Gap(now, samples.fault, samples.detail, self.source)
        parts: dict[str, float] = {}
        wrong: tuple[str, Verdict] | None = None
        for index, card in enumerate(samples):
            label = f"gpu-{index}"
            found = self._watts(label, card, now)
            if isinstance(found, Verdict):
                wrong = wrong or (f"{label} ({card.name})", found)
            else:
                parts[label] = found
        if wrong is not None:
            return Gap(now, wrong[1].fault, f"{wrong[0]}: {wrong[1].detail}", self.source)
        return Reading(now, sum(parts.values()), self.domain, self.source, UNCERTAINTY_RATIO, parts=parts)

    async def close(self) -> None:
        """Let go of the driver, unless a call hangs in it."""
        self._samples.close()
        self._nvml.close()

    def _watts(self, label: str, card: CardSample, now: float) -> float | Verdict:
        if card.joules is not None:
            state = self._states.get(label)
            self._states[label], result = advance(state, card.joules, now, float("inf"), LIMITS)
            return result.watts if isinstance(result, Delta) else result
        if card.watts is None:
            return Verdict(Fault.ABSENT, "the card tells no power")
        return judge_watts(card.watts, LIMITS) or card.watts

    def _sample(self) -> list[CardSample] | Verdict:
        try:
            return self._nvml.cards()
        except NvmlError as error:
            return error.verdict
