"""Questions that compare with a number which no memory holds."""

from __future__ import annotations

from pathlib import Path

import pytest

from nimad.config import Config
from nimad.core.store import MemoryStore
from nimad.model import Memory
from nimad.recall.comparisons import compared_words

STORES = {
    "zh": [
        "小美的身高是170cm",
        "小明的身高是182cm",
        "花园节有三千个游客",
        "小美在里斯本工作",
    ],
    "ja": [
        "美咲の身長は170cmです",
        "健の身長は182cmです",
        "庭祭りの来場者は3000人です",
        "美咲はリスボンで働いています",
    ],
}


@pytest.mark.parametrize(
    ("language", "question", "found"),
    [
        ("zh", "谁的身高超过165cm？", {0, 1}),
        ("zh", "身高在175cm以上的人是谁？", {0, 1}),
        ("zh", "哪个节日有超过一千个游客？", {2}),
        ("zh", "谁的年龄超过40岁？", set()),
        ("ja", "身長165cm以上の人は誰ですか", {0, 1}),
        ("ja", "来場者が1000人以上の祭りは？", {2}),
        ("ja", "40歳以上の人は誰ですか", set()),
    ],
)
def test_a_number_that_is_compared_need_not_be_held(
    tmp_path: Path, language: str, question: str, found: set[int]
) -> None:
    store = MemoryStore.open(tmp_path / "state", Config())
    ids = store.remember_many([Memory(text=text) for text in STORES[language]])
    hits = {hit.memory.id for hit in store.query(question, k=5).hits}
    assert hits >= {ids[place] for place in found}
    assert found or not hits
    store.close()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("有几个人身高在165cm及以上啊？", {"165cm", "高在", "上啊", "以上", "及以"}),
        ("規模超过3.5万的活动", {"超过", "模超", "3", "5", "万的"}),
        ("電話是18486487257的人是谁？", set()),
        ("第3章以上です", {"3", "章以", "以上", "上で"}),
        ("Who is older than 40?", set()),
        ("", set()),
    ],
)
def test_what_is_compared(text: str, words: set[str]) -> None:
    assert compared_words(text) == words
