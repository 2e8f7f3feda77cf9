"""What memories and queries cost the processor, of this checkout beside others, in turns.

    python -m tests.benchmarks.query_cost [--sizes 10000 100000] [--realtime] [CHECKOUT ...]

Each checkout has its .venv.  Each, this one last, fills a store with made-up talk (`tests.
benchmarks.talk`), 500 at a time, does what waits for idle moments, and starts a daemon, which is
asked through its socket.  `memory` is what the filling takes for one, `cpu` what the daemon takes
for a query by the kernel's account, all threads together, `p50` the median of the best times.  On
a busy machine all grow, and only the ratios to the first checkout tell something.  `--realtime`, as
root, asks at SCHED_FIFO: then other processes hardly matter, and a thread that is woken finds a
processor as it would on an idle machine.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
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


def fill(checkout: Path, state: Path, memories: list[dict[str, object]]) -> float:
    """Make a state directory, idle work included; seconds of processor time for a memory."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    pages = (memories[first : first + PAGE] for first in range(0, len(memories), PAGE))
    subprocess.run(
        [python(checkout), "-c", FILL, str(state)],
        cwd=checkout,
        input="".join(json.dumps(page) + "\n" for page in pages),
        text=True,
        check=True,
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return (after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime) / len(memories)


def python(checkout: Path) -> str:
    """Its interpreter."""
    return str(checkout / ".venv" / "bin" / "python")


def start_daemon(checkout: Path, place: Path) -> tuple[subprocess.Popen[bytes], Client]:
    """A daemon of a checkout on `place`/state, listening on `place`/socket, and a client of it."""
    (place / "nimad.yaml").write_text(CALM)
    command = [python(checkout), "-m", "nimad.daemon", "--foreground"]
    for option, name in (("state", "state"), ("socket", "socket"), ("config", "nimad.yaml")):
        command += [f"--{option}", str(place / name)]
    process = subprocess.Popen(command, cwd=checkout, stderr=subprocess.DEVNULL)
    while process.poll() is None:
        try:
            return process, Client(place / "socket", 60)
        except OSError:
            time.sleep(0.01)
    raise RuntimeError("the daemon ended")


def import_file(checkout: Path, place: Path, file: Path) -> None:
    """Hand a file to that daemon, by the nimactl of its checkout."""
    command = [checkout / ".venv/bin/nimactl", "--socket", place / "socket", "import", file]
    subprocess.run(command, cwd=checkout, stdout=subprocess.DEVNULL, check=True)


class Asked:
    """A daemon of one checkout with a store of its own."""

    def __init__(self, checkout: Path, place: Path, memories: list[dict[str, object]]) -> None:
        self.filled = fill(checkout, place / "state", memories)
        self.process, self.client = start_daemon(checkout, place)
        self.spent = 0.0
        self.best = [float("inf")] * QUESTIONS

    def go_first(self) -> None:
        """Let its threads, and this process, run before all others."""
        tasks = Path(f"/proc/{self.process.pid}/task").iterdir()
        for thread in (0, *(int(task.name) for task in tasks)):
            os.sched_setscheduler(thread, os.SCHED_FIFO, os.sched_param(1))

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
    parser.add_argument("--realtime", action="store_true", help="go first; as root")
    given = parser.parse_args()
    checkouts = [*(checkout.resolve() for checkout in given.checkouts), HERE]
    for size in given.sizes:
        talk = make_talk(size, QUESTIONS)
        with ExitStack() as stack:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="nimad-cost-")))
            daemons = []
            for number, checkout in enumerate(checkouts):
                place = folder / str(number)
                place.mkdir()
                daemons.append(Asked(checkout, place, talk.memories))
                stack.callback(daemons[-1].close)
                daemons[-1].ask(talk.questions)
                daemons[-1].spent = 0.0
            for daemon in daemons if given.realtime else ():
                daemon.go_first()
            for _ in range(ROUNDS):
                for daemon in daemons:
                    daemon.ask(talk.questions)
        first = daemons[0]
        p50 = [statistics.median(daemon.best) for daemon in daemons]
        print(f"{size:,} memories")
        for number, (checkout, daemon) in enumerate(zip(checkouts, daemons, strict=True)):
            figures = (
                ("us memory", daemon.filled * 1e6, daemon.filled / first.filled),
                ("ms cpu", daemon.spent / ROUNDS / QUESTIONS * 1e3, daemon.spent / first.spent),
                ("ms p50", p50[number] * 1e3, p50[number] / p50[0]),
            )
            print(
                *(f"{value:9.3f} {unit} ({ratio:.2f})" for unit, value, ratio in figures), checkout
            )


if __name__ == "__main__":
    sys.exit(main())
