"""The distance of 32 codes from a query, the innermost loop of every scan, for the kernels."""
# mypy: disable-error-code="untyped-decorator,call-arg,no-untyped-call,var-annotated"

from __future__ import annotations

from typing import Any

import numpy as np

from nimad.index.kernels.contract import LANES, WORDS
from nimad.index.kernels.intrinsics import inline, popcount


@inline
def distances32(codes: Any, start: Any, planes: Any, near: Any) -> None:
    """The distances of the 32 rows whose group begins at codes[start]."""
    for lane in range(LANES):
        near[lane] = np.uint64(0)
    for word in range(WORDS):
        one, two = planes[word], planes[WORDS + word]
        four, eight = planes[2 * WORDS + word], planes[3 * WORDS + word]
        for lane in range(LANES):
            code = codes[start + word * LANES + lane]
            near[lane] += (
                popcount(code ^ one)
                + (popcount(code ^ two) << np.uint64(1))
                + (popcount(code ^ four) << np.uint64(2))
                + (popcount(code ^ eight) << np.uint64(3))
            )
