"""Heat and power: how hot the processor is, whether it is slowed down, what the battery holds."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from nimad.dataclass import dataclass
from nimad.probe.board import read

SYS = Path("/sys")
PROCESSOR_SENSORS = ("cpu", "soc", "core", "k10temp", "k8temp", "zenpower", "bcm2835", "x86_pkg")
"""How the names of a processor's sensors begin, as the kernel and its drivers give them."""
THROTTLED = {
    0: "under-voltage",
    1: "frequency capped",
    2: "throttled by heat",
    3: "soft temperature limit",
}
"""Bits of a Raspberry Pi's get_throttled that tell of now; the higher ones tell of the past."""
SLOWING = ("thermal-cpufreq", "cpufreq", "Processor")
"""Cooling devices that cool by slowing the processor down, not by turning a fan."""


@dataclass(frozen=True)
class Battery:
    """What it holds [0, 100 %], and whether it is being used up."""

    percent: float
    in_use: bool


def temperature() -> float | None:
    """The hottest sensor of the processor [degrees Celsius]; None where there is none."""
    import psutil

    try:
        chips = psutil.sensors_temperatures()
    except (AttributeError, OSError):
        return None
    readings = [
        float(reading.current)
        for name, sensors in chips.items()
        if name.startswith(PROCESSOR_SENSORS)
        for reading in sensors
        if reading.current is not None
    ]
    return max(readings, default=None)


def throttled(sys: Path = SYS) -> str | None:
    """Why the processor is slowed down right now; None when it is not, or unknown."""
    for path in sorted(sys.glob("devices/platform/soc*/soc*:firmware/get_throttled")):
        bits = 0
        with suppress(ValueError):
            bits = int(read(path).strip() or "0", 16)
        if reasons := [text for bit, text in THROTTLED.items() if bits >> bit & 1]:
            return ", ".join(reasons)
    for device in sorted(sys.glob("class/thermal/cooling_device*")):
        state = read(device / "cur_state").strip()
        if read(device / "type").startswith(SLOWING) and state.isdigit() and int(state) > 0:
            return "throttled by heat"
    return None


def battery() -> Battery | None:
    """The battery; None where there is none."""
    import psutil

    try:
        found = psutil.sensors_battery()
    except (AttributeError, OSError):
        return None
    if found is None:
        return None
    return Battery(float(found.percent), found.power_plugged is False)
