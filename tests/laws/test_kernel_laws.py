"""Every form of the kernels gives the reference's bits: numba, and each object this CPU can run."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from itertools import pairwise, product
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from nimad.embed.static import StaticEmbedder
from nimad.index.kernels.contract import (
    LANES,
    MOST_COUNTED,
    QUERY_MAX,
    Bounds,
    Kernels,
    Marks,
    Parted,
    Space,
    groups,
)
from nimad.index.kernels.loader import numba_kernels, objects
from nimad.index.kernels.reference import Reference, centred, rotate
from nimad.index.kernels.tokens import TokenTable
from nimad.index.rowsets import Ranks
from nimad.index.varints import pack, unpack
from nimad.text import ASCII_WORDS

REFERENCE = Reference()
OBJECTS = {kernels.name: kernels for kernels in objects()}


@pytest.fixture(scope="module", params=[pytest.param("numba", marks=pytest.mark.slow), *OBJECTS])
def form(request: pytest.FixtureRequest) -> Kernels:
    """One compiled form after the other; numba takes some seconds to compile."""
    return numba_kernels() if request.param == "numba" else OBJECTS[request.param]


def bitmap(rng: np.random.Generator, rows: int) -> np.ndarray:
    return rng.integers(0, 256, -(-rows // 8)).astype(np.uint8)


def spans(rng: np.random.Generator, rows: int, count: int) -> np.ndarray:
    """Disjoint ascending ranges, some of them touching."""
    edges = np.sort(rng.choice(rows + 1, size=min(2 * count, (rows + 1) // 2 * 2), replace=False))
    return edges.reshape(-1, 2).astype(np.int64)


def a_space(
    rng: np.random.Generator, matrix: np.ndarray, codes: np.ndarray, mean: np.ndarray
) -> Space:
    """A segment's arrays: up to four blocks of up to 50 cells, some of them empty, or none."""
    rows, dims = matrix.shape
    blocks, cells = int(rng.integers(0, 5)), int(rng.integers(0, 50))
    no_edges = np.zeros(0, np.uint32)
    if not blocks:
        nothing = np.zeros((0, dims), np.int8)
        return Space(mean, nothing, no_edges, codes[:0], no_edges, codes, matrix)
    centres = rng.integers(-127, 128, (blocks, dims)).astype(np.int8)
    centres[-1] = centres[0]
    middles = rng.integers(-127, 128, (cells, dims)).astype(np.int8)
    middles[cells // 2 :] = middles[: cells - cells // 2]
    block_start = np.sort(rng.integers(0, cells + 1, blocks + 1)).astype(np.uint32)
    cell_start = np.sort(rng.integers(0, rows + 1, cells + 1)).astype(np.uint32)
    block_start[[0, -1]], cell_start[0], cell_start[-1] = [0, cells], 0, rows
    if not cells and rows:
        cell_start = np.array([0, rows], np.uint32)
        block_start[-1] = 1
        middles = centres[:1]
    cell_codes = REFERENCE.encode(middles, mean)
    return Space(mean, centres, block_start, cell_codes, cell_start, codes, matrix)


@settings(max_examples=120, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    rows=st.integers(0, 200),
    dims=st.one_of(st.integers(1, 1024), st.sampled_from([1, 64, 256, 384, 512, 513, 768, 1024])),
    k=st.integers(1, 250),
    extreme=st.booleans(),
)
def test_a_form_equals_the_reference(
    form: Kernels, seed: int, rows: int, dims: int, k: int, extreme: bool
) -> None:
    rng = np.random.default_rng(seed)
    if extreme:
        matrix = rng.choice(np.array([-127, 0, 127], np.int8), (rows, dims))
        query = rng.choice(np.array([-QUERY_MAX, 0, QUERY_MAX], np.int16), dims)
    else:
        matrix = rng.integers(-127, 128, (rows, dims)).astype(np.int8)
        query = rng.integers(-QUERY_MAX, QUERY_MAX + 1, dims).astype(np.int16)
    mean = (rng.standard_normal(dims) * rng.choice([0, 0.01, 1])).astype(np.float32)

    codes, planes = REFERENCE.encode(matrix, mean), REFERENCE.planes(query, mean)
    assert np.array_equal(form.encode(matrix, mean), codes)
    assert np.array_equal(form.planes(query, mean), planes)
    assert np.array_equal(
        form.distances(codes, rows, planes), REFERENCE.distances(codes, rows, planes)
    )
    ranges = spans(rng, rows, int(rng.integers(1, 9)))
    for marks in (None, bitmap(rng, rows)):
        found = form.scan(codes, ranges, planes, marks, k)
        assert np.array_equal(found, REFERENCE.scan(codes, ranges, planes, marks, k))
        space = a_space(rng, matrix, codes, mean)
        bits = None if marks is None else np.unpackbits(marks, bitorder="little", count=rows)
        chosen = None if bits is None else Marks.of(space, bits.view(np.bool_))
        effort = [int(rng.integers(1, most)) for most in (5, rows + 9)]
        least, reach, few, margin = (int(rng.integers(0, end)) for end in (rows + 9, 99, 30, 400))
        for bounds in (Bounds(), Bounds(least, reach, few + 1, margin)):
            asked = (space, query, chosen, *effort, k, bounds)
            for mine, theirs in zip(form.find(*asked), REFERENCE.find(*asked), strict=True):
                assert mine.tobytes() == theirs.tobytes()
            assert mine.dtype == theirs.dtype
    picks = rng.integers(0, rows, 80 if rows else 0)
    for mine, theirs in zip(
        form.dots(matrix, picks, query), REFERENCE.dots(matrix, picks, query), strict=True
    ):
        assert np.array_equal(mine, theirs)
        assert mine.dtype == theirs.dtype == np.int32


def test_wrong_shapes_are_refused_before_memory_is_touched(form: Kernels) -> None:
    rows, mean = np.ones((3, 8), np.int8), np.zeros(8, np.float32)
    codes, planes = form.encode(rows, mean), form.planes(np.ones(8, np.int16), mean)
    with pytest.raises(ValueError, match="encode"):
        form.encode(rows, np.zeros(7, np.float32))
    with pytest.raises(ValueError, match="planes"):
        form.planes(np.ones(8, np.int16), np.zeros(9, np.float32))
    with pytest.raises(ValueError, match="distances"):
        form.distances(codes, LANES + 1, planes)
    with pytest.raises(ValueError, match="scan"):
        form.scan(codes, np.array([[0, LANES + 1]]), planes, None, 1)
    with pytest.raises(ValueError, match="scan"):
        form.scan(codes, np.array([[0, 9]]), planes, np.zeros(1, np.uint8), 1)
    empty = np.zeros(0, np.uint32)
    space = Space(mean, rows[:0], empty, codes[:0], empty, codes, rows)
    ones = np.ones(8, np.int16)
    for wrong in ((ones[:7], None, 1, 1, 1), (ones, Marks(np.zeros(0, np.uint8), empty), 1, 1, 1)):
        with pytest.raises(ValueError, match="find"):
            form.find(space, *wrong)
    with pytest.raises(ValueError, match="find"):
        form.find(space, ones, None, 1, 1, 0)
    with pytest.raises(ValueError, match="dots"):
        form.dots(rows, np.array([3]), np.ones(8, np.int16))
    with pytest.raises(ValueError, match="dots"):
        form.dots(rows, np.array([-1]), np.ones(8, np.int16))


def rotated(vectors: np.ndarray) -> Iterator[np.ndarray]:
    columns = np.zeros((512, len(vectors)), np.float32)
    columns[: vectors.shape[1]] = vectors.T
    yield from rotate(columns).T


def test_the_rotation_keeps_angles() -> None:
    rng = np.random.default_rng(1)
    a, b = rng.standard_normal((2, 300)).astype(np.float32)
    x, y = rotated(np.stack([a, b]))
    scale = 512**1.5
    assert np.dot(x, y) / scale**2 == pytest.approx(np.dot(a, b), rel=1e-3)
    assert np.linalg.norm(x) / scale == pytest.approx(np.linalg.norm(a), rel=1e-4)
    matrix = rotate(np.eye(512, dtype=np.float32)).astype(np.float64)
    assert np.allclose(matrix @ matrix.T, scale**2 * np.eye(512), atol=scale**2 * 1e-6)


def test_distances_follow_the_definition() -> None:
    """Bit by bit, from the formulas, for one small case."""
    rng = np.random.default_rng(2)
    rows = rng.integers(-127, 128, (5, 40)).astype(np.int8)
    query = rng.integers(-QUERY_MAX, QUERY_MAX + 1, 40).astype(np.int16)
    mean = (0.1 * rng.standard_normal(40)).astype(np.float32)
    bits = rotate(centred(rows, mean)).T > 0
    turned = rotate(centred(query[None, :], mean))[:, 0]
    raised = (turned / (np.abs(turned).max() / np.float32(7)) + np.float32(7)) / np.float32(2)
    levels = np.clip(np.rint(raised), 0, 7).astype(int)
    expected = [
        sum(2**j * int(np.sum(row != ((levels >> j) & 1))) for j in range(3)) for row in bits
    ]
    codes = REFERENCE.encode(rows, mean)
    assert codes.shape == (groups(5), 8, 32)
    found = REFERENCE.distances(codes, 5, REFERENCE.planes(query, mean))
    assert found.tolist() == expected


def test_a_space_that_contradicts_itself_is_refused() -> None:
    rows, mean = np.ones((40, 8), np.int8), np.zeros(8, np.float32)
    codes = REFERENCE.encode(rows, mean)
    good = {
        "mean": mean,
        "blocks": rows[:2],
        "block_start": np.array([0, 1, 3], np.uint32),
        "cell_codes": codes[:1],
        "cell_start": np.array([0, 9, 9, 40], np.uint32),
        "codes": codes,
        "vectors": rows,
    }
    Space(**good)
    bad = {
        "mean": mean[:7],
        "blocks": rows[:3],
        "block_start": np.array([0, 4, 3], np.uint32),
        "cell_codes": codes[:0],
        "cell_start": np.array([0, 9, 9, 41], np.uint32),
        "codes": codes[:1],
        "vectors": rows.T,
    }
    for name, array in bad.items():
        with pytest.raises(ValueError, match="space"):
            Space(**{**good, name: array})


@settings(max_examples=100, deadline=None)
@given(seed=st.integers(0, 2**32), numbers=st.integers(1, 300), gaps=st.integers(1, 8))
def test_ranks_count_what_is_below(seed: int, numbers: int, gaps: int) -> None:
    rng = np.random.default_rng(seed)
    width = numbers * gaps
    chosen = rng.permutation(width)[:numbers]
    ranks = Ranks.of(chosen.astype(np.uint32), width)
    assert ranks is not None
    every = np.arange(width, dtype=np.uint32)
    assert ranks.of_each(every).tolist() == np.searchsorted(np.sort(chosen), every).tolist()
    assert Ranks.of(chosen, 8 * numbers + 1) is None


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32), rows=st.integers(0, 300))
def test_marks_weigh_cells_by_what_is_marked(seed: int, rows: int) -> None:
    rng = np.random.default_rng(seed)
    matrix = rng.integers(-127, 128, (rows, 8)).astype(np.int8)
    mean = np.zeros(8, np.float32)
    space = a_space(rng, matrix, REFERENCE.encode(matrix, mean), mean)
    marked = rng.random(rows) < rng.random()
    marks = Marks.of(space, marked)
    edges = space.cell_start.astype(np.int64)
    cells = [marked[first:end] for first, end in pairwise(edges)]
    weights = [2 * int(cell.sum()) + len(cell) if cell.any() else 0 for cell in cells]
    assert np.diff(marks.weights.astype(np.int64)).tolist() == weights
    assert np.unpackbits(marks.bits, bitorder="little", count=rows).tolist() == marked.tolist()
    if rows and marked.all() and len(edges):
        assert Marks.weight(rows, rows, rows) == marks.weights[-1]


def parted(values: np.ndarray, edge: int) -> Parted:
    return Parted(values[:edge].copy(), values[edge:].copy())


@settings(max_examples=150, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    rows=st.integers(1, 300),
    far=st.sampled_from([1, 100, 1 << 23]),
    width=st.sampled_from([np.uint8, np.uint16, np.uint32]),
)
def test_words_are_weighed_as_the_reference_weighs_them(
    form: Kernels, seed: int, rows: int, far: int, width: type
) -> None:
    rng = np.random.default_rng(seed)
    held = np.sort(rng.choice(rows, int(rng.integers(0, rows + 1)), replace=False))
    documents = held * far + (rng.integers(0, far, len(held)) if far > 1 else 0)
    often = rng.integers(1, 4, len(held)) ** rng.integers(0, 9, len(held))
    gaps = pack(2 * (np.diff(documents, prepend=-1) - 1) + (often > 1))
    more = pack(often[often > 1] - 2)
    assert unpack(more).tolist() == (often[often > 1] - 2).tolist()
    limit = rows * far + 1
    ids, counts = form.postings(gaps, more, len(held), 7, limit)
    assert (ids - 7).tolist() == documents.tolist() and counts.tolist() == np.minimum(
        often, MOST_COUNTED
    ).tolist()
    for harmed in (gaps[:-1], rng.integers(0, 256, len(gaps)).astype(np.uint8)):
        for first, last in ((harmed, more), (gaps, more[:-1]), (harmed, harmed)):
            for mine, theirs in zip(
                form.postings(first, last, len(held), 7, limit),
                REFERENCE.postings(first, last, len(held), 7, limit),
                strict=True,
            ):
                assert np.array_equal(mine, theirs) and mine.dtype == theirs.dtype

    edge = int(rng.integers(0, rows + 1))
    held = held.astype(np.uint32)
    words = parted(rng.integers(0, np.iinfo(width).max, rows, endpoint=True).astype(width), edge)
    chain = rng.permutation(rows)
    before, after = np.full(rows, -1, np.int32), np.full(rows, -1, np.int32)
    linked = rng.random(rows - 1) < 0.7
    after[chain[:-1][linked]], before[chain[1:][linked]] = chain[1:][linked], chain[:-1][linked]
    before[rng.random(rows) < 0.05] = rows + 5  # damage: there is no such row
    sides = [parted(side, edge) for side in (before, after)]
    weights = (2.2, 1.2, 0.25, 0.75, float(rng.random() * 50 + 1))
    rarities = [float(rng.random() * 9), 0.5, 2.0]
    found: list[list[np.ndarray]] = []
    wanted = rng.permutation(rows)
    for kernels in (form, REFERENCE):
        own = np.zeros(rows, np.float32)
        none = held[:0], counts[:0]
        terms = [(held, counts), none, (held[::2].copy(), counts[::2].copy())]
        fresh = [kernels.weigh(own, terms[:1], words, rarities[:1], weights)]
        fresh.append(kernels.weigh(own, terms, words, rarities, weights))
        shared = kernels.shares(own, wanted, *sides, (0.5, 0.3, 0.4))
        found.append([own, shared, *fresh])
    for mine, theirs in zip(*found, strict=True):
        assert mine.tobytes() == theirs.tobytes() and mine.dtype == theirs.dtype


@settings(max_examples=150, deadline=None)
@given(seed=st.integers(0, 2**32), rows=st.integers(1, 400), k=st.integers(1, 60))
def test_the_rows_that_share_most_are_those_of_the_reference(
    form: Kernels, seed: int, rows: int, k: int
) -> None:
    """Chains in any order and length, few values that are equal or many that are not."""
    rng = np.random.default_rng(seed)
    chain, before, after = rng.permutation(rows), *np.full((2, rows), -1, np.int32)
    linked = rng.random(rows - 1) < rng.random()
    after[chain[:-1][linked]], before[chain[1:][linked]] = chain[1:][linked], chain[:-1][linked]
    sides = [parted(side, int(rng.integers(0, rows + 1))) for side in (before, after)]
    sides[1] = parted(after, len(sides[0].first))
    own = np.zeros(rows, np.float32)
    held = rng.permutation(rows)[: int(rng.integers(0, rows + 1))].astype(np.uint32)
    own[held] = rng.integers(1, 4, len(held)) if seed & 1 else rng.random(len(held)) ** 3 + 1e-3
    masks = [None, rng.random(rows) < 0.3, np.zeros(rows, np.bool_)]
    shares = sides[0], sides[1], (0.5, 0.3, 0.4)
    for mask, wide in product(masks, (1, 20, 90, rows)):
        asked = own, held, *shares, mask, wide, k
        for mine, theirs in zip(form.leaders(*asked), REFERENCE.leaders(*asked), strict=True):
            assert mine.tobytes() == theirs.tobytes() and mine.dtype == theirs.dtype
    shared = REFERENCE.shares(own, np.arange(rows), *shares)
    found, values = form.leaders(own, held, *shares, None, rows, k)
    best = np.sort(np.lexsort((np.arange(rows), -shared))[:k])
    assert found.tolist() == best[shared[best] > 0].tolist()
    assert np.array_equal(values, shared[found])


@settings(max_examples=100, deadline=None)
@given(seed=st.integers(0, 2**32), rows=st.integers(1, 3000), many=st.booleans())
def test_terms_cover_rows_as_the_reference_says(
    form: Kernels, seed: int, rows: int, many: bool
) -> None:
    rng = np.random.default_rng(seed)
    held = [
        np.flatnonzero(rng.random(rows) < share).astype(np.uint32)
        for share in (0.5, 0.01, 0, 1 if many else 0.1)
    ]
    values, wanted = rng.random(4).tolist(), np.flatnonzero(rng.random(rows) < rng.random())
    covered = form.cover(held, values, wanted)
    assert covered.tobytes() == REFERENCE.cover(held, values, wanted).tobytes()
    assert not form.cover([], [], wanted).any()


@settings(max_examples=100, deadline=None)
@given(seed=st.integers(0, 2**32), size=st.integers(0, 3000), kinds=st.integers(2, 3000))
def test_values_are_found_in_their_order(form: Kernels, seed: int, size: int, kinds: int) -> None:
    """Spread evenly, or not at all; the lowest and the highest among them."""
    rng = np.random.default_rng(seed)
    low, high = (np.iinfo(np.int64).min, np.iinfo(np.int64).max) if seed & 1 else (-3, 900)
    known = rng.integers(low, high, kinds, endpoint=True)
    known[:2] = low, high
    values = rng.choice(known, size)
    order = np.argsort(values, kind="stable").astype(np.uint32)[: size - seed % 2]
    wanted = np.append(known[:9], rng.integers(low, high, 9))
    spans = form.seek(values, order, wanted)
    assert np.array_equal(spans, REFERENCE.seek(values, order, wanted))


@settings(max_examples=100, deadline=None)
@given(seed=st.integers(0, 2**32), rows=st.integers(0, 300), dims=st.integers(1, 300))
def test_rows_are_looked_up_and_compared_as_the_reference_does(
    form: Kernels, seed: int, rows: int, dims: int
) -> None:
    rng = np.random.default_rng(seed)
    numbers = rng.permutation(rows + 40)[:rows]
    ranks = Ranks.of(numbers, int(numbers.max(initial=0)) + 1)
    if ranks is not None:
        for order in (None, rng.permutation(rows).astype(np.uint32)):
            asked = ranks.words, ranks.before, order, rng.integers(-5, rows + 99, 200)
            assert np.array_equal(form.ranked(*asked), REFERENCE.ranked(*asked))
        assert form.ranked(ranks.words, ranks.before, None, numbers).tolist() == [
            int(np.count_nonzero(numbers < number)) for number in numbers
        ]
    vectors = rng.integers(-127, 128, (rows, dims)).astype(np.int8)
    vectors[: rows // 9] = 0
    query = rng.integers(-QUERY_MAX, QUERY_MAX + 1, dims).astype(np.int16)
    for asked_query in (query, np.zeros(dims, np.int16)):
        picks = rng.integers(-2, rows + 2, 100)
        mine = form.cosines(vectors, picks, asked_query)
        theirs = REFERENCE.cosines(vectors, picks, asked_query)
        assert np.isnan(mine).tolist() == (picks < 0).tolist()
        assert np.nan_to_num(mine).tobytes() == np.nan_to_num(theirs).tobytes()


BY_PYTHON = StaticEmbedder()
WORDS = ("the", "of", "House", "internationalisation", "unkindly", "der", "que", "die", "qzx", "x")
BETWEEN = (" ", " ", " ", "  ", ", ", "-", "/", "__", "_", ".", "\n", "\x00", "\x1f", "'", "é")


@functools.cache
def embedder_with(form: Kernels) -> StaticEmbedder:
    embedder = StaticEmbedder()
    embedder.use(lambda: form)
    return embedder


@settings(max_examples=60, deadline=None)
@given(texts=st.lists(st.lists(st.sampled_from((*WORDS, *BETWEEN)), max_size=30), max_size=5))
@example(texts=[["x" * 99], ["x" * 100], ["x" * 101], ["the "] * 5000, ["the "] * 20_000])
@example(texts=[["the the /der"], ["the the der"], ["the the _-der"], ["the a-der_"], ["der"]])
def test_texts_add_up_as_python_adds_them(form: Kernels, texts: list[list[str]]) -> None:
    """English ones are read by the kernel, the others are left to Python, and all are equal."""
    embedder, joined = embedder_with(form), ["".join(parts) for parts in texts]
    assert embedder.embed(joined).tobytes() == BY_PYTHON.embed(joined).tobytes()


def test_plain_english_is_read_by_the_kernel(form: Kernels) -> None:
    """Else the law above would compare Python with itself."""
    embedder, handed = StaticEmbedder(), []

    class Watched:
        def text_sums(self, texts: Any, vocabulary: Any, sums: Any) -> Any:
            handed.append(form.text_sums(texts, vocabulary, sums))
            return handed[-1]

    embedder.use(Watched)
    embedder.embed(["What did she say about the house?", "Das Haus der Welt", "d'été", ""])
    assert handed[0].tolist() == [True, False, False, False]


@settings(max_examples=60, deadline=None)
@given(
    calls=st.lists(
        st.lists(st.text("aBb. é\x00\n", max_size=40) | st.just("ab " * 99), max_size=4), max_size=4
    ),
    room=st.sampled_from([1, 4096]),
)
def test_texts_are_cut_and_their_tokens_numbered_as_the_reference_does(
    form: Kernels, calls: list[list[str]], room: int
) -> None:
    with pytest.MonkeyPatch.context() as small:
        small.setattr("nimad.index.kernels.tokens._TOKENS", room)
        small.setattr("nimad.index.kernels.tokens._BYTES", room)
        letters = ASCII_WORDS[:128] + bytes(range(128, 256))
        mine, theirs = TokenTable(letters), TokenTable(letters)
        assert mine.state[3] != theirs.state[3]  # but for one chance in 2**32
        theirs.state[3] = mine.state[3]
        for texts in calls:
            parts = [text.encode() for text in texts]
            asked = b"".join(parts), np.cumsum([*map(len, parts)], dtype=np.int64)
            for one, other in zip(
                form.cut(*asked, mine), REFERENCE.cut(*asked, theirs), strict=True
            ):
                assert one.dtype == other.dtype and one.tolist() == other.tolist()
    assert mine.since(0) == theirs.since(0) and mine.state[:2].tolist() == theirs.state[:2].tolist()
    assert mine.hashes[: len(mine)].tolist() == theirs.hashes[: len(mine)].tolist()


def test_wrong_rows_are_refused(form: Kernels) -> None:
    own = np.zeros(4, np.float32)
    words, side = parted(np.ones(4, np.uint8), 2), parted(np.full(4, -1, np.int32), 2)
    one, beyond = np.ones(1, np.uint16), np.array([4], np.uint32)
    for held in (beyond, one.astype(np.int64), np.zeros(2, np.uint32)):
        with pytest.raises(ValueError, match="weigh"):
            form.weigh(own, [(one.astype(np.uint32), one), (held, one)], words, (1, 1), (1.0,) * 5)
    with pytest.raises(ValueError, match="leaders"):
        form.leaders(own, beyond, side, side, (1.0,) * 3, None, 3, 3)
    for rows in (np.array([4]), np.array([-1])):
        with pytest.raises(ValueError, match="shares"):
            form.shares(own, rows, side, side, (1.0,) * 3)
    zero = np.zeros(1, np.uint32)
    with pytest.raises(ValueError, match="leaders"):
        form.leaders(own, zero, side, side, (1.0,) * 3, np.ones(3, np.bool_), 3, 3)
    with pytest.raises(ValueError, match="weigh"):
        form.weigh(own, [(zero, one)], parted(np.ones(3, np.uint8), 2), (1,), (1.0,) * 5)
    with pytest.raises(ValueError, match="cover"):
        form.cover([zero.astype(np.int64)], (1.0,), np.array([0]))
    for ends in ([2, 1], [4], [-1]):
        with pytest.raises(ValueError, match="cut"):
            form.cut(b"a b", np.array(ends), TokenTable(ASCII_WORDS))
    with pytest.raises(ValueError, match="seek"):
        form.seek(np.zeros(0, np.int64), zero, np.array([0]))
    with pytest.raises(ValueError, match="shares"):
        short = parted(np.full(3, -1, np.int32), 2)
        form.shares(own, np.array([0]), short, side, (1.0,) * 3)


@pytest.mark.parametrize("order", ["nearer and nearer", "farther and farther", "all alike"])
def test_a_scan_keeps_the_nearest_in_whatever_order_they_come(form: Kernels, order: str) -> None:
    rng = np.random.default_rng(3)
    packed = rng.integers(0, 1 << 63, (700, 8)).astype(np.uint64)
    planes = rng.integers(0, 1 << 63, (3, 8)).astype(np.uint64)

    def grouped(rows: np.ndarray) -> np.ndarray:
        padded = np.zeros((groups(len(rows)) * LANES, 8), np.uint64)
        padded[: len(rows)] = rows
        return np.ascontiguousarray(padded.reshape(-1, LANES, 8).transpose(0, 2, 1))

    away = REFERENCE.distances(grouped(packed), len(packed), planes)
    sorted_ = packed[np.argsort(away if order == "farther and farther" else -away, kind="stable")]
    codes = grouped(np.repeat(packed[:1], 700, axis=0) if order == "all alike" else sorted_)
    spans = np.array([[0, 650], [660, 700]])
    for k in (1, 2, 40, 700, 900):
        expected = REFERENCE.scan(codes, spans, planes, None, k)
        assert np.array_equal(form.scan(codes, spans, planes, None, k), expected)
