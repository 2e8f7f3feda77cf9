"""What the kernel tells: control groups of both versions, pressure, heat, priority."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest

from nimad.probe import cgroup, heat, memory, pressure, priority
from nimad.probe.cgroup import Group, own_groups, room_of
from tests.threads import PATIENCE, Background

MIB = 1 << 20


def write(place: Path, **files: object) -> Path:
    place.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (place / name.replace("__", ".")).write_text(f"{content}\n")
    return place


# --- control groups -------------------------------------------------------------------------------


def test_the_group_and_those_above_it_are_found(tmp_path: Path) -> None:
    mount = tmp_path / "cgroup"
    write(tmp_path / "self", cgroup="0::/system.slice/nimad.service")
    line = f"29 23 0:26 / {mount} rw,nosuid - cgroup2 cgroup2 rw,nsdelegate"
    write(tmp_path / "self", mountinfo=f"23 1 0:1 / / rw - ext4 /dev/vda rw\n{line}")
    slices = (mount / "system.slice/nimad.service", mount / "system.slice", mount)
    assert own_groups(tmp_path) == tuple(Group(path, 2) for path in slices)


def test_the_older_version_beside_the_newer(tmp_path: Path) -> None:
    write(tmp_path / "self", cgroup="9:name=systemd:/x\n4:cpu,memory:/job\n0::/")
    old = f"1 0 0:1 / {tmp_path}/cpu rw - cgroup cgroup rw,cpu"
    line = f"2 0 0:2 / {tmp_path}/m rw - cgroup cgroup rw,cpu,memory"
    new = f"3 0 0:3 / {tmp_path}/u rw - cgroup2 cgroup2 rw"
    write(tmp_path / "self", mountinfo=f"{old}\n{line}\n{new}")
    found = [(tmp_path / "m/job", 1), (tmp_path / "m", 1), (tmp_path / "u", 2)]
    assert own_groups(tmp_path) == tuple(Group(*each) for each in found)


def test_a_container_sees_its_part_of_the_tree_as_the_whole(tmp_path: Path) -> None:
    write(tmp_path / "self", cgroup="0::/docker/abc/inner")
    write(tmp_path / "self", mountinfo=f"1 0 0:1 /docker/abc {tmp_path}/c ro - cgroup2 cgroup rw")
    assert [group.path for group in own_groups(tmp_path)] == [tmp_path / "c/inner", tmp_path / "c"]


def test_without_proc_there_are_no_groups(tmp_path: Path) -> None:
    assert own_groups(tmp_path / "nothing") == ()


def test_the_lower_limit_counts_and_idle_pages_are_room(tmp_path: Path) -> None:
    stat = f"anon 1\ninactive_file {30 * MIB}\nactive_file {5 * MIB}"
    files = {"memory__current": 100 * MIB, "memory__stat": stat}
    high = write(tmp_path / "a", memory__max=256 * MIB, memory__high=200 * MIB, **files)
    assert room_of(Group(high, 2)) == 130 * MIB
    free = write(tmp_path / "b", memory__max="max", memory__high="max", **files)
    assert room_of(Group(free, 2)) is None
    over = write(tmp_path / "c", memory__max=50 * MIB, **files)
    assert room_of(Group(over, 2)) == 0
    assert room_of(Group(tmp_path / "root has no such files", 2)) is None


def test_the_older_version_has_other_names(tmp_path: Path) -> None:
    files = {
        "memory__usage_in_bytes": 90 * MIB,
        "memory__stat": f"inactive_file 1\ntotal_inactive_file {20 * MIB}",
    }
    limited = write(tmp_path / "a", memory__limit_in_bytes=128 * MIB, **files)
    assert room_of(Group(limited, 1)) == 58 * MIB
    free = write(tmp_path / "b", memory__limit_in_bytes=9223372036854771712, **files)
    assert room_of(Group(free, 1)) is None


def test_the_tightest_of_all_limits_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    loose = write(tmp_path / "a", memory__max=900 * MIB, memory__current=0, memory__stat="")
    tight = write(tmp_path / "b", memory__max=64 * MIB, memory__current=60 * MIB, memory__stat="")
    groups = (Group(loose, 2), Group(tight, 2))
    monkeypatch.setattr(cgroup, "own_groups", lambda: groups)
    assert cgroup.room() == 4 * MIB == memory.available_memory()


def test_a_real_limit_is_seen() -> None:
    """A group of the older version can be made here; a process inside sees what is left."""
    base = Path("/sys/fs/cgroup/memory")
    if os.geteuid() != 0 or not (base / "memory.limit_in_bytes").exists():
        pytest.skip("needs root and a memory controller of version 1 (make test-vm has version 2)")
    group = base / f"nimad-test-{os.getpid()}"
    try:
        group.mkdir()
        (group / "memory.limit_in_bytes").write_text(str(200 * MIB))
    except OSError as error:
        pytest.skip(f"this machine lets nobody make control groups: {error}")
    script = (
        f"import os; open('{group}/cgroup.procs', 'w').write(str(os.getpid()))\n"
        "from nimad.probe.memory import available_memory\nprint(available_memory())"
    )
    try:
        done = subprocess.run(
            [sys.executable, "-c", script], capture_output=True, text=True, check=True
        )
    finally:
        group.rmdir()
    assert 100 * MIB < int(done.stdout) <= 200 * MIB


# --- pressure -------------------------------------------------------------------------------------


def told(path: Path, average: float, total: float) -> None:
    line = f"some avg10={average:.2f} avg60=0.00 avg300=0.00 total={total * 1e6:.0f}"
    path.write_text(f"{line}\nfull avg10=9.00 avg60=0.00 avg300=0.00 total=1\n")


def test_the_share_of_a_stretch(tmp_path: Path) -> None:
    now = [100.0]
    paths = [tmp_path / "system", tmp_path / "group", tmp_path / "missing"]
    told(paths[0], 0, 10)
    told(paths[1], 0, 10)
    stalls = pressure.Stalls(paths, least=0.5, clock=lambda: now[0])
    now[0] = 100.2
    assert stalls.told and stalls.share() is None, "too short a stretch"
    now[0] = 102.0
    told(paths[1], 0, 10.5)
    assert stalls.share() == pytest.approx(0.25), "the worse of two counts"
    now[0] = 110.0
    assert stalls.share() == 0.0
    now[0] = 200.0
    told(paths[0], 33, 80)
    assert stalls.share() == pytest.approx(0.33), "a long stretch is told as the last 10 seconds"


def test_a_kernel_that_tells_nothing(tmp_path: Path) -> None:
    now = [0.0]
    stalls = pressure.Stalls([tmp_path / "none"], clock=lambda: now[0])
    now[0] = 5.0
    assert not stalls.told and stalls.share() is None


def test_this_kernel() -> None:
    assert pressure.load() >= 0
    mine = pressure.waited(threading.get_native_id())
    assert mine is None or mine >= 0
    assert pressure.waited(1 << 22) is None
    assert memory.available_memory() > MIB and memory.own_memory() > MIB


# --- heat and power -------------------------------------------------------------------------------


def test_only_the_processors_sensors_count(monkeypatch: pytest.MonkeyPatch) -> None:
    def sensors(**chips: list[float | None]) -> None:
        made = {name: [SimpleNamespace(current=c) for c in chips[name]] for name in chips}
        monkeypatch.setattr(psutil, "sensors_temperatures", lambda: made, raising=False)

    sensors(cpu_thermal=[61.2], nvme=[93.0])
    assert heat.temperature() == 61.2
    sensors(coretemp=[50.0, 71.0, None])
    assert heat.temperature() == 71.0
    sensors(nvme=[93.0])
    assert heat.temperature() is None


@pytest.mark.parametrize(
    ("bits", "reason"),
    [
        ("0", None),
        ("50000", None),
        ("50005", "under-voltage, throttled by heat"),
        ("8", "soft temperature limit"),
    ],
)
def test_what_a_raspberry_pi_tells(tmp_path: Path, bits: str, reason: str | None) -> None:
    write(tmp_path / "devices/platform/soc/soc:firmware", get_throttled=bits)
    assert heat.throttled(tmp_path) == reason


def test_a_fan_that_turns_slows_nothing_down(tmp_path: Path) -> None:
    devices = tmp_path / "class/thermal"
    write(devices / "cooling_device0", type="pwm-fan", cur_state=3)
    processor = write(devices / "cooling_device1", type="thermal-cpufreq-0", cur_state=0)
    assert heat.throttled(tmp_path) is None
    write(processor, cur_state=2)
    assert heat.throttled(tmp_path) == "throttled by heat"


def test_the_battery(monkeypatch: pytest.MonkeyPatch) -> None:
    def holds(found: object) -> heat.Battery | None:
        monkeypatch.setattr(psutil, "sensors_battery", lambda: found, raising=False)
        return heat.battery()

    assert holds(None) is None
    assert holds(SimpleNamespace(percent=20, power_plugged=False)) == heat.Battery(20.0, True)
    assert holds(SimpleNamespace(percent=20, power_plugged=True)) == heat.Battery(20.0, False)
    assert holds(SimpleNamespace(percent=20, power_plugged=None)) == heat.Battery(20.0, False)


# --- priority -------------------------------------------------------------------------------------


def io_class(thread: int) -> int:
    return int(psutil.Process(thread).ionice().ioclass)


def test_a_thread_goes_down_and_is_lifted_by_another() -> None:
    made: list[priority.Priority] = []
    policies: list[int] = []
    steps = [threading.Event() for _ in range(3)]

    def work() -> None:
        made.append(priority.Priority())
        made[0].lower()
        policies.append(os.sched_getscheduler(0))
        steps[0].set()
        assert steps[1].wait(PATIENCE)
        policies.append(os.sched_getscheduler(0))
        assert steps[2].wait(PATIENCE)

    thread = Background(work)
    thread.start()
    assert steps[0].wait(PATIENCE)
    number = thread.native_id or 0
    assert io_class(number) == psutil.IOPRIO_CLASS_IDLE
    assert os.sched_getscheduler(os.getpid()) == os.SCHED_OTHER, "only that thread"
    made[0].lift()
    made[0].lift()
    steps[1].set()
    while len(policies) < 2:
        time.sleep(0.001)
    assert io_class(number) == psutil.IOPRIO_CLASS_NONE
    steps[2].set()
    thread.finish()
    assert policies == [priority.lowest(), os.SCHED_OTHER]


def test_where_nobody_can_come_back_it_does_not_go_so_low(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    real = os.sched_setscheduler

    def refuse(thread: int, policy: int, param: os.sched_param) -> None:
        if policy == os.SCHED_OTHER:
            raise PermissionError(1, "Operation not permitted")
        real(thread, policy, param)

    monkeypatch.setattr(os, "sched_setscheduler", refuse)
    assert priority.lowest.__wrapped__() == os.SCHED_BATCH
    assert "LimitNICE" in caplog.text
