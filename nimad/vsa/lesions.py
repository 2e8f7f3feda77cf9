"""How well a bundle comes apart: each part is replaced by noise, and the rebuild fits worse.

The quality q is the cosine of a hypervector with its rebuild, the sum of its parts, each as strong
as it is there.  The drop of a part is what q loses when the part is replaced by noise of the same
length.  Their sum is 1 for a clean bundle, near 0 for what has no such parts, and falls in step
with damage.  docs/hypervectors.md says what this is a measure of, and of what it is not.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from nimad.dataclass import dataclass
from nimad.vsa.algebra import dot, length

Places = NDArray[np.intp] | slice

SPARSE = 8
"""Factor by which values that are not zero must be rarer than coordinates to be moved one by one
instead of being drawn anew."""


@dataclass(frozen=True)
class Lesions:
    """What was measured.

    Attributes:
        total: the sum of the drops.
        uncertainty: the standard error of `total` over the trials.
        quality: q of the rebuild with all parts.
        drops: part → its drop, not below 0, the mean of the trials.
        trials: part → q with that part replaced, for each trial.
    """

    total: float
    uncertainty: float
    quality: float
    drops: dict[str, float]
    trials: dict[str, list[float]]


def lesion(
    vector: NDArray[np.float32], parts: Mapping[str, NDArray[np.float32]], trials: int
) -> Lesions:
    """Replace each part of a rebuild by noise, `trials` times; the input alone seeds the noise.

    Args:
        vector: float32[n], not zero.
        parts: what it is thought to consist of (role (x) filler), each float32[n].

    Cost: O(n) for each part and trial; for a part of few values, their number.
    """
    unit = vector / np.float32(length(vector))
    rebuilt = np.zeros(len(vector), np.float32)
    scaled = {}
    for name, part in parts.items():
        few = np.flatnonzero(part)
        places = few if len(few) * SPARSE <= len(part) else slice(None)
        strength = max(0.0, dot(part[places], unit[places])) / max(dot(part, part), 1e-30)
        scaled[name] = (places, part[places] * np.float32(strength))
        rebuilt[places] += scaled[name][1]
    product, square = dot(rebuilt, unit), dot(rebuilt, rebuilt)
    quality = product / square**0.5 if square > 0 else 0.0
    found: dict[str, list[float]] = {}
    for name, (places, part) in scaled.items():
        seed = hashlib.blake2b(vector.tobytes(), digest_size=8, key=name.encode()[:64]).digest()
        rng = np.random.default_rng(int.from_bytes(seed, "little"))
        without = rebuilt.copy()
        without[places] -= part
        left, rest = product - dot(part, unit[places]), dot(without, without)
        found[name] = []
        where: Places
        for _ in range(trials):
            if isinstance(places, slice):  # noise of the same length: Gaussian everywhere
                where, noise = places, rng.standard_normal(len(vector), np.float32)
                noise *= np.float32(length(part) / length(noise))
            else:  # or the part's few values at other places
                where = rng.choice(len(vector), len(places), replace=False, shuffle=False)
                noise = part
            norm = rest + dot(noise, noise) + 2 * dot(noise, without[where])
            found[name].append((left + dot(noise, unit[where])) / norm**0.5 if norm > 0 else 0.0)
    drops = {name: max(0.0, quality - float(np.mean(each))) for name, each in found.items()}
    sums = np.maximum(0, quality - np.array(list(found.values()))).sum(axis=0)
    spread = float(sums.std(ddof=1) / trials**0.5) if trials > 1 else 0.0
    return Lesions(min(1.0, sum(drops.values())), spread, quality, drops, found)
