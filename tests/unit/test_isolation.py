"""A user who is bound to one namespace gets nothing of another, in any verb, and no count of it.

Every verb of the table is asked, through the dispatcher, by a bound peer: one that is not marked as
bounded must refuse, and one that is must have its questions here.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from nimad.background.worker import Worker
from nimad.config import Config
from nimad.core.store import MemoryStore
from nimad.errors import ConfigError
from nimad.migrate.manager import MigrationManager
from nimad.model import Memory, Relation
from nimad.namespaces import Bounds, Namespaces, Rule, read_rules
from nimad.serve import service_verbs
from nimad.serve.access import Access, Peer
from nimad.serve.dispatch import Dispatcher
from nimad.serve.frames import Frame
from nimad.serve.verb_table import verbs
from nimad.store import suggestions
from nimad.store.suggestions import Pair
from tests.dispatching import answer_to

ROOT = Peer(1, 0, 0)
ANNA = Peer(1, 54321, 54321)
READER = Peer(1, 54322, 54322, frozenset({54322, 77}))
RULES = (
    Rule(user="54321", control=("anna",)),
    Rule(user="54322", read=("anna",)),
)
SECRET = "zyxgnu"
"""A word of every text, name and tag of the other namespace."""


class Served:
    """A store behind a dispatcher that asks who calls."""

    def __init__(self, state: Path) -> None:
        self.store = MemoryStore.open(state, Config().replace(embedder="hash"))
        migrations = MigrationManager(self.store, Worker(lambda: self.store.config))
        access = Access("", "", owner=0, rules=RULES)
        self.verbs = {
            v.name: v for v in verbs(self.store, migrations, service_verbs.Traffic(), access)
        }
        self._loop = asyncio.new_event_loop()
        self._dispatcher = Dispatcher(self.verbs.values(), access, threads=1)

    def close(self) -> None:
        self._dispatcher.abandon()
        self._loop.close()
        self.store.close()

    def ask(self, peer: Peer, method: str, **params: Any) -> dict[str, Any]:
        """The reply, error or result."""
        request = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
        frame = Frame(json.dumps(request).encode(), [])
        line = self._loop.run_until_complete(answer_to(self._dispatcher, frame, peer))
        found: dict[str, Any] = json.loads(line or b"")
        return found

    def anna(self, method: str, **params: Any) -> dict[str, Any]:
        reply = self.ask(ANNA, method, **params)
        assert "error" not in reply, reply
        result: dict[str, Any] = reply["result"]
        return result


START = 1_700_000_000_000
TURN = {"turn": "t", "session": "s", "input": "Where is the kettle?", "output": "In room 3."}
TURN |= {"when": START + 100}
MANY = [f"word{n}" for n in range(100)]
"""More words than a long question is asked for."""
OURS = [f"The kettle number {n} stands in room {n % 7}." for n in range(12)]


def fill(served: Served, *, others: bool) -> None:
    """Anna's memories, turns and relations; between them those of another."""
    mine: list[int] = []

    def other(n: int) -> None:
        if others:
            more = {"who": f"Dr {SECRET}", "where": SECRET, "tags": [SECRET], "agent": SECRET}
            texts = [f"The kettle {n} of {SECRET} sings.", OURS[n % len(OURS)], f"{SECRET} {n}"]
            for text in texts:
                served.ask(ROOT, "remember", text=text, namespace="bert", session="s", **more)

    for n, text in enumerate(OURS):
        other(n)
        number = served.anna("remember", text=text, who="Anna", session="s", timestamp=START + n)[
            "id"
        ]
        mine.append(number)
    for n in range(0, 100, 10):
        words = " ".join([*MANY[n : n + 10], *MANY[: n // 5]])
        served.anna("remember", text=words, timestamp=START + n)
        if others:
            served.ask(ROOT, "remember", text=" ".join(MANY[n::2]), namespace="bert")
    served.anna("capture", turns=[TURN])
    document = {"text": OURS[0], "key": "k", "extra": {"text": OURS[0], "n": 1}}
    served.anna("import", memories=[{**document, "timestamp": START}])
    if others:
        theirs = {"key": "k", "value": {"text": f"{OURS[1]} {SECRET}", "n": 2}, "namespace": "bert"}
        served.ask(ROOT, "documents.put", documents=[theirs])
    other(99)
    if others:
        done = served.ask(ROOT, "capture", turns=[{**TURN, "namespace": "bert", "output": SECRET}])
        theirs = done["result"]["turns"][0]["ids"]["input"]
        first, *_, last = mine
        with served.store.records.write() as tx:  # a way from Anna to Anna by another's memory
            tx.add_relations([(Relation(first, theirs, "triggered", 1.0), None, None)])
            tx.add_relations([(Relation(theirs, last, "triggered", 1.0), None, None)])


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Served, Served]]:
    """A store with Anna's memories alone, and one with another's between them."""
    made = [Served(tmp_path_factory.mktemp("isolated") / name) for name in ("alone", "shared")]
    for place, served in enumerate(made):
        fill(served, others=bool(place))
    yield made[0], made[1]
    for served in made:
        served.close()


def own_ids(served: Served) -> list[int]:
    return [memory["id"] for memory in served.anna("export", limit=5000)["memories"]]


def foreign_ids(served: Served) -> list[int]:
    return sorted(set(served.store.records.ids().tolist()) - set(own_ids(served)))


ANYTHING = [
    {"text": "where is the kettle"},
    {"text": f"{SECRET} kettle"},
    {"text": f"{SECRET} kettle", "fleet": True},
    {"text": OURS[3]},
    {"text": f"What did Dr {SECRET} say about the kettle?", "explain": True},
    {"text": "kettle", "namespace": "bert"},
    {"text": "kettle", "namespace": "anna", "explain": True},
    {"text": "kettle room", "mode": "words", "explain": True},
    {"text": "kettle room", "mode": "meaning", "k": 50},
    {"text": "kettle room", "context": True},
    {"text": "Where is the kettle?", "context": True, "budget": 300},
    {"text": "kettle", "goal": True, "explain": True},
    {"text": "kettle", "who": f"Dr {SECRET}"},
    {"text": "kettle", "where": SECRET},
    {"text": "kettle", "tags": [SECRET]},
    {"text": "kettle", "agent": SECRET},
    {"text": " ".join([*OURS, SECRET] * 8), "explain": True},
    {"text": " ".join(MANY), "explain": True},
    {"text": " ".join(MANY), "mode": "words", "explain": True},
]
QUESTIONS: dict[str, list[dict[str, Any]]] = {
    "ping": [{}],
    "status": [{}, {"history": True}],
    "query": ANYTHING,
    "get": [{"id": "own"}, {"id": "own", "offset": 0}, {"id": "own", "context": True}],
    "similar": [{"id": "own", "k": 1000}],
    "related": [{"id": "own", "depth": depth} for depth in (1, 2, 5)],
    "narrative": [{}, {"who": "Anna"}, {"day": "2023"}, {"budget": 60}, {"namespace": "bert"}],
    "person": [{"name": "Anna"}, {"name": f"Dr {SECRET}"}, {"name": "nobody"}],
    "connect": [],
    "step": [],
    "complete": [
        {"what": "kettle", "ask": "who"},
        {"who": "Anna", "ask": "where", "k": 100},
        {"who": f"Dr {SECRET}", "ask": "what"},
        {"what": "kettle", "ask": "when", "namespace": "bert"},
    ],
    "dream.list": [{}, {"namespace": "bert"}],
    "dream.accept": [],
    "dream.reject": [],
    "goal.list": [{}, {"state": "all"}, {"namespace": "bert"}],
    "goal.show": [],
    "goal.add": [],
    "goal.done": [],
    "export": [{}, {"namespace": "bert"}, {"limit": 2}, {"agent": SECRET}, {"offset": 0}],
    "browse": [{}, {"limit": 3, "offset": 2}, {"order": "time"}, {"namespace": "bert"}],
    "timeline": [{}, {"edges": [START, START + 5, START + 1000]}, {"who": f"Dr {SECRET}"}],
    "documents.find": [
        {},
        {"tree": "", "query": "kettle"},
        {"tree": "bert"},
        {"namespace": "bert", "keys": ["k"]},
        {"namespace": "anna", "keys": ["k"]},
        {"query": SECRET, "filter": {"n": {"$gte": 0}}},
    ],
    "documents.namespaces": [{}, {"tree": "bert"}],
    "documents.put": [],
    "fleet.state": [],
    "fleet.changes": [],
    "fleet.apply": [],
    "fleet.confirm": [],
    "remember": [],
    "capture": [],
    "import": [],
    "audit": [{}, {"kinds": ["duplicate", "near_duplicate"]}],
    "redate": [],
    "forget": [
        {"ids": "own", "dry_run": True},
        {"ids": "own", "dry_run": True, "purge": True},
        {"where": "layer=note", "dry_run": True},
        {"where": "namespace=bert and found=never", "dry_run": True},
    ],
}
"""What a bound user asks each verb that knows about bounds; "own" is every memory of theirs."""


def test_a_verb_knows_about_bounds_or_refuses_the_bound(both: tuple[Served, Served]) -> None:
    _, shared = both
    bounded = {name for name, verb in shared.verbs.items() if verb.bounded}
    assert bounded == QUESTIONS.keys()
    for name in shared.verbs.keys() - bounded:
        reply = shared.ask(ANNA, name, id=1, text="x")
        assert reply["error"]["data"]["code"] == "namespace_denied", name
        assert SECRET not in json.dumps(reply)


def asked(served: Served, name: str, params: dict[str, Any]) -> list[Any]:
    """The replies to a question, ids replaced by their place among those of the asker."""
    ids = own_ids(served)
    place = {number: f"own {n}" for n, number in enumerate(ids)}
    replies = []
    if params.get("id") == "own":
        requests = [{**params, "id": number} for number in ids]
    elif params.get("ids") == "own":
        requests = [{**params, "ids": ids}]
    else:
        requests = [params]

    def plain(value: Any, key: str = "") -> Any:
        if isinstance(value, dict):
            return {k: plain(v, k) for k, v in value.items() if k not in CHANGES}
        if isinstance(value, list):
            return [plain(item, key) for item in value]
        if key in IDS and isinstance(value, int):
            return place[value]
        if key in ("what", "command"):  # sentences that name ids
            return re.sub(r"\d{2,}|(?<=memory )\d", lambda n: place.get(int(n[0]), n[0]), value)
        return value

    for request in requests:
        whole = served.ask(ANNA, name, **request)
        reply = whole.get("result") or whole["error"]
        if reply.get("piece"):
            reply = json.loads(reply["piece"]["json"])
        replies.append(plain(reply))
    return replies


CHANGES = {
    "timings",
    "took_ms",
    "created",
    "uptime_seconds",
    "last_accessed",
    "access_count",
    "since",
}
"""Fields that differ from one moment to the next."""
IDS = {"id", "ids", "hits", "copy_ids", "next", "input", "contemplation", "output", "forgotten"}


@pytest.mark.parametrize(
    ("name", "params"), [(name, each) for name, some in QUESTIONS.items() for each in some]
)
def test_a_reply_is_what_it_would_be_if_there_were_no_one_else(
    both: tuple[Served, Served], name: str, params: dict[str, Any]
) -> None:
    alone, shared = both
    replies = asked(shared, name, params)
    if f"{SECRET}" not in json.dumps(params):
        assert SECRET not in json.dumps(replies)
    for mine, ours in zip(asked(alone, name, params), replies, strict=True):
        assert ours == mine


@pytest.mark.parametrize("name", ["get", "similar", "related"])
def test_an_id_of_another_does_not_exist(both: tuple[Served, Served], name: str) -> None:
    _, shared = both
    theirs = foreign_ids(shared)
    absent = max(theirs) + 1000
    assert len(theirs) > 30
    for number in theirs[:5]:
        reply = shared.ask(ANNA, name, id=number)
        nothing = shared.ask(ANNA, name, id=absent)
        assert reply["error"]["data"]["code"] == "not_found"
        text = json.dumps(reply["error"]).replace(f"memory {number}.", "")
        assert text == json.dumps(nothing["error"]).replace(f"memory {absent}.", "")
    assert shared.ask(ANNA, "get", id=theirs[0], offset=0)["error"]["data"]["code"] == "not_found"


def test_a_goal_of_another_does_not_exist(tmp_path: Path) -> None:
    shared = Served(tmp_path / "state")
    added = {"text": f"sell the kettle of {SECRET}", "namespace": "bert"}
    theirs = shared.ask(ROOT, "goal.add", **added)["result"]["id"]
    shared.anna("goal.add", text="sell the kettle")
    shared.ask(ROOT, "remember", text=f"The kettle of {SECRET} is sold.", namespace="bert")
    (mine,) = shared.anna("goal.list")["results"]
    for name, params in (("goal.show", {}), ("goal.done", {}), ("goal.done", {"by": 1})):
        reply = shared.ask(ANNA, name, id=theirs, **params)
        assert reply["error"]["data"]["code"] == "not_found", name
    assert shared.ask(ANNA, "goal.done", id=mine["id"], by=theirs)["error"]
    assert shared.ask(ANNA, "query", text="kettle", goal=theirs)["error"]
    own = shared.anna("remember", text="The kettle is for sale.")["id"]
    with shared.store.records.write() as tx:
        suggestions.add(tx, [Pair("link", theirs, own, 0.9)], own)
    assert shared.anna("dream.list")["results"] == []
    for name in ("dream.accept", "dream.reject"):
        reply = shared.ask(ANNA, name, id=1)
        assert reply["error"]["data"]["code"] == "not_found"
    assert len(shared.ask(ROOT, "dream.list")["result"]["results"]) == 1
    for params in ({"id": own, "other": theirs}, {"id": theirs, "other": own}):
        reply = shared.ask(ANNA, "connect", **params)
        assert reply["error"]["data"]["code"] == "not_found"
    assert [each["id"] for each in shared.anna("step", n=5)["results"]] == [own]
    assert shared.ask(READER, "step")["error"]["data"]["code"] == "namespace_denied"
    near = shared.anna("goal.show", id=mine["id"])["results"]
    assert [each["id"] for each in near] == [own]
    assert not any(SECRET in line["text"] for line in shared.anna("narrative")["lines"])
    reply = shared.ask(ANNA, "goal.add", text="x", namespace="bert")
    assert reply["error"]["data"]["code"] == "namespace_denied"
    shared.close()


def test_another_may_not_be_forgotten_nor_what_was_forgotten_of_them(
    both: tuple[Served, Served],
) -> None:
    _, shared = both
    gone, there, *_ = foreign_ids(shared)
    shared.ask(ROOT, "forget", ids=[gone])
    for purge in (False, True):
        receipt = shared.anna("forget", ids=[gone, there], purge=purge)
        assert receipt["missing"] == [gone, there]
        assert not receipt["forgotten"] and not receipt["forgotten_before"]
    assert "result" in shared.ask(ROOT, "get", id=there)
    reply = shared.ask(ANNA, "forget", purge=True, all_forgotten=True)
    assert reply["error"]["data"]["code"] == "namespace_denied"


def test_a_purge_tells_that_there_are_strange_files_but_not_their_names(
    both: tuple[Served, Served],
) -> None:
    _, shared = both
    stray = shared.store.state / "snapshots" / f"{SECRET}.sqlite"
    stray.write_text("")
    own = shared.anna("remember", text="x", namespace="anna")["id"]
    assert shared.anna("forget", ids=[own], purge=True)["strangers"] == ["snapshots"]
    other = shared.anna("remember", text="x", namespace="anna")["id"]
    assert shared.ask(ROOT, "forget", ids=[other], purge=True)["result"]["strangers"] == [
        str(stray)
    ]
    stray.unlink()


@pytest.mark.parametrize("space", ["bert", "nobody", "Anna", "anna2", "default"])
def test_nothing_is_written_elsewhere_whether_it_exists_or_not(
    both: tuple[Served, Served], space: str
) -> None:
    _, shared = both
    before = shared.store.records.counts()
    turn = {"turn": "n", "session": "s", "input": "x", "namespace": space}
    document = {"namespace": space, "key": "k", "value": None}
    for name, params in {
        "documents.put": {"documents": [{"key": "m", "value": {}}, document]},
        "remember": {"text": "x", "namespace": space},
        "import": {"memories": [{"text": "y"}, {"text": "x", "namespace": space}]},
        "capture": {"turns": [{"turn": "m", "session": "s", "input": "y"}, turn]},
    }.items():
        reply = shared.ask(ANNA, name, **params)
        assert reply["error"]["data"]["code"] == "namespace_denied", name
        assert space in reply["error"]["message"]
    reply = shared.ask(ANNA, "import", memories=[{"text": "x"}], namespace=space)
    assert reply["error"]["data"]["code"] == "namespace_denied"
    assert shared.store.records.counts() == before


def test_a_turn_of_the_same_name_elsewhere_is_another(both: tuple[Served, Served]) -> None:
    _, shared = both
    (done,) = shared.anna("capture", turns=[TURN])["turns"]
    assert done["state"] == "unchanged" and set(done["ids"].values()) <= set(own_ids(shared))


def test_what_names_no_namespace_goes_into_ones_own(tmp_path: Path) -> None:
    served = Served(tmp_path / "s")
    served.anna("remember", text="a")
    served.anna("import", memories=[{"text": "b"}])
    served.anna("capture", turns=[{"turn": "t", "session": "s", "input": "c"}])
    spaces = [memory["namespace"] for memory in served.anna("export")["memories"]]
    assert spaces == ["anna"] * 3
    served.close()


def test_who_may_only_read_reads_and_writes_nothing(both: tuple[Served, Served]) -> None:
    _, shared = both
    assert shared.ask(READER, "query", text="kettle")["result"]["results"]
    for name, verb in shared.verbs.items():
        if verb.access == "control":
            reply = shared.ask(READER, name, text="x", ids=[1], turns=[], memories=[])
            assert reply["error"]["data"]["code"] == "namespace_denied", name


def test_root_is_never_bound_and_who_has_no_rule_is_as_before(both: tuple[Served, Served]) -> None:
    _, shared = both
    for peer in (ROOT, Peer(1, 60000, 60000)):
        names = shared.ask(peer, "status")["result"]["namespaces"]
        assert {"anna", "bert"} <= names.keys()


# --- the rules ------------------------------------------------------------------------------------


def test_rules_of_a_user_and_of_groups_add_up() -> None:
    rules = (
        Rule(user="54322", read=("x",)),
        Rule(group="root", control=("ours",)),
        Rule(user="no such user", control=("y",)),
        Rule(group="no such group", control=("y",)),
    )
    access = Access("", "", owner=1, rules=rules)
    assert access.bounds(Peer(1, 54322, 54322, frozenset({0}))) == Bounds(
        Namespaces(("ours", "x")), Namespaces(("ours",))
    )
    assert access.bounds(Peer(2, 54322, 54322)) == Bounds(Namespaces(("x",)), Namespaces(()))
    assert access.bounds(Peer(2, 54323, 54323)) is None
    assert access.bounds(Peer(2, 0, 54323)) is None and access.bounds(Peer(2, 1, 1)) is None
    access.configure("", "", ())
    assert access.bounds(Peer(2, 54322, 54322)) is None


def test_a_star_stands_for_all_that_begin_so(tmp_path: Path) -> None:
    spaces = Namespaces(("agent.*", "home"))
    assert "agent.main" in spaces and "agent." in spaces and "home" in spaces
    assert "agent" not in spaces and "home.x" not in spaces and "Agent.main" not in spaces
    assert spaces.home == "home" and Namespaces(("a.*",)).home == "default"
    store = MemoryStore.open(tmp_path / "s", Config().replace(embedder="hash"))
    for space in ("agent.main", "agent%", "agent", "home", "homes"):
        store.remember(Memory("The kettle.", namespace=space))

    found = store.records.rows_in(
        "SELECT name FROM names WHERE id IN", store.records.names_within(spaces)
    )
    assert {name for (name,) in found} == {"agent.main", "home"}
    store.close()


WRONG = [
    ("x", "must be a list of rules"),
    ([{"user": "a"}], "something to read or to control"),
    ([{"read": "a"}], "must name a user or a group"),
    ([{"user": "a", "group": "b", "read": "a"}], "must name a user or a group"),
    ([{"user": "a", "write": "b"}], "must hold rules of user or group, read, control"),
    ([{"user": "a", "read": ["a*b"]}], "a star only at the end"),
    ([{"user": "a", "read": [""]}], "must hold names"),
    ([{"user": "a", "read": [7]}], "must hold names"),
]


@pytest.mark.parametrize(("value", "said"), WRONG)
def test_a_rule_that_is_wrong_is_told(value: Any, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        Config().replace(access__namespaces=value)


def test_rules_are_read_from_yaml() -> None:
    given = [
        {"user": 1000, "control": "anna", "read": ["home", "agent.*"]},
        {"group": "g", "read": "x"},
    ]
    assert read_rules(given) == (
        Rule(user="1000", read=("home", "agent.*"), control=("anna",)),
        Rule(group="g", read=("x",)),
    )
    assert read_rules(None) == () and Config()["access.namespaces"] == ()
