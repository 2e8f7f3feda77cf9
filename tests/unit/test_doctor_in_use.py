"""Doctor while memories come and go: what changes between two of its looks is no damage."""

from __future__ import annotations

from pathlib import Path

from nimad.check import check
from nimad.core import maintenance
from nimad.model import Memory
from tests.legacy import stores
from tests.legacy.moving import attach, opened
from tests.threads import side_by_side

ROUNDS = 40


def test_what_comes_and_goes_meanwhile_is_no_problem(tmp_path: Path) -> None:
    (tmp_path / "agent").mkdir()
    stores.small_store(tmp_path / "agent" / "graph.sqlite")
    with opened(tmp_path / "state") as (store, manager):

        def come_and_go() -> None:
            for n in range(ROUNDS):
                ids = [store.remember(Memory(f"a lantern, number {n}")) for _ in range(3)]
                store.query(f"lantern {n}")
                store.forget(ids[:2], purge=n % 5 == 0)

        def rest() -> None:
            for _ in range(ROUNDS):
                maintenance.finish(store)

        attach(manager, tmp_path / "agent" / "graph.sqlite")
        with side_by_side([come_and_go, manager.finish, rest]):
            for _ in range(ROUNDS // 4):
                assert [problem.what for problem in check(store)] == []
