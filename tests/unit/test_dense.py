"""Converted hypervectors: the spectrum, the quantiser, the files, searching and unbinding."""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pytest

from nimad.dense import levels, spectrum, vectors
from nimad.dense.basis import Basis
from nimad.dense.encoder import code, for_items
from nimad.dense.files import DenseFiles, Listed
from nimad.dense.levels import LADDER
from nimad.dense.plan import Plan, allocate
from nimad.dense.search import fillers_of, item_spectrum, search, spectrum_of
from nimad.dense.spectrum import Shape, from_spectrum, to_spectrum
from nimad.dense.training import Learned, learn
from nimad.errors import FormatCorrupt
from tests.hypervectors import Episodes, episodes, neighbours, sparse_rows

T = TypeVar("T")
DIMENSION = 2000
rng = np.random.default_rng(3)


def driven(steps: Generator[None, None, T]) -> T:
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return end.value


# --- the spectrum ---------------------------------------------------------------------------------

SHAPES = [(10_000, None), (50_000, None), (2000, None), (1999, None), (37, None), (600, 50)]


@pytest.mark.parametrize(("dimension", "block"), SHAPES)
def test_a_spectrum_keeps_everything(dimension: int, block: int | None) -> None:
    shape = Shape.of(dimension, block)
    rows = rng.standard_normal((3, dimension)).astype(np.float32)
    spectra = to_spectrum(rows, shape)
    assert spectra.shape == (3, shape.blocks * shape.width) and spectra.dtype == np.float32
    assert np.allclose(from_spectrum(spectra, shape), rows, atol=1e-4)
    assert np.allclose(spectra @ spectra.T, rows @ rows.T, rtol=1e-4, atol=1e-2)


@pytest.mark.parametrize(("dimension", "block"), SHAPES[2:])
def test_binding_is_local_in_the_spectrum(dimension: int, block: int | None) -> None:
    shape = Shape.of(dimension, block)
    a, b = rng.standard_normal((2, 1, dimension))
    cut = (-1, block or dimension)
    product = np.fft.ifft(np.fft.fft(a.reshape(cut)) * np.fft.fft(b.reshape(cut))).real
    x, y = (to_spectrum(row.astype(np.float32), shape) for row in (a, b))
    bound = spectrum.bind(x, y, shape)
    assert np.allclose(from_spectrum(bound, shape)[0], product.reshape(-1), atol=0.05)
    # <a (x) b, c> = <c unbound from b, a>: unbinding is the adjoint of binding
    c = to_spectrum(rng.standard_normal((1, dimension)).astype(np.float32), shape)
    assert np.allclose((bound * c).sum(), (spectrum.unbind(c, y, shape) * x).sum(), rtol=1e-3)


def test_shapes_that_cannot_be() -> None:
    for dimension, block in ((0, None), (1000, 300), (1000, 0)):
        with pytest.raises(ValueError):
            Shape.of(dimension, block)


# --- the quantiser --------------------------------------------------------------------------------


@pytest.mark.parametrize("step", LADDER[1:], ids=lambda step: str(step.levels))
def test_levels_lose_what_they_say(step: levels.Step) -> None:
    values = np.random.default_rng(3).standard_normal((400, 997)).astype(np.float32)
    words = levels.encode(values, step.levels)
    assert words.shape == (400, -(-997 // step.digits)) and words.dtype == np.uint16
    back = levels.decode(words, 997, step.levels)
    assert back.shape == values.shape
    unbiased = (values * back).sum() / (values**2).sum()
    assert unbiased == pytest.approx(1, abs=0.02)
    lost = np.mean((values - back * (1 - step.distortion)) ** 2)
    if step.levels < 256:
        assert lost == pytest.approx(step.distortion, rel=0.02)
    else:  # steps of one width lose less of normal coordinates than the figure they are scaled by
        assert 0.7 * step.distortion < lost <= step.distortion


def test_every_word_decodes_to_what_it_encodes() -> None:
    for step in LADDER[1:]:
        words = rng.integers(0, step.levels**step.digits, (7, 11)).astype(np.uint16)
        values = levels.decode(words, 11 * step.digits, step.levels) * (1 - step.distortion)
        assert (levels.encode(values, step.levels) == words).all()


def test_a_plan_gives_bits_to_blocks_with_energy() -> None:
    shape = Shape.of(DIMENSION)
    energies = np.where(np.arange(100) < 50, 1.0, 0.01)
    plan = allocate(shape, energies, 300)
    assert plan.words <= 300
    assert plan.levels[:50].min() > plan.levels[50:].max()
    rows = rng.standard_normal((5, 2000)) * np.repeat(np.sqrt(energies), 20)
    back = plan.decode(plan.encode(rows.astype(np.float32)))
    cosines = (back * rows).sum(1) / np.linalg.norm(back, axis=1) / np.linalg.norm(rows, axis=1)
    assert cosines.min() > 0.93
    assert not allocate(shape, np.zeros(100), 300).words


# --- whole episodes -------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def told() -> Episodes:
    return episodes(400, DIMENSION)


def converted(rows: Any, shape: Shape, ratio: float = 8.25) -> tuple[Learned, vectors.Coded]:
    learned = driven(learn(shape, lambda picks: rows[picks], len(rows), ratio))
    parts = [
        code(learned, np.arange(at + 1, min(at + 50, len(rows)) + 1), rows[at : at + 50])
        for at in range(0, len(rows), 50)
    ]
    return learned, vectors.joined(parts)


def written(place: Path, learned: Learned, rows: vectors.Coded) -> DenseFiles:
    files = DenseFiles(place)
    listed = [Listed("rows", 1, "rows")]
    vectors.write(files.path("rows"), vectors.MEMORIES, learned.plan, learned.basis.id, rows)
    if len(learned.basis):
        learned.basis.write(files.path("basis"))
        listed.append(Listed("basis", 1, "basis"))
    assert files.open(listed) == []
    return files


def near(files: DenseFiles, number: int, k: int = 10) -> list[int]:
    found = files.find(number)
    assert found is not None
    ids, scores = search(files.rows(), spectrum_of(*found), k + 1)
    assert (np.diff(scores) <= 0).all() and ids[0] == number and scores[0] > 0.9
    return [int(i) for i in ids[1:]]


def test_neighbours_stay_neighbours(told: Episodes, tmp_path: Path) -> None:
    files = written(tmp_path, *converted(told.vectors, Shape.of(DIMENSION)))
    truth = neighbours(told.vectors) + 1
    sample = range(0, 400, 4)
    hits = [len({*near(files, i + 1)} & {*truth[i].tolist()}) for i in sample]
    stored = sum(path.stat().st_size for path in tmp_path.iterdir())
    # 2,000 dimensions: the sketch and the like weigh more, and gaps are smaller, than at 10,000
    assert np.mean(hits) / 10 > 0.8 and told.vectors.nbytes / stored > 7


def test_directions_that_are_shared_are_found(told: Episodes) -> None:
    learned = driven(learn(Shape.of(DIMENSION), lambda picks: told.vectors[picks], 400))
    assert len(learned.basis) >= 8
    noise = rng.standard_normal((400, DIMENSION)).astype(np.float32)
    assert not len(driven(learn(Shape.of(DIMENSION), lambda picks: noise[picks], 400)).basis)


def test_dot_products_come_out_right_on_average(told: Episodes) -> None:
    learned, rows = converted(told.vectors, Shape.of(DIMENSION))
    decoded = vectors.spectra(learned.plan, learned.basis, rows)
    truth, found = told.vectors @ told.vectors.T, decoded @ decoded.T
    pairs = np.triu_indices(400, 1)
    error = (found - truth)[pairs]
    assert abs(error.mean()) < 1e-3 and np.abs(error).max() < 0.05
    exact = (decoded * to_spectrum(told.vectors, Shape.of(DIMENSION))).sum(1)
    assert np.allclose(exact, 1, atol=0.02)


def test_fillers_are_found_by_their_role(told: Episodes, tmp_path: Path) -> None:
    shape = Shape.of(DIMENSION)
    learned, rows = converted(told.vectors, shape)
    files = written(tmp_path, learned, rows)
    names = [*told.roles, *told.codebook]
    items = np.stack([*told.roles.values(), *told.codebook.values()])
    coded = code(for_items(shape), np.arange(len(names)) + 1, items)
    plan = for_items(shape).plan
    vectors.write(files.path("items"), vectors.ITEMS, plan, bytes(16), coded)
    files.add([Listed("items", 1, "items")])
    fillers = np.arange(len(told.roles), len(names)) + 1
    right = wrong = 0
    for number in range(0, 400, 20):
        found = files.find(number + 1)
        assert found is not None
        for place, role in enumerate(told.roles):
            known = item_spectrum(files.items(1), place + 1)
            assert known is not None
            ids, scores = fillers_of(spectrum_of(*found), known, files.items(1), fillers)
            if role in told.fillers[number]:
                right += names[ids[0] - 1] == told.fillers[number][role]
                wrong += names[ids[0] - 1] != told.fillers[number][role]
            else:
                assert scores[0] < 0.2
    assert right / (right + wrong) > 0.97


def test_sparse_hypervectors_keep_their_blocks(tmp_path: Path) -> None:
    rows = sparse_rows(60)
    shape = Shape.of(50_000, 500)
    learned, coded = converted(rows, shape)
    files = written(tmp_path, learned, coded)
    back = from_spectrum(files.rows()[0].file.spectra(np.arange(60), learned.basis), shape)
    back *= files.rows()[0].file.norms[:, None]
    assert ((back == 0) == (rows == 0)).all()
    length = np.linalg.norm(rows, axis=1)
    assert (np.linalg.norm(back - rows, axis=1) / length).max() < 0.02
    truth = neighbours(rows, 5) + 1
    assert np.mean([len({*near(files, i + 1, 5)} & {*truth[i].tolist()}) for i in range(60)]) > 4.8
    assert files.path("rows").stat().st_size < 60 * 10 * 500 * 8 / 7


def test_zeros_are_kept_and_never_found(told: Episodes, tmp_path: Path) -> None:
    rows = told.vectors[:40].copy()
    rows[7] = 0
    files = written(tmp_path, *converted(rows, Shape.of(DIMENSION)))
    assert 8 in files.ids() and 8 not in near(files, 1, 39)


@pytest.mark.parametrize("count", [1, 2, 9])
def test_few_rows_are_as_good(tmp_path: Path, count: int) -> None:
    told = episodes(count)
    files = written(tmp_path, *converted(told.vectors, Shape.of(10_000)))
    decoded = spectrum_of(*files.find(1))  # type: ignore[misc]
    assert decoded @ to_spectrum(told.vectors[:1], Shape.of(10_000))[0] > 0.985


# --- files ----------------------------------------------------------------------------------------


def test_every_flipped_byte_is_found(told: Episodes, tmp_path: Path) -> None:
    files = written(tmp_path, *converted(told.vectors[:60], Shape.of(DIMENSION)))
    for name in ("rows", "basis"):
        path = files.path(name)
        if not path.exists():
            continue
        whole = path.read_bytes()
        for place in rng.integers(0, len(whole), 40):
            damaged = bytearray(whole)
            damaged[place] ^= 0x10
            path.write_bytes(damaged)
            assert files.verify([Listed(name, 1, name)]), place
        path.write_bytes(whole)
        assert files.verify([Listed(name, 1, name)]) == []


def test_a_file_without_its_basis_is_refused(told: Episodes, tmp_path: Path) -> None:
    files = written(tmp_path, *converted(told.vectors, Shape.of(DIMENSION)))
    (damage,) = files.open([Listed("rows", 1, "rows")])
    assert "basis" in damage.error.message and not files.rows()
    files.path("dns-00000007").write_bytes(b"never committed")  # the other names are not nimad's
    assert {path.name for path in files.unlisted(["rows"])} == {"dns-00000007.nsd"}
    with pytest.raises(FormatCorrupt):
        Basis.open(files.path("rows"))


def test_even_plans_and_empty_bases() -> None:
    shape = Shape.of(DIMENSION)
    assert Plan.even(shape, 16).bits == 4 and not len(Basis.empty(shape))
    shares, rests = Basis.empty(shape).project(np.ones((2, shape.size), np.float32))
    assert shares.shape == (2, 0) and (rests == 1).all()


@pytest.mark.parametrize("dimension", [64, 256, 500, 1000, 2000, 5000])
def test_short_hypervectors_are_stored_well(dimension: int, tmp_path: Path) -> None:
    """They are small enough that eight times smaller would cost more than it saves."""
    shape = Shape.of(dimension, None)
    rows = np.random.default_rng(9).standard_normal((40, dimension)).astype(np.float32)
    learned, coded = converted(rows, shape)
    stored = vectors.spectra(learned.plan, learned.basis, coded)
    truth = to_spectrum(rows, shape)
    lengths = np.linalg.norm(truth, axis=1) * np.linalg.norm(stored, axis=1)
    cosines = np.einsum("ij,ij->i", truth, stored) / lengths
    assert cosines.min() > 0.96
    assert coded.bytes / 40 <= max(4 * dimension / 6, 400)
