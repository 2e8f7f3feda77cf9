"""Φ of the memories of a store: of the legacy hypervector, else of the one that its fields make.

A legacy hypervector is taken apart with the codebook of its source: Φ tells whether it is sound.
One that is derived from the records is whole by construction; Φ then tells only whether its values
stand out among those of other memories.  `docs/hypervectors.md` says more.

Numbers are kept in the records with the version of the method (nimad/store/phi_rows.py); a filler's
name is not.
"""

from __future__ import annotations

import functools
import math
import time
from collections.abc import Iterator, Sequence
from datetime import tzinfo
from typing import Any

import numpy as np

from nimad.cognition import episodes
from nimad.cognition.codebooks import Codebook, CodebookBuilder
from nimad.cognition.phi_estimator import METHOD, PhiEstimator, PhiMeasurement
from nimad.cognition.resonator import ResonatorNetwork
from nimad.cognition.sparse_block_vsa import SparseBlockHDVector
from nimad.core.store import MemoryStore
from nimad.errors import NoHypervector, NotFound
from nimad.model import Memory, may_see
from nimad.namespaces import Namespaces
from nimad.store import phi_rows
from nimad.store.phi_rows import PhiRow
from nimad.vsa.algebra import BLOCKS, DIMS
from nimad.vsa.lesions import lesion
from nimad.vsa.sparse import ACTIVE

TRIALS = 3
"""Number of lesions of each role."""
STRANGERS = 30
"""Number of other memories whose values a derived hypervector's are told from [memories]."""
BATCH = 512
"""Number of unmeasured memories that are looked up, and kept together, at a time [memories]."""
NO_CODEBOOK = "its source has no role keys and fillers"
ONE_ROLE = "it has fewer than two roles"


class MemoryPhi:
    """Measures the memories of one store that a user may see."""

    def __init__(self, store: MemoryStore, zone: tzinfo, within: Namespaces | None) -> None:
        self._store, self._zone, self._within = store, zone, within

    def measure(self, memory_id: int) -> dict[str, Any]:
        """Φ of a memory, and what was recovered of each role.  Raises NotFound."""
        memory = self._store.records.get([memory_id]).get(memory_id)
        if memory is None or not may_see(self._within, memory):
            raise NotFound(kind="memory", id=memory_id)
        kind, found = self._measured(memory)
        told = found.to_dict()
        roles = [
            {
                "role": role,
                "filler": found.factors[role],
                "margin": found.confidences[role],
                "drop": found.slot_phis[role],
            }
            for role in sorted(found.slot_phis)
        ]
        return {
            "id": memory_id,
            "phi": told["phi"],
            "uncertainty": told["uncertainty"],
            "quality": found.decomposition_quality,
            "reason": found.reason,
            "hypervector": kind,
            "method": METHOD,
            "roles": roles,
        }

    def measure_more(self, seconds: float) -> None:
        """Measure memories that have no number yet, those with a legacy hypervector first, for
        about so long, and keep what was found.  Questions go first."""
        until = time.monotonic() + seconds
        under_way = self._store.under_way
        with under_way.tell("phi", lambda: 1 - (until - time.monotonic()) / (seconds or 1)):
            for batch in self._unmeasured():
                rows = list(self._rows(batch, until))
                if rows:
                    with self._store.records.write() as tx:
                        phi_rows.keep(tx, rows, METHOD)
                if time.monotonic() >= until:
                    break

    def _rows(self, batch: Sequence[int], until: float) -> Iterator[PhiRow]:
        for number in batch:
            if time.monotonic() >= until:
                break
            self._store.query_priority.yield_to_queries()
            memory = self._store.records.get([number]).get(number)
            if memory is not None:
                _, found = self._measured(memory)
                phi = None if math.isnan(found.phi) else found.phi
                yield PhiRow(number, phi, found.uncertainty, found.decomposition_quality)

    def _unmeasured(self) -> Iterator[Sequence[int]]:
        """Batches; one is kept before the next is asked for."""
        records = self._store.records
        legacy = self._store.dense.files.ids().tolist()
        known = phi_rows.measured_among(records, METHOD, legacy)
        first = [number for number in legacy if number not in known]
        for start in range(0, len(first), BATCH):
            yield first[start : start + BATCH]
        while more := phi_rows.unmeasured(records, METHOD, BATCH):
            yield more

    def _measured(self, memory: Memory) -> tuple[str, PhiMeasurement]:
        """ "legacy" or "derived", and the measurement."""
        try:
            spectrum, pairs = self._store.dense.take_apart(memory.id)
        except (NoHypervector, NotFound):
            return "derived", self._of_fields(memory)
        if len(pairs) < 2:
            return "legacy", PhiMeasurement(math.nan, reason=NO_CODEBOOK)
        found = lesion(spectrum, {pair.role: pair.part for pair in pairs}, TRIALS)
        return "legacy", PhiMeasurement(
            found.total,
            found.drops,
            found.quality,
            {pair.role: pair.filler for pair in pairs},
            found.trials,
            confidences={pair.role: pair.margin for pair in pairs},
            uncertainty=found.uncertainty,
        )

    def _of_fields(self, memory: Memory) -> PhiMeasurement:
        """Φ of the hypervector that a memory's fields make, among those of other memories."""
        factors = episodes.roles_of(memory, self._zone)
        if len(factors) < 2:
            return PhiMeasurement(math.nan, reason=ONE_ROLE)
        network = ResonatorNetwork(BLOCKS * DIMS)
        network.initialize_role_keys(factors)
        for role, value in factors.items():
            own = CodebookBuilder().codebook(role, [value])
            others = self._strangers.get(role, {})
            network.add_codebook(role, Codebook(role, {**own.vectors, **others}))
        vector = SparseBlockHDVector.of(episodes.episode(factors, BLOCKS, DIMS, ACTIVE))
        return PhiEstimator(network, list(factors), TRIALS).measure_phi(vector)

    @functools.cached_property
    def _strangers(self) -> dict[str, dict[str, Any]]:
        """Role → value → its hypervector, of memories spread evenly over the store."""
        ids = self._store.records.ids()
        places = np.unique(np.linspace(0, len(ids) - 1, min(STRANGERS, len(ids))).astype(int))
        found = self._store.records.get([int(ids[place]) for place in places])
        values: dict[str, dict[str, None]] = {}
        for _, other in sorted(found.items()):
            if may_see(self._within, other):
                for role, value in episodes.roles_of(other, self._zone).items():
                    values.setdefault(role, {})[value] = None
        builder = CodebookBuilder()
        return {role: builder.codebook(role, labels).vectors for role, labels in values.items()}
