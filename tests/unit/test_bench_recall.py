"""The tools that measure recall, on sets made for this test."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from nimad.model import Filter
from nimad.recall.evidence import Model

PACKAGING = str(Path(__file__).parents[2] / "packaging")
TURNS = [
    ("Anna", "I adopted a grey kitten from the shelter."),
    ("Ben", "That is wonderful."),
    ("Ben", "I am training for the marathon in Hamburg."),
    ("Anna", "My sister teaches the violin to children."),
]
ASKED = [("Which pet did Anna adopt?", 1), ("What does Anna's sister teach?", 4)]
NOTES = ["The ladder is lent to the neighbour.", "The rent is due on the fifth."]


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two conversations in the format of LoCoMo, and a set of notes in its own."""
    monkeypatch.setattr(sys, "path", [PACKAGING, *sys.path])
    talks = [
        {
            "sample_id": f"talk-{n}",
            "conversation": {
                "session_1_date_time": "1:56 pm on 8 May, 2023",
                "session_1": [
                    {"speaker": who, "dia_id": f"D1:{place}", "text": text}
                    for place, (who, text) in enumerate(TURNS, 1)
                ],
            },
            "qa": [
                {"question": text, "category": 4, "evidence": [f"D1:{place}"]}
                for text, place in ASKED
            ],
        }
        for n in range(2)
    ]
    notes = {
        "name": "notes",
        "licence": "none",
        "stores": [
            {
                "name": "house",
                "memories": [
                    {"key": str(n), "text": text, "timestamp": n + 1}
                    for n, text in enumerate(NOTES)
                ],
                "questions": [{"q": "Who has the ladder?", "evidence": ["0"], "as_of": 1}],
            }
        ],
    }
    (tmp_path / "talks.json").write_text(json.dumps(talks))
    (tmp_path / "notes.json").write_text(json.dumps(notes))
    return tmp_path


def test_sets_are_read_and_sampled_alike(data: Path) -> None:
    from recall_sets import language_of, read_sets

    notes, talks = read_sets(data)
    assert (notes.name, talks.name) == ("notes", "talks")
    assert [question.text for _, question in talks.asked()] == [text for text, _ in ASKED] * 2
    assert talks.asked(3) == talks.asked(3) and len(talks.asked(3)) == 3
    assert len(talks.wrong()) == 4 and notes.wrong() == []
    assert {text for _, text in notes.foreign([notes, talks])} == {text for text, _ in ASKED}
    assert notes.stores[0].language == "english"
    assert language_of(["Wo ist die Leiter?"]) == "german"
    assert language_of(["梯子在哪里？"]) == "cjk"


def test_every_way_is_measured(data: Path) -> None:
    from recall_beside import beside, embedders_here
    from recall_sets import read_sets

    notes, talks = read_sets(data)
    embedders = embedders_here(minilm=False)
    for merged in (False, True):
        found = beside(talks, embedders, merged=merged)
        assert len(found) == 5 and {len(scores) for scores in found.values()} == {4}
    asked = beside(notes, embedders, merged=False)
    assert asked["static cosine"][0]["recall@10"] == asked["BM25"][0]["recall@5"] == 1.0


def test_pairs_are_for_scripts_without_blanks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", [PACKAGING, *sys.path])
    from baselines import in_pairs

    assert in_pairs("a ladder") == "a ladder"
    assert in_pairs("梯子在").split() == ["梯子", "子在"]


def test_the_bench_asks_through_the_socket(data: Path) -> None:
    import recall_report
    from bench_recall import losses, run
    from recall_sets import read_sets

    notes, talks = read_sets(data)
    found: list[dict[str, Any]] = [run(talks, [notes, talks], embedder="static", minilm=False)]
    text = "\n".join(recall_report.set_table(found[0]) + recall_report.summary(found))
    assert "| nimad hybrid | 1.000 |" in text and "half BM25, half static" in text
    wrong = [row["wrong"] for row in found[0]["silence"] if row["mode"] == "hybrid"]
    assert wrong == [1.0], "both stores hold the same"
    assert "| talks | hybrid | 0.0% |" in "\n".join(recall_report.silence(found))
    assert losses(found, found) == []
    worse = json.loads(json.dumps(found))
    worse[0]["ways"][0]["ndcg@10"] -= 0.02
    assert losses(worse, found) == ["talks, own store: ndcg@10 1.000 -> 0.980"]


def test_each_embedder_stands_beside_the_ways_with_its_own_vectors() -> None:
    from bench_recall import _above_best

    scored = {
        "nimad hybrid": [{"ndcg@10": 0.5}],
        "BM25": [{"ndcg@10": 0.25}],
        "static cosine": [{"ndcg@10": 0.5}],
        "half BM25, half minilm": [{"ndcg@10": 0.75}],
    }
    assert _above_best(scored, other="minilm")["gain"] == 0.0
    assert _above_best(scored, other="static")["gain"] == -0.25


def test_evidence_is_gathered_and_fitted(data: Path) -> None:
    import fit_evidence
    import numpy as np
    import recall_signals
    from recall_sets import read_sets

    notes, talks = read_sets(data)
    asked = [*recall_signals.gather(talks, talks.foreign([notes, talks]))]
    assert {one.group for one in asked} == {"own", "merged", "wrong", "foreign"}
    table = fit_evidence.Table(asked, fit_evidence.SIDES["WORDS"])
    assert not {"together", "gap", "missed"} & set(table.names)
    fitted = fit_evidence.fit(table, np.ones(len(table.x), np.bool_))
    found = [Model(table.weights(fitted)).evidence(one.signals) for one in asked]
    assert found == pytest.approx(fitted.score(table.x).tolist(), abs=0.05)
    unseen = fit_evidence.unseen_table([talks], [notes, talks])
    assert unseen[2].startswith("| talks | 0.0% | 0.0% | 100.0% |")


def test_each_part_of_the_ranking_can_be_left_out(data: Path) -> None:
    import recall_ablation
    from recall_sets import read_sets

    lines = recall_ablation.table(read_sets(data))
    assert lines[0] == "| part | notes | talks |"
    assert lines[2] == "| nDCG@10 of the recipe | 1.000 | 1.000 |"
    assert len(lines) == 3 + len(recall_ablation.PARTS)


def test_memories_that_tell_less_are_measured(data: Path) -> None:
    import recall_forms
    from recall_sets import read_sets

    _, talks = read_sets(data)
    lines: list[str] = []
    recall_forms.study(talks, lines.append)
    assert lines[1] == "| session, who, time | 1.000 | 1.000 |"
    assert len(lines) == 1 + len(recall_forms.FORMS)
    told = {name: form for name, form, _ in recall_forms.FORMS}
    form = told['"Anna: ..." in the text']
    kept = [form(fields) for fields in talks.stores[0].fields[:2]]
    assert [(m["text"][:5], m.get("who"), m.get("session")) for m in kept] == [
        ("Anna:", None, None),
        ("Ben: ", None, None),
    ]


@pytest.mark.parametrize(
    ("question", "words"),
    [
        ("What is the name of the harbour pilot?", "name harbour pilot"),
        ("Wie heißt der Hafenlotse von Bremen?", "heißt hafenlotse bremen"),
        ("Как зовут лоцмана в порту?", "зовут лоцмана порту"),
        ("港口的领航员是谁？", "港口 领航员"),
    ],
)
def test_keywords_are_long_words_of_a_question(
    monkeypatch: pytest.MonkeyPatch, question: str, words: str
) -> None:
    monkeypatch.setattr(sys, "path", [PACKAGING, *sys.path])
    from make_xquad import keywords

    made = keywords(question).lower().split()
    assert 2 <= len(made) <= 4 and made == [word for word in words.split() if word in made]


def test_what_is_studied_does_not_depend_on_how_fast_it_was_stored(data: Path) -> None:
    from recall_sets import read_set
    from recall_store import loaded_set

    given, made = read_set(data / "notes.json"), []
    for _ in range(2):
        with loaded_set(given, "static") as store:
            made.append([(each.timestamp, each.created) for each in store.export(0, 1000)])
    assert made[0] == made[1] and len(made[0]) >= len(NOTES)


def test_exact_vectors_find_what_blocks_find(data: Path) -> None:
    from recall_exact import exact_recall
    from recall_sets import read_set
    from recall_store import loaded_set

    given = read_set(data / "notes.json")
    with loaded_set(given, "static") as store:
        exact = exact_recall(store)
        hits = exact.query(given.stores[0].questions[0].text, 10, "hybrid", Filter())
        assert [hit.memory.text for hit in hits][:1] == NOTES[:1]
        exact.close()
