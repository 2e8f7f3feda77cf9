"""The one reader of time: numbers of any unit, ISO 8601, and the zone of a time that names none.

Every door uses it: the protocol, import, nimactl, the readers of legacy stores, the names of the
legacy guides.  Numbers are told apart by their size, so that the same number is the same moment
wherever it comes in:

=============  ==================================  ========================================
absolute size  read as                             which is
=============  ==================================  ========================================
0              no date                             a field that was never set
below 1e8      milliseconds since 1970             the first day: a clock that is not set
below 1e11     seconds                             1973 to 5138
below 1e14     milliseconds                        1973 to 5138
below 1e17     microseconds                        1973 to 5138
below 1e20     nanoseconds                         1973 to 5138
1e20 and more  refused                             -
=============  ==================================  ========================================

Text of nine digits and more is such a number.  A time without a zone is one of a zone that the
caller names, in its first occurrence where clocks were set back (`fold=0`), and as before the
change where they were set forward.  Nothing about zones is kept that could become wrong: where
`/etc/localtime` points is looked up each time.
"""

from __future__ import annotations

import io
import os
import time
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime, timedelta, tzinfo
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from nimad import zone_name
from nimad.model import MAX_TIME, MIN_TIME
from nimad.patterns import lazy_pattern

if TYPE_CHECKING:
    from zoneinfo import ZoneInfo

FORMS = "must be a time: ISO 8601, or a number since 1970 (s, ms, us or ns, told by its size)"
NO_ZONE = "zone"
"""What a reading says of a time that named no zone."""
NO_DATE = "none"
"""What is noted of a value that is no time, and of none."""
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MS = timedelta(milliseconds=1)
_ZONES_OF_PYTHON = "/usr/share/zoneinfo:/usr/lib/zoneinfo:/usr/share/lib/zoneinfo:/etc/zoneinfo"
"""Where Python looks for zones unless it was built otherwise."""
_USUAL_CHANGES = ",M3.2.0,M11.1.0"
"""When clocks change under a POSIX rule that does not say so, as the C library has it."""
_DIGITS = lazy_pattern(r"-?[0-9]{9,20}(\.[0-9]{1,12})?")
_OFFSET = lazy_pattern(r"[+-][0-9]{2}:[0-9]{2}")
_BEYOND = lazy_pattern(
    r"(\d{4}-\d\d-\d\d[T ])(?:(\d\d:\d\d):60|(24:00)(?::00)?)([.,]\d+)?(Z|[+-]\d\d:?\d\d)?"
)
_SIZES = (
    (10**8, "", 1, 1),
    (10**11, "seconds", 1000, 1),
    (10**14, "", 1, 1),
    (10**17, "microseconds", 1, 1000),
    (10**20, "nanoseconds", 1, 10**6),
)
"""(numbers below this, unit where it is not milliseconds, factor, divisor)."""


_MS_FROM, _MS_UPTO = _SIZES[1][0], _SIZES[2][0]


class Reading(NamedTuple):
    """A time as epoch milliseconds (None: no date), and how it was read where that is worth a note:
    as which unit, or NO_ZONE."""

    at: int | None
    note: str = ""


def is_usual(value: Any) -> bool:
    """Whether a time is a number of milliseconds that can mean nothing else, as nearly always."""
    return type(value) is int and _MS_FROM <= value < _MS_UPTO


def read(value: Any, zone: tzinfo) -> Reading:
    """A number or a text as a time; None is no date.

    Args:
        zone: of a text that names none.

    Raises ValueError("must be ...") for what is neither, or beyond the years 1 to 9999.
    """
    if value is None:
        return Reading(None)
    if is_usual(value):
        return Reading(value)
    if isinstance(value, str):
        text = value.strip()
        if not (found := _DIGITS.fullmatch(text)):
            try:
                moment = _moment(text[:60])
                at = at_zone(moment, zone)
            except (ValueError, OverflowError):
                raise ValueError(FORMS) from None
            if not MIN_TIME <= at < MAX_TIME:  # of a zone where the calendar begins or ends later
                raise ValueError(FORMS)
            return Reading(at or None, "" if moment.tzinfo else NO_ZONE)
        value = float(text) if found[1] else int(text)
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise ValueError(FORMS)
    for most, unit, factor, divisor in _SIZES:
        if abs(value) < most:
            if isinstance(value, float):  # 1715162400.123 is a little less than it says
                value = round(value * factor / divisor, 3) * divisor / factor
            at = int(value * factor // divisor)
            if at >= MIN_TIME:
                return Reading(at or None, unit)
            break
    raise ValueError(FORMS)  # it is beyond the calendar, infinite, or nan


def _moment(text: str) -> datetime:
    """ISO 8601, with the two times that Python lacks: a leap second is read as the second after it,
    as POSIX counts it, and 24:00 is the end of the day.  Raises ValueError, OverflowError."""
    if found := _BEYOND.fullmatch(text):
        day, leap, midnight, fraction, offset = found.groups()
        if midnight and (fraction or "").strip(".,0"):
            raise ValueError("a day ends at 24:00")
        before = datetime.fromisoformat(f"{day}{leap or '23:59'}:59{offset or ''}")
        return before + timedelta(seconds=1)
    return datetime.fromisoformat(text)


def at_zone(moment: datetime, zone: tzinfo) -> int:
    """Epoch milliseconds, rounded down; one that names no zone is of `zone`."""
    return ((moment if moment.tzinfo else moment.replace(tzinfo=zone)) - _EPOCH) // _MS


def local(at: int, zone: tzinfo) -> datetime:
    """Epoch milliseconds as a date and time of a zone, whatever they are: beyond the calendar its
    first or last moment, and where only the zone's would be beyond it, that of UTC."""
    moment = _EPOCH + min(max(at, MIN_TIME), MAX_TIME - 1) * _MS
    try:
        return moment.astimezone(zone)
    except (OverflowError, ValueError):
        return moment


def iso(at: int) -> str:
    """Epoch milliseconds as ISO 8601 in UTC, without milliseconds that are zero."""
    spec = "milliseconds" if at % 1000 else "seconds"
    return (_EPOCH + timedelta(milliseconds=at)).isoformat(timespec=spec)


def portable(at: int | None) -> int | str | None:
    """Epoch milliseconds in a form that `read` takes for the same moment: the number, or ISO."""
    plain = at is None or abs(at) < _SIZES[0][0] or _SIZES[1][0] <= abs(at) < _SIZES[2][0]
    return at if at is None or plain else iso(at)


def sentences(counts: Mapping[str, int], zone_name: str) -> list[str]:
    """`timestamps read as seconds: 40`, `times without a zone are read as Europe/Berlin: 3`."""
    told = {
        NO_ZONE: f"times without a zone are read as {zone_name}",
        NO_DATE: "timestamps that are no date",
    }
    return [
        f"{told.get(note, f'timestamps read as {note}')}: {number}"
        for note, number in sorted(counts.items())
    ]


# --- zones ----------------------------------------------------------------------------------------


def _zone_info() -> type[ZoneInfo]:
    """The class, loaded without what Python would look the place of its data up in: the whole
    configuration that it was built with, which takes 5 ms."""
    os.environ.setdefault("PYTHONTZPATH", _ZONES_OF_PYTHON)
    from zoneinfo import ZoneInfo

    return ZoneInfo


@lru_cache(maxsize=32)
def find_zone(name: str) -> tzinfo:
    """The zone of an IANA name, an offset (+02:00), or a POSIX rule (CET-1CEST).  Raises
    ValueError("must be ...")."""
    if name in ("", "UTC"):
        return UTC
    try:
        if _OFFSET.fullmatch(name):
            offset = datetime.fromisoformat(f"2000-01-01T00:00{name}").tzinfo
            assert offset is not None
            return offset
        return _zone_info()(name)
    except (ValueError, LookupError, OSError):
        pass
    part = b"TZif2" + bytes(15 + 16) + b"\0\0\0\1\0\0\0\1" + bytes(7)
    for rule in (name, f"{name}{_USUAL_CHANGES}"):
        with suppress(ValueError, LookupError):  # in a file without any transition (RFC 8536)
            written = rule.encode("ascii")  # or UnicodeError, which is a ValueError
            return _zone_info().from_file(io.BytesIO(part * 2 + b"\n" + written + b"\n"), name)
    raise ValueError("must be a time zone: a name such as Europe/Berlin, or +02:00")


def name_to_hand_over() -> str | None:
    """`local_name`, where it is one that `find_zone` knows."""
    name = zone_name.local_name()
    with suppress(ValueError):
        if name and (zone_name.is_installed(name) or find_zone(name)):
            return name
    return None


def local_zone() -> tzinfo:
    """This machine's zone as it is now; UTC where none is set, or none that exists."""
    name = zone_name.local_name()
    try:
        return find_zone(name) if name else _read_zone(Path(zone_name.LOCALTIME).stat().st_mtime_ns)
    except (ValueError, OSError):
        return UTC


@lru_cache(maxsize=2)
def _read_zone(changed: int) -> tzinfo:
    """The zone that stands in /etc/localtime, where it is no link; `changed`: when it was changed
    last [ns]."""
    with Path(zone_name.LOCALTIME).open("rb") as file:
        return _zone_info().from_file(file)


def use_zone(name: str) -> None:
    """Make it the zone of this process, for what it reads and what it prints."""
    if _OFFSET.fullmatch(name):  # POSIX counts the other way
        sign = "-" if name[0] == "+" else "+"
        name = f"<{name.replace(':', '')}>{sign}{name[1:]}"
    os.environ["TZ"] = name
    time.tzset()
