"""Prints a digest of what numpy's linear algebra gives: each routine, each type, several sizes.

python -IS linear_algebra.py FOLDER  takes numpy from a folder.
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Callable
from typing import Any

sys.path.insert(0, sys.argv[1])

import numpy as np

L: Any = np.linalg
SIZES = (1, 2, 5, 17, 64, 150)
TYPES = (np.float32, np.float64, np.complex64, np.complex128)
ROUTINES: list[Callable[[Any, Any, Any], Any]] = [
    lambda a, w, s: a @ w,
    lambda a, w, s: a @ a[0],
    lambda a, w, s: np.vdot(a[0], a[-1]) + a[0] @ a[-1],
    lambda a, w, s: a @ a.T + a.T @ a,
    lambda a, w, s: L.solve(s, w),
    lambda a, w, s: L.inv(s),
    lambda a, w, s: L.slogdet(a),
    lambda a, w, s: L.cholesky(s),
    lambda a, w, s: L.qr(w),
    lambda a, w, s: L.qr(w, "complete"),
    lambda a, w, s: L.qr(w.T, "raw"),
    lambda a, w, s: L.svd(w),
    lambda a, w, s: L.svd(w, compute_uv=False),
    lambda a, w, s: L.eigh(s),
    lambda a, w, s: L.eigvalsh(s, "U"),
    lambda a, w, s: L.eig(a),
    lambda a, w, s: L.eigvals(a),
    lambda a, w, s: L.lstsq(w.T, w.T[:, :2], rcond=None)[0],
    lambda a, w, s: L.lstsq(w, w[:, :2], rcond=None)[0],
    lambda a, w, s: L.pinv(w),
]


def main() -> None:
    """One line: the version and the digest."""
    chance, digest = np.random.default_rng(3), hashlib.blake2b(digest_size=16)
    for size in SIZES:
        for kind in TYPES:
            real, more = (chance.standard_normal((2, size, size + 3)) for _ in range(2))
            whole = real + 1j * more if np.issubdtype(kind, np.complexfloating) else real
            a, w = whole[0, :, :size].astype(kind), whole[1].astype(kind)
            s = (a @ a.conj().T + size * np.eye(size)).astype(kind)
            for routine in ROUTINES:
                found = routine(a, w, s)
                for each in found if isinstance(found, tuple) else (found,):
                    digest.update(np.ascontiguousarray(each).tobytes())
    print(np.__version__, digest.hexdigest())


main()
