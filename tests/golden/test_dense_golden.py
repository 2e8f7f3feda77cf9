"""The bytes of converted hypervectors: version 1 was written like this, and can be read for ever.

The files `dense-v1-*.nsd` were written by the first version of the format, from the vectors below.
They are never written anew: a change that alters their meaning needs a new version and new files.
"""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

import numpy as np
import pytest

from nimad.dense import levels
from nimad.dense.basis import Basis
from nimad.dense.files import DenseFiles, Listed
from nimad.dense.spectrum import Shape, from_spectrum
from nimad.dense.vectors import VectorFile
from tests.hypervectors import Floats

HERE = Path(__file__).parent
DIGESTS = {
    "dense-v1-rows": "000b90cf50de261bb7f3a350cd95357be7b06e4e5a4516eaf3f9b9bd73362cea",
    "dense-v1-basis": "25738e39e7124f4e5fd3cc97826fc6bd3b131a4a52078d2d8648942fab142bec",
    "dense-v1-sparse": "e644a413e5a643b2d0411affffe34e8dc2f7ba79bd24982a85a292fb93b83cee",
}


def dense() -> Floats:
    """float32[20, 1000]: three shared directions, and numbers that every machine makes alike."""
    numbers = np.arange(20 * 1000).reshape(20, 1000)
    noise = ((numbers * numbers * 7 + numbers * 13) % 251 - 125) / 125
    shared = np.array([((np.arange(1000) * n * n) % 83 - 41) / 20 for n in (3, 5, 11)])
    weights = np.array([[n % 2, n % 3 == 0, n % 5 == 0] for n in range(20)])
    return (noise + weights @ shared).astype(np.float32)


def sparse() -> Floats:
    """float32[10, 400]: two of eight blocks of 50."""
    rows = dense()[:10, :400].reshape(10, 8, 50).copy()
    for number in range(10):
        rows[number, [n for n in range(8) if n not in (number % 8, (number + 3) % 8)]] = 0
    return rows.reshape(10, 400)


@pytest.mark.parametrize("name", DIGESTS)
def test_the_files_are_those(name: str) -> None:
    raw = (HERE / f"{name}.nsd").read_bytes()
    assert hashlib.sha256(raw).hexdigest() == DIGESTS[name]


def test_rows_are_read(tmp_path: Path) -> None:
    for part in ("rows", "basis"):
        shutil.copy(HERE / f"dense-v1-{part}.nsd", tmp_path / f"{part}.nsd")
    files = DenseFiles(tmp_path)
    assert files.open([Listed("rows", 1, "rows"), Listed("basis", 1, "basis")]) == []
    (each,) = files.rows()
    assert each.file.ids.tolist() == list(range(1, 21)) and len(each.basis) == 8
    assert np.allclose(each.file.norms, np.linalg.norm(dense(), axis=1), rtol=1e-6)
    back = from_spectrum(each.file.spectra(np.arange(20), each.basis), Shape.of(1000))
    cosines = (back * dense()).sum(1) / np.linalg.norm(back, axis=1) / each.file.norms
    assert cosines.min() > 0.92


def test_sparse_rows_are_read() -> None:
    file = VectorFile.open(HERE / "dense-v1-sparse.nsd")
    shape = Shape.of(400, 50)
    assert file.shape == shape and file.ids.tolist() == list(range(1, 11))
    back = from_spectrum(file.spectra(np.arange(10), Basis.empty(shape)), shape)
    back *= file.norms[:, None]
    empty = ~sparse().reshape(10, 8, 50).any(axis=2)
    assert not back.reshape(10, 8, 50)[empty].any()
    assert np.abs(back - sparse()).max() < 0.1


def test_words_are_digits_of_base_l() -> None:
    values = levels.decode(np.array([[5 + 9 * 4]], np.uint16), 5, 9)[0] * (1 - 0.027853)
    assert np.allclose(values, [0.443639, 0, -2.254664, -2.254664, -2.254664], atol=1e-5)
    values = levels.decode(np.array([[0x8F07]], np.uint16), 4, 16)[0] * (1 - 0.009501)
    assert np.allclose(values, [-0.128395, -2.73259, 2.73259, 0.128395], atol=1e-5)
