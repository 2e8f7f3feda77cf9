"""`nimactl import` of what another tool remembers: read it here, compare, hand over the difference.

The source is read as the user who runs this; nimad gets items.  A part of it at a time, nimad is
asked for the fingerprints of what it has, and only what differs is sent, so a second run sends
nothing.  `--dry-run` is the same without the sending: it tells the same numbers.
"""

from __future__ import annotations

import argparse
import os
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

from nimad.ctl.arguments import with_hint
from nimad.ctl.client import Client
from nimad.ctl.screen import Progress, Screen, json_bytes
from nimad.ctl.terminal_text import one_line
from nimad.errors import InputUnusable, Interrupted, NimadError, UsageError, VerifyFailed
from nimad.fingerprint import TOLD, fingerprint
from nimad.human import count
from nimad.importers.clean import cleaned
from nimad.importers.files import shown
from nimad.importers.items import Importer, Item, Linked, Part, Rejected, Whole, key_of
from nimad.importers.registry import find_importer, is_foreign
from nimad.limits import BATCH_BYTES, MAX_IMPORT, MAX_NODES, count_nodes
from nimad.model import Memory
from nimad.times import portable

__all__ = ["import_source", "is_foreign"]

BATCH_NODES = MAX_NODES - 2000
"""Number of values in the items of one request [values]."""
LISTED = 500
"""Number of keys, relations or notes in one request [keys]."""
MAX_LINKS = 200_000
"""Number of relations of one run: they are held until all items are there [relations]."""
MAX_PART, MAX_ITEM, MAX_REASON = 400, 150, 400
"""Length of the name of a part, of an item's key in it, of a reason [characters]."""
SHOWN = 10
"""Number of refused items that people are told of."""
KNOWN = ("added", "changed", "gone", "unchanged", "forgotten")
"""How what could be read is counted: a source that has none of it is no success."""
_USUAL = Memory("")


def import_source(args: argparse.Namespace, client: Client, screen: Screen) -> int:
    """Import what stands at `args.file`; the exit code."""
    if args.from_line != 1:
        raise UsageError(detail="--from-line is for memories, one a line")
    args.dry_run = args.dry_run or args.verify
    path = Path(os.path.realpath(args.file))  # a link that the user names is meant
    if not path.exists():
        raise InputUnusable(path=shown(path), detail="there is no such file or directory")
    importer = find_importer(path, args.source)
    client.call("ping")  # before anything is read in vain
    with Progress(screen.progress) as progress:
        work = _Run(args, client, importer, path, progress)
        try:
            work.run()
        except (NimadError, KeyboardInterrupt) as stopped:
            progress.close()
            error = Interrupted() if isinstance(stopped, KeyboardInterrupt) else stopped
            if not screen.json and work.sent:
                screen.note(f"{count(work.sent, 'item')} stored; the same command goes on.")
            return screen.fail(error, **work.result())
    counts = work.counts
    if args.verify and (differing := counts["added"] + counts["changed"] + counts["gone"]):
        error = VerifyFailed(name=work.name or importer.kind, differences=differing)
        hint = "`nimactl import` of the same path brings the difference in."
        return screen.fail(with_hint(error, hint), **work.result())
    if counts["refused"] and not any(counts[name] for name in KNOWN):
        where, why = work.refused[0]
        detail = f"nothing of it can be taken; {where}: {why}"
        return screen.fail(InputUnusable(path=shown(path), detail=detail), **work.result())
    return screen.answer(work.result(), *map(one_line, work.told()))


class _Run:
    """One run over a source: what was counted, and what waits to be sent."""

    def __init__(
        self,
        args: argparse.Namespace,
        client: Client,
        importer: Importer,
        path: Path,
        progress: Progress,
    ) -> None:
        self._args, self._client, self._importer = args, client, importer
        self._path, self._progress = path, progress
        wishes = {"namespace": args.namespace, "agent": args.agent}
        self._wishes = {name: value for name, value in wishes.items() if value}
        self._origin = {
            "kind": importer.kind,
            "path": shown(path),
            "identity": importer.identity(path),
            "name": args.name,
        }
        self.counts: Counter[str] = Counter()
        self.layers: Counter[str] = Counter()
        self.refused: list[tuple[str, str]] = []
        self.name: str | None = None
        self.sent = 0
        self._parts: set[str] = set()
        self._blind: list[str] = []
        self._unread = False
        self._keys: set[str] = set()
        self._links: list[tuple[str, str, str, str, float | None]] = []
        self._session: tuple[str | None, str] | None = None
        self._captured: dict[tuple[str, str], int | None] = {}
        self._first = self._new = True
        self._last = ""
        self._empty()
        self._open("", whole=False)

    def _empty(self) -> None:
        self._batch: dict[str, list[Any]] = {
            name: [] for name in ("items", "gone", "links", "links_gone", "refused")
        }
        self._bytes = self._nodes = 0

    def run(self) -> None:
        """Read everything, and send the difference."""
        self.name = self._client.call("import.known", None, **self._origin, limit=1)["name"]
        self._new = self.name is None
        for event in self._importer.read(self._path):
            match event:
                case Part():
                    self._close()
                    self._open(_part_key(event.name), event.whole)
                case Item():
                    self._take(event)
                case Linked():
                    self._connect(event)
                case Rejected():
                    self._unread = self._unread or event.unread
                    if event.unread and self._part.endswith("/"):
                        self._blind.append(self._part)
                    self._refuse(event.key, event.reason)
                case Whole():
                    self._close()
                    # parts below it that were not told are gone, but not those that are not read
                    for key, mark in self._known(_part_key(event.prefix))[0].items():
                        part = key.partition("#")[0]
                        if part not in self._parts and not part.startswith(tuple(self._blind)):
                            self._forget(key, mark)
        self._close()
        for link in self._links:
            if link[1] in self._keys and link[2] in self._keys:
                self.counts["relations"] += 1
                self._add("links", link)
        self._send()

    # --- parts --------------------------------------------------------------------------------

    def _open(self, part: str, whole: bool) -> None:
        self._part, self._whole = part, whole
        self._seen: set[str] = set()
        self._unread = False
        self._parts.add(part)
        self._here, self._linked = self._known(f"{part}#") if part else ({}, set())

    def _close(self) -> None:
        """What a whole part no longer says is gone."""
        if self._whole and not self._unread:
            for key in self._here.keys() - self._seen:
                self._forget(key, self._here[key])
            for link in self._linked:
                self._add("links_gone", link)
        self._open("", whole=False)

    def _forget(self, key: str, mark: str | None) -> None:
        if mark is not None:  # else it was forgotten here already
            self.counts["gone"] += 1
            self._add("gone", key)

    def _known(self, prefix: str) -> tuple[dict[str, str | None], set[str]]:
        """What nimad has below a prefix: fingerprints by key (None: forgotten), relations."""
        found: dict[str, str | None] = {}
        links: set[str] = set()
        after: str | None = None if self._new else ""
        while after is not None:
            asked = {**self._origin, "prefix": prefix, "after": after, "limit": LISTED}
            page = self._client.call("import.known", None, **asked)
            found |= dict(page["items"])
            links.update(page["links"])
            after = page["next"]
        return found, links

    def _is_captured(self, memory: Memory) -> str | None:
        """How an item counts that an agent captured as it was said: "unchanged" or "forgotten"."""
        if not (memory.turn and memory.session):
            return None
        space = memory.namespace if memory.namespace != _USUAL.namespace else None
        if self._session != (space, memory.session):
            self._session, self._captured = (space, memory.session), {}
            after: str | None = ""
            while after is not None:
                asked = {**self._origin, "session": memory.session, "namespace": space}
                asked |= {"after": after, "limit": LISTED}
                page = self._client.call("import.known", None, **asked)
                self._captured |= {(turn, role): known for turn, role, known in page["captured"]}
                after = page["next"]
        if (part := (memory.turn, memory.layer)) not in self._captured:
            return None
        return "forgotten" if self._captured[part] is None else "unchanged"

    # --- items --------------------------------------------------------------------------------

    def _take(self, item: Item) -> None:
        """Compare an item with what nimad has."""
        memory, secrets, cut = cleaned(replace(item.memory, **self._wishes), masked=self._args.mask)
        if not memory.text:
            return
        first = key = f"{self._part}#{_item_key(item.key or key_of(memory.text))}"
        number = 1
        while key in self._seen:  # the same line twice is two memories
            number += 1
            key = f"{first}~{number}"
        self._seen.add(key)
        self._last = key
        if self._importer.links:
            self._keys |= {key, f"{self._part}#"}
        self.counts["secrets"] += secrets
        if cut:
            self._refuse(key, cut)
        mark = self._here.get(key, "")
        if mark is None:
            self.counts["forgotten"] += 1
        elif mark == fingerprint(memory):
            self.counts["unchanged"] += 1
        elif not mark and (state := self._is_captured(memory)):
            self.counts[state] += 1
        else:
            self.counts["changed" if mark else "added"] += 1
            self.layers[memory.layer] += 1
            told = {name: getattr(memory, name) for name in TOLD}
            made = {name: value for name, value in told.items() if value != getattr(_USUAL, name)}
            made |= {"text": memory.text, "timestamp": portable(memory.timestamp)}
            self._add("items", {"item": key, **made})
        done = sum(self.counts[name] for name in ("added", "changed", "unchanged"))
        self._progress.show(f"{self._importer.kind}: {count(done, 'item')} read")

    def _connect(self, link: Linked) -> None:
        origin = f"{self._part}#{_item_key(link.key)}" if link.key else self._last
        target = f"{_part_key(link.target_part)}#{_item_key(link.target_key)}"
        key = key_of(origin, target, link.relation)
        if key in self._linked:
            self._linked.discard(key)  # what is left of them is gone
        elif len(self._links) < MAX_LINKS:
            self._links.append((key, origin, target, link.relation[:200], link.weight))

    def _refuse(self, key: str, reason: str) -> None:
        self.counts["refused"] += 1
        where = one_line(key)[: MAX_PART + MAX_ITEM] or "the source"
        if len(self.refused) < LISTED:
            self.refused.append((where, one_line(reason)[:MAX_REASON]))
        self._add("refused", (where, one_line(reason)[:MAX_REASON]))

    # --- sending ------------------------------------------------------------------------------

    def _add(self, what: str, value: Any) -> None:
        """Put something into the next request; what is full is sent first."""
        if self._args.dry_run:
            return
        written = json_bytes(value)
        size, nodes = len(written), count_nodes(written) + 1
        batch = self._batch[what]
        full = len(batch) >= (MAX_IMPORT if what == "items" else LISTED)
        if full or self._bytes + size > BATCH_BYTES or self._nodes + nodes > BATCH_NODES:
            self._send()
            batch = self._batch[what]
        batch.append(value)
        self._bytes += size
        self._nodes += nodes

    def _send(self) -> None:
        if self._args.dry_run:
            return
        given: dict[str, Any] = {name: each for name, each in self._batch.items() if each}
        given |= {**self._origin, "first": self._first}
        reply = self._client.call("import.put", None, **given)
        self.name = reply["name"]
        self.counts["added"] -= reply.get("forgotten", 0)  # purged, of which only nimad knows
        self.counts["forgotten"] += reply.get("forgotten", 0)
        self.sent += len(self._batch["items"])
        self._first = False
        self._empty()

    # --- the report ---------------------------------------------------------------------------

    def result(self) -> dict[str, Any]:
        """What --json prints."""
        names = ("added", "changed", "gone", "unchanged", "forgotten", "relations", "refused")
        return {
            **{name: self._origin[name] for name in ("kind", "path")},
            "name": self.name,
            "dry_run": bool(self._args.dry_run),
            **{name: self.counts[name] for name in (*names, "secrets")},
            "layers": dict(sorted(self.layers.items())),
            "refusals": [{"key": key, "reason": why} for key, why in self.refused],
        }

    def told(self) -> list[str]:
        """The same for people."""
        counts = self.counts
        names = ("added", "changed", "gone", "unchanged")
        numbers = ", ".join(f"{counts[name]:,} {name}" for name in names)
        verb = "would be " if self._args.dry_run else ""
        lines = [f"{self._importer.title}: {verb}{numbers}"]
        if counts["forgotten"]:
            lines.append(f"  {counts['forgotten']:,} were forgotten here before, and stay so")
        if counts["relations"]:
            lines.append(f"  {count(counts['relations'], 'relation')} added")
        if counts["secrets"]:
            lines.append(f"  {count(counts['secrets'], 'secret')} masked")
        if counts["refused"]:
            lines.append(f"  {counts['refused']:,} not taken, or not whole:")
            lines += [f"    {key}: {why}" for key, why in self.refused[:SHOWN]]
        if len(self.refused) > SHOWN and self.name and not self._args.dry_run:
            lines.append(f"    all of them: nimactl migrate --quarantine {self.name}")
        if self.name and not self._args.dry_run:
            lines.append(f"undo it with: nimactl migrate --rollback {self.name}")
        return lines


def _part_key(name: str) -> str:
    """The name of a part as it stands in keys: without #, and not too long."""
    made = one_line(name).replace("%", "%25").replace("#", "%23")
    return made if len(made) <= MAX_PART else f"{made[: MAX_PART - 20]}~{key_of(name)}"


def _item_key(key: str) -> str:
    made = one_line(key)
    return made if len(made) <= MAX_ITEM else f"{made[: MAX_ITEM - 20]}~{key_of(key)}"
