"""Random operations on an index, against a dictionary of exact vectors."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from nimad.index.blocks import BlockIndex, BlockParams
from tests.vectors import clustered, cosine

DIMS = 24
POOL = clustered(4000, DIMS, seed=11)
POOL[::17] = 0


class IndexMachine(RuleBasedStateMachine):
    """What the records would do with an index, and what must then be true.

    `model` maps a live id to its vector; `listed` are the segments that the records name, `hot` the
    ids whose vectors are kept beside them.
    """

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.model: dict[int, np.ndarray] = {}
        self.listed: list[str] = []
        self.hot: set[int] = set()
        self.removed: list[int] = []
        self.next_id = 1
        self.names = 0

    @initialize(flat=st.booleans())
    def start(self, flat: bool) -> None:
        learn = 1 << 30 if flat else 60
        self.params = BlockParams(blocks=4, learn_rows=learn, exact_rows=16, exact_filter=8)
        self.index = BlockIndex(Path(self.folder.name), DIMS, self.params)

    def take(self, count: int) -> tuple[np.ndarray, np.ndarray]:
        ids = np.arange(self.next_id, self.next_id + count, dtype=np.int64)
        self.next_id += count + 1
        vectors = POOL[ids % len(POOL)]
        self.model.update(zip(ids.tolist(), vectors, strict=True))
        return ids, vectors

    def name(self) -> str:
        self.names += 1
        return f"seg-{self.names}"

    @rule(count=st.integers(1, 40))
    def remember(self, count: int) -> None:
        ids, vectors = self.take(count)
        self.index.append(ids, vectors)
        self.hot.update(ids.tolist())

    @rule(count=st.integers(1, 150))
    def migrate(self, count: int) -> None:
        ids, vectors = self.take(count)
        name = self.name()
        assert self.index.write_segment(name, ids, vectors).rows == count
        self.index.publish([name])
        self.listed.append(name)

    @precondition(lambda self: self.hot)
    @rule(share=st.floats(0.1, 1))
    def seal(self, share: float) -> None:
        chosen = sorted(self.hot)[: max(1, int(len(self.hot) * share))]
        ids = np.array(chosen, np.int64)
        name = self.name()
        self.index.write_segment(name, ids, np.stack([self.model[i] for i in chosen]))
        self.index.publish([name])
        self.check()
        self.index.trim(ids)
        self.listed.append(name)
        self.hot.difference_update(chosen)

    @precondition(lambda self: len(self.listed) > 1)
    @rule(data=st.data(), late=st.booleans())
    def merge(self, data: st.DataObject, late: bool) -> None:
        chosen = data.draw(st.lists(st.sampled_from(self.listed), min_size=1, unique=True))
        name = self.name()
        self.index.merge_segments(chosen, name)
        if late:
            self.forget(data)
        self.index.publish([name], chosen)
        self.listed = [kept for kept in self.listed if kept not in chosen] + [name]

    @precondition(lambda self: self.model)
    @rule(data=st.data())
    def forget(self, data: st.DataObject) -> None:
        some = st.lists(st.sampled_from(sorted(self.model)), min_size=1, max_size=60, unique=True)
        chosen = data.draw(some)
        self.index.remove(np.array([*chosen, self.next_id + 10**6], np.int64))
        for memory in chosen:
            del self.model[memory]
        self.hot.difference_update(chosen)
        self.removed += chosen

    @rule()
    def restart(self) -> None:
        self.index = BlockIndex(Path(self.folder.name), DIMS, self.params)
        assert self.index.open(self.listed) == []
        self.index.remove(np.array(self.removed, np.int64))
        hot = sorted(self.hot)
        vectors = [self.model[i] for i in hot]
        self.index.append(np.array(hot, np.int64), np.array(vectors, np.float32).reshape(-1, DIMS))
        assert self.index.unlisted() == []

    @rule(seed=st.integers(0, 2**32), k=st.integers(1, 30), share=st.floats(0, 1))
    def ask(self, seed: int, k: int, share: float) -> None:
        rng = np.random.default_rng(seed)
        query = POOL[rng.integers(1, 4000)] + np.float32(0.1) * rng.standard_normal(DIMS)
        ids = np.array(sorted(self.model), np.int64)
        allowed = ids[rng.random(len(ids)) < share] if seed % 2 else None
        found, scores = self.index.search(query.astype(np.float32), k, allowed)
        among = ids if allowed is None else allowed
        exact = {int(i): float(cosine(self.model[i][None], query)[0]) for i in among}
        candidates = [i for i in exact if self.model[i].any()]
        assert len(found) == len(set(found.tolist())) == min(k, len(candidates))
        assert set(found.tolist()) <= set(candidates)
        order = sorted(zip(-scores, found, strict=True))
        assert [int(i) for _, i in order] == found.tolist()
        assert np.allclose(scores, [exact[int(i)] for i in found], atol=0.02)
        assert scores.tobytes() == self.index.scores(query.astype(np.float32), found).tobytes()
        if len(found):
            assert scores[0] >= max(exact[i] for i in candidates) - 0.02

    @invariant()
    def check(self) -> None:
        if not hasattr(self, "index"):
            return
        assert self.index.ids().tolist() == sorted(self.model)
        assert self.index.verify() == []

    def teardown(self) -> None:
        self.folder.cleanup()


IndexMachine.TestCase.settings = settings(
    max_examples=25, stateful_step_count=25, deadline=None, derandomize=True
)
TestIndexModel = IndexMachine.TestCase
