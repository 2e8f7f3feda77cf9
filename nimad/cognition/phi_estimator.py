"""PhiEstimator of the legacy guides: how well a hypervector comes apart into its roles.

Φ here is the sum of the slots' drops (`nimad.vsa.lesions`): 0 to 1.  It measures decomposability,
not consciousness: 1 for a clean episode whose fillers the codebooks have, near 0 for noise, and for
an episode whose fillers are bound to the wrong roles.  What cannot be measured is NaN, with a
reason, and is counted apart.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Sequence
from dataclasses import field
from typing import Any

import numpy as np

from nimad.cognition.codebooks import flat
from nimad.dataclass import dataclass
from nimad.vsa.lesions import lesion

log = logging.getLogger(__name__)

METHOD = 1
"""Version of the method: numbers of different versions are not compared."""
SLOTS = ("who", "what", "where", "when")
"""Roles that are measured when a caller names none and the resonator has them."""
HIGH = 0.7
"""Φ from which on the guides call a memory highly integrated."""
NO_RESONATOR = "there is no resonator with role keys and codebooks"
TOO_FEW = "fewer than two roles have a key and a codebook"
ZERO = "the hypervector is zero or not finite"


@dataclass
class PhiMeasurement:
    """One measurement; `phi` is NaN where there is a `reason`.

    Attributes:
        slot_phis: role → its drop, which add up to `phi`.
        decomposition_quality: the cosine of the hypervector with its rebuild.
        factors: role → the label that was recovered.
        confidences: role → the margin of that label.
        lesion_results: role → the quality after each lesion.
        uncertainty: standard error of `phi` over the lesions.
    """

    phi: float
    slot_phis: dict[str, float] = field(default_factory=dict)
    decomposition_quality: float = 0.0
    factors: dict[str, str] = field(default_factory=dict)
    lesion_results: dict[str, list[float]] = field(default_factory=dict)
    computation_time_ms: float = 0.0
    confidences: dict[str, float] = field(default_factory=dict)
    uncertainty: float = 0.0
    reason: str = ""

    def is_highly_integrated(self, threshold: float = HIGH) -> bool:
        """Whether Φ is known and reaches a threshold."""
        return self.phi >= threshold

    def most_integrated_slot(self) -> str | None:
        """The role whose loss costs most; None when nothing was measured."""
        return max(self.slot_phis, key=lambda role: self.slot_phis[role], default=None)

    def to_dict(self) -> dict[str, Any]:
        """For JSON: what is not known is None."""
        known = not math.isnan(self.phi)
        return {
            "phi": self.phi if known else None,
            "uncertainty": self.uncertainty if known else None,
            "slot_phis": dict(self.slot_phis),
            "decomposition_quality": self.decomposition_quality,
            "factors": dict(self.factors),
            "confidences": dict(self.confidences),
            "lesion_results": {role: list(each) for role, each in self.lesion_results.items()},
            "computation_time_ms": self.computation_time_ms,
            "reason": self.reason,
            "method": METHOD,
        }


class PhiEstimator:
    """Measures Φ with the role keys and codebooks of a resonator.

    Attributes:
        total_measurements, total_computation_time (seconds): of all, unmeasurable ones too.
        phi_history: what was measured, in order.

    Args:
        slot_names: roles to measure; default: `SLOTS` where the resonator has them, else all it
            has.
    """

    def __init__(
        self,
        resonator: Any = None,
        slot_names: Sequence[str] | None = None,
        num_lesion_trials: int = 3,
    ) -> None:
        self.resonator = resonator
        self.num_lesion_trials = max(1, num_lesion_trials)
        self._named = slot_names
        self.total_measurements = 0
        self.total_computation_time = 0.0
        self.phi_history: list[float] = []
        self._told: set[str] = set()

    @property
    def slot_names(self) -> list[str]:
        """The roles that can be measured now."""
        keys = getattr(self.resonator, "role_keys", None) or {}
        books = getattr(self.resonator, "codebooks", None) or {}
        usable = [role for role in keys if len(books.get(role) or ())]
        if self._named is not None:
            return [role for role in self._named if role in usable]
        return [role for role in SLOTS if role in usable] or usable

    def measure_phi(self, vector: Any) -> PhiMeasurement:
        """Φ of a hypervector; the same for the same input in every process.

        Raises:
            ValueError: when its length is not the resonator's.
        """
        began = time.perf_counter()
        slots = self.slot_names
        whole = flat(vector)
        reason = ""
        if not getattr(self.resonator, "role_keys", None):
            reason = NO_RESONATOR
        elif len(slots) < 2:
            reason = TOO_FEW
        elif not (np.isfinite(whole).all() and whole.any()):
            reason = ZERO
        if reason:
            measured = PhiMeasurement(math.nan, reason=reason)
            if reason not in self._told:
                self._told.add(reason)
                log.info("phi cannot be measured: %s", reason)
        else:
            found = self.resonator.decompose_direct(whole, None, slots)
            result = lesion(whole, self.resonator.pairs(found.slots), self.num_lesion_trials)
            measured = PhiMeasurement(
                result.total,
                result.drops,
                result.quality,
                found.slots,
                result.trials,
                confidences=found.confidences,
                uncertainty=result.uncertainty,
            )
            self.phi_history.append(measured.phi)
        took = time.perf_counter() - began
        self.total_measurements += 1
        self.total_computation_time += took
        measured.computation_time_ms = 1000 * took
        return measured

    def compare_phi(
        self, vectors: Sequence[Any], labels: Sequence[str] | None = None
    ) -> list[tuple[str, float]]:
        """(label, Φ), highest first; what cannot be measured comes last."""
        names = labels or [f"vector_{number}" for number in range(len(vectors))]
        measured = [(n, self.measure_phi(v).phi) for n, v in zip(names, vectors, strict=True)]
        return sorted(
            measured, key=lambda item: (math.isnan(item[1]), -item[1] if item[1] == item[1] else 0)
        )

    def get_statistics(self) -> dict[str, Any]:
        """Counts, and figures of those that were measured (None when there are none)."""
        return {
            "total_measurements": self.total_measurements,
            "measured": len(self.phi_history),
            "unmeasured": self.total_measurements - len(self.phi_history),
            "avg_computation_time_ms": 1000
            * self.total_computation_time
            / max(1, self.total_measurements),
            **_figures(self.phi_history),
        }


def measure_workspace_integration(workspace: Any, resonator: Any) -> dict[str, Any]:
    """Φ of the entries of a workspace's history, kept in each entry (`_phi`); {"error"} when there
    is nothing to measure."""
    estimator = PhiEstimator(resonator)
    entries = list(getattr(workspace, "history", ()))
    if not entries:
        return {"error": "the workspace has no history"}
    for entry in entries:
        entry._phi = estimator.measure_phi(entry.bound).phi
    known = estimator.phi_history
    if not known:
        return {
            "error": "no entry could be measured",
            "estimator_stats": estimator.get_statistics(),
        }
    return {
        "num_entries_measured": len(known),
        **_figures(known),
        "highly_integrated_count": sum(phi >= HIGH for phi in known),
        "estimator_stats": estimator.get_statistics(),
    }


def _figures(known: Sequence[float]) -> dict[str, float | None]:
    names = ("average_phi", "std_phi", "min_phi", "max_phi")
    if not known:
        return dict.fromkeys(names)
    return dict(
        zip(names, (float(f(known)) for f in (np.mean, np.std, np.min, np.max)), strict=True)
    )
