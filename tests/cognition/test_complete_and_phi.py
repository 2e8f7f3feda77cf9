"""The verbs complete and phi: what is missing, with its support; how well a memory comes apart."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import UTC
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nimad.check import check
from nimad.cognition import episodes, phi_of_memories
from nimad.config import Config
from nimad.core.store import MemoryStore
from nimad.ctl.main import main
from nimad.errors import NotFound, OwnerOnly, UsageError
from nimad.model import Memory
from nimad.namespaces import Namespaces
from nimad.serve.access import Access, Peer
from nimad.serve.hypervector_verbs import HypervectorVerbs
from nimad.serve.verbs import Call
from nimad.store import phi_rows
from tests.hypervectors import ROLES, unit
from tests.legacy.checkpoints import episode, nested, save, tensor
from tests.legacy.test_expected import migrated, nimactl
from tests.process import DaemonProcess

MAY = 1_683_554_160_000  # 2023-05-08
SAID = [
    ("Caroline", "went to an adoption agency with all of her papers", "agency", MAY),
    ("Caroline", "is still thinking about adoption", "home", MAY + 86_400_000),
    ("Melanie", "asked how the adoption interviews went", "home", MAY + 2 * 86_400_000),
    ("Melanie", "painted a sunrise over the lake", "studio", MAY),
    ("Dora", "sold the old adoption leaflets", "office", MAY + 90 * 86_400_000),
]

Ask = Callable[..., Any]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[MemoryStore]:
    opened = MemoryStore.open(tmp_path / "state", Config().replace(graph__engine="none"))
    opened.remember_many(
        [Memory(text, who=who, where=place, timestamp=at) for who, text, place, at in SAID]
    )
    yield opened
    opened.close()


@pytest.fixture
def ask(store: MemoryStore) -> Ask:
    served = {verb.name: verb for verb in HypervectorVerbs(store).all()}

    def call(verb: str, within: Namespaces | None = None, **given: Any) -> Any:
        return served[verb].answer(Call(given, Peer(1, 0, 0), within=within))

    return call


# --- complete -------------------------------------------------------------------------------------


def test_who_it_was_comes_with_those_who_say_so(ask: Ask) -> None:
    answer = ask("complete", what="adoption", when="2023-05", ask="who", time_zone="UTC")
    assert [each["filler"] for each in answer["candidates"]] == ["Caroline", "Melanie"]
    first, second = answer["candidates"]
    assert set(first["ids"]) == {1, 2} and second["ids"] == [3]
    assert first["score"] > second["score"] > 0 and first["margin"] > 0.05
    assert answer["memories"] == 3 and answer["ask"] == "who"
    assert ask("complete", what="adoption", when="2023-05", ask="who", k=1)["candidates"] == [first]


@pytest.mark.parametrize(
    ("known", "asked", "wanted"),
    [
        ({"who": "melanie", "when": "2023-05-08"}, "where", "studio"),
        ({"who": "Dora"}, "when", "2023-08-06"),
        ({"where": "office"}, "what", "sold the old adoption leaflets"),
    ],
)
def test_any_role_may_be_asked_for(
    ask: Ask, known: dict[str, str], asked: str, wanted: str
) -> None:
    answer = ask("complete", **known, ask=asked, time_zone="UTC")
    assert answer["candidates"][0]["filler"] == wanted


def test_nothing_is_told_where_nothing_is_known(ask: Ask) -> None:
    for known in ({"what": "xylophone zebra"}, {"who": "Nobody"}, {"when": "1999"}):
        assert ask("complete", **known, ask="where")["candidates"] == []
    assert ask("complete", what="adoption", ask="emotion")["candidates"] == []
    other = Namespaces(("other",))
    assert ask("complete", other, what="adoption", ask="who")["candidates"] == []
    for nowhere in ({"namespace": "other"}, {"agent": "other"}, {"origin": "system"}):
        assert ask("complete", what="adoption", ask="who", **nowhere)["candidates"] == []
    for wrong in ({"ask": "who"}, {"ask": "who", "who": "Dora"}, {"ask": "why", "who": "Dora"}):
        with pytest.raises(UsageError):
            ask("complete", **wrong)


def test_what_is_untrusted_completes_nothing_unless_asked(store: MemoryStore, ask: Ask) -> None:
    store.remember(Memory("adopted a zebra", who="Mallory", origin="untrusted"))
    assert ask("complete", what="zebra", ask="who")["candidates"] == []
    (found,) = ask("complete", what="zebra", ask="who", origin="untrusted")["candidates"]
    assert found["filler"] == "Mallory"


def test_a_long_filler_is_cut(store: MemoryStore, ask: Ask) -> None:
    store.remember(Memory("very long " * 200, where="the archive"))
    (found,) = ask("complete", where="the archive", ask="what")["candidates"]
    assert found["filler"].endswith(" …") and len(found["filler"]) < 510


def test_roles_of_any_memory() -> None:
    roles = episodes.roles_of(
        Memory(
            "said", who="Ana", timestamp=MAY, affect='{"CARE": 0.5, "FEAR": 0}', tags=("a", "b")
        ),
        UTC,
    )
    assert roles == {
        "WHO": "Ana",
        "WHAT": "said",
        "WHEN": "2023-05-08",
        "EMOTION": "CARE",
        "THEME": "a b",
    }
    for affect, emotion in (("calm", "calm"), ("[1]", "[1]"), ("{}", None)):
        found = episodes.roles_of(Memory("x", timestamp=None, affect=affect), UTC)
        assert found.get("EMOTION") == emotion and "WHEN" not in found


# --- phi ------------------------------------------------------------------------------------------


def test_phi_of_a_memory_tells_what_it_found(store: MemoryStore, ask: Ask) -> None:
    told = ask("phi", id=1)
    assert told["hypervector"] == "derived" and 0.95 < told["phi"] <= 1 and told["reason"] == ""
    assert {role["role"]: role["filler"] for role in told["roles"]}["WHO"] == "Caroline"
    assert sum(role["drop"] for role in told["roles"]) == pytest.approx(told["phi"])
    assert json.dumps(told, allow_nan=False)
    lone = store.remember(Memory("alone", timestamp=None))
    told = ask("phi", id=lone)
    assert told["phi"] is None and "fewer than two roles" in told["reason"]
    for wrong in ({}, {"id": 1, "top": 3}):
        with pytest.raises(UsageError):
            ask("phi", **wrong)
    for hidden, within in ((99, None), (1, Namespaces(("other",)))):
        with pytest.raises(NotFound):
            ask("phi", within, id=hidden)


def test_what_a_long_value_costs_has_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    """40 memories with 26,000 words each were read whole for one question."""
    added: list[str] = []
    add = episodes._add

    def noted(total: Any, word: str, *rest: Any) -> None:
        added.append(word)
        add(total, word, *rest)

    monkeypatch.setattr(episodes, "_add", noted)
    long = " ".join(f"w{n}" for n in range(26_000))
    episodes.filler(long, 100, 100, 10)
    episodes.episode({"WHAT": long, "WHO": "Maya"}, 100, 100, 10)
    assert len(added) <= episodes.MOST_READ and added[0] == "w0" and added[-1] == "maya"
    added.clear()
    episodes.filler("," * 100_000, 100, 100, 10)
    assert len(added) == 1 and len(added[0]) == episodes.MOST_READ


def test_what_is_measured_is_kept_some_at_a_time_and_questions_go_first(
    store: MemoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Looking for what is left does not grow with what was measured."""
    monkeypatch.setattr(phi_of_memories, "BATCH", 2)
    kept: list[int] = []
    gave_way: list[int] = []
    keep = phi_rows.keep

    def noted(tx: Any, rows: Any, method: int) -> None:
        kept.extend(row.memory for row in rows)
        keep(tx, rows, method)
        gave_way.append(-len(rows))

    monkeypatch.setattr(phi_rows, "keep", noted)
    monkeypatch.setattr(
        store.query_priority, "yield_to_queries", lambda *_: gave_way.append(1), raising=False
    )
    phi_of_memories.MemoryPhi(store, UTC, None).measure_more(60)
    assert sorted(kept) == [1, 2, 3, 4, 5]
    assert gave_way == [1, 1, -2, 1, 1, -2, 1, -1]


def test_the_highest_are_kept_and_go_with_their_memories(store: MemoryStore, ask: Ask) -> None:
    lone = store.remember(Memory("alone", timestamp=None))
    assert ask("phi", top=3, seconds=0)["left"] == 6
    answer = ask("phi", top=3, seconds=60)
    assert (answer["measured"], answer["not_measurable"], answer["left"]) == (5, 1, 0)
    phis = [each["phi"] for each in answer["results"]]
    assert len(phis) == 3 and phis == sorted(phis, reverse=True)
    assert answer["results"][0]["text"]
    assert ask("phi", Namespaces(("other",)), top=3)["results"] == []
    assert len(ask("phi", Namespaces(("default",)), top=9)["results"]) == 5
    store.forget([1, lone], purge=True)
    assert ask("phi", top=9, seconds=0)["measured"] == 4
    assert store.records.rows("SELECT memory FROM phi ORDER BY 1") == [(2,), (3,), (4,), (5,)]
    with store.records.write() as tx:
        phi_rows.keep(tx, [phi_rows.PhiRow(1, 0.5, 0.0, 0.5)], 1)
        phi_rows.keep(tx, [phi_rows.PhiRow(2, 0.5, 0.0, 0.5)], 99)
    measured, _, left = phi_rows.counts(store.records, 1)
    assert (measured, left) == (3, 1)  # one of another method is no measurement
    assert check(store) == []


def test_only_who_may_write_has_numbers_kept(store: MemoryStore) -> None:
    (phi,) = (v for v in HypervectorVerbs(store, Access("", "")).all() if v.name == "phi")
    stranger = Peer(1, 54_321, 54_321)
    assert phi.answer(Call({"top": 3}, stranger))["measured"] == 0
    assert phi.answer(Call({"id": 1}, stranger))["phi"] > 0.9
    with pytest.raises(OwnerOnly):
        phi.answer(Call({"top": 3, "seconds": 5}, stranger))
    assert phi.answer(Call({"top": 3}, Peer(1, 0, 0)))["measured"] > 0


def test_phi_of_a_legacy_hypervector(daemon: DaemonProcess, tmp_path: Path) -> None:
    """Sound ones come apart into what was bound; a damaged one and a lone one do not."""
    rng = np.random.default_rng(3)
    size = 2_000
    metas = [episode(number) for number in range(24)]
    roles = dict(zip(ROLES[:4], unit(rng, 4, size), strict=True))
    fields = dict(zip(ROLES[:4], ("who", "what", "where", "when"), strict=True))
    for meta in metas:
        meta["when"] = f"day {meta['what']}"
    values = sorted({str(meta[field]) for meta in metas for field in fields.values()})
    fillers = dict(zip(values, unit(rng, len(values), size), strict=True))
    rows = np.zeros((24, size), np.float32)
    for row, meta in zip(rows, metas, strict=True):
        for role, field in fields.items():
            pair = np.fft.rfft(roles[role]) * np.fft.rfft(fillers[str(meta[field])])
            row += np.fft.irfft(pair, n=size).astype(np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    rows[5] = unit(rng, 1, size)[0]
    value = nested(metas, tensor(rows), {name: tensor(row) for name, row in fillers.items()})
    value["tensors"]["roles"] = {name: tensor(row) for name, row in roles.items()}
    save(tmp_path / "latest.pt", value)
    migrated(daemon, tmp_path / "latest.pt")
    told = daemon.call("phi", id=3)
    assert told["hypervector"] == "legacy" and told["phi"] > 0.8
    assert {role["role"]: role["filler"] for role in told["roles"]} == {
        role: str(metas[2][field]) for role, field in fields.items()
    }
    assert daemon.call("phi", id=6)["phi"] < 0.2
    code, top = nimactl(daemon, "phi", "--top", 3, "--seconds", 30)
    assert code == 0 and top["left"] == 0 and top["measured"] == 24
    assert 6 not in [each["id"] for each in top["results"]]


def test_who_of_real_hypervectors(daemon: DaemonProcess, legacy_dir: Path) -> None:
    migrated(daemon, legacy_dir / "sessions")
    right = 0
    for number in range(1, 161):
        told = daemon.call("phi", id=number)
        found = {role["role"]: role["filler"] for role in told["roles"]}
        right += found["WHO"] == daemon.call("get", id=number)["memory"]["who"]
        assert told["hypervector"] == "legacy" and told["phi"] > 0.5
    assert right >= 0.9 * 160


def test_the_commands(daemon: DaemonProcess, capsys: pytest.CaptureFixture[str]) -> None:
    for who, text, place, at in SAID:
        daemon.call("remember", text=text, who=who, where=place, timestamp=at)

    def shown(*words: str) -> str:
        assert main(["--socket", str(daemon.socket), *words]) == 0
        return capsys.readouterr().out

    asked = ("complete", "--what", "adoption", "--when", "2023-05", "--ask", "who")
    line, *_ = shown(*asked).split("\n")
    assert line.startswith("Caroline") and "margin" in line and line.endswith("]")
    assert shown("complete", "--who", "Nobody", "--ask", "where") == "Nothing stands out.\n"
    assert "of its fields" in shown("phi", "1") and "WHO" in shown("phi", "1")
    assert shown("phi", "--top", "2", "--seconds", "30").count("phi ") == 2


def test_a_daemon_that_is_not_asked_holds_nothing_of_it() -> None:
    code = (
        "import sys, nimad.daemon, nimad.serve.verb_table;"
        "idle = ('nimad.cognition', 'nimad.vsa', 'nimad.reflection');"
        "print([name for name in sys.modules if name.startswith(idle)])"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "[]"
