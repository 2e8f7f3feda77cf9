"""Pins token ids and vectors: they must be the same on every machine and in every release.

A change of vectors is a change of `revision`, which makes every store encode its memories again:
it must be meant.  The ids were written by the reference tokenizer, not by ours.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from nimad.embed.registry import ALWAYS_THERE, get_embedder
from nimad.embed.static import StaticEmbedder

GOLDEN: dict[str, Any] = json.loads(
    Path(__file__).with_name("embed.json").read_text(encoding="utf-8")
)


@pytest.mark.parametrize("case", GOLDEN["texts"], ids=lambda case: ascii(case["text"])[:20])
def test_token_ids_are_those_of_the_reference(case: dict[str, Any]) -> None:
    embedder = get_embedder("static")
    assert isinstance(embedder, StaticEmbedder)
    assert embedder.wordpiece.ids(case["text"]) == case["ids"]


@pytest.mark.parametrize("name", ALWAYS_THERE)
def test_vectors_are_bit_for_bit_what_they_were(name: str) -> None:
    rows = get_embedder(name).embed([case["text"] for case in GOLDEN["texts"]])
    digests = [hashlib.sha256(row.astype("<f4").tobytes()).hexdigest()[:16] for row in rows]
    assert digests == [case[name] for case in GOLDEN["texts"]]


@pytest.mark.parametrize("name", ALWAYS_THERE)
def test_the_revision_is_the_one_these_vectors_belong_to(name: str) -> None:
    assert get_embedder(name).revision == GOLDEN["revisions"][name]
