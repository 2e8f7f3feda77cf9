"""Makes docs/recall.md: how nimad stands beside other ways, what each part is worth, and when it
says nothing.

    python packaging/recall_study.py FOLDER [--bench docs/recall.json] [--output docs/recall.md]
                                     [--ways docs/recall.svg] [--curves docs/recall-silence.svg]
                                     [--left-out FILE]

`--bench` takes what `make bench-recall` wrote, whose tables then stand first, `--left-out` what
fit_evidence.py wrote.  FOLDER as there.
Each row of the table of parts is the whole recipe with one thing changed, asked in this process.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import recall_ablation
import recall_forms
import recall_report
import recall_signals
from recall_ablation import ndcg
from recall_exact import exact_recall
from recall_sets import LabelledSet, read_sets
from recall_signals import ANSWERED
from recall_store import loaded_set, recall_with

from nimad.recall import evidence
from nimad.recall.weights import DEFAULT

ASKED = 80
"""Questions of a set that are asked for each part [questions]."""
CHANGES: Sequence[tuple[str, dict[str, float]]] = (
    ("semantic 0: words alone", {"semantic": 0.0}),
    ("semantic 1: meaning alone", {"semantic": 1.0}),
    ("semantic 0.5", {"semantic": 0.5}),
    ("semantic 0.7", {"semantic": 0.7}),
    ("subject 0", {"subject": 0.0}),
    ("no neighbours' words", {"word_before": 0, "word_after": 0, "word_beyond": 0}),
    ("word_after 0", {"word_after": 0.0}),
    ("no neighbours' meaning", {"meaning_before": 0.0, "meaning_after": 0.0}),
    ("date 0", {"date": 0.0}),
    ("on_date 0", {"on_date": 0.0}),
    ("literal 0", {"literal": 0.0}),
    ("asks 0", {"asks": 0.0}),
    ("importance 0, recency 0", {"importance": 0.0, "recency": 0.0}),
    ("k1 0.9", {"k1": 0.9}),
    ("b 0.5", {"b": 0.5}),
    ("b 1", {"b": 1.0}),
    ("unseen 0", {"unseen": 0}),
    ("exact_rows 0: candidates only", {"exact_rows": 0}),
    ("near -9: whatever is near", {"near": -9.0}),
)
STRICTNESS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
HEAD = """# Recall

How the ranking works is told in `nimad/recall/ranking.py` and its neighbours, when nothing is shown
in `nimad/recall/evidence.py`; every constant and its reason stand in `nimad/recall/weights.py`.
This page is what they are worth. It is made by

    make bench-recall DATA=folder JSON=docs/recall.json
    python packaging/make_xquad.py clone further ar el es hi ro th tr vi \\
        en:de en:es en:ru en:tr en:zh de:en es:de {de,en,es,ru,tr,zh}:keywords
    python packaging/make_xquad.py clone unseen en de es ru zh en:de \\
        {en,de,es,ru,zh}:keywords --quarters 2 3
    python packaging/fit_evidence.py folder further --write
    python packaging/fit_evidence.py folder further --left-out left-out.md --unseen unseen
    python packaging/recall_study.py folder --bench docs/recall.json --left-out left-out.md \\
        --output docs/recall.md --ways docs/recall.svg --curves docs/recall-silence.svg

from labelled sets (`packaging/recall_sets.py` tells the format), which are not part of nimad, with
the embedder `static`:

| set | what it is |
|---|---|
| beam100k | chats with an agent, long answers (mohammadtavakoli78/BEAM) |
| locomo | talk of two persons over months (snap-research/LoCoMo, CC BY-NC 4.0) |
| memdaily | Chinese messages about daily life (nuster1128/MemSim) |
| technical | shell commands and manual pages in English and German (NL2Bash, tldr-pages) |
| timelineqa | the log of a life, asked with dates (facebookresearch/TimelineQA, CC BY-NC 4.0) |
| xquad-* | facts as notes, a sentence each, in languages (google-deepmind/xquad, CC BY-SA 4.0) |

`folder` holds these; `further` notes of XQuAD in other languages, notes of one language that are
asked in another, and notes that are asked by keywords (`packaging/make_xquad.py`), which are only
fitted on.
"""
WAYS = """
## Beside other ways

The usual ways as anybody would build them (`packaging/baselines.py`), and nimad through its socket,
silence included. Intervals are of 1,000 samples drawn with replacement. Times are of two processors
under a load of 4 to 7, after all else that ran: they tell of no board (docs/board.md does), and not
of each other. The vectors of MiniLM are those of the embedder `minilm`, which has those of `static`
beside them (docs/embedders.md, with what nimad itself reaches with them).

![nDCG@10 of each way on each set](recall.svg)

Of the 826 memories that answer questions of memdaily, 215 are said word for word in another of its
stores, by other people without names. As long as a sentence was one result across namespaces, nimad
showed one of them, and found less in all stores as one (.304, BM25 of pairs .320) than now.
"""
PARTS = """
## What each part is worth

nDCG@10 of the recipe, and how it changes when one thing is changed; nothing stays silent here.
{asked} questions of each set.
"""
LANGUAGES = """
## Other languages

`tests/samples/languages.py` has 32 stores of ten notes, one for each language or script, with ten
questions about them and ten that nothing answers. `tests/unit/test_recall_languages.py` holds that
all 320 questions find their note, that what is not answered mostly stays silent, and that NFC, NFD
and full width give the same ids and scores.

A near vector tells little of a text that the English vocabulary cuts into pieces: in a small
store its cosine counts a quarter beside the words (Latin languages but English, by small words
and pieces; Thai, Lao, Khmer, Burmese) or half (Chinese, Japanese; German at any size), and grows
to the whole at 500 memories. Words that ask, and pairs of hiragana alone, are no terms of a
Chinese or Japanese question. A pair with a small word of Chinese in it counts half, and the
semantic side .8 of what it counts elsewhere. A name of five characters is four pairs: of those,
an inner one counts three tenths unless more memories hold it than either neighbour. Words of
Cyrillic, Greek and other scripts that the stemmer does not know are looked for by their beginnings.
So are words of every language that no memory holds, or else, in German, the parts of a compound;
they count half.

A Chinese question of 40 characters at 100,000 memories: `python -m tests.benchmarks.pairs`.
"""
SILENCE = """
## When nothing is shown

How an answer is decided on is told in `nimad/recall/evidence.py`. False silence is an answerable
question that stays without an answer. A false answer is one to a question of another store of the
set (`technical`, `timelineqa`, `memdaily`, `beam100k`: these hold much of the same, so an answer
may be right), or to one about another subject, in the same language, from another set.

The modes words and meaning rank by one side and let it answer alone where it leaves no doubt: for
.2 % of what both sides refuse. As long as it was 5 %, locomo_dev answered 21 % about another
subject in both modes, xquad-de 31 and 37 % of another store; German articles that nothing was
fitted on 35 and 38 %, now 29 and 28. In ten questions of a hundred more the mode words looks at the
other side, in fifty the mode meaning.

Where the evidence is within 5 of the threshold, as of 1 to 4 answerable questions of a hundred, the
best memory is read: a word that it lacks counts less the nearer a word of its is in meaning, and a
network of its own decides (`CLOSER`). Before, other stores of beam100k answered 38.0 %, of xquad-ru
31.2; articles that nothing was fitted on, silent and answered of another store: German 1.4 and 28.2
(now 1.1 and 28.5), English .4 and 31.0 (.4 and 25.8), Spanish .7 and 31.2 (.7 and 29.8), Russian
1.4 and 39.8 (1.8 and 33.2). What may be silent of Spanish notes and of beam100k, and what an answer
of another store of beam100k weighs, was chosen anew on the sets fitted on; of beam100k there are
no others. Nothing is read for pairs of characters, where the memory lies on the date that is asked
for, and where all that is asked stands to the letter.

A word that is looked for by its beginning, as those of Cyrillic, Greek, Arabic or Hindi are, may be
held by memories that say another one. So each of them, up to eight, raises the threshold by .25, if
anything of the question is known. Chosen was what costs no silence of the Russian sets fitted on;
.2 and .3 have 1.8 and 23.5 % and 2.0 and 21.8 there. The tables and curves are of before. Silent
and answered of another store, before and now, reckoned from signals that were kept, hybrid:
xquad-ru 1.8 and 28.2, 1.8 and 22.0; its keywords 5.7 and 33.0, 7.5 and 31.2; Greek 2.2 and 19.8,
3.2 and 16.8; Hindi 1.8 and 35.0, 2.2 and 31.0; Arabic 2.2 and 32.5, 3.7 and 27.2. Of articles that
nothing was fitted on, Russian 1.8 and 33.2, 2.2 and 26.8; its keywords 6.5 and 37.5, 7.4 and 35.2;
PersianQA 4.8 and 53.0, 4.8 and 52.4. As much for a whole question of such words, however long,
keywords were silent on 8.7 and English notes asked in Russian on 14.0, not 7.5 and 8.2.

As shipped, through the socket. What shares no word with a question is not shown in the mode words,
however much speaks for an answer; so it is silent, or shows less, more often than the others:
"""
CURVES = """
The same by `--strictness` (`recall.strictness`, 0.5 as shipped), for hybrid: false silence, then
false answers to another store and to another subject.

![false answers against silence for each set](recall-silence.svg)
"""
LEFT_OUT = """
The weights were fitted on these sets, on parts of them, on XQuAD in further languages and across
languages, and on samples that are part of nimad. What weights do to data of another kind is told by
fitting them on all families of sets but one, and asking that one; what they do to other data of the
same kind by sets of articles that were not fitted on.
`xquad-*-keywords` are asked by two to four words of each question, as people type them. Of the
fit before this one, a third of their silences were right: the answer was not among the first ten.
Until such sets (in six languages, at most .08 silent) were fitted on as well, keywords stayed
silent on 4.3 (English) to 9.7 % (Spanish), and whole questions of unseen German articles on 2.3,
not 1.4 %.

What this fit has that the one before had not: a word that no memory holds counts half where one
holds another form of it (in logistic regressions, German articles answered 30 % at 1 % silence, not
34, Italian 30, not 38, Spanish ones 18, not 20); keywords and phrases among what is fitted on; what
tells of an answer is held nearer to the logistic regression than what tells of the setting, which
is drawn to nothing, too (a tenth as strongly, it was silent on 10.5 % of KorQuAD, one network on
2.7 to 23 by seed); the mean of four networks. It was chosen among some 30 fits with the articles
above and eight sets in view on which nothing is fitted, so both flatter it. These are, silent and
answered of another store, in brackets before the word's other forms: SQuAD 2.0 (English) .3 % and
31 % (.5 and 35), SQuAD-it 1.8 and 37 (2.7 and 38), SQuAD-es 1.5 and 45 (2.5 and 45), DRCD 2.4 and
14 (4.0 and 12), CMRC .4 and 50 (.8 and 46), JaQuAD .2 and 14 (.5 and 14), KorQuAD 2.7 and 4 (2.3
and 8), PersianQA 6.7 and 59 (4.3 and 66); in the mean 2.0 and 32 (2.2 and 33). Other seeds and
neighbouring settings give 1.4 to 2.3 and 32 to 37, KorQuAD 1.5 to 4.7, PersianQA 3.8 to 6.7.

Tried, no good: the units may look at the setting only (LoCoMo answers 42 %, English 54); networks
of 8 units (English answers 30 %, technical 25 of another subject); the setting counts directly from
nothing (left out, timelineqa stays silent on 13 to 14 %); the setting of each kind moved by chance
while fitting, and noise on the signals; all these sets fitted on as well; coverage of a memory with
its neighbours; a shift of the evidence; further signals, in logistic regressions with each of
nine sets and its unseen articles left out in turn (250 questions of each; of what has no answer
23.6 % answered at 1 % silence, 17.5 at 2): how far the best row by words, by meaning or by both
stands above the second and the sixth (23.9, 17.4), whether the rarest word that is known stands in
the best row or in the nearest, and how near its rows come (23.9, 16.0; most of it is
memdaily), how near the memories of a store lie to each other (24.1, 16.5), all of them (23.9,
16.9). Of eleven silent questions to unseen German articles that
were looked at, six do not have their answer among the first ten.

Tried later, in such regressions (all questions of eleven sets and five of unseen articles; of
another store 49.8 % answered at 1 % silence, 39.7 at 2): a date counts among the words, and is held
by a memory of that day (49.2, 39.6; fitted anew it is worth no more than another seed); whether the
rarest three words stand in the best memory or beside it (49.8, 39.3); the words in the best stretch
of 20 or 40 (48.8, 39.8); pairs of words that stand together in no memory, and how much more often
than by chance (50.9, 40.2); names and numbers that the best memory holds (50.0, 39.6); neighbouring
words of the question that it holds near each other (49.8, 39.5); how far coverage and both sides
together stand above the rest of the store (48.6, 38.6); a question that asks for a number where the
memory has none (49.8, 40.1); what of the memory the question holds (50.0, 39.2); words by meaning
(47.2, 38.2), which is what became of it. Added to the evidence as one term each, with the threshold
as high as the bars allow, they moved little: a bonus for the date .5, others up to one in a hundred
on some sets, and as much the other way on others. Words by meaning with a signal for the date
beside it: unseen English 28.0, not 27.8; with four networks in place of eight Spanish 1.3 % silent.

The table of families that were left out is of the version before the memory was read. In shorter
fits on 200 questions of each kind, with and without reading, what kinds that were left out answer
of another store at 2 % silence is: locomo_dev 35 (40 without), technical 87 (85), beam100k 56
(51), xquad-en 11 (9), xquad-ru 36 (34), xquad-es 33 (37), xquad-vi 56 (73); of another subject:
locomo_dev 45 (49), timelineqa 18 (25), technical 29 (31), beam100k 10 (6). So it is sure for
other articles of a kind that is fitted on, and of other kinds some gain and some lose.

Tried after that, and nothing was changed. In regressions with each family of sets left out (what
of another store is answered, the mean at 1, 2 and 3 % silence; of keywords and Persian at 3, 5 and
8) nine sets to choose on had 35.0, and thirteen others, unseen articles, PersianQA and SQuAD-it
among them (XQuAD's articles, in a language that is not fitted on), 44.0. The nearest spelling of a
word that is missed brought 34.5 and 43.9; the words of one sentence of the best memory 35.9 and
44.0; what is missed as a topic of its own, against eight memories by chance, 34.6 and 43.5; how
near those come to a missed word, which is a scale of each store, 35.2 and 44.4; rarity in the
store in place of that in the language 35.5 and 42.6; words missed beyond half, counted, 35.0 and
43.2; the square of the cosine of the nearest word 33.7 and 41.8; the rarity, in the store and in
the language, of the words that are held 35.5 and 42.5, both 33.6 and 40.7. On fewer sets, with
34.5 before: how far the nearest memory is above the second 34.6; names and numbers that are missed
34.8; the second and third best read as well 34.5.

The last two in networks, all languages but English and German left out, two draws of seeds each,
before, with the square, and with both: Greek 62 and 75, 56 and 44, 37 and 47; Hindi 84 and 83, 79
and 62, 55 and 59; Romanian 67 and 68, 65 and 58, 61 and 62; Russian 36 and 39, 32 and 35, 34 and
35; Spanish 32 and 33, 33 and 28, 33 and 32; Vietnamese 57 and 62, 64 and 55, 58 and 54. Of other
kinds nothing holds: beam100k 57 and 54, 49 and 56, 48 and 55 (and silent on up to 46 % of its
own); locomo_dev 38 and 42, 51 and 25, 46 and 45. And fitted on everything, as `CLOSER` is, neither
does anything for unseen articles: silent and answered of another store German 1.6 and 27.8, with
both 1.8 and 27.5 (as shipped 1.1 and 28.5); English .4 and 25.0, .4 and 24.2 (.4 and 25.8);
Spanish .5 and 30.5, .7 and 28.2 (.7 and 29.8); Russian 1.8 and 32.0, 2.2 and 29.5 (1.8 and 33.2);
SQuAD-it 1.8 and 32.0, 1.8 and 29.2 (1.2 and 31.0); PersianQA 4.8 and 53.6, 4.8 and 51.8 (4.8 and
53.0): at one share silent 33.9 and 34.5 in the mean, as shipped 33.5. The mean of both networks
with that shipped has 33.7; .027 in place of .022 that may be silent of Russian and the like gives
Russian 2.0 and 33.5. With a strictness of 0.6 unseen Russian has 2.4 and 30.2, German 1.8 and
24.5.

Tried last, with the articles of XQuAD left out by halves, in all languages at once (networks of
three; another store, the mean at seven shares silent from .5 to 4 %; the five languages of the
bars, and seven others): without reading 24.2 and 42.6, read with the cosine 26.1 and 41.3, with
its square 25.6 and 40.2, which six networks leave as it is (25.9 and 39.6); the mean with what
does not read 24.3 and 41.3, 24.1 and 40.6. So a mean costs nothing and is steadier; of what is
shipped it has other stores of beam100k at 29.6, not 24.0, and Vietnamese at 54.0, not 46.8, and
was not taken. What holds the units or what counts directly four or five times as strongly to where
they begin has 26.4 and 39.7, a step that stays wide 27.8 and 39.7; fitted where it is close only,
none is better.
"""
LINES: list[str] = []


def say(text: str) -> None:
    """Print, and keep for the page."""
    print(text, flush=True)
    LINES.append(text)


def parts_of(sets: Sequence[LabelledSet]) -> None:
    """The table of changes: a row for each, a column for each set."""
    columns = []
    for given in sets:
        with loaded_set(given, "static") as store:
            made = [ndcg(recall_with(store, DEFAULT), given, ASKED)]
            made += [
                ndcg(recall_with(store, replace(DEFAULT, **change)), given, ASKED)  # type: ignore[arg-type]
                for _, change in CHANGES
            ]
            made.append(ndcg(exact_recall(store), given, ASKED))
        columns.append(made)
    say(f"| change | {' | '.join(given.name for given in sets)} |")
    say("|---" * (len(sets) + 1) + "|")
    names = ["the recipe", *(name for name, _ in CHANGES), "exact float32 vectors"]
    for row, name in enumerate(names):
        values = [made[row] - made[0] if row else made[0] for made in columns]
        cells = [f"{value:+.3f}" if row else f"{value:.3f}" for value in values]
        say(f"| {name} | {' | '.join(cells)} |")


def curves_of(sets: Sequence[LabelledSet], picture: Path | None) -> None:
    """The tables of strictness for each set, and their picture."""
    say("| set | " + " | ".join(f"{value:g}" for value in STRICTNESS) + " |")
    say("|---" * (len(STRICTNESS) + 1) + "|")
    curves: dict[str, dict[str, list[tuple[float, float]]]] = {}
    marks: dict[str, dict[str, tuple[float, float]]] = {}
    for given in sets:
        met: dict[str, list[float]] = {}
        for asked in recall_signals.gather(given, given.foreign(sets)):
            met.setdefault(asked.group, []).append(evidence.weigh(asked.signals, 0.0).met)
        cells = []
        for strictness in STRICTNESS:
            least = evidence.threshold(strictness)
            shares = [_share(met.get(group), least, group) for group in ("own", *GROUPS)]
            cells.append(" / ".join("-" if s is None else f"{s:.1f}" for s in shares))
        say(f"| {given.name} | {' | '.join(cells)} |")
        grid = [evidence.threshold(n / 200) for n in range(1, 200)]
        for group in GROUPS:
            if group in met:
                points = [_point(met, group, least) for least in grid]
                curves.setdefault(given.name, {})[group] = points
                marks.setdefault(given.name, {})[group] = _point(met, group, 0.0)
    if picture:
        recall_report.draw_curves(curves, marks, picture)


GROUPS = ("wrong", "foreign")


def _point(met: dict[str, list[float]], group: str, least: float) -> tuple[float, float]:
    silent, shown = _share(met["own"], least, "own"), _share(met[group], least, group)
    assert silent is not None and shown is not None, "both were asked"
    return silent, shown


def _share(met: Sequence[float] | None, least: float, group: str) -> float | None:
    """Per cent that are shown, of answerable questions those that are not."""
    if met is None:
        return None
    shown = 100 * sum(value >= least for value in met) / len(met)
    return 100 - shown if group in ANSWERED else shown


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--bench", type=Path)
    parser.add_argument("--output", type=Path)
    parser.add_argument("--ways", type=Path)
    parser.add_argument("--curves", type=Path)
    parser.add_argument("--left-out", type=Path)
    given = parser.parse_args()
    sets = read_sets(given.data)
    say(HEAD)
    found: list[dict[str, Any]] = []
    if given.bench:
        found = json.loads(given.bench.read_text())["sets"]
        say(WAYS)
        for line in recall_report.summary(found):
            say(line)
        for one in found:
            for line in recall_report.set_table(one):
                say(line)
        if given.ways:
            recall_report.draw(found, given.ways)
    say(PARTS.format(asked=ASKED))
    parts_of(sets)
    for line in [recall_ablation.HEAD, *recall_ablation.table(sets), recall_ablation.FOOT]:
        say(line)
    for talk in sets:
        if all("session" in fields for store in talk.stores for fields in store.fields):
            recall_forms.study(talk, say)
    say(LANGUAGES)
    say(SILENCE)
    for line in recall_report.silence(found):
        say(line)
    say(CURVES)
    curves_of(sets, given.curves)
    if given.left_out:
        say(LEFT_OUT)
        say(given.left_out.read_text())
    if given.output:
        given.output.write_text("\n".join(LINES) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
