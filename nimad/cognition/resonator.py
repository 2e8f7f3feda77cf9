"""ResonatorNetwork of the legacy guides: which filler is bound to each role of a hypervector.

A memory's hypervector is the sum over roles of role (x) filler, so each role is unbound on its own
and what is left is compared with the role's codebook; iteration only refines that.  True products,
where no role keeps fillers apart, go to `nimad.vsa.factors` or to the resonator.

`confidences` are margins of what is left (cosine of the best label less that of the next one), and
`converged` says that the rebuild explains the input (cosine .5).  Noise is no memory, whatever is
nearest to it.  Nothing is drawn by chance: role keys come from the names of the roles.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nimad.cognition.codebooks import Codebook, CodebookBuilder, flat
from nimad.dataclass import dataclass
from nimad.vsa import algebra, codes, factors, resonator
from nimad.vsa.algebra import DIMS, Vector
from nimad.vsa.factors import EXPLAINED

__all__ = [
    "Codebook",
    "CodebookBuilder",
    "ResonatorNetwork",
    "ResonatorResult",
    "SchemaSlotPredictor",
]

SEED = 42
"""Seed of the guides, for which keys are those of `memory_vectors`."""
MOST_VALUES = 1 << 25
"""Number of coordinates of codebooks that a product is taken apart with (0.3 GB) [values]."""

Flat = NDArray[np.float32]


@dataclass
class ResonatorResult:
    """What was found: role → label and role → confidence; labels of each round in `trajectory`.

    `explained` is the cosine of the input with the rebuild.
    """

    converged: bool
    iterations: int
    slots: dict[str, str]
    confidences: dict[str, float]
    trajectory: list[dict[str, str]] = field(default_factory=list)
    explained: float = 0.0


class ResonatorNetwork:
    """Role keys and codebooks, and the questions that they answer.

    Attributes:
        role_keys: role → float32[dimension]; `initialize_role_keys` makes them, or a caller sets
            those of a legacy store.
        codebooks: role → Codebook.
        stats: decompositions, avg_iterations, convergence_rate.

    Args:
        block_dim: coordinates of a block; 500 where that divides `dimension`, else all of them.
            Dense hypervectors of a legacy store are one block: give their dimension.
        convergence_threshold: kept for programs that give it; labels that repeat end the rounds.
        cleanup_candidates: the labels compared for a confidence; two are enough.

    Raises:
        ValueError: when `dimension` is no multiple of `block_dim`.
    """

    def __init__(
        self,
        dimension: int = 50_000,
        max_iterations: int = 20,
        convergence_threshold: float = 0.001,
        cleanup_candidates: int = 3,
        block_dim: int | None = None,
    ) -> None:
        block = block_dim or (dimension if dimension % DIMS else DIMS)
        if dimension < 1 or dimension % block:
            raise ValueError(f"{dimension} dimensions are no blocks of {block}")
        self.dimension, self.max_iterations = dimension, max_iterations
        self.convergence_threshold = convergence_threshold
        self.cleanup_candidates = cleanup_candidates
        self.shape = (dimension // block, block)
        self.role_keys: dict[str, Flat] = {}
        self.codebooks: dict[str, Codebook] = {}
        self.stats = {"decompositions": 0, "avg_iterations": 0.0, "convergence_rate": 0.0}

    def initialize_role_keys(self, roles: Iterable[str], seed: int = SEED) -> None:
        """Make the keys of roles; each depends on its name (in capitals) and the seed alone."""
        for role in roles:
            name = f"role {role.upper()}" + ("" if seed == SEED else f" {seed}")
            self.role_keys[role] = algebra.item(name, *self.shape).reshape(-1)

    def add_codebook(self, name: str, codebook: Codebook) -> None:
        """The fillers that a role may have."""
        self.codebooks[name] = codebook

    # --- algebra ------------------------------------------------------------------------------

    def bind(self, a: Any, b: Any) -> Flat:
        """a (x) b, block by block; float32[dimension].  Raises ValueError for another length."""
        return self._combined(self._blocks(a), self._blocks(b), unbinding=False)

    def unbind(self, bound: Any, key: Any) -> Flat:
        """What was bound to `key`, nearly; exactly when the key is one-hot in each block."""
        return self._combined(self._blocks(bound), self._blocks(key), unbinding=True)

    def _combined(self, vector: Vector, key: Vector, unbinding: bool) -> Flat:
        if not unbinding and np.count_nonzero(key) > len(key):  # commutative: either may be sparse
            vector, key = key, vector
        if np.count_nonzero(key) <= len(key):
            try:
                code = codes.from_vector(key)
            except ValueError:
                pass
            else:
                by_code = codes.unbind_vector if unbinding else codes.bind_vector
                return by_code(vector, code).reshape(-1)
        return (algebra.unbind if unbinding else algebra.bind)(vector, key).reshape(-1)

    def _blocks(self, vector: Any) -> Vector:
        whole = flat(vector)
        if len(whole) != self.dimension:
            raise ValueError(f"a hypervector of {self.dimension} is needed, not of {len(whole)}")
        return whole.reshape(self.shape)

    # --- taking apart -------------------------------------------------------------------------

    def decompose_direct(
        self,
        bound_memory: Any,
        known_slots: Mapping[str, str] | None = None,
        unknown_slots: Sequence[str] | None = None,
    ) -> ResonatorResult:
        """Unbind each unknown role once and take the nearest label.

        Args:
            known_slots: role → label of what is known; it is taken out first.
            unknown_slots: roles to recover; default: all that have a key and a codebook.

        Raises:
            ValueError: when the hypervector has another length.
        """
        return self._counted(self._decompose(bound_memory, known_slots, unknown_slots, 1))

    def decompose(
        self,
        bound_memory: Any,
        known_slots: Mapping[str, str] | None = None,
        unknown_slots: Sequence[str] | None = None,
    ) -> ResonatorResult:
        """As `decompose_direct`, then again without what the other roles explain, until the labels
        repeat, at most `max_iterations` times."""
        rounds = max(1, self.max_iterations)
        return self._counted(self._decompose(bound_memory, known_slots, unknown_slots, rounds))

    def factor(
        self, bound_memory: Any, known_slots: Mapping[str, str] | None = None
    ) -> ResonatorResult:
        """The fillers of a hypervector, whether it is a sum of role (x) filler or a product with
        one item of each codebook; `converged` is False when it is neither."""
        found = self.decompose(bound_memory, known_slots)
        if found.converged or known_slots or len(self.codebooks) < 2:
            return found
        product = self._product(bound_memory)
        return product if product is not None and product.converged else found

    def pairs(self, slots: Mapping[str, str]) -> dict[str, Flat]:
        """Role → role (x) filler, for labels of the codebooks."""
        return {
            role: self.bind(self.codebooks[role].vectors[label], self.role_keys[role])
            for role, label in slots.items()
        }

    def _decompose(
        self,
        bound_memory: Any,
        known: Mapping[str, str] | None,
        unknown: Sequence[str] | None,
        rounds: int,
    ) -> ResonatorResult:
        whole = self._blocks(bound_memory).reshape(-1)
        usable = {role: self.codebooks[role] for role in self.role_keys if self.codebooks.get(role)}
        given = {r: v for r, v in (known or {}).items() if r in usable and v in usable[r].vectors}
        roles = [role for role in unknown or sorted(usable) if role not in (known or {})]
        roles = [role for role in roles if role in usable]
        parts = {role: _as_strong(whole, pair) for role, pair in self.pairs(given).items()}
        trajectory: list[dict[str, str]] = []
        confidences: dict[str, float] = {}
        for _ in range(rounds):
            labels = {}
            for role in roles:
                others = [part for name, part in parts.items() if name != role]
                left = whole - np.sum(others, axis=0, dtype=np.float32) if others else whole
                nearest = self.codebooks[role].nearest(self.unbind(left, self.role_keys[role]), 2)
                labels[role] = nearest[0][0]
                confidences[role] = nearest[0][1] - (nearest[1][1] if len(nearest) > 1 else 0.0)
                if rounds > 1:
                    pair = self.pairs({role: labels[role]})[role]
                    parts[role] = _as_strong(whole, pair)
            trajectory.append(labels)
            if len(trajectory) > 1 and labels == trajectory[-2]:
                break
        if rounds == 1:
            found = self.pairs(trajectory[-1])
            parts |= {role: _as_strong(whole, pair) for role, pair in found.items()}
        rebuilt = np.sum([np.zeros_like(whole), *parts.values()], axis=0)
        explained = float(algebra.similarity(whole[None], rebuilt[None]))
        converged = bool(roles) and explained >= EXPLAINED
        used = len(trajectory)
        return ResonatorResult(converged, used, trajectory[-1], confidences, trajectory, explained)

    def _product(self, bound_memory: Any) -> ResonatorResult | None:
        """A product of one item of each codebook; None when the codebooks are too large."""
        vector = self._blocks(bound_memory)
        names = sorted(name for name, codebook in self.codebooks.items() if len(codebook))
        labels = [list(self.codebooks[name].vectors) for name in names]
        if len(names) < 2 or sum(map(len, labels)) * self.dimension > MOST_VALUES:
            return None
        books = [
            np.stack([self._blocks(v) for v in self.codebooks[name].vectors.values()])
            for name in names
        ]
        try:
            exact = factors.factorize(vector, [codes.from_vector(book) for book in books], 1)
        except ValueError:  # items that are not one-hot in each block
            soft = resonator.resonate(vector, books)
            items, margins, rounds = soft.items, soft.margins, soft.rounds
            explained, converged = soft.explained, soft.converged
        else:
            if not exact.products:
                return None
            items, margins = exact.products[0].items, exact.products[0].margins
            rounds, explained, converged = exact.tries, exact.explained, exact.converged
        slots = {name: labels[place][items[place]] for place, name in enumerate(names)}
        confidences = dict(zip(names, margins, strict=True))
        return ResonatorResult(converged, rounds, slots, confidences, [slots], explained)

    def _counted(self, result: ResonatorResult) -> ResonatorResult:
        stats = self.stats
        stats["decompositions"] += 1
        share = 1 / stats["decompositions"]
        stats["avg_iterations"] += (result.iterations - stats["avg_iterations"]) * share
        stats["convergence_rate"] += (result.converged - stats["convergence_rate"]) * share
        return result

    def query_partial(
        self,
        known: Mapping[str, str],
        recover: Sequence[str],
        memories: Iterable[tuple[Any, Any, Mapping[str, Any]]],
    ) -> list[tuple[Any, Mapping[str, Any], ResonatorResult]]:
        """Of (id, hypervector, metadata) those whose metadata have every known value, whatever its
        case, and whose other roles come apart; (id, metadata, result)."""
        found = []
        for number, vector, meta in memories:
            if all(v.casefold() in str(meta.get(r, "")).casefold() for r, v in known.items()):
                result = self.decompose_direct(vector, None, recover)
                if result.converged:
                    found.append((number, meta, result))
        return found


def _as_strong(whole: Flat, part: Flat) -> Flat:
    """A part, as strong as it is in a hypervector."""
    return part * np.float32(algebra.dot(part, whole) / max(algebra.dot(part, part), 1e-30))


class SchemaSlotPredictor:
    """What usually stands in a slot, as shares of what was counted."""

    def __init__(self, resonator: ResonatorNetwork | None = None) -> None:
        self.resonator = resonator
        self.schemas: dict[str, dict[str, Counter[str]]] = {}

    def register_schema(self, name: str, slots: Mapping[str, Sequence[str]]) -> None:
        """The values seen in each slot, repeated ones as often as they were."""
        self.schemas[name] = {slot: Counter(map(str, values)) for slot, values in slots.items()}

    def predict_slots(
        self, name: str, known: Mapping[str, str] | None = None
    ) -> dict[str, list[tuple[str, float]]]:
        """Slot → (value, share), most frequent first; known slots are left out.  {} when there is
        no schema of that name."""
        found = {}
        for slot, counts in self.schemas.get(name, {}).items():
            if slot not in (known or {}):
                ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
                found[slot] = [(value, number / counts.total()) for value, number in ordered]
        return found

    def build_from_memories(
        self, memories: Iterable[Mapping[str, Any]], min_pattern_count: int = 3
    ) -> list[str]:
        """A schema "person_NAME" for each person with so many memories; their names."""
        of_person: dict[str, list[Mapping[str, Any]]] = {}
        for meta in memories:
            if meta.get("who"):
                of_person.setdefault(str(meta["who"]), []).append(meta)
        made = []
        for person, metas in sorted(of_person.items()):
            if len(metas) >= min_pattern_count:
                fields = ("what", "where", "when", "context")
                slots = {f: [str(m[f]) for m in metas if m.get(f)] for f in fields}
                self.register_schema(f"person_{person}", {f: v for f, v in slots.items() if v})
                made.append(f"person_{person}")
        return made
