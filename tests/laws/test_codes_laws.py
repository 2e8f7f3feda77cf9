"""The fast path of the algebra equals its reference, for every shape; products come apart."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nimad.vsa import algebra, codes, factors, resonator
from nimad.vsa.codes import Codes

laws = settings(max_examples=40, deadline=None)


@st.composite
def pairs(draw: st.DrawFn) -> tuple[Codes, Codes, int, np.random.Generator]:
    """Two codes of one shape, any number of blocks of each zero."""
    blocks, dims = draw(st.integers(1, 12)), draw(st.sampled_from([1, 2, 7, 64, 20_000]))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    actives = draw(st.integers(1, blocks)), draw(st.integers(1, blocks))
    one, two = (codes.random(rng, 1, blocks, dims, active)[0] for active in actives)
    assert [np.count_nonzero(code >= 0) for code in (one, two)] == list(actives)
    return one, two, dims, rng


@laws
@given(pairs(), st.integers(-15, 15))
def test_codes_are_the_algebra(
    given: tuple[Codes, Codes, int, np.random.Generator], n: int
) -> None:
    a, b, dims, rng = given
    whole_a, whole_b = codes.densify(a, dims), codes.densify(b, dims)

    def same(made: Codes, wanted: np.ndarray) -> bool:  # type: ignore[type-arg]
        return np.allclose(codes.densify(made, dims), wanted, atol=1e-6)

    assert np.array_equal(codes.from_vector(whole_a), a)
    assert same(codes.bind(a, b, dims), algebra.bind(whole_a, whole_b))
    assert same(codes.unbind(a, b, dims), algebra.unbind(whole_a, whole_b))
    assert same(codes.inverse(a, dims), algebra.inverse(whole_a))
    assert same(codes.permute(a, n), algebra.permute(whole_a, n))
    both = np.stack([a, b, a])
    assert np.array_equal(codes.bundle(both, dims), algebra.bundle(codes.densify(both, dims)))
    cosine = float(algebra.similarity(whole_a, whole_b))
    assert float(codes.similarity(a, b)) == pytest.approx(cosine, abs=1e-6)
    known = np.arange(len(a))[(a >= 0) & (b >= 0)]
    whole = codes.unbind(codes.bind(a, b, dims), b, dims)
    assert np.array_equal(whole[known], a[known])
    dense = rng.standard_normal((len(a), dims)).astype(np.float32)
    near = {"atol": 1e-4, "rtol": 1e-4}
    assert np.allclose(codes.bind_vector(dense, a), algebra.bind(dense, whole_a), **near)
    assert np.allclose(codes.unbind_vector(dense, a), algebra.unbind(dense, whole_a), **near)
    products = codes.products(dense, both)
    assert products[:2] == pytest.approx([(dense * w).sum() for w in (whole_a, whole_b)], abs=1e-3)


def test_items_are_those_of_the_algebra() -> None:
    for active in (None, 3):
        made = codes.items(["a", "", "Zoë"], 20, 50, active)
        assert np.array_equal(codes.densify(made[2], 50), algebra.item("Zoë", 20, 50, active))
    assert codes.items([], 20, 50).shape == (0, 20)
    assert np.array_equal(codes.bind(made, codes.identity(20, 50), 50), made)
    wide = codes.random(np.random.default_rng(1), 1, 3, 40_000)[0]
    assert wide.dtype == np.int32


def test_random_hypervectors_are_nearly_orthogonal_and_of_any_shape() -> None:
    rng = np.random.default_rng(3)
    a, b = algebra.random(rng), algebra.random(rng)
    assert abs(float(algebra.similarity(a, b))) < 0.03
    few = algebra.random(rng, 7, 11, 2)
    assert np.count_nonzero(few.any(axis=1)) == 2
    assert np.linalg.norm(few) == pytest.approx(2**0.5)
    for wrong in (0, 8):
        with pytest.raises(ValueError, match=r"1\.\.7"):
            algebra.random(rng, 7, 11, wrong)
        with pytest.raises(ValueError, match=r"1\.\.7"):
            codes.random(rng, 1, 7, 11, wrong)
    with pytest.raises(ValueError, match="neither"):
        codes.from_vector(a)


def test_a_bundle_holds_what_theory_says() -> None:
    """An item of a bundle of n is told from 200 strangers while n is small against B D."""
    blocks, dims, rng = 50, 20, np.random.default_rng(2)
    for count, least in ((10, 1.0), (40, 0.97)):
        members = codes.random(rng, count, blocks, dims)
        strangers = codes.random(rng, 200, blocks, dims)
        vector = codes.bundle(members, dims)
        inside, outside = (codes.products(vector, book) for book in (members, strangers))
        expected = blocks * (1 + (count - 1) / dims)
        assert inside.mean() == pytest.approx(expected, rel=0.05)
        assert outside.mean() == pytest.approx(blocks * count / dims, rel=0.05)
        assert np.mean(inside > outside.mean() + 3 * outside.std()) >= least


# --- factorization --------------------------------------------------------------------------------

B, D = 40, 60


def books_of(rng: np.random.Generator, sizes: list[int]) -> list[Codes]:
    return [codes.random(rng, size, B, D) for size in sizes]


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.integers(1, 9), min_size=2, max_size=5),
    st.integers(0, 2**32),
    st.sampled_from(["clean", "erased", "wrong", "bundle"]),
)
def test_products_come_apart(sizes: list[int], seed: int, kind: str) -> None:
    rng = np.random.default_rng(seed)
    books = books_of(rng, sizes)
    every = list(itertools.product(*(range(size) for size in sizes)))
    number = 3 if kind == "bundle" and len(every) >= 3 else 1
    truth = {every[i] for i in rng.permutation(len(every))[:number]}
    made = np.stack([factors.product(books, items, D) for items in sorted(truth)])
    if kind == "wrong":
        made[0, rng.permutation(B)[:12]] = rng.integers(0, D, 12)
    vector = codes.bundle(made, D)
    if kind == "erased":
        vector[rng.permutation(B)[: B // 2]] = 0
    found = factors.factorize(vector, books, number)
    assert {product.items for product in found.products} == truth
    assert found.converged and found.explained > 0.6
    assert min(min(product.margins) for product in found.products) > 0
    again = factors.factorize(vector, books, number)
    assert again == found


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 3))
def test_noise_is_no_product(seed: int, number: int) -> None:
    rng = np.random.default_rng(seed)
    books = books_of(rng, [30, 30, 5])
    for vector in (
        codes.bundle(codes.random(rng, number, B, D), D),
        rng.standard_normal((B, D)).astype(np.float32),
        np.zeros((B, D), np.float32),
    ):
        found = factors.factorize(vector, books, number)
        assert not found.converged and found.products == []


def test_many_sums_that_meet_and_large_blocks() -> None:
    """Every sum of a small D is taken by some pair; a large D has a table that is folded."""
    rng = np.random.default_rng(8)
    for dims, size in ((5, 30), (5000, 30)):
        books = [codes.random(rng, size, B, dims) for _ in range(4)]
        items = (3, 29, 0, 17)
        vector = codes.densify(factors.product(books, items, dims), dims)
        assert factors.factorize(vector, books).products[0].items == items


def test_how_many_products_is_seen_in_the_blocks() -> None:
    rng = np.random.default_rng(4)
    for count in (1, 2, 5):
        assert factors.strong_values(codes.bundle(codes.random(rng, count, B, D), D)) == count
    assert factors.strong_values(np.zeros((B, D), np.float32)) == 1


def test_what_factorization_refuses() -> None:
    rng = np.random.default_rng(1)
    vector = np.zeros((B, D), np.float32)
    book = codes.random(rng, 3, B, D)
    for books, why in (
        ([book], "two codebooks"),
        ([book, book[:0]], "a codebook must be"),
        ([book, book[:, :5]], "a codebook must be"),
        ([book, codes.random(rng, 3, B, D, active=5)], "without zero blocks"),
        ([codes.random(rng, 1500, B, D)] * 4, "more than memory"),
    ):
        with pytest.raises(ValueError, match=why):
            factors.factorize(vector, books)


# --- the resonator --------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(1, 2000), (4, 500), (1, 2001)])
def test_a_resonator_finds_what_is_only_near(shape: tuple[int, int]) -> None:
    """Dense hypervectors, whole or in blocks, of fillers that are not those of the codebook."""
    rng = np.random.default_rng(6)

    def dense(count: int) -> np.ndarray:  # type: ignore[type-arg]
        return rng.standard_normal((count, *shape)).astype(np.float32) / np.float32(2000**0.5)

    books = [dense(12) for _ in range(3)]
    items = (11, 4, 0)
    near = [book[i] + 0.3 * dense(1)[0] for book, i in zip(books, items, strict=True)]
    vector = algebra.bind(algebra.bind(near[0], near[1]), near[2])
    found = resonator.resonate(vector, books)
    assert found.items == items and found.converged and min(found.margins) > 0.3
    assert resonator.resonate(vector, books) == found
    noise = resonator.resonate(dense(1)[0], books, rounds=10, starts=2)
    assert not noise.converged and max(noise.margins) < 0.1
    for wrong in ([books[0]], [books[0], books[1][:, :, :5]]):
        with pytest.raises(ValueError, match="codebook"):
            resonator.resonate(vector, wrong)
