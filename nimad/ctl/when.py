"""Points in time as people type them: 2023-05-08, 2023-05, 7d, yesterday, epoch milliseconds."""

from __future__ import annotations

import re
import time

from nimad.errors import UsageError

FORMS = "a date (2023, 2023-05, 2023-05-08, 2023-05-08T14:30), an age (30min, 12h, 7d, 3w, 6mo, 2y)"
_AGES = {
    "min": 60,
    "h": 3600,
    "d": 86_400,
    "w": 7 * 86_400,
    "mo": 30 * 86_400,
    "y": 365 * 86_400,
}


def parse(text: str, option: str) -> int:
    """Epoch milliseconds of a date or an age; a date without a zone is in this machine's zone.

    `7d` is seven days before now; `today` and `yesterday` are their first moments.  Raises
    UsageError, naming the option, for anything else: seconds since 1970, too, because they look
    like milliseconds of January 1970.
    """
    given = text.strip()
    if age := re.fullmatch(r"(\d{1,6}) ?(min|h|d|w|mo|y)", given):
        return round((time.time() - int(age[1]) * _AGES[age[2]]) * 1000)
    if re.fullmatch(r"-?\d{11,15}", given):
        return int(given)
    if re.fullmatch(r"\d{9,10}", given):
        raise UsageError(
            detail=f"{option} {given} looks like seconds; milliseconds would be {given}000"
        )
    found = _calendar(given)
    if found is None:
        raise UsageError(
            detail=f"{option} must be {FORMS}, today, yesterday, now, or epoch milliseconds,"
            f" not {given[:60]!r}"
        )
    return found


def _calendar(given: str) -> int | None:
    from datetime import datetime, timedelta

    midnight = datetime.now().replace(hour=0, minute=0, second=0, microsecond=0)
    named = {
        "now": datetime.now(),
        "today": midnight,
        "yesterday": (midnight - timedelta(hours=12)).replace(hour=0),
    }
    try:
        if (moment := named.get(given)) is None:
            moment = datetime.fromisoformat(_completed(given))
        return round(moment.timestamp() * 1000)
    except (ValueError, OverflowError, OSError):
        return None


def _completed(given: str) -> str:
    """A year or a month stands for its first day."""
    if re.fullmatch(r"\d{4}", given):
        return f"{given}-01-01"
    return f"{given}-01" if re.fullmatch(r"\d{4}-\d{2}", given) else given
