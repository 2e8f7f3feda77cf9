"""The words index as a projection: its files, which of them count, and what idle time does.

`nimad.words` has the format and what a query asks.  The records name the files that count, in
order, in `meta.words`.  Memories newer than the last of them are the tail, which lives in memory
and is read again after a start; idle time writes it to a file, and makes one of several.

Crash prose of `_replace`, which does all of that:

1. the new file is written, fsynced and renamed: a crash leaves a file that nothing names; the next
   start removes it;
2. one transaction names it in place of those it is made of: a crash before COMMIT leaves step 1,
   one after it leaves files that nothing names any more;
3. readers get the new list; the old files are removed.

A damaged file is set aside together with the newer ones, whose memories are indexed again; so are
all after an upgrade that brought another common form of text.  While more than TAIL memories wait,
queries are answered by meaning alone, and say so.
"""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, suppress
from pathlib import Path

import numpy as np

from nimad import heap
from nimad.core.health import Health
from nimad.core.projection import Ended, Problem, Projection, Waiters
from nimad.core.segments import next_name
from nimad.disk.durable import crash_point, fsync_dir, own_files, remove_strays, set_aside, size_of
from nimad.disk.mapped import is_waiting, remove_file
from nimad.errors import FormatCorrupt, NimadError, RecordsDamaged, WordsDamaged
from nimad.recall.ranking import Recall
from nimad.store.forgotten import PurgeNote
from nimad.store.records import Records
from nimad.store.words import drop_former, texts_between
from nimad.text import FORM
from nimad.words import writer
from nimad.words.index import TermIndex
from nimad.words.segment import SUFFIX, Ids, Segment

log = logging.getLogger(__name__)

LIST = "words"
"""The key in `meta` of the list of files, with their ids, and of the common form that they have."""
PREFIX = "wds"
TAIL = 5000
"""Memories of the longest tail that a start reads: half a second on a Pi 4 [memories]."""
LEAST, MOST, SHARE = 256, 4096, 8
"""Memories of the tail from which on it is written to a file: one for SHARE in the files, but not
fewer than LEAST, and MOST always [memories]."""
TAIL_BYTES = 2 << 20
"""Size of the tail in memory from which on it is written as well [bytes]."""
FILLED, FILLED_BYTES = 1 << 16, 8 << 20
"""Memories that are indexed anew before a file of them is written [memories], and the most
that their index takes in memory [bytes]."""
STEP_SECONDS = 0.05
"""Time after which the tail is read on in another step [seconds]."""
RATIO = 3
"""A file is made one with the newer ones unless it has RATIO times as many memories as they."""
HELD = 32
"""Files from which on they are made fewer although a bulk comes [files]."""
WHY = "its index is damaged and is being made anew"
RENEWED = "its index is being made anew"


class WordsIndex(Projection):
    """The words of all memories of one state directory."""

    name = "words"

    def __init__(
        self,
        state: Path,
        records: Records,
        health: Health,
        lock: threading.RLock,
        terms: TermIndex,
        recall: Recall,
        give_way: Callable[[], object],
        waiters: Waiters,
    ) -> None:
        """`recall` asks `terms`, and follows the records with it; `give_way` lets it go first;
        `waiters` wait for the lock."""
        self._records, self._health, self._lock = records, health, lock
        self._aside, self._directory = state / "aside", state / "words"
        self._terms, self._recall = terms, recall
        self._give_way, self._waiters = give_way, waiters
        self._pages: list[Segment] = []
        self._damaged = False

    # --- start ----------------------------------------------------------------------------------

    def open(self) -> None:
        """Map the listed files; what a crash left is removed, what is damaged set aside."""
        kept = self._open_listed()
        self._terms.restart(kept, complete=True)
        remove_strays(self.strays())
        sql = "SELECT count(*) FROM (SELECT 1 FROM memories WHERE id > ? LIMIT ?)"
        waiting, why = TAIL + 1, WHY if self._damaged else RENEWED
        with self._records.as_far_as_readable() as unread:
            waiting = self._records.value(sql, (self._terms.covered, TAIL + 1))
        if waiting > TAIL:
            self._health.fail(self.name, unread[0].message if unread else why)
            self._terms.restart(kept, complete=False)
        self._damaged = False

    def _open_listed(self) -> list[Segment]:
        """The listed files up to one that is damaged, which is set aside."""
        kept: list[Segment] = []
        try:
            known = json.loads(self._records.meta(LIST) or "{}")
        except ValueError:
            known = {}
        for name, digest in known.get("segments", []) if known.get("form") == FORM else []:
            path = self._path(name)
            try:
                segment = Segment.open(path)
                if segment.container is not None and segment.container.digest != digest:
                    raise segment.corrupt("it is not the file that the records name")
            except NimadError as error:
                log.error("the words in %s: %s", path.name, error.message)
                self._damaged = True
                if path.exists():
                    with suppress(OSError):  # no place there; as good where it is
                        set_aside(path, self._aside)
                break
            kept.append(segment)
        return kept

    def _path(self, name: str) -> Path:
        return self._directory / (name + SUFFIX)

    # --- idle time ------------------------------------------------------------------------------

    def meet(self, error: RecordsDamaged) -> None:
        """A query met damage; raises it again unless it lies in this index."""
        if not isinstance(error, WordsDamaged):
            raise error
        if self._health.reason(self.name) is None:
            log.error("the words index is damaged: %s", error.message)
            self._damaged = True
            self._health.fail(self.name, WHY)

    @property
    def overdue(self) -> bool:
        """Whether a file should be written although the machine is not idle: nearly as many
        memories wait for one as a start reads (many short runs would never come to an idle minute),
        or they take too much memory, or there are so many files that questions take longer."""
        if not self._terms.complete:
            return False
        if self._terms.waiting_bytes >= TAIL_BYTES or len(self._terms.sealed) > HELD:
            return True
        last = self._records.value("SELECT max(id) FROM memories") or 0
        # not by what files cover: ids of what is forgotten are never given again
        return self._terms.waiting + max(0, int(last) - self._terms.seen) >= MOST

    def follow(self) -> bool:
        """Index what is missing, write the tail to a file, make one of several files, take a former
        index out of the records: one of these."""
        if self._damaged:
            self._retire_damaged()
            return True
        if not self._terms.complete:
            self._fill()
            return True
        self._health.restore(self.name)
        # whoever brings a bulk reads it on
        behind = not self.sparing and self._terms.waiting_bytes < TAIL_BYTES
        if behind and self._recall.follow(STEP_SECONDS):
            return True
        sealed = self._terms.sealed
        if self._is_due():
            with suppress(Ended):
                self._replace([], self._terms.freeze(), self._end_for_others)
            return True
        held = self.sparing and len(sealed) <= HELD
        if not held and len(small := _to_be_merged(sealed)) > 1:
            with suppress(Ended):
                self._replace(small, small, self._end_for_others)
            return True
        return drop_former(self._records)

    def _is_due(self) -> bool:
        """Whether enough memories wait for a file."""
        covered = sum(segment.documents for segment in self._terms.sealed)
        least = MOST if self.sparing else min(max(covered // SHARE, LEAST), MOST)
        return self._terms.waiting >= least or self._terms.waiting_bytes >= TAIL_BYTES

    def close(self) -> None:
        """Write what idle time would have written, for the next start would read it again, or have
        no words at all where it is more than TAIL."""
        self.sparing = False
        if self._terms.complete and not self._damaged and self._records.refusal is None:
            with suppress(NimadError, OSError):
                if self._is_due():
                    self._replace([], self._terms.freeze())

    def _retire_damaged(self) -> None:
        """Set what is damaged aside; where no file is, none of them can be trusted."""
        kept: list[Segment] = []
        for segment in self._terms.sealed:
            assert segment.container is not None
            try:
                segment.container.verify()
            except FormatCorrupt as error:
                log.error("the words in %s: %s", segment.name, error.message)
                if (path := self._path(segment.name)).exists():
                    set_aside(path, self._aside)
                break
            kept.append(segment)
        else:
            kept = []
        self._pages = []
        self._list(kept)
        self._recall.words_changed(kept, False)
        self._remove_unlisted()
        self._damaged = False

    def _fill(self) -> None:
        """Index some more of the memories that no file holds."""
        after = self._pages[-1].last if self._pages else self._terms.covered
        if page := self._read_page(after):
            self._pages.append(page)
        if page is None or _filled(self._pages):
            made, self._pages = self._pages, []
            if made:
                self._replace([], made)
        if page is None:
            self._recall.words_changed(self._terms.sealed, True)
            self._health.restore(self.name)

    def _read_page(self, after: int) -> Segment | None:
        """The next memories above an id as a segment in memory; None where there are none."""
        rows = texts_between(self._records, after, 1 << 62)
        if not rows:
            return None
        ids, texts = zip(*rows, strict=True)
        return self._terms.segment_of(ids, texts)

    def rebuild(self) -> int:
        """Index every memory's text again, while what there is serves; the number of memories.  A
        purge that comes meanwhile is done first, and it begins anew."""
        return self._waiters.do_behind(self._rebuild)

    def _rebuild(self, going_on: Callable[[], object]) -> int:
        with self._lock:
            made: list[Segment] = []
            pages: list[Segment] = []
            after = 0

            def look() -> None:
                going_on()
                self._give_way()

            try:
                while page := self._read_page(after):
                    look()
                    pages.append(page)
                    after = page.last
                    if _filled(pages):
                        made += self._write(pages, look)
                        pages = []
                made += self._write(pages, look)
            except Ended:
                made.clear()
                self._remove_unlisted()
                raise
            self._list(made)
            self._pages, self._damaged = [], False
            self._recall.words_changed(made, True)
            self._remove_unlisted()
            self._health.restore(self.name)
            return self._records.counts()["memories"]

    # --- files ----------------------------------------------------------------------------------

    def _end_for_others(self) -> None:
        self._give_way()
        self._waiters.end_for_them()

    def _replace(
        self,
        old: Sequence[Segment],
        parts: Sequence[Segment],
        give_way: Callable[[], object] | None = None,
    ) -> None:
        """Make one file of segments: of `old` ones in its place, or behind all others.  What
        `give_way` raises, which is called now and then, ends it, and nothing has changed."""
        sealed = list(self._terms.sealed)
        place = sealed.index(old[0]) if old else len(sealed)
        sealed[place : place + len(old)] = self._write(parts, give_way)
        self._list(sealed)
        crash_point("words.listed")
        self._terms.publish(sealed, parts)
        self._remove_unlisted()
        self._give_way()
        heap.give_back()

    def _write(
        self, parts: Sequence[Segment], give_way: Callable[[], object] | None = None
    ) -> list[Segment]:
        """A file of what is alive in some segments, not listed yet; none where nothing is."""
        if not parts:
            return []
        alive = self._alive(parts[0].first, parts[-1].last)
        if not len(alive):
            return []
        name = next_name(PREFIX, [], self._directory)
        writer.write_file(
            self._path(name), writer.of_segments(parts, alive, give_way or self._give_way)
        )
        crash_point("words.written")
        made = Segment.open(self._path(name))
        made.give_back()  # what was read to compare checksums
        return [made]

    def _alive(self, first: int, last: int) -> Ids:
        sql = "FROM memories WHERE id BETWEEN ? AND ?"
        if self._records.value(f"SELECT count(*) {sql}", (first, last)) == last - first + 1:
            return np.arange(first, last + 1)  # a step a row would keep the interpreter's lock busy
        return self._records.ids_of(f"SELECT id {sql} ORDER BY id", (first, last))

    def _list(self, sealed: Sequence[Segment]) -> None:
        """From here on these files count, in this order."""
        files = [(s.name, s.container.digest) for s in sealed if s.container is not None]
        with self._records.write() as tx:
            tx.set_meta(LIST, json.dumps({"form": FORM, "segments": files}))

    def _remove_unlisted(self) -> None:
        """Remove the files that do not count any more, once they are not used."""
        for path in self.strays():
            remove_file(path)
        fsync_dir(self._directory)

    def strays(self) -> list[Path]:
        """See `Projection`."""
        named = {segment.name for segment in self._terms.sealed}
        found = own_files(self._directory, rf"{PREFIX}-\d+{SUFFIX}")
        unnamed = [path for path in found if path.name.removesuffix(SUFFIX) not in named]
        return [path for path in unnamed if not is_waiting(path)]

    # --- the rest of a projection ---------------------------------------------------------------

    def scrub(self, note: PurgeNote) -> None:
        """Make each file that holds one of these memories again, without what is forgotten; a
        former index goes as a whole."""
        if self._damaged:
            self._retire_damaged()
        self.drop_forgotten(np.array(sorted(note.ids), np.int64))
        while drop_former(self._records):
            pass

    def drop_forgotten(self, ids: Ids | None = None) -> None:
        """Make each file that holds one of these ids, or (None) one that no memory has, again."""
        for segment in self._terms.sealed:
            if ids is None:
                dead = segment.documents > len(self._alive(segment.first, segment.last))
            else:
                dead = len(segment.lengths_of(ids)[0]) > 0
            if dead:
                self._replace([segment], [segment])

    def check(self) -> list[Problem]:
        """Checksums of all files; each word of each memory stands in the index, nothing else."""
        problem = self._waiters.do_behind(self._problem)
        if problem is None:
            return []
        self._damaged = True
        self._health.fail(self.name, WHY)
        fix = "nothing: it is made anew in idle time (or now: nimactl rebuild words)"
        return [Problem(self.name, problem, fix)]

    def _problem(self, going_on: Callable[[], object]) -> str | None:
        """What is wrong with the index compared with the records, or None.  What `going_on` raises,
        which is called now and then, ends it."""
        with self._lock:
            return self._compared(going_on) if self._terms.complete else None

    def _compared(self, going_on: Callable[[], object]) -> str | None:
        try:
            for segment in self._terms.sealed:
                going_on()
                if segment.container is not None:
                    segment.container.verify()
            seen = self._terms.seen  # first, for what comes meanwhile is in the parts before that
            parts = [*self._terms.sealed, *self._terms.freeze()]
            with closing(self._records.connect_reader()) as reader:
                reader.execute("BEGIN")  # ids and texts are of one moment
                sql = "SELECT id, CAST(ifnull(text, '') AS TEXT) FROM memories WHERE id <= ?"
                rows = reader.execute(f"{sql} ORDER BY id", (seen,))
                looked = (row for row in rows if not going_on())
                count, total, alive = self._terms.content_of(looked)
            if writer.content(parts, alive) != (count, total):
                return "they do not match the records"
        except FormatCorrupt as error:
            return error.message
        return None

    def verify_steps(self) -> Iterator[None]:
        """Read all files and compare checksums, a few MB a step."""
        for segment in self._terms.sealed:
            if segment.container is None:
                continue
            try:
                yield from segment.container.verify_steps()
            except NimadError as error:
                if segment in self._terms.sealed:  # else it was made one with others meanwhile
                    self.meet(WordsDamaged(path=segment.container.path, detail=error.message))

    def size(self) -> int:
        """Bytes of the files."""
        return size_of(self._directory)


def _filled(pages: Sequence[Segment]) -> bool:
    """Whether segments in memory are to become a file."""
    documents, size = sum(page.documents for page in pages), sum(page.bytes for page in pages)
    return documents >= FILLED or size >= FILLED_BYTES


def _to_be_merged(sealed: Sequence[Segment]) -> Sequence[Segment]:
    """The segments from the first one on that is too small beside all newer ones."""
    newer = sum(segment.documents for segment in sealed)
    for place, segment in enumerate(sealed):
        newer -= segment.documents
        if segment.documents < RATIO * newer:
            return sealed[place:]
    return ()
