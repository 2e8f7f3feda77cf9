"""The gate that closes while the machine is busy, hot, slowed down, or on a low battery."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from nimad.background.idle_conditions import (
    LATEST_SECONDS,
    OPEN_SECONDS,
    AllOf,
    Limits,
    MachineIdle,
    NoRecentRequests,
    OwnLoad,
    thermal_or_power_limit,
)
from nimad.config import Config
from nimad.probe import board, heat, pressure


class Machine:
    """A machine whose state a test sets; the clock is its own."""

    def __init__(self, place: Path) -> None:
        self.now = 1000.0
        self.looks = 0
        self.load = 0.0
        self.degrees: float | None = None
        self.throttled: str | None = None
        self.battery: heat.Battery | None = None
        self.file = place / "cpu"
        self.total = 0.0

    def clock(self) -> float:
        return self.now

    def stall(self, share: float, seconds: float = 1.0) -> None:
        """Time goes by, and somebody waits for a processor that part of it."""
        self.now += seconds
        self.total += share * seconds
        line = f"some avg10={100 * share:.2f} avg60=0 avg300=0 total={self.total * 1e6:.0f}\n"
        self.file.write_text(line)

    def temperature(self) -> float | None:
        self.looks += 1
        return self.degrees


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Machine]:
    made = Machine(tmp_path)
    monkeypatch.setattr(pressure, "PRESSURE", tmp_path)
    monkeypatch.setattr(pressure, "load", lambda: made.load)
    monkeypatch.setattr(board, "processors", lambda: 2)
    monkeypatch.setattr(heat, "temperature", made.temperature)
    monkeypatch.setattr(heat, "throttled", lambda: made.throttled)
    monkeypatch.setattr(heat, "battery", lambda: made.battery)
    yield made


def gate(machine: Machine, **limits: float) -> MachineIdle:
    wanted = Limits.of(Config()) if not limits else Limits(**limits)
    return MachineIdle(lambda: wanted, machine.clock)


def test_a_machine_at_rest(machine: Machine) -> None:
    machine.stall(0)
    made = gate(machine)
    assert made.closed_for() == 0.0 and made.because() is None
    machine.stall(0.2, seconds=5)
    assert made.closed_for() == 0.0


def test_pressure_closes_it_within_a_second_and_ends_as_fast(machine: Machine) -> None:
    machine.stall(0)
    made = gate(machine)
    assert made.closed_for() == 0.0
    machine.stall(0.45)
    assert 0 < made.closed_for() <= 2 * OPEN_SECONDS
    assert made.because() == "processor pressure 45 % over 40 %"
    machine.stall(0.0, seconds=made.closed_for())
    assert made.closed_for() == 0.0


def test_the_looks_get_rarer_while_it_stays_closed(machine: Machine) -> None:
    made = gate(machine, temperature=70)
    machine.degrees = 80.0
    waits = []
    for _ in range(8):
        waits.append(made.closed_for())
        made.because()
        machine.now += waits[-1]
    assert machine.looks == len(waits), "never more often than it says itself"
    assert waits == sorted(waits) and waits[-1] == LATEST_SECONDS


def test_load_decides_where_no_pressure_is_told(machine: Machine) -> None:
    made = gate(machine)
    machine.load = 2.4
    assert made.because() == "load 1.20 over 0.70 per processor"
    machine.now += 60
    machine.load = 1.2
    assert made.because() is None


def test_the_own_share_of_the_load_does_not_count(machine: Machine) -> None:
    made = gate(machine)
    machine.load = 1.9
    for _ in range(600):
        machine.now += 1
        made.worked(1.0, waited=0.0)
    assert made.because() is None, "one of the two is this work itself"
    machine.now += 300
    assert made.because() == "load 0.95 over 0.70 per processor"


def test_a_thread_that_has_to_wait_notices_without_pressure(machine: Machine) -> None:
    made = gate(machine)
    made.worked(2.0, waited=1.6)
    assert made.because() == "waited for a processor 80 %, over 40 %"
    machine.now += 10
    assert made.because() is None


def test_own_load_follows_the_kernels_average(machine: Machine) -> None:
    own = OwnLoad(machine.clock)
    machine.now += 60
    own.worked(60)
    assert own.value() == pytest.approx(1 - 1 / 2.71828, abs=0.001)
    machine.now += 60
    assert own.value() == pytest.approx((1 - 1 / 2.71828) / 2.71828, abs=0.001)


def test_heat_throttling_and_battery(machine: Machine) -> None:
    limits = Limits(temperature=75, battery=30)
    machine.degrees = 81.4
    assert thermal_or_power_limit(limits) == "processor at 81 °C, over 75 °C"
    machine.degrees = 60.0
    assert thermal_or_power_limit(limits) is None
    machine.throttled = "under-voltage"
    assert thermal_or_power_limit(limits) == "the processor is slowed down: under-voltage"
    machine.throttled = None
    machine.battery = heat.Battery(18.0, in_use=True)
    assert thermal_or_power_limit(limits) == "battery at 18 %, under 30 %"
    machine.battery = heat.Battery(18.0, in_use=False)
    assert thermal_or_power_limit(limits) is None


def test_nothing_is_looked_at_that_is_switched_off(machine: Machine) -> None:
    made = gate(machine, pressure=0, load=0, temperature=0, battery=0)
    machine.degrees, machine.throttled, machine.load = 99.0, "throttled by heat", 50.0
    machine.battery = heat.Battery(1.0, in_use=True)
    machine.stall(1.0)
    assert made.because() is None and machine.looks == 0


def test_the_first_closed_gate_answers(machine: Machine) -> None:
    quiet = NoRecentRequests(lambda: 3.0, machine.clock)
    quiet.touch()
    both = AllOf(quiet, gate(machine, temperature=70))
    machine.degrees = 90.0
    assert both.closed_for() == 3.0
    assert both.because() == "a request 0.0 s ago; it waits for 3 s without one"
    machine.now += 4
    assert both.because() == "processor at 90 °C, over 70 °C"
    machine.degrees = 20.0
    machine.now += 60
    assert both.because() is None and both.closed_for() == 0.0
