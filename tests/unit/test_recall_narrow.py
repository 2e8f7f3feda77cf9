"""Narrow columns read like the arrays that they stand for, whatever comes behind them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nimad.disk.container import Container
from nimad.recall import columns_cache
from nimad.recall.columns import KIND, Columns
from nimad.recall.columns_cache import Saved
from nimad.recall.narrow import MOST_CODED, Coded, Ids, Times
from nimad.store.records import Records

FIRST, LAST = -62_135_596_800_000, 253_402_300_799_999
"""The years 1 to 9999."""
YEARS = 31_556_952_000
TIMES = st.one_of(
    st.just(0),
    st.integers(FIRST, LAST),
    st.integers(1_700_000_000_000, 1_700_000_000_000 + 40 * YEARS),
    st.integers(-5, 5),
)
ROW = st.fixed_dictionaries(
    {
        "gap": st.sampled_from([1, 1, 1, 2, 1 << 20, 1 << 33]),
        "time": TIMES,
        "session": st.sampled_from([-1, -7, 0, 1, 300, 70_000]),
        "who": st.sampled_from([-1, -60_000, 0, 5, 300]),
        "importance": st.sampled_from([0.0, 0.5, 0.7, 1.0]),
        "words": st.sampled_from([0, 7, 255, 256, 65_535]),
        "namespace": st.sampled_from([0, 3, 1 << 30]),
        "layer": st.sampled_from([0, 9]),
        "asks": st.booleans(),
        "print": st.integers(-(2**63), 2**63 - 1),
    }
)
ROWS = st.lists(ROW, min_size=1, max_size=20)


class Shadow:
    """Columns, and plain lists of what they must hold."""

    def __init__(self) -> None:
        self.columns, self.plain = Columns(), dict[str, list[Any]]()
        self.last = 0

    def append(self, rows: list[dict[str, Any]]) -> None:
        ids = (self.last + np.cumsum([row["gap"] for row in rows])).tolist()
        self.last = ids[-1]
        fields = {name: [row[name] for row in rows] for name in rows[0] if name != "gap"}
        fields |= {"id": ids, "alive": [True] * len(rows)}
        self.columns.append(fields)
        for name, values in fields.items():
            self.plain.setdefault(name, []).extend(values)

    def forget(self, rows: list[int]) -> None:
        self.columns.mark_dead(np.array(rows, np.int64))
        for row in rows:
            self.plain["alive"][row] = False

    def check(self) -> None:
        columns = self.columns
        some = np.arange(columns.count)[::2]
        for name, values in self.plain.items():
            column, wanted = getattr(columns, name), np.array(values)
            if name == "importance":
                wanted = wanted.astype(np.float32)
            assert np.array_equal(column[:], wanted), name
            assert np.array_equal(column[some], wanted[some]), name
            assert column[columns.count - 1] == wanted[-1], name
            assert np.array_equal(column[wanted == wanted[0]], wanted[wanted == wanted[0]]), name
            if isinstance(column, Coded) and column.table is not None:
                asked = wanted[:1]
                assert np.array_equal(column.equal(asked, 1), wanted[1:] == asked), name
        ids, times = np.array(self.plain["id"]), np.array(self.plain["time"])
        for asked in (0, int(ids[0]), int(ids[-1]) + 1, int(ids[-1]) - 1, 1 << 40):
            for side in ("left", "right"):
                assert columns.id.searchsorted(asked, side) == np.searchsorted(ids, asked, side)
        assert columns.rows_of(ids).tolist() == list(range(columns.count))
        assert np.array_equal(columns.time.dated(1), times[1:] != 0)
        dated = times[1:][times[1:] != 0].tolist()
        every = np.ones(columns.count - 1, np.bool_)
        assert columns.time.ends(every, 1) == ([min(dated), max(dated)] if dated else [])
        assert set(columns.who.present(every, 1).tolist()) == set(self.plain["who"][1:])
        for moment in (-3, 0, 1, 1_800_000_000_000, *times[:5].tolist()):
            assert np.array_equal(columns.time.since(moment, 1), times[1:] >= moment)

    def to_file(self, place: Path) -> None:
        """Saves the columns and goes on with what lies in the file."""
        file = place / "columns.nrc"
        records = Records.open(place / "records.sqlite")
        columns_cache.save(file, records, Saved.of(self.columns))
        packed = columns_cache.map_columns(Container.open(file, columns_cache.FORMAT, 8, 8))
        self.columns.adopt(packed)
        records.close()
        self.plain["print"] = [
            number if alive else 0
            for number, alive in zip(self.plain["print"], self.plain["alive"], strict=True)
        ]


@settings(max_examples=60, deadline=None)
@given(first=ROWS, second=ROWS, third=ROWS, data=st.data())
def test_they_hold_what_was_put_in(
    tmp_path_factory: pytest.TempPathFactory,
    first: list[dict[str, Any]],
    second: list[dict[str, Any]],
    third: list[dict[str, Any]],
    data: st.DataObject,
) -> None:
    """In memory, in a file, and with rows that fit its types, or not."""
    shadow, place = Shadow(), tmp_path_factory.mktemp("narrow")
    shadow.append(first)
    shadow.check()
    shadow.to_file(place)
    shadow.check()
    shadow.append(second)
    shadow.check()
    gone = data.draw(st.lists(st.integers(0, len(first) - 1), unique=True, max_size=5))
    shadow.forget(gone)
    shadow.check()
    shadow.to_file(place)
    shadow.columns.give_back()
    shadow.check()
    shadow.append(third)
    moved = data.draw(TIMES)
    shadow.columns.set_times(np.array([0]), np.array([moved]))
    shadow.plain["time"][0] = moved
    shadow.check()


def test_many_values_are_kept_themselves(tmp_path: Path) -> None:
    """Speakers and kinds without end: a table would take more room than they do, or is as long."""
    shadow, row = Shadow(), {"gap": 1, "time": 5, "importance": 0.5, "print": 1}
    count = MOST_CODED + 10
    rows = [{**row, "who": n - 1000, "namespace": n, "session": n // 2} for n in range(count)]
    shadow.append(rows[:100])
    shadow.append(rows[100:])
    for _ in range(2):
        shadow.check()
        assert shadow.columns.who.table is None
        assert shadow.columns.kind.codes.dtype == np.uint32
        assert shadow.columns.session.codes.dtype in (np.uint16, np.int32)
        shadow.to_file(tmp_path)
    shadow.append([{**row, "who": 1 << 30, "namespace": 3, "session": 1}])
    shadow.check()


def test_types_are_as_narrow_as_the_values() -> None:
    """What a store of talk takes: nothing for ids without gaps, a byte for a few speakers."""
    ids = Ids(np.arange(5, 1005), 5, 1000).packed()
    assert ids.held is None and ids.first == 5
    assert Ids(np.arange(5, 2005, 2), 5, 1000).packed().held.dtype == np.uint32  # type: ignore[union-attr]
    days = np.arange(1000) * 86_400_000 + 1_700_000_000_001
    times = Times(days, None, 0).packed()
    assert times.low.dtype == np.uint32 and times.high is not None and times.high.dtype == np.uint8
    assert np.array_equal(times[:], days)
    coded = Coded(np.arange(1000, dtype=np.int32) % 200, None).packed()
    assert coded.codes.dtype == np.uint8 and coded.table is not None and len(coded.table) == 200
    unused = Coded(coded.codes[:3], coded.table).packed()
    assert unused.table is None and unused[:].tolist() == [0, 1, 2], "nothing of the others is kept"


def test_a_field_that_comes_later_needs_another_file(tmp_path: Path) -> None:
    """A file whose kinds tell less than those of today does not count: they have regions."""
    records = Records.open(tmp_path / "records.sqlite")
    columns = Columns()
    columns.append({"id": [1, 2], "layer": [3, 4]})
    columns_cache.save(tmp_path / "columns.nrc", records, Saved.of(columns))
    regions = Container.open(tmp_path / "columns.nrc", columns_cache.FORMAT, 8, 8).regions
    assert regions.keys() >= set(KIND.names or ())
    records.close()
