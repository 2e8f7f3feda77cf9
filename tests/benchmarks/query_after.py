"""What a question costs after a `remember`, and where memories were forgotten: processor time
inside one process, of this checkout beside others.

    python -m tests.benchmarks.query_after [--size 100000] [CHECKOUT ...]

Each checkout has its .venv and fills a store of its own with made-up talk.
On a busy machine all figures grow; the ratios to the first checkout tell something.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import tempfile
from pathlib import Path

from tests.benchmarks.query_cost import HERE, fill, python
from tests.benchmarks.talk import make_talk

QUESTIONS = 60
ASK = """
import json, statistics, sys, time
from pathlib import Path
from nimad.config import Config
from nimad.core import maintenance
from nimad.core.store import MemoryStore
from nimad.model import Filter, Memory
state, questions = Path(sys.argv[1]), json.load(sys.stdin)

def asked(store, remember):
    spent = []
    for number, question in enumerate(questions):
        if remember:
            note = Memory(f"{question} {number}", who="Anna", session=str(number // 20))
            store.remember(note)
        began = time.thread_time()
        store.query(question, 10, "hybrid", Filter(), 1_700_000_000_000)
        spent.append(time.thread_time() - began)
    return statistics.median(spent) * 1e3

store = MemoryStore.open(state, Config())
asked(store, False)
found = {"one after the other": asked(store, False), "after a remember": asked(store, True)}
store.forget(list(range(97, 5000, 97)))
maintenance.finish(store)
store.close()
(state / "columns.nrc").unlink(missing_ok=True)  # so that the forgotten ones leave no rows
store = MemoryStore.open(state, Config())
asked(store, False)
found |= {"with gaps": asked(store, False), "with gaps, after a remember": asked(store, True)}
store.close()
print(json.dumps(found))
"""


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("checkouts", nargs="*", type=Path, metavar="CHECKOUT")
    parser.add_argument("--size", type=int, default=100_000)
    given = parser.parse_args()
    talk = make_talk(given.size, QUESTIONS)
    first: dict[str, float] = {}
    for checkout in [*(checkout.resolve() for checkout in given.checkouts), HERE]:
        with tempfile.TemporaryDirectory(prefix="nimad-after-") as folder:
            state = Path(folder) / "state"
            fill(checkout, state, talk.memories)
            asked = subprocess.run(
                [python(checkout), "-c", ASK, str(state)],
                cwd=checkout,
                input=json.dumps(talk.questions),
                capture_output=True,
                text=True,
                check=True,
            )
        found: dict[str, float] = json.loads(asked.stdout)
        first = first or found
        print(checkout)
        for name, spent in found.items():
            print(f"  {name:28} {spent:7.3f} ms ({spent / first[name]:.2f})")


if __name__ == "__main__":
    main()
