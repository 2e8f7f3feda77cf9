"""What a query costs the processor, of this checkout beside others: through the socket, in turns.

    python -m tests.benchmarks.query_cost [--sizes 10000 100000] [CHECKOUT ...]

Each checkout has its .venv.  The first one fills a store with made-up talk (`tests.benchmarks.
talk`); each, this one last, starts a daemon on a copy, and they are asked in turns.  `cpu` is what
the daemon takes for a query by the kernel's account, all threads together, and `p50` the median of
the best times.  On a busy machine both grow, and only the ratios to the first one tell something.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

from tests.benchmarks.talk import make_talk
from tests.client import Client
from tests.process import CALM

HERE = Path(__file__).parents[2]
QUESTIONS, ROUNDS, PAGE = 200, 6, 500
FILL = """
import json, sys
from pathlib import Path
from nimad.config import Config
from nimad.core import maintenance
from nimad.core.store import MemoryStore
from nimad.model import Memory
store = MemoryStore.open(Path(sys.argv[1]), Config())
for line in sys.stdin:
    store.remember_many([Memory(**record) for record in json.loads(line)])
maintenance.finish(store)
store.close()
"""


def fill(checkout: Path, state: Path, memories: list[dict[str, object]]) -> None:
    """Make a state directory, idle work included."""
    pages = (memories[first : first + PAGE] for first in range(0, len(memories), PAGE))
    subprocess.run(
        [python(checkout), "-c", FILL, str(state)],
        cwd=checkout,
        input="".join(json.dumps(page) + "\n" for page in pages),
        text=True,
        check=True,
    )


def python(checkout: Path) -> str:
    """Its interpreter."""
    return str(checkout / ".venv" / "bin" / "python")


class Asked:
    """A daemon of one checkout, on a copy of a state directory."""

    def __init__(self, checkout: Path, state: Path, place: Path) -> None:
        shutil.copytree(state, place / "state")
        (place / "nimad.yaml").write_text(CALM)
        paths = ["--state", str(place / "state"), "--socket", str(place / "socket")]
        command = [python(checkout), "-m", "nimad.daemon", "--foreground", *paths]
        command += ["--config", str(place / "nimad.yaml")]
        self.process = subprocess.Popen(command, cwd=checkout, stderr=subprocess.DEVNULL)
        while not (place / "socket").exists():
            time.sleep(0.01)
        self.client = Client(place / "socket", 60)
        self.spent = 0.0
        self.best = [float("inf")] * QUESTIONS

    def ask(self, questions: list[str]) -> None:
        """One round."""
        before = self._seconds()
        for place, question in enumerate(questions):
            began = time.perf_counter()
            self.client.call("query", text=question)
            self.best[place] = min(self.best[place], time.perf_counter() - began)
        self.spent += self._seconds() - before

    def _seconds(self) -> float:
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def close(self) -> None:
        """End it."""
        self.client.close()
        self.process.terminate()
        self.process.wait()


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("checkouts", nargs="*", type=Path, metavar="CHECKOUT")
    parser.add_argument("--sizes", type=int, nargs="+", default=[10_000, 100_000])
    given = parser.parse_args()
    checkouts = [*(checkout.resolve() for checkout in given.checkouts), HERE]
    for size in given.sizes:
        talk = make_talk(size, QUESTIONS)
        with ExitStack() as stack:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="nimad-cost-")))
            fill(checkouts[0], folder / "state", talk.memories)
            daemons = []
            for number, checkout in enumerate(checkouts):
                place = folder / str(number)
                place.mkdir()
                daemons.append(Asked(checkout, folder / "state", place))
                stack.callback(daemons[-1].close)
                daemons[-1].ask(talk.questions)
                daemons[-1].spent = 0.0
            for _ in range(ROUNDS):
                for daemon in daemons:
                    daemon.ask(talk.questions)
        first = daemons[0]
        print(f"{size:,} memories")
        for checkout, daemon in zip(checkouts, daemons, strict=True):
            cpu, p50 = daemon.spent / ROUNDS / QUESTIONS, statistics.median(daemon.best)
            ratios = daemon.spent / first.spent, p50 / statistics.median(first.best)
            print(
                f"  {cpu * 1e3:7.3f} ms cpu ({ratios[0]:.2f})  {p50 * 1e3:7.3f} ms p50"
                f" ({ratios[1]:.2f})  {checkout}",
                flush=True,
            )


if __name__ == "__main__":
    sys.exit(main())
