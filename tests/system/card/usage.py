"""What a board does with its card meanwhile, and what must be there after a power cut.

Positions are numbers of entries in the card's log: what was answered at a position is on the card
when it has what it was told to flush before.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.client import Client, RemoteFailure
from tests.system.machine.conftest import WORDS
from tests.threads import Background, setting

NEVER = 1 << 62
"""The position of what did not happen."""


@dataclass
class Kept:
    """One text: when it was sent and answered, and the same for its end; [positions]."""

    text: str
    mark: str
    sent: int
    answered: int = NEVER
    id: int | None = None
    end_sent: int = NEVER
    end_answered: int = NEVER
    purged: bool = False


@dataclass
class Ledger:
    """Everything that was told to nimad, and everything that it answered."""

    position: Callable[[], int]
    kept: list[Kept] = field(default_factory=list)
    sources: list[tuple[int, str, set[str]]] = field(default_factory=list)
    """Answered, name, texts of what was migrated."""
    backups: list[tuple[int, str]] = field(default_factory=list)
    """Answered, and the name of the file on the card."""
    refusals: list[str] = field(default_factory=list)
    """Codes of the errors."""

    def text(self, chance: random.Random) -> Kept:
        """A new text, about to be sent; one in twelve is longer than a page of the records."""
        mark = f"zq{len(self.kept)}x"
        length = chance.randrange(800, 4000) if chance.random() < 0.08 else chance.randrange(6, 60)
        words = " ".join(chance.choice(WORDS) for _ in range(length))
        self.kept.append(Kept(f"{mark} {words} {mark}", mark, self.position()))
        return self.kept[-1]

    def answered(self) -> list[int]:
        """The positions at which something was answered."""
        found = {each.answered for each in self.kept} | {each.end_answered for each in self.kept}
        found |= {at for at, *_ in self.sources} | {at for at, _ in self.backups}
        return sorted(found - {NEVER})

    def must(self, at: int) -> list[Kept]:
        """What must be there when the power goes at a position."""
        return [each for each in self.kept if each.answered <= at <= each.end_sent]

    def may(self, at: int) -> set[str]:
        """Texts that may be there; those of `must` are among them."""
        return {each.text for each in self.kept if each.sent < at < each.end_answered}


class Usage:
    """A client that remembers, imports, captures, replaces documents, forgets and purges."""

    def __init__(self, ledger: Ledger, socket: Path, seed: int) -> None:
        self._ledger, self._socket = ledger, socket
        self._chance = random.Random(seed)
        self._client: Client | None = None
        self._documents: dict[str, Kept] = {}
        self._stop = threading.Event()

    @contextmanager
    def under_way(self) -> Iterator[None]:
        """A thread does one thing after the other; a daemon that is gone is waited for."""
        self._stop.clear()
        with Background(self._go_on), setting(self._stop):
            yield

    def _go_on(self) -> None:
        acts = [self.remember, self.put_in, self.capture, self.replace, self.forget, self.purge]
        while not self._stop.wait(0.002):
            (act,) = self._chance.choices(acts, [60, 8, 8, 8, 14, 2])
            try:
                act()
            except RemoteFailure as error:
                self._ledger.refusals.append(error.code)
                self._stop.wait(0.05)
            except (OSError, AssertionError):
                self._client = None
                self._stop.wait(0.05)

    def call(self, verb: str, **parameters: Any) -> Any:
        if self._client is None:
            self._client = Client(self._socket)
        return self._client.call(verb, parameters)

    def _note(self, made: Sequence[Kept], ids: Sequence[int]) -> None:
        at = self._ledger.position()
        for each, number in zip(made, ids, strict=True):
            each.id, each.answered = number, at

    def remember(self) -> None:
        kept = self._ledger.text(self._chance)
        self._note([kept], [self.call("remember", text=kept.text, who="Maya")["id"]])

    def put_in(self) -> None:
        made = [self._ledger.text(self._chance) for _ in range(self._chance.randrange(2, 40))]
        self._note(made, self.call("import", memories=[{"text": e.text} for e in made])["ids"])

    def capture(self) -> None:
        made = [self._ledger.text(self._chance) for _ in range(2)]
        turn = {
            "session": "s",
            "turn": str(made[0].sent),
            "input": made[0].text,
            "output": made[1].text,
        }
        ids = self.call("capture", turns=[turn])["turns"][0]["ids"]
        self._note(made, [ids["input"], ids["output"]])

    def replace(self) -> None:
        key = str(self._chance.randrange(5))
        kept, before = self._ledger.text(self._chance), self._documents.get(key)
        document = {"namespace": "d", "key": key, "value": {"mark": kept.mark}, "text": kept.text}
        if before is not None:
            before.end_sent = kept.sent
        self._documents[key] = kept
        self.call("documents.put", documents=[document])
        kept.answered = self._ledger.position()
        if before is not None:
            before.end_answered = kept.answered

    def _pick(self) -> list[Kept]:
        documents = list(self._documents.values())
        there = [e for e in self._ledger.kept if e.id is not None and e.end_sent == NEVER]
        there = [each for each in there if each not in documents]
        return self._chance.sample(there, min(len(there), self._chance.randrange(1, 4)))

    def forget(self, purge: bool = False) -> None:
        if not (made := self._pick()):
            return
        for each in made:
            each.end_sent = self._ledger.position()
        told = self.call("forget", ids=[each.id for each in made], purge=purge)
        for each in made:
            each.end_answered, each.purged = self._ledger.position(), bool(told["purged"])

    def purge(self) -> None:
        self.forget(purge=True)
