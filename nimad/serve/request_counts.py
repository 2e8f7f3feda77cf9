"""How many requests there were of each verb, how they ended, and how long they took.

Counted on the event loop alone, which needs no lock; read from any thread.  Cost: 0.4 us a request.
"""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import field

from nimad.dataclass import dataclass

BOUNDS = (0.001, 0.005, 0.025, 0.1, 0.5, 2.5, 10.0)
"""Upper bounds of the times that are counted apart [seconds]."""
OK = "ok"
"""The outcome of a request that was answered with a result."""
UNKNOWN, UNREADABLE = "unknown", "unreadable"
"""What stands for the verb of a request that names none of ours, or that is none: never its own
words."""


@dataclass
class Family:
    """Figures of one name, as Prometheus has them: its type (gauge, counter or histogram), what it
    means, and (end of the name, labels, value) of each."""

    name: str
    type: str
    help: str
    samples: list[tuple[str, dict[str, str], float]] = field(default_factory=list)


class RequestCounts:
    """Counts since the start."""

    def __init__(self) -> None:
        self._failed: dict[tuple[str, str], int] = {}
        self._times: dict[str, list[float]] = {}
        """By verb: how many were within each bound, and beyond the last; how many ended well, and
        all seconds."""

    def note(self, verb: str, outcome: str, seconds: float) -> None:
        """A request was answered; `outcome` is OK or the code of an error."""
        times = self._times.get(verb)
        if times is None:
            times = self._times[verb] = [0.0] * (len(BOUNDS) + 3)
        times[bisect_left(BOUNDS, seconds)] += 1
        times[-1] += seconds
        if outcome is OK:
            times[-2] += 1
        else:
            self._failed[verb, outcome] = self._failed.get((verb, outcome), 0) + 1

    def families(self) -> list[Family]:
        """As Prometheus has them."""
        ended: dict[tuple[str, str], float] = dict(self._failed)
        ended |= {(verb, OK): times[-2] for verb, times in dict(self._times).items() if times[-2]}
        answered = Family(
            "nimad_requests_total",
            "counter",
            "Requests that were answered, by verb and by ok or the code of the error.",
            [
                ("", {"method": verb, "outcome": outcome}, number)
                for (verb, outcome), number in sorted(ended.items())
            ],
        )
        took = Family(
            "nimad_request_duration_seconds",
            "histogram",
            "Time from the arrival of a request to its answer, by verb.",
        )
        for verb, times in sorted(dict(self._times).items()):
            *counts, _, seconds = list(times)
            total = 0.0
            for bound, number in zip((*map(str, BOUNDS), "+Inf"), counts, strict=True):
                total += number
                took.samples.append(("_bucket", {"method": verb, "le": bound}, total))
            took.samples += [
                ("_sum", {"method": verb}, seconds),
                ("_count", {"method": verb}, total),
            ]
        return [answered, took]
