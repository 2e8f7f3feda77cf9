"""The words index as a question sees it: segments on the disk, and a tail in memory.

Segments follow each other in the order of ids and hold every memory up to `covered`.  What came
later is the tail: the last few memories as lists, those before as segments in memory.  The follower
of the change log fills it (`add`); idle time writes it to a file and publishes that (nimad/core/
words.py).  Forgotten memories may stay in the postings: the caller knows what exists.
"""

from __future__ import annotations

import threading
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from nimad import heap
from nimad.errors import FormatCorrupt, RecordsDamaged, WordsDamaged
from nimad.index.kernels.contract import MOST_COUNTED, Postings
from nimad.store.analysis import Analysis
from nimad.store.records import Records
from nimad.store.words import pages, texts_between
from nimad.text import beginning
from nimad.words import writer
from nimad.words.bulk import CutTexts, Lexicon
from nimad.words.expected import Expected
from nimad.words.kept_postings import NOTHING, Kept, KeptPostings, Rows
from nimad.words.segment import Ascending, Segment

LISTED, LISTED_TERMS = 512, 20_000
"""Memories of the tail that are kept as lists, and their terms of 20 bytes or so each: then they
become a segment [memories], [terms]."""
BULK = 64
"""Memories that come together from which on they are no lists first [memories]."""
CUT = 64
"""Memories of a bulk that are cut into words between two looks whether a query waits: 0.5 ms
[memories]."""
JOINED = 16
"""Segments in memory of up to LISTED memories, and LISTED_TERMS, that are made one: where memories
are short, they are written to a file before there are so many."""
PLACES_KEPT = 1024
"""Terms whose places in the segments are remembered [terms]."""

Ids = NDArray[np.int64]


_Listed = tuple[int, Sequence[str], int]
"""A memory of the lists: its id, its terms, how many words it has."""


class TermIndex:
    """Terms and their postings over one store; for many threads.

    Attributes:
        complete: whether every memory is in it; else nothing is read of it, and nothing kept.
        seen: the last memory in it, or passed by while it is not complete.
    """

    def __init__(
        self, records: Records, on_damage: Callable[[RecordsDamaged], None] | None = None
    ) -> None:
        """`on_damage` is told that the index cannot be read; without it that stays an error."""
        self._records = records
        self._on_damage = on_damage
        self._analysis = Analysis()
        self.cut = self._analysis.cut
        self._lexicon = Lexicon(self._analysis.terms)
        self.complete = True
        self.seen = 0
        self._lock, self._adding = threading.Lock(), threading.Lock()
        self._sealed: tuple[Segment, ...] = ()
        self._frozen: tuple[Segment, ...] = ()
        self._held = 0
        self._kept = KeptPostings()
        self._changes = 0
        """How often segments or lists became others."""
        self._layout = -1
        self._rows_of = WeakKeyDictionary[Segment, int | NDArray[np.int32]]()
        self._listed: list[_Listed] = []
        self._listed_terms = 0
        self._lists: dict[str, list[int]] = {}
        self.expected = Expected()
        self._places = OrderedDict[str, tuple[list[tuple[Segment, int]], int]]()
        """Where terms stand, and in how many segments that was looked for."""

    def close(self) -> None:
        """Give back what is held besides memory."""
        self._analysis.close()

    def report_damage(self, error: RecordsDamaged) -> None:
        """Tell that the index cannot be read; raises `error` when there is no one to tell."""
        if self._on_damage is None:
            raise error
        self._on_damage(error)

    # --- what the records say -----------------------------------------------------------------

    @property
    def covered(self) -> int:
        """The last memory that segments on the disk hold; 0 without any."""
        return max((segment.last for segment in self._sealed), default=0)

    @property
    def sealed(self) -> tuple[Segment, ...]:
        """The segments on the disk, in the order of ids."""
        return self._sealed

    @property
    def waiting(self) -> int:
        """How many memories are in the tail."""
        return len(self._listed) + sum(segment.documents for segment in self._frozen)

    @property
    def waiting_bytes(self) -> int:
        """What the segments of the tail take in memory."""
        return sum(segment.bytes for segment in self._frozen)

    def follow(self, last: int) -> None:
        """Read what came up to an id and is not here yet."""
        with self._adding:
            self._follow(last)
        self._join()

    def _follow(self, last: int) -> None:
        while self.complete and self.seen < last:
            page = texts_between(self._records, self.seen, last)
            if not page:
                self.seen = last
                break
            self._add_texts([number for number, _ in page], [text for _, text in page])

    def add_ahead(
        self, ids: Sequence[int], texts: Sequence[str], give_way: Callable[[], object]
    ) -> None:
        """Take in memories, and what came before them, before columns are made of them: that takes
        less of the lock that queries wait for.  They are cut a part at a time, with `give_way`
        before each, and become one segment, or several where they have many words."""
        cut, start = CutTexts(self._lexicon), 0
        for place in range(0, len(ids), CUT):
            give_way()
            cut.add(texts[place : place + CUT])
            end = start + len(cut.held)
            if len(cut.held) > LISTED - CUT or cut.size >= LISTED_TERMS or end == len(ids):
                give_way()
                self._add_cut(ids[start:end], texts[start:end], cut, give_way)
                self._join(give_way)
                if self._lexicon.full:
                    self._lexicon = Lexicon(self._analysis.terms)
                cut, start = CutTexts(self._lexicon), end

    def cut_ahead(self, texts: Sequence[str], give_way: Callable[[], object]) -> Segment:
        """The words of memories that are to be stored, for `expected`."""
        cut = CutTexts(self._lexicon)
        for start in range(0, len(texts), CUT):
            give_way()
            cut.add(texts[start : start + CUT])
        terms = cut.terms()
        ids = range(1, len(texts) + 1)
        made = writer.of_numbers(ids, cut.lexicon.terms, terms, cut.held, cut.lengths)
        if self._lexicon.full:
            self._lexicon = Lexicon(self._analysis.terms)
        return writer.in_memory(made, give_way)

    def follow_ahead(self, last: int, give_way: Callable[[], object]) -> None:
        """Read what came up to an id and is not here yet, as `add_ahead` takes it."""
        while self.complete and self.seen < last:
            give_way()
            page = texts_between(self._records, self.seen, last)
            if not page:
                break
            self.add_ahead([number for number, _ in page], [text for _, text in page], give_way)

    def _add_cut(
        self,
        ids: Sequence[int],
        texts: Sequence[str],
        cut: CutTexts,
        give_way: Callable[[], object],
    ) -> None:
        if not self.complete:
            return
        segment = None
        if len(ids) >= BULK and ids[0] > self.seen:  # without the lock, for which others wait
            terms = cut.terms()
            made = writer.of_numbers(ids, cut.lexicon.terms, terms, cut.held, cut.lengths)
            segment = writer.in_memory(made, give_way)
            give_way()
        with self._adding:
            if not self.complete:
                return
            self._follow(ids[0] - 1)
            if segment is None or ids[0] <= self.seen:
                self._add_texts(ids, texts)
                return
            with self._lock:
                self._freeze()
                self._show(segment)
            self.seen = ids[-1]
            if cut.size >= LISTED_TERMS:
                heap.give_back()

    def add(self, ids: Sequence[int], texts: Sequence[str]) -> NDArray[np.int64]:
        """Take in memories, ids ascending; those that are here already are left as they are.

        Returns how many words each has.
        """
        with self._adding:
            lengths = self._add_texts(ids, texts)
        self._join()
        return lengths

    def _add_texts(self, ids: Sequence[int], texts: Sequence[str]) -> NDArray[np.int64]:
        if self.complete and (taken := self.expected.find(ids, texts, self.seen)):
            start, end, segment = taken
            before = self._add_texts(ids[:start], texts[:start])
            with self._lock:
                self._freeze()
                self._show(segment)
            self.seen = segment.last
            after = self._add_texts(ids[end:], texts[end:])
            return np.concatenate([before, segment.lengths.astype(np.int64), after])
        lengths = np.zeros(len(ids), np.int64)
        numbers = np.array(ids, np.int64)
        known = np.zeros(len(ids), np.bool_)
        for segment in (*self._sealed, *self._frozen):
            if len(ids) and segment.first <= ids[-1] and ids[0] <= segment.last:
                found, held = segment.lengths_of(numbers)
                places = numbers.searchsorted(found)
                lengths[places], known[places] = held, True
        fresh = np.flatnonzero(~known).tolist()
        late: list[_Listed] = []
        cut = self._analysis.of_texts(texts[place] for place in fresh)
        for place, (terms, length) in zip(fresh, cut, strict=True):
            lengths[place] = length
            if self.complete and ids[place] > self.seen:
                late.append((ids[place], terms, length))
                if len(late) == LISTED:
                    self._take(late)
                    late = []
        self._take(late)
        if self.complete and len(ids):
            self.seen = max(self.seen, ids[-1])
        return lengths

    def _take(self, late: list[_Listed]) -> None:
        """Put memories into the tail: few into the lists, many become a segment at once."""
        if len(late) < BULK:
            with self._lock:
                for each in late:
                    self._list(*each)
            return
        made = _segment_of(late)  # without the lock, for which queries wait
        with self._lock:
            self._freeze()
            self._show(made)
        if sum(len(terms) for _, terms, _ in late) >= LISTED_TERMS:
            heap.give_back()

    def _list(self, number: int, terms: Sequence[str], length: int) -> None:
        """Put a memory into the lists; to be called with the lock."""
        self._changes += 1
        self._listed.append((number, terms, length))
        for term in terms:
            self._lists.setdefault(term, []).append(number)
        self._listed_terms += len(terms)
        if len(self._listed) >= LISTED or self._listed_terms >= LISTED_TERMS:
            self._freeze()

    def _freeze(self) -> None:
        """Make a segment in memory of the lists; to be called with the lock."""
        if self._listed:
            large = self._listed_terms >= LISTED_TERMS
            made = _segment_of(self._listed)
            self._listed, self._lists, self._listed_terms = [], {}, 0
            self._show(made)
            if large:  # of so many terms pieces stay: 12 MB in a run of long Chinese texts
                heap.give_back()

    def _show(self, *made: Segment, of: int = 0) -> None:
        """Put segments behind those of the tail, in place of the last `of`; to be called with the
        lock.  What was read of the others still holds."""
        self._changes += 1
        self._frozen = (*self._frozen[: len(self._frozen) - of], *made)
        if of:
            self._places.clear()

    def _join(self, give_way: Callable[[], object] = lambda: None) -> None:
        """Make one segment of the last ones of the tail, where these are many and small: without a
        lock that queries or other writers wait for."""
        small = self._frozen[self._held :][-JOINED:]
        if len(small) < JOINED or not all(
            # those made of lists
            each.documents <= LISTED and each.postings <= LISTED_TERMS
            for each in small
        ):
            return
        every = np.concatenate([segment.ids for segment in small])
        joined = writer.in_memory(writer.of_segments(small, every, give_way))
        with self._lock:
            if self._frozen[self._held :][-JOINED:] == small:  # else others were faster
                self._show(joined, of=JOINED)

    def freeze(self) -> tuple[Segment, ...]:
        """The tail as segments in memory, in the order of ids; none of them is made one with
        others until the next `publish`."""
        with self._lock:
            self._freeze()
            self._held = len(self._frozen)
            return self._frozen

    def publish(self, sealed: Sequence[Segment], drop: Sequence[Segment] = ()) -> None:
        """Show readers these segments on the disk; those of the tail in `drop` are in them."""
        gone = set(map(id, drop))
        with self._lock:
            self._sealed = tuple(sealed)
            self._frozen = tuple(each for each in self._frozen if id(each) not in gone)
            self._held = 0
            self._changes += 1
            self._places.clear()
            self._kept.forget()
            if self.complete:
                self.seen = max(self.seen, self.covered)

    def rest(self) -> None:
        """Give back what was read of the files."""
        self._kept.forget()
        self._analysis.rest()
        self._lexicon = Lexicon(self._analysis.terms)
        for segment in self._sealed:
            segment.give_back()

    def restart(self, sealed: Sequence[Segment], complete: bool) -> None:
        """Take these segments and forget the tail; nothing is kept of what comes until the index is
        complete."""
        with self._adding, self._lock:
            self.complete = complete
            self._sealed = tuple(sealed)
            self._frozen, self._listed, self._lists, self._held = (), [], {}, 0
            self._listed_terms = 0
            self._changes += 1
            self._places.clear()
            self._kept.forget()
            self.seen = self.covered

    def segment_of(self, ids: Sequence[int], texts: Sequence[str]) -> Segment:
        """A segment in memory of some memories, ids ascending; nothing is kept of it."""
        terms, lengths = zip(*self._analysis.of_texts(texts), strict=True)
        return writer.in_memory(writer.of_texts(ids, terms, lengths))

    def content_of(self, rows: Iterable[tuple[int, str]]) -> tuple[int, int, Ids]:
        """What `writer.content` gives of the memories with these ids and texts, and the ids."""
        count = total = 0
        every = [np.zeros(0, np.int64)]
        for page in pages(rows):
            ids, texts = zip(*page, strict=True)
            every.append(np.array(ids, np.int64))
            more = writer.content([self.segment_of(ids, texts)], every[-1])
            count, total = count + more[0], total + more[1]
        return count, total % (1 << 64), np.concatenate(every)

    # --- what a query asks --------------------------------------------------------------------

    def rows(self, term: str, ids: Ascending, layout: int) -> Rows:
        """Who holds a term, and how often, as rows of the caller, of which there is at least one.

        Kept for the terms that were asked last while `layout` stays: then rows are only added.

        Args:
            ids: what the rows hold; others are left out.

        Raises WordsDamaged, also while the index is incomplete.
        """
        state = self._changes, layout, len(ids)  # before anything is looked at
        if (known := self._kept.whole(term, state)) is not None:
            return known
        if layout != self._layout:
            with self._lock:
                self._layout = layout
                self._rows_of.clear()
                self._kept.forget()
        forgotten = self._kept.forgotten
        found, late, segments = self._find(term)
        several = beginning(term) is not None
        kept, upto, _ = self._kept.of(term, forgotten)
        if any(segment.first <= upto < segment.last for segment, _ in found):
            kept, upto, _ = NOTHING  # one was made of some that were read and some that were not
        # of the last ones the caller may not have all rows yet
        last = next((each.last for each in reversed(segments) if each.last <= ids[-1]), 0)
        if last > upto:
            due = [each for each in found if upto < each[0].last <= last]
            if due or not upto:
                kept = Postings(_joined(kept, self._read_rows(due, ids, several=several)))
            upto = last
        newer = [each for each in found if each[0].last > upto]
        whole = None if late or newer else state
        self._kept.keep(term, Kept(kept, upto, whole), len(ids), forgotten)
        if newer:
            kept = _joined(kept, self._read_rows(newer, ids, several=several))
        if not late:
            return kept
        often = Counter(sorted(late))
        more, counts = np.array([*often], np.int64), np.array([*often.values()])
        rows = ids.searchsorted(more)
        there = ids.take(rows, mode="clip") == more
        rows, counts = rows[there], np.minimum(counts[there], MOST_COUNTED)
        return _joined(kept, (rows.astype(np.uint32), counts.astype(np.uint16)))

    def _read_rows(
        self, found: Sequence[tuple[Segment, int]], ids: Ascending, *, several: bool
    ) -> Rows:
        """What segments have of a term, or of `several` that a row may hold side by side."""
        pieces = []
        with self._damage_told():
            for segment, number in found:
                places = self._rows_of.get(segment)
                if places is None:
                    places = segment.places_in(ids)
                    if segment.last <= ids[-1]:
                        self._rows_of[segment] = places
                pieces.append(segment.rows_of_term(number, places))
        if len(pieces) == 1:
            return pieces[0]
        rows = np.concatenate([np.zeros(0, np.uint32), *(rows for rows, _ in pieces)])
        counts = np.concatenate([np.zeros(0, np.uint16), *(counts for _, counts in pieces)])
        if several:
            rows, back = np.unique(rows, return_inverse=True)
            counts = np.minimum(np.bincount(back, counts), MOST_COUNTED).astype(np.uint16)
        return rows, counts

    @contextmanager
    def _damage_told(self) -> Iterator[None]:
        """A damaged segment is WordsDamaged."""
        try:
            yield
        except FormatCorrupt as error:
            raise WordsDamaged(path=error.fields["path"], detail=error.fields["detail"]) from error

    def holders(self, term: str) -> int:
        """How many memories hold a term, forgotten ones, too; cheaper than to read which.

        Raises WordsDamaged.
        """
        found, late, _ = self._find(term)
        return len(set(late)) + sum(int(segment.holders[number]) for segment, number in found)

    def _find(self, term: str) -> tuple[list[tuple[Segment, int]], list[int], tuple[Segment, ...]]:
        """Where a term stands in the segments, in the order of ids, its list, and all segments."""
        if not self.complete:
            raise WordsDamaged(path=self._records.path, detail="it is being made anew")
        first = beginning(term)
        with self._lock:
            if first is None:
                late = list(self._lists.get(term, ()))
            else:
                late = [n for t, ids in self._lists.items() if t.startswith(first) for n in ids]
            segments = (*self._sealed, *self._frozen)
            found, looked = self._places.pop(term, ([], 0))
            if looked < len(segments):
                raw = (first or term).encode("utf-8", "surrogatepass")
                more = [
                    (segment, number)
                    for segment in segments[looked:]
                    for number in segment.numbers(raw, beginning=first is not None)
                ]
                found = [*found, *more]
            self._places[term] = found, len(segments)
            if len(self._places) > PLACES_KEPT:
                self._places.popitem(last=False)
        return found, late, segments


def _joined(rows: Rows, more: Rows) -> Rows:
    """Rows and others behind them."""
    return np.concatenate([rows[0], more[0]]), np.concatenate([rows[1], more[1]])


def _segment_of(listed: Sequence[_Listed]) -> Segment:
    """A segment in memory of some memories."""
    ids, terms, lengths = zip(*listed, strict=True)
    return writer.in_memory(writer.of_texts(ids, terms, lengths))
