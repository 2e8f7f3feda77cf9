"""The units say what they must: lifecycle, limits, walls; systemd itself reads and scores them."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from tests.system.tools import need

UNITS = Path(__file__).parents[2] / "systemd"
CEILINGS = {"nimad": 0.7, "nimad-embedder": 1.1, "nimad-sync": 1.1, "nimad-web": 0.5}
TIMED = {"nimad-metrics": 1.0, "nimad-backup": 1.0}
"""Services that a timer starts, which is off by default, and their ceilings."""
ALL_CEILINGS = CEILINGS | TIMED
"""Highest exposure scores that `systemd-analyze security` may give (0 is best, 10 worst)."""

LIFECYCLE = """
Type=notify
NotifyAccess=main
WatchdogSec=60
Restart=on-failure
RestartPreventExitStatus=64 65 78
ExecReload=/bin/sh -c "kill -HUP $MAINPID"
User=nimad
StateDirectory=nimad
StateDirectoryMode=0700
CacheDirectoryMode=0700
UMask=0077
LimitCORE=0
LimitNICE=+0
MemoryHigh=50%
MemoryMax=75%
OOMPolicy=continue
TasksMax=64
"""
WALLS = """
CapabilityBoundingSet=
NoNewPrivileges=yes
ProtectSystem=strict
ProtectHome=yes
PrivateTmp=yes
PrivateDevices=yes
PrivateNetwork=yes
PrivateIPC=yes
IPAddressDeny=any
RestrictAddressFamilies=AF_UNIX
ProtectProc=invisible
ProtectClock=yes
ProtectHostname=yes
ProtectKernelLogs=yes
ProtectKernelModules=yes
ProtectKernelTunables=yes
ProtectControlGroups=yes
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
LockPersonality=yes
MemoryDenyWriteExecute=yes
SystemCallArchitectures=native
SystemCallFilter=@system-service
SystemCallFilter=~@privileged
SystemCallErrorNumber=EPERM
"""
WOULD_BREAK = {
    "PrivateUsers": "SO_PEERCRED would show 65534 for every caller",
    "ProcSubset": "free memory and pressure could not be read",
    "LimitAS": "the graph database could not reserve its address space",
    "RuntimeDirectory": "stopping the service would remove the socket of nimad.socket",
    "DynamicUser": "the group, which is the right of access, would change its number",
}


def settings(name: str) -> list[str]:
    lines = (UNITS / name).read_text(encoding="utf-8").splitlines()
    return [line for line in lines if line and not line.startswith(("#", "["))]


@pytest.mark.parametrize("line", (LIFECYCLE + WALLS).split("\n")[1:-1])
def test_the_service_has(line: str) -> None:
    if line:
        assert line in settings("nimad.service")


@pytest.mark.parametrize("key", WOULD_BREAK)
def test_the_service_leaves_out_what_would_break_it(key: str) -> None:
    assert not [line for line in settings("nimad.service") if line.startswith(f"{key}=")]


@pytest.mark.parametrize("unit", CEILINGS)
def test_what_can_pass_never_ends_in_failed(unit: str) -> None:
    """Ten starts on a full disk once left service and socket failed, for good."""
    assert "StartLimitIntervalSec=0" in settings(f"{unit}.service")
    assert not [line for line in settings(f"{unit}.service") if line.startswith("StartLimitBurst")]


def test_the_pauses_grow_where_systemd_knows_how() -> None:
    assert {"RestartSteps=6", "RestartMaxDelaySec=1min"} <= set(settings("restart-steps.conf"))
    rules = (UNITS.parent / "debian" / "rules").read_text(encoding="utf-8")
    assert "systemd/restart-steps.conf" in rules
    for unit in CEILINGS:  # Debian 12 would warn about a key that it does not know
        assert not [line for line in settings(f"{unit}.service") if "RestartSteps" in line]


def test_it_waits_for_the_clock_where_something_sets_it() -> None:
    assert "After=nimad.socket time-sync.target" in settings("nimad.service")


def test_the_socket_is_for_the_group() -> None:
    assert {
        "ListenStream=/run/nimad/nimad.sock",
        "SocketMode=0660",
        "SocketGroup=nimad",
        "RemoveOnStop=yes",
    } <= set(settings("nimad.socket"))


def test_the_user_is_one_that_systemd_252_understands() -> None:
    lines = settings("nimad.sysusers")
    names = ["nimad", "nimad-sync", "nimad-web"]
    assert [re.match(r"u ([a-z-]+) - ", line)[1] for line in lines] == names


def test_the_service_is_stopped_only_after_its_requests_were_drained() -> None:
    from nimad.config import KEYS

    (stop,) = [line for line in settings("nimad.service") if line.startswith("TimeoutStopSec=")]
    assert float(stop.partition("=")[2].rstrip("s")) > KEYS["server.drain_seconds"].default


def test_debian_takes_these_very_files() -> None:
    for kind in ("service", "socket", "sysusers"):
        link = UNITS.parent / "debian" / f"nimad.{kind}"
        assert link.is_symlink()
        assert link.resolve() == (UNITS / f"nimad.{kind}").resolve()


@pytest.mark.parametrize("unit", TIMED)
def test_a_timer_is_off_by_default(unit: str) -> None:
    rules = (UNITS.parent / "debian" / "rules").read_text(encoding="utf-8")
    assert f"--name={unit} --no-enable --no-start" in rules
    assert "WantedBy=timers.target" in settings(f"{unit}.timer")


@pytest.mark.parametrize("unit", ALL_CEILINGS)
def test_systemd_finds_no_mistake(tmp_path: Path, unit: str) -> None:
    program = need("systemd-analyze", "systemd")
    other = f"{unit}.{'timer' if unit in TIMED else 'socket'}"
    names = [name for name in (f"{unit}.service", other) if (UNITS / name).exists()]
    for name in names:
        text = (UNITS / name).read_text(encoding="utf-8")
        text = re.sub(r"/usr/bin/nim\S+", "/bin/true", text)
        text = "\n".join(line for line in text.splitlines() if "Documentation=" not in line)
        (tmp_path / name).write_text(text + "\n", encoding="utf-8")
    command = [program, "verify", *(str(tmp_path / name) for name in names)]
    done = subprocess.run(command, capture_output=True, text=True)
    ours = [line for line in done.stderr.splitlines() if "nimad" in line]
    assert (done.returncode, ours) == (0, [])


@pytest.mark.parametrize(("name", "ceiling"), ALL_CEILINGS.items())
def test_the_exposure_score_stays_below_the_ceiling(name: str, ceiling: float) -> None:
    program = need("systemd-analyze", "systemd")
    command = [program, "security", "--offline=true", "--no-pager", str(UNITS / f"{name}.service")]
    report = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    found = re.search(rf"Overall exposure level for {name}.service: ([0-9.]+)", report)
    assert found is not None, report
    assert float(found[1]) <= ceiling, report
