"""When work that can wait may go on: no request lately, and an idle machine.

A condition is asked before each step, and such a step is kept so short that a request hardly waits
for it.  The machine is idle while processors are free, and it is neither hot, nor slowed down, nor
on a low battery.  Pressure decides about the processors where the kernel tells it: it says within a
second that a task waits, this thread included, which yields to all others.  Elsewhere the load
average decides, without the part that the work in the background makes itself, and what this thread
waited.

Nothing ticks: the machine is looked at when a condition is asked, at most once in OPEN_SECONDS.
While it is busy the looks get rarer, up to LATEST_SECONDS; without work that is due nothing asks.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable

from nimad.config import Config
from nimad.dataclass import dataclass
from nimad.probe import board, heat, pressure

GATED_SECONDS = 0.05
"""Time that a step between two looks at the condition should take [seconds]."""
OPEN_SECONDS = 1.0
"""Time between two looks while the machine is idle, and after the first busy one [seconds]."""
LATEST_SECONDS = 8.0
"""Time between two looks when the machine has been busy for long [seconds]."""
MINUTE = 60.0
"""Period of the load average [seconds]."""


class NoRecentRequests:
    """No request for `seconds()`.

    `touch` is called for each request, from any thread.
    """

    def __init__(
        self, seconds: Callable[[], float], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._seconds = seconds
        self._clock = clock
        self._last = -1e9

    def touch(self) -> None:
        """A request came."""
        self._last = self._clock()

    def closed_for(self) -> float:
        """Seconds of quiet that are still missing."""
        return max(0.0, self._last + self._seconds() - self._clock())

    def because(self) -> str | None:
        """How long ago the last request came."""
        if self.closed_for() <= 0:
            return None
        ago = self._clock() - self._last
        return f"a request {ago:.1f} s ago; it waits for {self._seconds():g} s without one"


class AllOf:
    """Open when all of several conditions are; the first closed one, in order, answers."""

    def __init__(self, *conditions: NoRecentRequests | MachineIdle) -> None:
        self._conditions = conditions

    def closed_for(self) -> float:
        """Seconds until it opens, or is worth another look; 0 when it is open."""
        return next((wait for each in self._conditions if (wait := each.closed_for()) > 0), 0.0)

    def because(self) -> str | None:
        """Why it is closed; None when it is open."""
        return next((why for each in self._conditions if (why := each.because())), None)


@dataclass(frozen=True)
class Limits:
    """Beyond these the machine is not idle; 0: not looked at.

    Attributes:
        pressure: share of the time that a task waits for a processor [%].
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
        """It was busy for the last `seconds`."""
        kept = math.exp(-max(0.0, seconds) / MINUTE)
        self._value = 1 - (1 - self.value(before=seconds)) * kept
        self._at = self._clock()

    def value(self, before: float = 0.0) -> float:
        """The part now, or `before` seconds ago: from 0 to 1."""
        rested = max(0.0, self._clock() - self._at - before)
        return self._value * math.exp(-rested / MINUTE)


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
    """The machine is idle; safe to ask from several threads.

    `worked` tells it of the work in the background.
    """

    def __init__(
        self, limits: Callable[[], Limits], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._limits = limits
        self._clock = clock
        self._stalls = pressure.Stalls([pressure.PRESSURE / "cpu"], OPEN_SECONDS / 2, clock)
        self._own = OwnLoad(clock)
        self._waited = self._worked = 0.0
        self._lock = threading.Lock()
        self._reason: str | None = None
        self._next = -math.inf
        self._pause = OPEN_SECONDS

    def worked(self, seconds: float, waited: float) -> None:
        """A step took `seconds`, of which it waited for a processor for `waited`."""
        self._own.worked(seconds)
        self._worked += seconds
        self._waited += waited

    def closed_for(self) -> float:
        """Seconds until the next look when it is closed; 0 when it is open."""
        with self._lock:
            now = self._look()
            return max(self._next - now, 0.001) if self._reason else 0.0

    def because(self) -> str | None:
        """Why the machine is not idle; None when it is."""
        with self._lock:
            self._look()
            return self._reason

    def _look(self) -> float:
        now = self._clock()
        if now < self._next:
            return now
        limits = self._limits()
        self._reason = self._processors_busy(limits) or thermal_or_power_limit(limits)
        self._pause = min(2 * self._pause, LATEST_SECONDS) if self._reason else OPEN_SECONDS / 2
        self._next = now + max(self._pause, OPEN_SECONDS)
        return now

    def _processors_busy(self, limits: Limits) -> str | None:
        """Why the processors are not free; None when they are."""
        share = self._stalls.share()
        if self._stalls.told:
            if share is not None and 0 < limits.pressure < 100 * share:
                return f"processor pressure {100 * share:.0f} % over {limits.pressure:g} %"
            return None
        share = self._waited / self._worked if self._worked > OPEN_SECONDS / 10 else 0.0
        self._waited = self._worked = 0.0
        if 0 < limits.pressure < 100 * share:
            return f"waited for a processor {100 * share:.0f} %, over {limits.pressure:g} %"
        each = max(0.0, pressure.load() - self._own.value()) / board.processors()
        if 0 < limits.load < each:
            return f"load {each:.2f} over {limits.load:.2f} per processor"
        return None
