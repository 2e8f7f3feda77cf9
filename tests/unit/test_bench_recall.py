"""The tools that measure recall, on a dialogue made for this test."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

PACKAGING = str(Path(__file__).parents[2] / "packaging")
TURNS = [
    ("Anna", "I adopted a grey kitten from the shelter."),
    ("Ben", "That is wonderful."),
    ("Ben", "I am training for the marathon in Hamburg."),
    ("Anna", "My sister teaches the violin to children."),
]
ASKED = [("Which pet did Anna adopt?", 1), ("What does Anna's sister teach?", 4)]


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two conversations in the format of LoCoMo."""
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
    file = tmp_path / "talks.json"
    file.write_text(json.dumps(talks))
    return file


def test_every_way_is_measured(data: Path) -> None:
    from dialogues import read_dialogues
    from recall_beside import beside

    found = {row["name"]: row for row in beside(read_dialogues(data), "static")}
    assert len(found) == 8
    assert found["this recipe, 8-bit vectors"]["separate"]["recall@10"] == 1.0
    exact = found["this recipe, exact float32 vectors"]["separate"]
    assert exact["recall@10"] == 1.0
    assert found["FTS5 BM25, porter, OR, no stop words"]["separate"]["recall@5"] > 0.5


def test_the_bench_asks_through_the_socket(data: Path) -> None:
    import recall_report
    from bench_recall import run
    from dialogues import read_dialogues

    report: dict[str, Any] = run(read_dialogues(data), "static")
    text = recall_report.table(report)
    assert "nimad through its socket, hybrid" in text and "1.000" in text
    assert recall_report.page(report).count("\n") >= 12
    assert report["wrong_questions_answered"] == 1.0, "both stores hold the same"


def test_the_floors_are_measured(data: Path) -> None:
    import recall_floors
    from dialogues import read_dialogues
    from recall_store import loaded

    lines: list[str] = []
    dialogues = read_dialogues(data)
    with loaded(dialogues, "static") as store:
        recall_floors.study(store, dialogues, lines.append, None)
    assert sum("(default)" in line for line in lines) == 3


def test_memories_that_tell_less_are_measured(data: Path) -> None:
    import recall_forms
    from dialogues import read_dialogues
    from recall_store import loaded

    lines: list[str] = []
    dialogues = read_dialogues(data)
    recall_forms.study(dialogues, "static", lines.append)
    assert lines[1] == "| session, who, time | 1.000 | 1.000 |"
    assert len(lines) == 1 + len(recall_forms.FORMS)
    told = {name: form for name, form, _ in recall_forms.FORMS}
    with loaded(dialogues, "static", told['"Anna: ..." in the text']) as store:
        kept = list(store.records.get([1, 2]).values())
    assert [(m.text[:5], m.who, m.session) for m in kept] == [
        ("Anna:", None, None),
        ("Ben: ", None, None),
    ]
