"""No kind of data that is present loses more than a hundredth against docs/recall.json.

The labelled sets are not part of nimad: they are looked for beside the checkout.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
SHARED = ROOT.parent / "shared"
BARS = json.loads((ROOT / "docs/recall.json").read_text())["sets"]
LOST = 0.01


@pytest.mark.slow
@pytest.mark.parametrize("bar", BARS, ids=[bar["name"] for bar in BARS])
def test_no_kind_loses(bar: Mapping[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    places = [SHARED / "recall" / f"{bar['name']}.json", SHARED / "quality/locomo_dev.json"]
    file = places[bar["name"] == "locomo_dev"]
    if not file.is_file():
        pytest.skip(f"the labelled set {file.name} is not part of nimad, and is not at {file}")
    monkeypatch.setattr(sys, "path", [str(ROOT / "packaging"), *sys.path])
    from dialogues import DEPTH, mean, score
    from recall_sets import read_set
    from recall_signals import where_of
    from recall_store import ASKED, loaded_set

    given = read_set(file)
    scores = []
    silent = 0
    with loaded_set(given, "static") as store:
        for place, question in given.asked():
            where = where_of(given.stores[place].name, question)
            hits = store.recall.query(
                question.text, DEPTH, "hybrid", where, question.as_of or ASKED
            )
            silent += not hits
            keys = [str((hit.memory.extra or {})["key"]) for hit in hits]
            scores.append(score(keys, question.evidence))
    found = mean(scores)
    (own,) = [w for w in bar["ways"] if w["way"] == "nimad hybrid" and not w["merged"]]
    (before,) = [row["silent"] for row in bar["silence"] if row["mode"] == "hybrid"]
    for figure in ("recall@10", "ndcg@10"):
        assert found[figure] >= own[figure] - LOST, figure
    assert silent / len(scores) <= before + LOST
