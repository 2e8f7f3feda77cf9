"""The laws of the hypervector algebra, over random hypervectors and names."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from nimad.vsa import algebra, sparse
from nimad.vsa.algebra import Vector

SHAPE = (6, 8)
NUMBERS = st.floats(-4, 4, width=32).map(lambda x: 0.0 if abs(x) < 1e-3 else x)
DENSE = arrays.arrays(np.float32, SHAPE, elements=NUMBERS)
NAMES = st.text(max_size=12)

laws = settings(max_examples=30, deadline=None)


def close(a: Vector, b: Vector) -> bool:
    return bool(np.allclose(a, b, rtol=1e-4, atol=1e-3))


def one_hot(name: str) -> Vector:
    return algebra.item(name, *SHAPE)


@laws
@given(DENSE, DENSE, DENSE)
def test_binding_is_commutative_associative_and_distributes(
    a: Vector, b: Vector, c: Vector
) -> None:
    assert close(algebra.bind(a, b), algebra.bind(b, a))
    left = algebra.bind(algebra.bind(a, b), c)
    right = algebra.bind(a, algebra.bind(b, c))
    assert np.allclose(left, right, rtol=1e-3, atol=1e-2)
    total = algebra.bind(a, algebra.bundle(np.stack([b, c])))
    assert close(total, algebra.bundle(np.stack([algebra.bind(a, b), algebra.bind(a, c)])))


@laws
@given(DENSE)
def test_the_identity_is_neutral(a: Vector) -> None:
    assert close(algebra.bind(a, algebra.identity(*SHAPE)), a)


@laws
@given(DENSE, NAMES)
def test_unbinding_a_name_gives_back_what_was_bound(a: Vector, name: str) -> None:
    known = one_hot(name)
    assert close(algebra.unbind(algebra.bind(a, known), known), a)


@laws
@given(DENSE, DENSE)
def test_unbinding_is_binding_with_the_inverse(a: Vector, b: Vector) -> None:
    assert close(algebra.unbind(a, b), algebra.bind(a, algebra.inverse(b)))
    assert np.array_equal(algebra.inverse(algebra.inverse(a)), a)


@laws
@given(NAMES, NAMES)
def test_names_bound_stay_one_hot_at_the_sum_of_positions(a: str, b: str) -> None:
    bound = algebra.bind(one_hot(a), one_hot(b))
    assert np.array_equal(np.count_nonzero(bound, axis=1), np.ones(SHAPE[0]))
    places = (one_hot(a).argmax(axis=1) + one_hot(b).argmax(axis=1)) % SHAPE[1]
    assert np.array_equal(bound.argmax(axis=1), places)


@laws
@given(DENSE, DENSE, st.integers(-7, 7))
def test_permuting_undoes_itself_and_commutes_with_binding(a: Vector, b: Vector, n: int) -> None:
    assert np.array_equal(algebra.permute(algebra.permute(a, n), -n), a)
    moved = algebra.bind(algebra.permute(a, n), algebra.permute(b, n))
    assert np.array_equal(moved, algebra.permute(algebra.bind(a, b), n))


@laws
@given(DENSE, DENSE)
def test_similarity_is_a_cosine(a: Vector, b: Vector) -> None:
    value = float(algebra.similarity(a, b))
    assert -1 <= value <= 1
    assert value == pytest.approx(float(algebra.similarity(b, a)))
    if a.any():
        assert float(algebra.similarity(a, 3 * a)) == pytest.approx(1)
    assert float(algebra.similarity(a, np.zeros_like(a))) == 0


@laws
@given(DENSE, DENSE, st.integers(1, 6), st.integers(-7, 7))
def test_the_sparse_form_obeys_the_same_laws(a: Vector, b: Vector, k: int, n: int) -> None:
    x, y = sparse.sparsify(a, k), sparse.sparsify(b, k)
    whole_x, whole_y = sparse.densify(x), sparse.densify(y)
    assert close(sparse.densify(sparse.bind(x, y)), algebra.bind(whole_x, whole_y))
    assert close(sparse.densify(sparse.unbind(x, y)), algebra.unbind(whole_x, whole_y))
    assert close(
        sparse.densify(sparse.bundle([x, y])), algebra.bundle(np.stack([whole_x, whole_y]))
    )
    assert np.array_equal(sparse.densify(sparse.permute(x, n)), algebra.permute(whole_x, n))
    expected = float(algebra.similarity(whole_x, whole_y))
    assert sparse.similarity(x, y) == pytest.approx(expected, abs=1e-5)


@laws
@given(DENSE, st.integers(1, 6))
def test_sparsifying_keeps_the_strongest_blocks(a: Vector, k: int) -> None:
    form = sparse.sparsify(a, k)
    energy = (a.astype(np.float64) ** 2).sum(axis=1)
    dropped = np.delete(energy, form.active)
    assert len(form.active) == min(k, np.count_nonzero(energy))
    assert len(form.active) == 0 or dropped.size == 0 or dropped.max() <= energy[form.active].min()
    again = sparse.sparsify(sparse.densify(form), k)
    assert np.array_equal(again.active, form.active)


def test_a_role_is_found_in_a_bundle_of_bound_pairs() -> None:
    """who/what/where bound to fillers, bundled: each filler is the nearest to what is unbound."""
    roles = [algebra.item(f"role:{name}") for name in ("who", "what", "where")]
    fillers = [algebra.item(name) for name in ("Ada", "a kettle", "the shed", "Grace", "a lathe")]
    episode = algebra.bundle(
        np.stack([algebra.bind(role, filler) for role, filler in zip(roles, fillers, strict=False)])
    )
    for number, role in enumerate(roles):
        answer = algebra.unbind(episode, role)
        likeness = [float(algebra.similarity(answer, filler)) for filler in fillers]
        assert int(np.argmax(likeness)) == number


def test_items_are_the_same_for_ever() -> None:
    vector = algebra.item("nimad")
    assert vector.argmax(axis=1)[:8].tolist() == [232, 121, 422, 48, 268, 326, 194, 216]
    assert float(algebra.similarity(vector, algebra.item("nimad "))) < 0.1
    few = algebra.item("nimad", active=10)
    assert np.count_nonzero(few.any(axis=1)) == 10
    assert np.array_equal(few[few.any(axis=1)], vector[few.any(axis=1)])


def test_refusals() -> None:
    with pytest.raises(ValueError, match="active"):
        algebra.item("x", 4, 4, active=5)
    with pytest.raises(ValueError, match="at least one"):
        sparse.bundle([])
    with pytest.raises(ValueError, match="k > 0"):
        sparse.sparsify(np.zeros((2, 2), np.float32), 0)
