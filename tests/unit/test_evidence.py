"""What decides between an answer and silence: its signals, its threshold, and what it must not
depend on."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nimad.config import Config
from nimad.core.store import MemoryStore
from nimad.embed.base import Embedder
from nimad.model import Filter, Memory
from nimad.recall import closer_weights, evidence, evidence_weights
from nimad.recall.evidence import MEANING, SIGNALS, WORDS, Evidence, Model
from nimad.recall.ranking import MODES, Recall
from nimad.recall.scopes import evenly

CONFIG = Config().replace(graph__engine="none")
NOTES = [
    "The harbour pilot Ingrid Solberg retired after thirty years at the northern quay.",
    "A new timetable for the mountain railway begins on the first Sunday of May.",
    "The museum bought the unfinished portrait of Ingrid Solberg by Henrik Dahl.",
    "Drinking water in the old town comes from three springs above the monastery.",
    "The chess club meets in the library on Wednesdays, guests are welcome.",
    "Henrik Dahl painted mostly fishermen and their boats in winter light.",
    "The bakery sells rye bread only before ten in the morning.",
    "Volunteers planted two hundred lime trees along the canal.",
]
ANSWERED = [
    "Who retired after thirty years as a harbour pilot?",
    "Where does the drinking water of the old town come from?",
    "When does the chess club meet in the library?",
    "What did Henrik Dahl paint?",
]
FOREIGN = [
    "Which enzyme breaks down lactose in the small intestine?",
    "How do I configure a reverse proxy for websockets?",
    "What is the boiling point of ethanol at sea level?",
]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MemoryStore]:
    state = tmp_path_factory.mktemp("evidence") / "state"
    with closing(MemoryStore.open(state, CONFIG)) as opened:
        opened.remember_many([Memory(text, timestamp=1) for text in NOTES])
        yield opened


def weigh(store: MemoryStore, text: str, mode: str = "hybrid") -> Evidence:
    found = store.recall.evidence(text, mode, Filter())
    assert found is not None
    return found


@pytest.mark.parametrize("mode", MODES)
def test_answerable_questions_are_answered_and_others_are_not(
    store: MemoryStore, mode: str
) -> None:
    assert [text for text in ANSWERED if not store.query(text, 3, mode).hits] == []
    assert [text for text in FOREIGN if store.query(text, 3, mode).hits] == []


@pytest.mark.parametrize("mode", MODES)
def test_capital_letters_decide_nothing(store: MemoryStore, mode: str) -> None:
    """What is asked in small letters is answered as well, and what is not stays silent."""
    for text in (*ANSWERED, *FOREIGN):
        assert weigh(store, text.lower(), mode).enough == weigh(store, text, mode).enough, text


def test_one_unknown_name_beside_known_words_hardly_counts(store: MemoryStore) -> None:
    plain = weigh(store, "Which portrait of Ingrid Solberg did the museum buy?")
    misspelt = weigh(store, "Which portrait of Ingrid Sohlberg did the museum buy?")
    assert plain.enough and misspelt.enough
    assert misspelt.signals["strangers"] == 0 and not misspelt.unknown_name
    strange = weigh(store, "Which portrait of Quentin Zebulon did the museum buy?")
    assert strange.signals["strangers"] == 1 and strange.unknown_name


def test_another_form_of_a_word_counts_half(tmp_path: Path) -> None:
    """No memory holds "Nominierung" or "Fischmarkt", but one the plural and the last part."""
    with closing(MemoryStore.open(tmp_path / "state", CONFIG)) as opened:
        opened.remember_many([Memory(text, timestamp=1) for text in NOTES])
        text = "Was war auf dem Fischmarkt bei der Nominierung?"
        before = weigh(opened, text).signals
        opened.remember(Memory("Edison erhielt Nominierungen auf jedem Markt.", timestamp=1))
        after = weigh(opened, text).signals
    assert (before["coverage"], before["common"], before["missed"]) == (0, 0, 1)
    assert after["coverage"] == after["common"] == pytest.approx(0.5)
    assert after["missed"] == after["held"] == pytest.approx(0.5)
    assert before["unknown"] == 1 and after["unknown"] == 0


def test_a_word_of_about_the_same_meaning_is_half_a_word(tmp_path: Path) -> None:
    """A memory that does not hold "physician" may have a doctor, in any language of the lexicon."""
    with closing(MemoryStore.open(tmp_path / "state", CONFIG)) as opened:
        opened.remember_many([Memory(text, timestamp=1) for text in NOTES])
        opened.remember(Memory("The doctor for the harbour is Marta Lund.", timestamp=1))
        opened.remember(Memory("Врач в порту принимает по средам.", timestamp=1))
        opened.remember(Memory("港口的医生每周三坐诊。", timestamp=1))
        near = weigh(opened, "Who is the physician for the harbour?").signals
        far = weigh(opened, "Who is the giraffe for the harbour?").signals
        russian = weigh(opened, "Когда принимает доктор в порту?").signals
        pairs = weigh(opened, "港口的大夫什么时候坐诊？").signals
        exact = weigh(opened, "--physician-key").signals
    assert near["astray"] < 0.7 * near["missed"]
    assert far["missed"] >= far["astray"] > 1.2 * near["astray"]
    assert russian["astray"] < 0.9 * russian["missed"]
    assert pairs["missed"] > 0 and "astray" not in pairs, "pairs of characters are no words"
    assert exact["missed"] > 0 and "astray" not in exact, "what is held to the letter has no like"


def test_words_that_are_looked_for_by_their_beginning_need_more_evidence(tmp_path: Path) -> None:
    """What holds such a beginning may say another word; what is held by nothing does not."""
    with closing(MemoryStore.open(tmp_path / "state", CONFIG)) as opened:
        opened.remember_many([Memory(text, timestamp=1) for text in NOTES])
        opened.remember(Memory("Врач в порту принимает по средам.", timestamp=1))
        plain = weigh(opened, "Which doctor is there at the harbour?")
        short = weigh(opened, "Принимает врач в порту?")
        longer = weigh(opened, "Принимает хороший портовый доктор больных моряков в порту?")
        unheld = weigh(opened, "Сколько килограммов весит жираф?")
    for one in (plain, unheld):
        assert one.signals["begun"] == one.least == 0
    assert 2 <= short.signals["begun"] < longer.signals["begun"] <= evidence.MOST_BEGUN
    for one in (short, longer):
        assert one.least == pytest.approx(evidence.BEGUN * one.signals["begun"])
    assert short.enough and not unheld.enough


def test_the_best_memory_is_read_only_where_it_is_close(
    store: MemoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[str] = []
    measure_best = evidence.measure_best

    def reads(signals: dict[str, float], best: Any, text: str, embedder: Any) -> dict[str, float]:
        read.append(text)
        return measure_best(signals, best, text, embedder)

    found = {text: weigh(store, text) for text in (*ANSWERED, *FOREIGN)}
    both = {text: evidence.BOTH.evidence(one.signals) for text, one in found.items()}
    monkeypatch.setattr(evidence, "measure_best", reads)
    for strictness in (0.05, 0.5, 0.95):
        least = evidence.threshold(strictness)
        for text, one in found.items():
            read.clear()
            shown = bool(store.query(text, 3, "hybrid", strictness=strictness).hits)
            close = "astray" in one.signals and abs(both[text] - least) < evidence.CLOSE
            assert len(read) == close, text
            model = evidence.CLOSER if close else evidence.BOTH
            assert shown == (model.evidence(one.signals) >= least), text


def test_strictness_moves_the_threshold(store: MemoryStore) -> None:
    bars = [evidence.threshold(value / 10) for value in range(11)]
    assert bars == sorted(bars) and bars[5] == 0
    signals = weigh(store, FOREIGN[0]).signals
    met = min(model.evidence(signals) for model in (evidence.BOTH, evidence.CLOSER))
    for text in (*ANSWERED, *FOREIGN):
        assert store.query(text, 3, "hybrid", strictness=0.0).hits
        assert not store.query(text, 3, "hybrid", strictness=1.0).hits
    lax = 1 / (1 + math.exp(-met / 2)) * 0.99
    assert store.query(FOREIGN[0], 3, "hybrid", strictness=lax).hits
    assert store.query(NOTES[3], 1, "hybrid", strictness=1.0).hits, "it is the memory itself"
    strict = store.config
    try:
        store.configure(strict.replace(recall__strictness=1.0))
        assert not store.query(ANSWERED[0]).hits
    finally:
        store.configure(strict)


def test_parts_add_up(store: MemoryStore) -> None:
    found = [weigh(store, text) for text in (*ANSWERED, *FOREIGN)]
    for one in found:
        assert one.met == pytest.approx(sum(one.parts.values()))
        assert SIGNALS.keys() - one.signals.keys() <= {"astray"}
        assert all(math.isfinite(value) for value in one.signals.values())
    assert any(one.signals.keys() == SIGNALS.keys() for one in found)


@pytest.mark.parametrize("name", ["BOTH", "CLOSER", "WORDS", "MEANING"])
def test_weights_are_of_known_signals(name: str) -> None:
    weights = getattr(closer_weights if name == "CLOSER" else evidence_weights, name)
    assert weights.keys() - {"base", "out"} <= SIGNALS.keys()
    assert len({len(row) for row in weights.values()}) == 1
    assert {signal for names in evidence.PARTS.values() for signal in names} == SIGNALS.keys()


def test_a_model_is_a_network_of_one_layer() -> None:
    weights = {
        "coverage": (0.5, 0.25, 2.0, 1.0, 0.0),
        "length": (2.0, 0.5, 0.0, 0.0, -1.0),
        "base": (0.0, 1.0, -1.0, 0.0, 0.5),
        "out": (0.0, 0.0, 0.0, 3.0, 4.0),
    }
    model = Model(weights, 4.0)
    signals = {"coverage": 0.75, "length": 2.25, "texts": 9.0}
    both = -1 + 2 * 1 + 3 * math.tanh(1) + 4 * math.tanh(0.5 - 0.5)
    assert model.evidence(signals) == pytest.approx(both)
    found = model.parts(signals)
    assert found["base"] == pytest.approx(-1 + 4 * math.tanh(0.5))
    assert found["question"] == pytest.approx(-4 * math.tanh(0.5)) and found["store"] == 0
    assert sum(found.values()) == pytest.approx(both)
    far = {"coverage": 90.0, "length": 2.0}
    assert model.evidence(far) == model.evidence({"coverage": 1.5, "length": 2.0}), "bounded"
    assert WORDS.sure > 0 and MEANING.sure > 0


class Mute(Embedder):
    """Knows no word."""

    name, revision, dims = "mute", "1", 256

    def embed(self, texts: Sequence[str]) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
        return np.zeros((len(texts), self.dims), np.float32)


def test_without_an_embedder_the_words_decide(store: MemoryStore) -> None:
    mute = Mute()
    recall = Recall(store.records, lambda: (store.blocks, mute))
    found = recall.evidence(ANSWERED[0], "hybrid", Filter())
    assert found is not None and "together" not in found.signals and found.enough
    assert recall.query(ANSWERED[0], 1, "hybrid", Filter())
    assert not recall.query(FOREIGN[0], 1, "hybrid", Filter())
    recall.close()


def test_a_sample_of_rows_lies_evenly_and_in_blocks() -> None:
    few = np.arange(100, 400)
    assert evenly(few, 32) is few
    many = np.arange(0, 200_000, 2)
    some = evenly(many, 32)
    assert len(some) == 256 and (np.diff(some) > 0).all()
    assert some[0] == 0 and some[-1] == many[-1]
    assert (np.diff(some.reshape(32, 8), axis=1) == 2).all()


def test_copies_of_another_subject_change_little(tmp_path: Path) -> None:
    """A store of thousands is no more talkative than a small one."""
    with closing(MemoryStore.open(tmp_path / "state", CONFIG)) as large:
        large.remember_many([Memory(text, timestamp=1) for text in NOTES])
        large.remember_many(
            [Memory(f"Lap {n} around the lake took {n % 50} minutes.") for n in range(1500)]
        )
        assert all(large.query(text, 3).hits for text in ANSWERED)
        assert not any(large.query(text, 3).hits for text in FOREIGN)
