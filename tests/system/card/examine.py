"""Whether a nimad on a card after a power cut has what it must have, and says what it has not."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.client import RemoteFailure
from tests.process import DaemonProcess
from tests.system.card.record import Record, daemon_on
from tests.system.card.usage import Kept
from tests.system.test_nimactl import Tool
from tests.threads import PATIENCE

REFUSED = re.compile(r"(error|waiting): .+\. [A-Z`].+\.$|there are no memories in")
"""A line of its log that says what is wrong, and what to do."""
ASKED = 3
"""Memories that are looked for by their words, of those that must be there and of those that must
not."""


@dataclass
class Finding:
    """What a card after a cut showed."""

    must: int = 0
    lost: list[Any] = field(default_factory=list)
    wrong: list[Any] = field(default_factory=list)
    """Texts that nobody told, or under another id."""
    back: list[str] = field(default_factory=list)
    """Marks of what was forgotten."""
    damaged: int = 0
    """Memories that it gives as damaged."""
    served: bool = True
    told: list[str] = field(default_factory=list)
    """What nimad says is damaged, and how to go on."""
    odd: list[str] = field(default_factory=list)
    """What else is not as it should be."""

    @property
    def clean(self) -> bool:
        """What a card that does what it says must show."""
        return self.served and not (self.lost or self.wrong or self.back or self.told or self.odd)

    @property
    def silent(self) -> bool:
        """A fault that not even a card that lies may show: something wrong without a word of it, a
        refusal without a next step, an error that nobody thought of."""
        lines = [*self.told, *self.odd]
        unforeseen = any("Traceback" in line or "inside nimad" in line for line in lines)
        return bool(self.wrong) or unforeseen or not (self.served or self.told)


def ready(daemon: DaemonProcess) -> bool:
    """Start it; False when it says that it cannot serve, and why, or waits for the disk."""
    daemon.spawn()
    deadline = time.monotonic() + PATIENCE
    assert daemon.process is not None
    while daemon.process.poll() is None and time.monotonic() < deadline:
        try:
            daemon.call("ping")
            return True
        except (OSError, AssertionError):
            if "waiting: " in daemon.log():
                return False
            time.sleep(0.02)
    return False


def exported(daemon: DaemonProcess, finding: Finding) -> dict[int, str]:
    """Every text that it gives as what was written, by id; what it cannot give is told."""
    found: dict[int, str] = {}
    after: int | None = 0
    while after is not None:
        try:
            page = daemon.call("export", after=after)
        except RemoteFailure as error:
            finding.told.append(f"export: {error}: {error.hint}")
            break
        found |= {each["id"]: each["text"] for each in page["memories"] if "damaged" not in each}
        finding.damaged += sum("damaged" in each for each in page["memories"])
        after = page["next"]
    return found


def examine(disk: Path, place: Path, record: Record, end: int) -> Finding:
    """Start a nimad on a mounted card whose power went at a position, and look at everything."""
    ledger, finding = record.ledger, Finding()
    must = ledger.must(end)
    gone = [each for each in ledger.kept if each.end_answered <= end]
    finding.must = len(must)
    finding.back += _traces(disk / "state", gone)
    daemon = daemon_on(disk, place)
    daemon.log_file.unlink(missing_ok=True)
    try:
        if not ready(daemon):
            finding.served = False
            finding.told += [line for line in daemon.log().splitlines() if REFUSED.search(line)]
            finding.odd.append(daemon.log()[-2000:])
            return finding
        found = exported(daemon, finding)
        migrated = set().union(*(texts for _, _, texts in ledger.sources))
        compare(finding, found, record, end, migrated)
        finding.told += problems(daemon)
        ask(finding, daemon, must, gone)
        moved(finding, daemon, end, record)
        back_up(finding, Tool(daemon), disk, end, record)
        if must:
            finding.told += re.findall(r"there are no memories in .+", daemon.log())
        if (code := daemon.stop()) != 0:
            finding.odd.append(f"it ended with {code}")
        if "Traceback" in daemon.log():
            finding.odd.append(daemon.log()[-2000:])
    finally:
        daemon.finish()
    return finding


def compare(
    finding: Finding, found: Mapping[int, str], record: Record, end: int, migrated: set[str]
) -> None:
    """What it gives with what it was told."""
    ledger, texts = record.ledger, list(found.values())
    must, may = ledger.must(end), ledger.may(end)
    known = {each.id: each.text for each in ledger.kept if each.id is not None}
    for each in must:
        there = found.get(each.id) == each.text if each.id is not None else each.text in texts
        if not there:
            finding.lost.append((each.id, each.mark))
    allowed = {each.text for each in must} | may | migrated
    ever = {each.text for each in ledger.kept if each.sent < end} | migrated
    for number, text in found.items():
        if text not in ever or (text not in migrated and known.get(number, text) != text):
            finding.wrong.append((number, text[:60]))
        elif text not in allowed:
            finding.back.append(text.split()[0])
    if len(set(texts)) != len(texts):
        finding.odd.append("a memory is there twice")


def problems(daemon: DaemonProcess) -> list[str]:
    """What doctor tells, but for the little room on the card; a purge that the cut interrupted is
    waited for."""
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            told = daemon.call("doctor")["problems"]
        except RemoteFailure as error:
            return [f"doctor: {error}: {error.hint}"]
        if time.monotonic() > deadline or all(each["part"] != "maintenance" for each in told):
            break
        time.sleep(0.5)
    return [
        f"{each['part']}: {each['what']}: {each['fix']}" for each in told if each["part"] != "disk"
    ]


def _traces(state: Path, gone: list[Kept]) -> list[str]:
    """Marks of what was purged that are in the files still, before anything mends them."""
    if not state.exists():
        return []
    content = b""
    for path in state.rglob("*"):
        with suppress(OSError):  # it cannot be read, or is a directory
            content += path.read_bytes()
    return [each.mark for each in gone if each.purged and each.mark.encode() in content]


def ask(finding: Finding, daemon: DaemonProcess, must: list[Kept], gone: list[Kept]) -> None:
    """The newest are found by a word that only they have, and what is forgotten is not."""
    for each in must[-ASKED:] + gone[-ASKED:]:
        try:
            hits = daemon.call("query", text=each.mark, k=5, strictness=0)["results"]
        except RemoteFailure as error:
            finding.told.append(f"query: {error}: {error.hint}")
            continue
        found = any(hit["text"] == each.text for hit in hits)
        if found != (each in must):
            finding.odd.append(
                f"{each.mark} ({len(each.text)}, {each.id}) is {'found' if found else 'not found'}"
            )


def moved(finding: Finding, daemon: DaemonProcess, end: int, record: Record) -> None:
    """What was being migrated is, whole and once, soon."""
    for answered, name, texts in record.ledger.sources:
        deadline = time.monotonic() + PATIENCE
        sources = daemon.call("migrate.status")["sources"]
        while sources and sources[0]["state"] != "verified" and time.monotonic() < deadline:
            time.sleep(0.05)
            sources = daemon.call("migrate.status")["sources"]
        if not sources:
            if answered <= end:
                finding.lost.append(f"source {name}")
            continue
        count = len(texts & set(exported(daemon, finding).values()))
        if sources[0]["state"] != "verified" or count != len(texts):
            finding.odd.append(f"{count} migrated: {sources[0]}")


def back_up(finding: Finding, tool: Tool, disk: Path, end: int, record: Record) -> None:
    """Each backup that has its name is whole, and those that were answered are there."""
    for answered, name in record.ledger.backups:
        if not (disk / name).exists():
            if answered <= end:
                finding.lost.append(f"backup {name}")
        elif "is whole" not in tool.run("backup", "--verify", disk / name):
            finding.odd.append(f"backup {name} is not whole")
