"""What the owner of a small board does with nimad, and what happens to the board.

The tests share one machine and go in order.
"""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.system.board.conftest import GUEST, MEMORIES, REST, ROUNDS, Ask, Guest, ready
from tests.system.machine.conftest import wait_until_done
from tests.system.machine.emulated import Emulated

STATE = "/var/lib/nimad"
LATER, DAY_AFTER = "2027-06-01", "2027-06-02"
"""A day to which a clock is set, whose noon begins with 1811 [ms]; then the next."""
ENOUGH = 250
"""Number of memories that each power cut waits for."""
CARD = "/dev/vdb"
TELLS = (
    "dmesg | tail -40; P=$(systemctl show -p MainPID --value nimad);"
    f" grep {STATE} /proc/$P/maps | cut -c 50- | sort | uniq -c; ls -l /proc/$P/fd | grep {STATE}"
)
"""Commands that tell why the card cannot be made writable: what the kernel says, what is held."""
Report = dict[str, Any]


def acknowledged(board: Emulated) -> tuple[dict[int, int], set[int], set[int], list[str]]:
    """Of what came over the line: ids with checksums that must be there, ids that were being
    forgotten, ids that are forgotten, errors in order.  A line without its end was not said."""
    there: dict[int, int] = {}
    trying: set[int] = set()
    gone: set[int] = set()
    errors: list[str] = []
    for line in board.acks.read_bytes().decode().split("\n")[:-1]:
        word, *rest = line.split()
        if word == "A":
            assert int(rest[0]) not in there.keys() | gone, "an id was given twice"
            there[int(rest[0])] = int(rest[1])
        elif word == "T":
            trying.add(int(rest[0]))
        elif word == "F":
            gone.add(int(rest[0]))
        else:
            errors.append(rest[0])
    return there, trying, gone, errors


def faults(ask: Ask) -> list[Any]:
    """What `doctor` finds, without what it only notes."""
    return [found for found in ask("doctor")["problems"] if found["severity"] != "note"]


def assert_kept(board: Emulated, ask: Ask, guest: Guest) -> tuple[int, int]:
    """Everything acknowledged is there, unaltered, and what was forgotten is not; how much."""
    there, trying, gone, _ = acknowledged(board)
    now = {int(number): crc for number, crc in guest("dump").items()}
    kept = {number: crc for number, crc in there.items() if number not in trying}
    assert {number: now.get(number) for number in kept} == kept
    assert not gone & now.keys(), "what was forgotten came back"
    deadline = time.monotonic() + 600
    while found := faults(ask):  # a purge that the cut ended goes on once nobody asks
        unfinished = [each for each in found if "is not finished" in each["what"]]
        assert found == unfinished and time.monotonic() < deadline, found
        while ask("status")["waiting"] and time.monotonic() < deadline:
            time.sleep(5)  # to ask `doctor` meanwhile would read records, for which a purge waits
    return len(there), len(gone)


def answer(ask: Ask, seconds: float = 120.0) -> Any:
    """What a question is told in the end: on a busy machine the first one after a start may take
    the emulated one longer than the 5 seconds that it has (recall.seconds)."""
    deadline = time.monotonic() + seconds
    while (found := ask("query garden -k 1")).get("error", {}).get("code") == "query_too_long":
        assert time.monotonic() < deadline, found
    return found


def start(board: Emulated, command: str) -> None:
    board.run(f"nohup sh -c '{command}' >/dev/null 2>&1 &")


def wait_for(board: Emulated, count: int, seconds: float) -> None:
    """Until so many memories are acknowledged."""
    deadline = time.monotonic() + seconds
    while len(acknowledged(board)[0]) < count:
        assert time.monotonic() < deadline, f"fewer than {count}"
        time.sleep(0.3)


MEANWHILE = (
    "true",
    "while nimactl rebuild words; do true; done",
    "while nimactl backup /var/tmp/kept.nimad; do true; done",
    "nimactl migrate /home/maya/more{}.sqlite --strategy full",
    "true purge",
    "while nimactl rebuild blocks; do true; done",
    "nimactl migrate /home/maya/more{}.sqlite --strategy full",
    "while nimactl rebuild graph; do true; done",
)
"""What is done beside the writers of a round when the power goes."""


def test_it_installs_without_a_network(board: Emulated, report: Report) -> None:
    board.run("apt-get install -y /var/tmp/nimad.deb", timeout=1800)
    board.run("usermod -aG nimad maya")
    report["page_size"] = int(board.run("getconf PAGESIZE"))
    report["start_s_empty"] = ready(board)
    exposure = board.run("systemd-analyze security nimad --no-pager | tail -1")
    assert "SAFE" in exposure, exposure


def test_it_rests_in_little_memory(board: Emulated, guest: Guest, report: Report) -> None:
    time.sleep(REST)
    found = guest("memory")
    report["idle_pss_mib_empty"] = found["pss_mib"]
    assert found["pss_mib"] <= 60


def test_one_memory_writes_little(guest: Guest, report: Report) -> None:
    found = guest("remember", 200)
    report.update(found)
    assert found["remember_kib"] <= 55 and found["remember_flushes"] <= 2.5


def test_a_migration_fits(board: Emulated, ask: Ask, guest: Guest, report: Report) -> None:
    began = time.monotonic()
    board.run("nimactl migrate /home/maya/graph.sqlite --strategy full", user="maya", timeout=900)
    source = wait_until_done(ask, "graph", 3600)
    report["migration_s"] = round(time.monotonic() - began)
    report["migration_peak_rss_mib"] = guest("memory")["peak_rss_mib"]
    assert source["state"] == "verified" and source["verified"] == MEMORIES
    assert board.run("systemctl show nimad -p NRestarts --value").strip() == "0"
    assert faults(ask) == []


def test_questions_are_answered(guest: Guest, report: Report) -> None:
    report.update(guest("query", 100))
    time.sleep(REST)
    report["used_pss_mib"] = guest("memory")["pss_mib"]


def test_a_restart_is_quick(board: Emulated, report: Report) -> None:
    board.run("systemctl restart nimad", timeout=300)
    report["start_s"] = ready(board)


def test_a_purge_leaves_nothing(board: Emulated, ask: Ask) -> None:
    number = ask("remember 'The quokka sleeps in the shed'")["id"]
    board.run(f"nimactl forget {number} --purge", timeout=300)
    found = board.run(f"grep -rlai quokka {STATE} || true")
    assert not found, found


def test_a_full_disk_passes(board: Emulated, ask: Ask) -> None:
    kept = ask("status")["memories"]
    board.run("cat /dev/zero > /fill; sync; cat /dev/zero > /fill2", check=False, timeout=900)
    long = "no room for this " * 3000
    while "error" not in (found := ask(f"remember '{kept} {long}'")):
        kept += 1  # the log of writes has room that it was given before
        assert kept < MEMORIES + 500, "the disk is full, and it goes on"
    assert found["error"]["exit"] == 74, found
    for _ in range(3):
        board.run("systemctl restart nimad --no-block; sleep 8")
    board.run("rm /fill /fill2; sync")
    time.sleep(10)
    ready(board)
    assert ask("status")["memories"] == kept and ask("remember 'room again'")["id"]


def resume(board: Emulated) -> None:
    """Go on from where the machine was frozen: it is told the time, and gets its card back."""
    board.boot(logs_writes=True)
    board.run(f"date -s @{time.time():.0f} && mount -o noatime {CARD} {STATE}")
    board.run("systemctl start nimad.socket nimad", timeout=900)
    ready(board)


@pytest.fixture(scope="class")
def card(board: Emulated) -> Iterator[Emulated]:
    """The board, frozen before nimad's start, and resumed."""
    board.run(
        f"systemctl stop nimad.socket nimad; mount {CARD} /mnt && cp -a {STATE}/. /mnt &&"
        " umount /mnt && sync",
        timeout=900,
    )
    board.freeze()
    resume(board)
    yield board
    board.cut_power()
    board.thaw()
    board.boot()
    ready(board)


class TestPowerCuts:
    """What is acknowledged, forgotten or under way while the power goes.  nimad's state is on a
    card of its own, and each start after a cut is the begin of the next round."""

    def test_a_card_that_turned_read_only(
        self, card: Emulated, ask: Ask, guest: Guest, report: Report
    ) -> None:
        """The card is remounted in an emergency under writers, then the power goes: told as what it
        is, nothing is acknowledged that is gone, and it goes on without a restart."""
        went_on = 0
        for number in range(ROUNDS):
            there, *_, errors_before = acknowledged(card)
            start(card, f"python3 {GUEST} write {100 * number}")
            wait_for(card, len(there) + 50, 600)
            time.sleep(random.Random(number).uniform(0, 7))
            card.run("echo u > /proc/sysrq-trigger")
            time.sleep(4)
            assert (found := answer(ask)).get("results"), f"no answer meanwhile: {found}"
            refused = ask("remember 'not to be written'")["error"]["code"]
            assert refused == "disk_read_only", refused
            count = len(acknowledged(card)[0])
            # ext4 refuses while files that were deleted are still open: then only the cut helps
            refusal = card.run(f"mount -o remount,rw {STATE} 2>&1 || ({TELLS})", check=False)
            if not refusal:
                wait_for(card, count + 1, 120)
                went_on += 1
            card.cut_power()
            lost = card.forget_unflushed(number % 2, number)
            resume(card)
            kept, gone = assert_kept(card, ask, guest)
            errors = set(acknowledged(card)[3][len(errors_before) :])
            assert "disk_read_only" in errors, errors
            assert errors <= {"disk_read_only", "ConnectionError"}, errors
            report |= {"read_only_rounds": number + 1, "read_only_went_on": went_on}
            report["read_only_acknowledged"] = kept
            told = f"{kept} remembered, {gone} forgotten, {lost} writes lost"
            print(f"{time.strftime('%X')} read-only {number + 1}: {told}. {refusal}", flush=True)
        assert went_on or ROUNDS < 4, "it goes on by itself where ext4 does"

    @pytest.mark.parametrize("kept", [0.0, 0.5], ids=["nothing kept", "half kept"])
    def test_strict_power_cuts(
        self, card: Emulated, ask: Ask, guest: Guest, report: Report, kept: float
    ) -> None:
        """A card that loses what was not flushed, or half of it."""
        for number in range(ROUNDS):
            seed = 10_000 + 10_000 * int(kept * 10) + 100 * number
            cuts = report.get("cuts", 0)
            work = MEANWHILE[cuts % len(MEANWHILE)].format(cuts // 4)
            count = len(acknowledged(card)[0])
            start(card, f"python3 {GUEST} write {seed} {int('purge' in work)}")
            start(card, work)
            wait_for(card, count + ENOUGH, 600)
            time.sleep(random.Random(seed).uniform(0, 5))
            card.cut_power()
            lost = card.forget_unflushed(kept, seed)
            resume(card)
            remembered, gone = assert_kept(card, ask, guest)
            report |= {"cuts": cuts + 1, "remembered": remembered, "forgotten": gone}
            told = f"{remembered} remembered, {gone} forgotten, {lost} writes lost"
            print(f"{time.strftime('%X')} cut {cuts + 1}, {work}: {told}", flush=True)
        for source in ask("migrate --status")["sources"]:
            assert wait_until_done(ask, source["name"], 1800)["state"] == "verified", source
        assert faults(ask) == []


def test_without_a_clock(board: Emulated, ask: Ask) -> None:
    """It boots in the past, remembers, is told the time, and what it remembered moves along."""
    board.halt()
    board.boot(clock="1970-01-01")
    ready(board)
    number = ask("remember 'The solstice-lamp was lit'")["id"]
    board.run(f"date -s '{LATER} 12:00'")
    deadline = time.monotonic() + 600
    while not str(ask(f"get {number}")["memory"]["timestamp"]).startswith("1811"):
        assert time.monotonic() < deadline, ask("status")["clock"]
        time.sleep(5)
    board.halt()
    board.boot(clock=DAY_AFTER)  # an earlier one would be told as not set, with reason
    ready(board)
    assert ask("query 'solstice-lamp' -k 1")["results"][0]["id"] == number


def test_over_itself(board: Emulated, ask: Ask) -> None:
    before = ask("status")["memories"]
    board.run("apt-get install -y --reinstall /var/tmp/nimad.deb", timeout=1800)
    ready(board)
    assert ask("status")["memories"] == before
    assert faults(ask) == []
