"""Whichever door a time comes in by, it is the same moment; a door that is added is added here."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC
from pathlib import Path
from typing import Any

import pytest

from nimad import times, zone_name
from nimad.cognition import episodes as guides
from nimad.core.store import MemoryStore
from nimad.ctl.agent_tools import ToolRefused, Tools
from nimad.ctl.client import Client
from nimad.ctl.main import build
from nimad.ctl.screen import Screen
from nimad.legacy.episodes import EpisodeMapper
from nimad.legacy.mapping import NodeMapper
from nimad.legacy.source import LegacyTurn
from nimad.legacy.sqlite import _turn
from nimad.model import MAX_TIME, Memory
from nimad.serve import query_verb
from nimad.serve.memory_verbs import MemoryVerbs
from nimad.serve.verbs import Call
from nimad.web.exchange import Request
from nimad.web.time_pages import show_timeline
from tests.legacy.moving import opened

AT = 1_715_206_200_250
INPUTS: dict[Any, int] = {
    AT: AT,
    1_715_206_200: AT - 250,
    1_715_206_200.25: AT,
    1_715_206_200_250_000: AT,
    1_715_206_200_250_000_000: AT,
    -1_000_000_000: -1_000_000_000_000,
    "1715206200": AT - 250,
    "1715206200250": AT,
    "2024-05-08T22:10:00.250Z": AT,
    "2024-05-09T07:10:00.250+09:00": AT,
    "2024-05-09T00:10:00.250": AT,
    "2024-10-27T02:30:00": 1_729_989_000_000,
    # whose milliseconds are as few as seconds, or as many as microseconds
    "1965-12-31T00:00:00Z": -126_316_800_000,
    "1966-12-01T00:00:00Z": -97_372_800_000,
    "1969-06-01T00:00:00Z": -18_489_600_000,
    "1971-06-01T00:00:00Z": 44_582_400_000,
    "1973-03-03T00:00:00Z": 99_964_800_000,
    "5139-01-01T00:00:00Z": 100_003_939_200_000,
    "9998-12-31T00:00:00Z": 253_370_678_400_000,
}
"""What comes in, in Berlin's zone → epoch milliseconds."""
Door = Callable[[MemoryStore, Any], int | None]


def asked(store: MemoryStore, verb: str, **params: Any) -> Any:
    (found,) = [each for each in MemoryVerbs(store).all() if each.name == verb]
    return found.answer(Call(params, None))  # type: ignore[arg-type]


def stored(store: MemoryStore, number: int) -> int | None:
    return store.get(number).timestamp


def remembered(store: MemoryStore, value: Any) -> int | None:
    return stored(store, asked(store, "remember", text="x", timestamp=value)["id"])


def imported(store: MemoryStore, value: Any) -> int | None:
    lines = [{"text": "x", "timestamp": value}]
    return stored(store, asked(store, "import", memories=lines)["ids"][0])


def filtered(store: MemoryStore, name: str, value: Any) -> int | None:
    given = dict.fromkeys(query_verb.QUERY) | {
        name: query_verb.QUERY[name].check(value),
        "tags": (),
    }
    where, as_of = query_verb.question_filter(given, times.local_zone(), None)
    return {"after": where.after, "before": where.before, "as_of": as_of}[name]


def of_graph(store: MemoryStore, value: Any) -> int | None:
    mapper = NodeMapper(("id", "text", "timestamp"), "g")
    mapper.zone = times.local_zone()
    memory = mapper.memory((1, "x", value)).memory
    row = mapper.row(memory)
    assert row == (1, "x", value) or str(row) == str((1, "x", value))  # no NaN equals another
    return memory.timestamp


def of_turn(store: MemoryStore, value: Any) -> int | None:
    turn = _turn(1, ("t", None, None, None, value, None), (), times.local_zone())
    if not isinstance(turn, LegacyTurn):
        raise ValueError(turn.reason)
    assert value == ((turn.extra or {}).get("timestamp", turn.timestamp))
    return turn.timestamp


def of_checkpoint(field: str) -> Door:
    def door(store: MemoryStore, value: Any) -> int | None:
        mapper = EpisodeMapper("c")
        mapper.zone = times.local_zone()
        return mapper.memory(1, {"raw_text": "x", field: value}).memory.timestamp

    return door


def of_guides(store: MemoryStore, value: Any) -> int | None:
    return guides.memory_of({"raw_text": "x", "timestamp": value}).timestamp


def handed_over(door: Callable[[Client], object]) -> dict[str, Any]:
    """What a program of ours asks the daemon with its first request."""

    class Taken(Exception):
        pass

    class Recorder(Client):
        def call(self, verb: str, fd: int | None = None, **params: Any) -> dict[str, Any]:
            raise Taken({name: value for name, value in params.items() if value is not None})

    with pytest.raises(Taken) as taken:
        door(Recorder("/nowhere"))
    return dict(taken.value.args[0])


def of_nimactl(*words: str) -> dict[str, Any]:
    args = build([words[0]]).parse_args(words)
    return handed_over(lambda client: args.run(args, client, Screen()))


def of_web(value: Any) -> int | None:
    """The moment, where its day's page of the timeline shows it; else where the page begins."""
    at = times.read(str(value), times.local_zone()).at
    assert at is not None
    day = f"{times.local(at, times.local_zone()):%Y-%m-%d}".rjust(10, "0")
    request = Request("GET", "timeline", {"at": [day]})
    asked = handed_over(lambda client: show_timeline(request, client))  # type: ignore[arg-type]
    begin, end = (times.read(asked.get(name), UTC).at for name in ("after", "before"))
    assert begin is not None and begin < (end or MAX_TIME) <= begin + 25 * 3_600_000
    return at if begin <= at < (end or MAX_TIME) else begin


def of_agent(store: MemoryStore, value: Any) -> int | None:
    given = {"content": "x", "when": str(value)}

    def store_it(client: Client) -> None:
        try:
            Tools().call("memory_store", given, client.call)
        except ToolRefused as refused:
            raise ValueError(refused) from None

    asked = handed_over(store_it)
    return remembered(store, asked["timestamp"])


DOORS: dict[str, Door] = {
    "remember": remembered,
    "import": imported,
    "query after": lambda store, value: filtered(store, "after", value),
    "query before": lambda store, value: filtered(store, "before", value),
    "query as_of": lambda store, value: filtered(store, "as_of", value),
    "nimactl remember": lambda store, value: remembered(
        store, of_nimactl("remember", "x", f"--when={value}")["timestamp"]
    ),
    "nimactl query --after": lambda store, value: filtered(
        store, "after", of_nimactl("query", "x", f"--after={value}")["after"]
    ),
    "nimactl query --before": lambda store, value: filtered(
        store, "before", of_nimactl("query", "x", f"--before={value}")["before"]
    ),
    "nimactl query --as-of": lambda store, value: filtered(
        store, "as_of", of_nimactl("query", "x", f"--as-of={value}")["as_of"]
    ),
    "nimactl redate": lambda store, value: remembered(
        store, of_nimactl("redate", "--", str(value), "1")["when"]
    ),
    "memory_store of agents": of_agent,
    "timeline of the web pages": lambda store, value: of_web(value),
    "row of a graph": of_graph,
    "turn of a graph": of_turn,
    "timestamp of a checkpoint or sparse memory": of_checkpoint("timestamp"),
    "when of a checkpoint or sparse memory": of_checkpoint("when"),
    "names of the guides": of_guides,
}


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MemoryStore]:
    with opened(tmp_path_factory.mktemp("doors") / "state") as (made, _):
        yield made


@pytest.mark.parametrize("door", DOORS)
def test_every_door_reads_alike(
    store: MemoryStore, monkeypatch: pytest.MonkeyPatch, door: str
) -> None:
    monkeypatch.setenv("TZ", "Europe/Berlin")
    assert {value: DOORS[door](store, value) for value in INPUTS} == INPUTS


def test_what_has_no_date_has_none_anywhere(store: MemoryStore) -> None:
    """Not in a list, a prompt, a filter, the ranking, an export."""
    assert imported(store, None) is None and imported(store, 0) is None
    assert of_graph(store, None) is None and of_graph(store, "some day") is None
    assert of_checkpoint("timestamp")(store, "some day") is None
    assert of_guides(store, "some day") is None
    number = asked(store, "import", memories=[{"text": "the undated kettle", "timestamp": None}])
    assert asked(store, "get", id=number["ids"][0])["memory"]["timestamp"] is None
    (verb,) = query_verb.QueryVerb(store).all()

    def found(**more: Any) -> list[dict[str, Any]]:
        reply = verb.answer(Call({"text": "undated kettle", "explain": True, **more}, None))  # type: ignore[arg-type]
        return list(reply["results"])

    (hit,) = found()
    assert hit["timestamp"] is None and hit["parts"]["recency"] == pytest.approx(0.0025)
    for bound in ({"after": "1900"}, {"before": "2100"}, {"as_of": "now"}):
        assert found(**bound) == []
    assert [one["timestamp"] for one in found(text="kettle 1970", budget=50)] == [None]
    lines = asked(store, "export")["memories"]
    assert lines[-1]["timestamp"] is None


def test_a_time_without_a_zone_is_kept_as_it_was(store: MemoryStore) -> None:
    line = {"text": "x", "timestamp": "2024-05-08T23:30", "extra": {"a": 1}}
    reply = asked(
        store, "import", memories=[line, line | {"timestamp": AT // 1000}], time_zone="Asia/Tokyo"
    )
    memory = store.get(reply["ids"][0])
    assert memory.timestamp == times.read("2024-05-08T23:30+09:00", UTC).at
    assert memory.extra == {"timestamp": "2024-05-08T23:30", "a": 1}
    assert reply["times"] == {"zone": 1, "seconds": 1}


def test_the_daemon_keeps_no_zone(
    store: MemoryStore, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The link is changed while it runs: questions after that mean other days."""
    monkeypatch.delenv("TZ", raising=False)
    link = tmp_path / "localtime"
    monkeypatch.setattr(zone_name, "LOCALTIME", str(link))
    later = AT + 25 * 3_600_000
    store.remember_many([Memory("the ferry left", timestamp=at) for at in (AT, later)])
    day = "What happened with the ferry on 9 May 2024?"
    found = []
    for zone in ("Europe/Berlin", "America/New_York"):
        link.unlink(missing_ok=True)
        link.symlink_to(f"/usr/share/zoneinfo/{zone}")
        found.append((filtered(store, "after", "2024-05-09"), store.query(day).hits[0]))
    assert found[1][0] == found[0][0] + 6 * 3_600_000  # type: ignore[operator]
    assert [hit.memory.timestamp for _, hit in found] == [AT, later], "it is the 9th there"
