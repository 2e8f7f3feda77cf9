"""The gate that is open while the machine is at rest: processors free, not hot, not on battery.

Pressure decides about the processors where the kernel tells it: it says within a second that
somebody waits, this thread included, which yields to everybody.  Elsewhere the load average
decides, without the part that the work behind this gate makes itself, and what this thread waited.

Nothing ticks: the machine is looked at when somebody asks, at most once in OPEN_SECONDS.  While the
gate is closed the looks get rarer, up to LATEST_SECONDS; without work that is due nobody asks.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from nimad.config import Config
from nimad.probe import board, heat, pressure

OPEN_SECONDS = 1.0
"""Between two looks while it is open, and after the first that closed it [seconds]."""
LATEST_SECONDS = 8.0
"""Between two looks when it has been closed for long [seconds]."""
MINUTE = 60.0
"""What the load average averages over [seconds]."""


@dataclass(frozen=True)
class Limits:
    """Beyond these the machine is not at rest; 0: not looked at.

    Attributes:
        pressure: share of the time that somebody waits for a processor [%].
        load: load average per processor.
        temperature: of the processor [degrees Celsius].
        battery: what it must hold when it is in use [%].
    """

    pressure: float = 0.0
    load: float = 0.0
    temperature: float = 0.0
    battery: float = 0.0

    @classmethod
    def of(cls, config: Config) -> Limits:
        """As configured."""
        return cls(
            pressure=config["migration.max_pressure"],
            load=config["migration.max_load"],
            temperature=config["migration.max_temperature"],
            battery=config["migration.min_battery"],
        )


class OwnLoad:
    """The part of the load average that one thread makes by its own work."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._value = 0.0
        self._at = clock()

    def worked(self, seconds: float) -> None:
        """It was busy for so long until now."""
        kept = math.exp(-max(0.0, seconds) / MINUTE)
        self._value = 1 - (1 - self.value(before=seconds)) * kept
        self._at = self._clock()

    def value(self, before: float = 0.0) -> float:
        """The part now, or so many seconds before now: from 0 to 1."""
        rested = max(0.0, self._clock() - self._at - before)
        return self._value * math.exp(-rested / MINUTE)


class Processors:
    """Whether somebody needs the processors; `worked` tells it of the work behind the gate."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._stalls = pressure.Stalls([pressure.PRESSURE / "cpu"], OPEN_SECONDS / 2, clock)
        self._own = OwnLoad(clock)
        self._waited = 0.0
        self._worked = 0.0

    def worked(self, seconds: float, waited: float) -> None:
        """A step took so long, and waited so long for a processor meanwhile [seconds]."""
        self._own.worked(seconds)
        self._worked += seconds
        self._waited += waited

    def busy(self, limits: Limits) -> str | None:
        """Why they are not free; None when they are."""
        share = self._stalls.share()
        if not self._stalls.told:
            return self._own_wait(limits) or self._load(limits)
        if share is not None and 0 < limits.pressure < 100 * share:
            return f"processor pressure {100 * share:.0f} % over {limits.pressure:g} %"
        return None

    def _own_wait(self, limits: Limits) -> str | None:
        share = self._waited / self._worked if self._worked > OPEN_SECONDS / 10 else 0.0
        self._waited = self._worked = 0.0
        if 0 < limits.pressure < 100 * share:
            return f"waited for a processor {100 * share:.0f} %, over {limits.pressure:g} %"
        return None

    def _load(self, limits: Limits) -> str | None:
        each = max(0.0, pressure.load() - self._own.value()) / board.processors()
        if 0 < limits.load < each:
            return f"load {each:.2f} over {limits.load:.2f} per processor"
        return None


def thermal_or_power_limit(limits: Limits) -> str | None:
    """Why heat or power forbid work that can wait; None when they do not."""
    if limits.temperature:
        degrees = heat.temperature()
        if degrees is not None and degrees > limits.temperature:
            return f"processor at {degrees:.0f} °C, over {limits.temperature:g} °C"
        if reason := heat.throttled():
            return f"the processor is slowed down: {reason}"
    if limits.battery:
        battery = heat.battery()
        if battery is not None and battery.in_use and battery.percent < limits.battery:
            return f"battery at {battery.percent:.0f} %, under {limits.battery:g} %"
    return None


class MachineIdle:
    """The gate; safe to ask from several threads."""

    def __init__(
        self, limits: Callable[[], Limits], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._limits = limits
        self._clock = clock
        self.processors = Processors(clock)
        self._lock = threading.Lock()
        self._reason: str | None = None
        self._next = -math.inf
        self._pause = OPEN_SECONDS

    def closed_for(self) -> float:
        """Seconds until the next look when it is closed; 0 when it is open."""
        with self._lock:
            now = self._look()
            return max(self._next - now, 0.001) if self._reason else 0.0

    def because(self) -> str | None:
        """What the machine is busy with, or suffers from."""
        with self._lock:
            self._look()
            return self._reason

    def _look(self) -> float:
        now = self._clock()
        if now < self._next:
            return now
        limits = self._limits()
        self._reason = self.processors.busy(limits) or thermal_or_power_limit(limits)
        self._pause = min(2 * self._pause, LATEST_SECONDS) if self._reason else OPEN_SECONDS / 2
        self._next = now + max(self._pause, OPEN_SECONDS)
        return now
