"""The arm64 objects give the reference's bits: what a Pi answers is what this machine answers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from nimad.embed.hashes import PYTHON, Lengths
from nimad.embed.vocabulary import Vocabulary
from nimad.embed.wordpiece import Span, TokenLines, WordPiece
from nimad.index.kernels.compiled import Compiled
from nimad.index.kernels.contract import QUERY_MAX, Bounds, Marks, Parted, Space
from nimad.index.kernels.loader import NATIVE, load_kernels
from nimad.index.kernels.reference import Reference
from nimad.index.kernels.tokens import TokenTable
from nimad.index.rowsets import Ranks
from nimad.index.varints import pack
from tests.laws import arm64
from tests.laws.test_spelling_laws import small_lexicon
from tests.system.tools import need

REFERENCE = Reference()


@pytest.fixture(scope="module", params=["cortex-a53", "cortex-a72", "cortex-a76"])
def emulated(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Compiled:
    if not arm64.QEMU:
        need("qemu-aarch64-static", "qemu-user-static")
    for tool in ("as", "ld"):
        need(f"aarch64-linux-gnu-{tool}", "binutils-aarch64-linux-gnu")
    directory: Path = tmp_path_factory.mktemp("arm64")
    program = arm64.build_program(directory)
    return Compiled(request.param, arm64.functions(program, NATIVE / f"{request.param}.so"))


def a_space(matrix: np.ndarray, codes: np.ndarray, mean: np.ndarray, cells: int) -> Space:
    """Three blocks of `cells` cells, or none."""
    if not cells:
        none = np.zeros(0, np.uint32)
        return Space(mean, matrix[:0], none, codes[:0], none, codes, matrix)
    block_start = np.array([0, 1, cells - 1, cells], np.uint32)
    cell_start = np.linspace(0, len(matrix), cells + 1).astype(np.uint32)
    centres = np.resize(matrix[::-1], (3, matrix.shape[1]))
    cell_codes = REFERENCE.encode(np.resize(matrix, (cells, matrix.shape[1])), mean)
    return Space(mean, centres, block_start, cell_codes, cell_start, codes, matrix)


@pytest.mark.parametrize(
    ("rows", "dims"), [(1, 1), (33, 64), (200, 256), (130, 384), (70, 512), (40, 1000)]
)
def test_an_arm64_object_equals_the_reference(emulated: Compiled, rows: int, dims: int) -> None:
    rng = np.random.default_rng(rows * dims)
    matrix = rng.integers(-127, 128, (rows, dims)).astype(np.int8)
    query = rng.integers(-QUERY_MAX, QUERY_MAX + 1, dims).astype(np.int16)
    mean = (0.1 * rng.standard_normal(dims)).astype(np.float32)
    codes, planes = REFERENCE.encode(matrix, mean), REFERENCE.planes(query, mean)
    assert np.array_equal(emulated.encode(matrix, mean), codes)
    assert np.array_equal(emulated.planes(query, mean), planes)
    expected = REFERENCE.distances(codes, rows, planes)
    assert np.array_equal(emulated.distances(codes, rows, planes), expected)
    spans = np.array([[0, rows // 3], [rows // 2, rows]])
    marks = rng.integers(0, 256, -(-rows // 8)).astype(np.uint8)
    for filtered in (None, marks):
        found = emulated.scan(codes, spans, planes, filtered, 20)
        assert np.array_equal(found, REFERENCE.scan(codes, spans, planes, filtered, 20))
        for cells in (0, 5):
            space = a_space(matrix, codes, mean, cells)
            bits = np.unpackbits(marks, bitorder="little", count=rows).view(np.bool_)
            chosen = None if filtered is None else Marks.of(space, bits)
            asked = (space, query, chosen, 2, rows // 2 + 1, 20, Bounds(rows // 9, 20, 3, 60))
            found, expected = emulated.find(*asked), REFERENCE.find(*asked)
            assert [a.tobytes() for a in found] == [a.tobytes() for a in expected]
    picks = rng.integers(0, rows, 40)
    assert np.array_equal(emulated.dots(matrix, picks, query), REFERENCE.dots(matrix, picks, query))
    compared = [form.cosines(matrix, picks - 1, query) for form in (emulated, REFERENCE)]
    assert np.nan_to_num(compared[0]).tobytes() == np.nan_to_num(compared[1]).tobytes()


@pytest.mark.parametrize("edge", [0, 20, 60])
def test_words_on_arm64_are_weighed_as_here(emulated: Compiled, edge: int) -> None:
    rng = np.random.default_rng(edge)
    rows = np.sort(rng.choice(60, 25, replace=False))
    often = rng.integers(1, 300, 25)
    gaps = pack(2 * (np.diff(rows, prepend=-1) - 1) + (often > 1))
    more = pack(often[often > 1] - 2)
    halves = [rng.integers(1, 900, 60).astype(np.uint16)]
    halves += [np.arange(60, dtype=np.int32) + step for step in (-1, 1)]
    words, before, after = (Parted(half[:edge].copy(), half[edge:].copy()) for half in halves)
    found = []
    for form in (emulated, REFERENCE):
        ids, counts = form.postings(gaps, more, 25, 0, 60)
        own = np.zeros(60, np.float32)
        terms = [(ids, counts), (ids[::2].copy(), counts[::2].copy())]
        fresh = form.weigh(own, terms, words, (3.1, 0.7), (2.2, 1.2, 0.25, 0.75, 17.0))
        shared = form.shares(own, np.arange(60), before, after, (0.5, 0.3, 0.4))
        best = form.leaders(own, ids, before, after, (0.5, 0.3, 0.4), own < 4, 20, 9)
        covered = form.cover([ids, ids[::3].copy()], (0.3, 0.9), np.arange(5, 60))
        order = np.argsort(often, kind="stable").astype(np.uint32)
        places = form.seek(often, order, often[:7] + 1)
        ranks = Ranks.of(rows, 64)
        assert ranks is not None
        ranked = form.ranked(ranks.words, ranks.before, order, np.arange(-1, 70))
        found.append([ids, counts, own, fresh, shared, *best, covered, places, ranked])
    for mine, theirs in zip(*found, strict=True):
        assert mine.tobytes() == theirs.tobytes()


def test_texts_on_arm64_add_up_as_here(emulated: Compiled) -> None:
    tokens = ["the", "un", "kind", "house", "-", "##kind", "##ly", "der"]
    lines, rng = TokenLines.of(tokens), np.random.default_rng(7)
    spans = [Span(45, 45, None), *(Span(n, n, chr(n + 32)) for n in range(65, 91))]
    votes = np.array([2, 0, 1, 1, 0, 0, 0, -1], np.int8)
    rows = rng.integers(-127, 128, (len(tokens), 256)).astype(np.int8)
    weights = rng.integers(0, 4096, len(tokens)).astype(np.uint16)
    wordpiece = WordPiece(lines, 999, spans)
    vocabulary = Vocabulary.of(wordpiece, lines, votes, rows, weights, 16)
    assert vocabulary is not None
    texts = [b"The house  unkindly", b"der house der der", b"the-der -der the", b"the x", b""]
    found = []
    for form in (emulated, load_kernels()):
        sums = np.zeros((len(texts), 256))
        read = form.text_sums(texts, vocabulary, sums)
        assert read.tolist() == [True, False, True, False, False]
        found.append(sums)
    expected = (rows[[0, 3, 1, 5, 6]] * weights[[0, 3, 1, 5, 6], None].astype(np.int64)).sum(axis=0)
    assert np.array_equal(found[0][0], 16.0 * expected)
    assert found[0].tobytes() == found[1].tobytes()


def test_texts_are_cut_on_arm64_as_here(
    emulated: Compiled, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nimad.index.kernels.tokens._TOKENS", 2)
    monkeypatch.setattr("nimad.index.kernels.tokens._BYTES", 4)
    texts, tables = b"The house The  unkind house,the.a b c d e f", []
    for form in (emulated, REFERENCE):
        tables.append(table := TokenTable(bytes(range(44)) + b"  " + bytes(range(46, 256))))
        numbers, held = form.cut(texts, np.array([9, 9, len(texts)]), table)
        assert numbers.tolist() == [0, 1, 0, 2, 1, 3, 4, 5, 6, 7, 8] and held.tolist() == [2, 0, 9]
    assert tables[0].since(0) == tables[1].since(0)


def test_words_are_hashed_on_arm64_as_here(emulated: Compiled) -> None:
    lexicon, word = small_lexicon(), "xhausbootab漢字字가나𝄞\ud800haus"
    assert emulated.grams(word, 1, 32) == PYTHON.grams(word, 1, 32)
    lengths = Lengths(1, 2, 8)
    found = emulated.parts(word, lengths, lexicon).tolist()
    assert found == PYTHON.parts(word, lengths, lexicon).tolist() and len(found) > 3
