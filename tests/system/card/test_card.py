"""What nimad does with a card that loses, tears, reorders, fails, refuses or lies.

A card that does what it says may do with unflushed writes what it likes: all that was acknowledged
is there, and nothing is damaged.  Of any other card what is damaged is told, and how to go on.
"""

from __future__ import annotations

import contextlib
import errno
import random
import re
import subprocess
import time
from collections import Counter
from pathlib import Path

import pytest

from tests.client import RemoteFailure
from tests.system.card.conftest import IMAGES, ROUNDS, SEED, Report
from tests.system.card.device import BLOCK, Card
from tests.system.card.examine import Finding, examine, exported
from tests.system.card.images import Cut, Moment, Unusable, copy, images, moments, mounted
from tests.system.card.record import Record, daemon_on, format_card
from tests.system.card.usage import Ledger, Usage
from tests.system.test_nimactl import Tool
from tests.threads import PATIENCE

FAULTS = Path("build/card")
"""Where images that show a fault are kept."""


def count(report: Report, trouble: str, finding: Finding) -> None:
    """Add what a card showed to the table."""
    counted = report.setdefault(trouble, Counter())
    counted.update(
        {
            "images": 1,
            "acknowledged": finding.must,
            "lost": len(finding.lost),
            "wrong": len(finding.wrong),
            "came back": len(finding.back),
            "marked": finding.damaged,
            "not served": int(not finding.served),
            "told": int(bool(finding.told)),
        }
    )


def test_power_cuts(used: Record, report: Report, tmp_path: Path) -> None:
    """Hundreds of cards as a cut at some moment of the same use would have left them."""
    chance, faults = random.Random(len(used.log)), []
    cuts = moments(used.log, used.began, used.ledger.answered(), IMAGES, chance)
    for moment, image in images(used.log, cuts, tmp_path):
        lied = moment.cut is Cut.LIED
        try:
            with mounted(image, tmp_path / "disk", mend=lied) as disk:
                finding = examine(disk, tmp_path / "look", used, moment.end)
        except Unusable as error:
            finding = Finding(told=[str(error)], served=False)
            if not lied:
                finding.odd.append("the file system cannot be mounted")
        count(report, moment.cut, finding)
        if finding.silent if lied else not finding.clean:
            faults.append((moment, finding))
    for moment, finding in faults[:3]:
        for _, image in images(used.log, [moment], tmp_path):
            copy(image, FAULTS / f"{moment.cut}-{moment.end}.img")
        (FAULTS / f"{moment.cut}-{moment.end}.txt").write_text(f"{finding}\n")
    assert not faults, f"{len(faults)} faults, see {FAULTS}"


def test_a_backup_helps(used: Record, tmp_path: Path) -> None:
    """What `doctor` and a refused start tell to do, done: on another card all of it is there."""
    daemon = daemon_on(tmp_path, tmp_path / "new")
    told = Tool(daemon).json("restore", used.backup, "--into", daemon.state)
    assert told["problems"] == []
    try:
        found = set(exported(daemon.start(), Finding()).values())
        assert daemon.stop() == 0
    finally:
        daemon.finish()
    at, _ = used.ledger.backups[-1]
    assert {each.text for each in used.ledger.must(at)} <= found


def whole(used: Record, place: Path) -> Path:
    """The card as it is after all of its use."""
    end = Moment(len(used.log), len(used.log), Cut.NOTHING, 0)
    return next(iter(images(used.log, [end], place)))[1]


def blocks_of(path: Path) -> list[int]:
    """The blocks of the card that a file lies in."""
    told = subprocess.run(["filefrag", "-e", path], capture_output=True, text=True, check=True)
    found = re.findall(r"^ +\d+: +\d+\.\. +\d+: +(\d+)\.\. +(\d+):", told.stdout, re.MULTILINE)
    return [block for first, last in found for block in range(int(first), int(last) + 1)]


def test_blocks_that_cannot_be_read(used: Record, report: Report, tmp_path: Path) -> None:
    """EIO for some blocks of one file: what can be read is served, the rest is told."""
    chance, faults = random.Random(len(used.log)), []
    image = whole(used, tmp_path)
    with mounted(image, tmp_path / "disk") as disk:
        files = sorted(path for path in (disk / "state").rglob("*") if path.stat().st_size > BLOCK)
        blocks = {path.name: blocks_of(path) for path in files if path.is_file()}
    for number, (name, of_file) in enumerate(sorted(blocks.items()) * 2):
        bad = chance.sample(of_file, min(len(of_file), 1 + number % 3))
        card = Card(tmp_path / f"card{number}", copy(image, tmp_path / "content"))
        try:
            card.fail_reads(bad)
            with mounted(card.file, tmp_path / "disk") as disk:
                finding = examine(disk, tmp_path / "look", used, len(used.log))
        except Unusable as error:
            finding = Finding(told=[str(error)], served=False)
        finally:
            card.close()
        count(report, "unreadable", finding)
        if finding.silent or (finding.lost and not finding.told):
            faults.append((name, bad, finding))
    assert not faults, faults


@pytest.mark.parametrize("number", range(SEED, SEED + 2 * ROUNDS))
def test_a_card_that_refuses_writes(report: Report, tmp_path: Path, number: int) -> None:
    """At some moment it takes nothing more; then the power goes.  Questions are answered meanwhile,
    and all that was acknowledged is there afterwards."""
    chance = random.Random(number)
    card = Card(tmp_path / "card")
    ledger = Ledger(lambda: card.position)
    try:
        format_card(card)
        with mounted(card.file, tmp_path / "disk") as disk:
            daemon = daemon_on(disk, tmp_path / "look")
            try:
                usage = Usage(ledger, daemon.start().socket, number)
                with usage.under_way():
                    until = time.monotonic() + PATIENCE
                    while len(ledger.answered()) < 30 and time.monotonic() < until:
                        time.sleep(0.01)
                    time.sleep(chance.uniform(0.5, 3))
                    card.fail_writes(errno.EROFS if number % 2 else errno.EIO)
                    time.sleep(2)
                assert daemon.call("query", text="garden", strictness=0)["results"]
                with pytest.raises(RemoteFailure) as refused:
                    daemon.call("remember", text="a lamp")
            finally:
                daemon.finish()
        log = list(card.log())
    finally:
        with contextlib.suppress(subprocess.CalledProcessError):
            card.close()
    assert refused.value.code in ("disk_failed", "disk_read_only"), refused.value
    assert set(ledger.refusals) <= {"disk_failed", "disk_read_only"}, Counter(ledger.refusals)
    used, end = Record(log, ledger, 0, tmp_path), Moment(len(log), len(log), Cut.NOTHING, 0)
    ((_, image),) = images(log, [end], tmp_path)
    with mounted(image, tmp_path / "disk") as disk:
        finding = examine(disk, tmp_path / "after", used, len(log))
    count(report, "refuses writes", finding)
    assert finding.clean, finding
