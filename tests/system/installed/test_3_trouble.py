"""What goes wrong on a board: kill -9, a power cut, a wrong configuration. Nothing is lost."""

from __future__ import annotations

import time

from tests.system.installed.conftest import CONFIG, Ask
from tests.system.installed.machine import Machine
from tests.system.installed.test_2_use import main_pid
from tests.threads import PATIENCE


def remember(ask: Ask, text: str) -> int:
    return int(ask(f"remember '{text}'")["id"])


def test_kill_9_is_followed_by_a_start_with_everything_there(machine: Machine, ask: Ask) -> None:
    made = [remember(ask, f"Note {n} was written just before the crash.") for n in range(20)]
    before = main_pid(machine)
    machine.run("systemctl kill --signal=KILL nimad")
    # The socket holds this question until the daemon is back.
    assert ask(f"get {made[-1]}")["memory"]["text"].startswith("Note 19")
    assert main_pid(machine) != before
    assert [ask(f"get {n}")["memory"]["id"] for n in made] == made
    assert ask("doctor")["problems"] == []


def test_a_power_cut_is_survived_and_it_starts_by_itself(machine: Machine, ask: Ask) -> None:
    made = remember(ask, "The fuse box hums.")
    machine.cut_power()
    machine.boot()
    assert ask(f"get {made}")["memory"]["text"] == "The fuse box hums."
    assert machine.run("systemctl is-active nimad").stdout.strip() == "active"
    assert ask("doctor")["problems"] == []


def test_stop_drains_and_a_caller_starts_it_again(machine: Machine, ask: Ask) -> None:
    machine.run("systemctl stop nimad.service")
    assert machine.run("systemctl show -P Result nimad").stdout.strip() == "success"
    assert ask("query fuse --mode words")["results"]
    assert machine.run("systemctl is-active nimad").stdout.strip() == "active"


def test_reload_applies_a_change_without_a_restart(machine: Machine, ask: Ask) -> None:
    before = main_pid(machine)
    machine.run(f"printf 'recall:\\n  results: 2\\n' >> {CONFIG}")
    machine.run("systemctl reload nimad")
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline and len(ask("query note --mode words")["results"]) != 2:
        time.sleep(0.2)
    assert len(ask("query note --mode words")["results"]) == 2
    assert main_pid(machine) == before


def test_a_wrong_configuration_is_refused_and_the_old_one_stays(machine: Machine, ask: Ask) -> None:
    machine.run(f"cp {CONFIG} {CONFIG}.good && echo 'embeder: static' >> {CONFIG}")
    machine.run("systemctl reload nimad", check=False)
    assert len(ask("query note --mode words")["results"]) == 2
    log = machine.run("journalctl --unit nimad --no-pager --output cat --lines 5").stdout
    assert "embeder" in log and "embedder" in log, log


def test_a_wrong_configuration_does_not_make_it_start_over_and_over(machine: Machine) -> None:
    done = machine.run("systemctl restart nimad", check=False)
    assert done.returncode != 0
    time.sleep(5)
    assert machine.run("systemctl show -P ExecMainStatus nimad").stdout.strip() == "78"
    assert machine.run("systemctl show -P NRestarts nimad").stdout.strip() == "0"
    shown = machine.run("systemctl status --no-pager nimad", check=False).stdout
    assert "embeder" in shown, shown


def test_a_caller_then_gets_a_clear_line(machine: Machine) -> None:
    done = machine.run("nimactl query note", user="maya", check=False, timeout=90)
    assert done.returncode == 69, done.stderr
    assert "systemctl" in done.stderr


def test_after_mending_it_starts(machine: Machine, ask: Ask) -> None:
    machine.run(f"mv {CONFIG}.good {CONFIG} && systemctl reset-failed && systemctl restart nimad")
    assert ask("query fuse --mode words")["results"]


def test_the_autopkgtests_pass(machine: Machine) -> None:
    from tests.system.installed.conftest import CHECKOUT

    for name in ("smoke", "service"):
        machine.put(CHECKOUT / "debian/tests" / name, f"/var/tmp/{name}")
        who = "maya" if name == "smoke" else "root"
        said = machine.run(f"sh /var/tmp/{name} 2>&1", user=who, timeout=120).stdout
        assert f"{name}: passed" in said
