"""Makes labelled sets (recall_sets.py) of XQuAD: a sentence a memory, in further languages.

    python packaging/make_xquad.py CLONE FOLDER LANGUAGE... [--quarters 0 1]

CLONE is a clone of google-deepmind/xquad (CC BY-SA 4.0).  A set has stores of a quarter of the
articles each; the sentence that holds the begin of the answer is the evidence.  LANGUAGE is that of
the notes; with another one behind a colon, that of the questions: en:de are English notes that are
asked in German.  en:keywords are English notes that are asked as people type it into a search field
(`keywords`).  What is made is for measuring, and no part of nimad.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from nimad.store.words import small_words
from nimad.text import is_paired, words_of

SHORTEST = 25
"""Length of the shortest sentence that stands alone [characters]."""
WITHOUT_STOPS = {"th": 180}
"""Languages that end no sentence with a sign, and the length of a memory there [characters]."""
_END = re.compile(r'[.!?।؟。！？][”"»]?\s+|[।。！？]')
KEYWORDS = "keywords"
"""What stands in place of a language for questions that are cut down to their longest words."""
_ASKS = re.compile(
    "[的了是在和与與被從从以于於吗嗎何几幾谁誰呢はがをにのでと]|什[么麼]|多少|哪[里裡个個些]?"
    "|怎[么麼][样樣]?|です|ます"
)
"""Between two words of a text without spaces."""


def keywords(question: str) -> str:
    """The two, three or four longest words of a question that are no small ones, in their order;
    half of the questions in lower case, as people type.  How many and which half is told by a hash.
    """
    chance = hashlib.blake2b(question.encode(), digest_size=2).digest()
    if any(map(is_paired, question)):
        found = [word for word in words_of(_ASKS.sub(" ", question)) if len(word) > 1]
    else:
        small = small_words(words_of(question))
        found = [word for word in words_of(question) if word.lower() not in small]
    kept = sorted(dict.fromkeys(found), key=len, reverse=True)[: 2 + chance[0] % 3]
    text = " ".join(word for word in dict.fromkeys(found) if word in kept)
    return (text.lower() if chance[1] % 2 else text) or question


def sentences(text: str, language: str) -> list[tuple[int, int]]:
    """Where each begins and ends."""
    if step := WITHOUT_STOPS.get(language):
        return [(start, min(start + step, len(text))) for start in range(0, len(text), step)]
    found, start = [], 0
    for end in (match.end() for match in _END.finditer(text)):
        if end - start >= SHORTEST:
            found.append((start, end))
            start = end
    return [*found, (start, len(text))] if start < len(text) else found


def store_of(
    articles: Sequence[Mapping[str, Any]], asked_as: Mapping[str, str], language: str, name: str
) -> dict[str, Any]:
    """The memories and questions of some articles; `asked_as` has the text of each question."""
    memories, questions = [], []
    for place, (text, asked) in enumerate(_paragraphs(articles)):
        cut = sentences(text, language)
        for number, (start, end) in enumerate(cut):
            memories.append({"key": f"{place}/{number}", "text": text[start:end].strip()})
        for one in asked:
            begin = one["answers"][0]["answer_start"]
            holds = [n for n, (start, end) in enumerate(cut) if start <= begin < end]
            keys = [f"{place}/{number}" for number in holds]
            questions.append({"q": asked_as[one["id"]], "evidence": keys})
    return {"name": name, "memories": memories, "questions": questions}


def _paragraphs(articles: Sequence[Mapping[str, Any]]) -> Iterator[tuple[str, Any]]:
    for article in articles:
        for paragraph in article["paragraphs"]:
            yield paragraph["context"], paragraph["qas"]


def _articles(clone: Path, language: str) -> Sequence[Mapping[str, Any]]:
    return json.loads((clone / f"xquad.{language}.json").read_text())["data"]  # type: ignore[no-any-return]


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("clone", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("languages", nargs="+")
    parser.add_argument("--quarters", type=int, nargs="+", default=[0, 1])
    given = parser.parse_args()
    given.folder.mkdir(parents=True, exist_ok=True)
    for pair in given.languages:
        language, _, other = pair.partition(":")
        articles = _articles(given.clone, language)
        bare = other == KEYWORDS
        asked_as = {
            one["id"]: keywords(one["question"]) if bare else one["question"]
            for _, asked in _paragraphs(
                _articles(given.clone, other) if other and not bare else articles
            )
            for one in asked
        }
        stores = [
            store_of(articles[quarter::4], asked_as, language, f"{language}{quarter}")
            for quarter in given.quarters
        ]
        name = f"xquad-{language}" + (f"-{'' if bare else 'asked-'}{other}" if other else "")
        made = {"name": name, "licence": "CC BY-SA 4.0", "stores": stores}
        file = given.folder / f"{name}.json"
        file.write_text(json.dumps(made, ensure_ascii=False))
    return 0


if __name__ == "__main__":
    sys.exit(main())
