"""docs/migration.md is run, in order: each command in a shell, each snippet in Python.

What follows a command in its block is compared with what it prints; `...` stands for anything.  The
home directory, the legacy stores in it and the daemon are this test's own.  A test first runs the
steps before its own that have not run there, so each may run alone and in any process.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from tests.legacy import checkpoints, stores
from tests.process import DaemonProcess

ROOT = Path(__file__).resolve().parents[2]
GUIDE = ROOT / "docs" / "migration.md"
EPISODES = 40


@dataclass
class Step:
    """One command or snippet: what to run, and the lines it should print."""

    line: int
    kind: str
    code: str
    prints: list[str]


def steps(text: str) -> Iterator[Step]:
    """The commands (`$ ...`) and snippets of a page, in order."""
    for block in re.finditer(r"^```(console|python)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL):
        line = text[: block.start()].count("\n") + 2
        if block[1] == "python":
            yield Step(line, "python", block[2], [])
            continue
        step: Step | None = None
        for offset, shown in enumerate(block[2].splitlines()):
            if shown.startswith("$ "):
                if step is not None:
                    yield step
                step = Step(line + offset, "shell", shown[2:], [])
            elif step is not None:
                step.prints.append(shown)
        if step is not None:
            yield step


STEPS = list(steps(GUIDE.read_text(encoding="utf-8")))


def checkpoint(path: Path, count: int) -> None:
    """The first `count` episodes, with hypervectors of 2,000 dimensions."""
    rows = np.random.default_rng(5).standard_normal((count, 2000)).astype(np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    episodes = [checkpoints.episode(number) for number in range(count)]
    checkpoints.save(path, checkpoints.nested(episodes, checkpoints.tensor(rows)), checksum=True)


class Home:
    """A home directory with legacy stores in it, and a daemon to talk to."""

    def __init__(self, place: Path) -> None:
        self.place = place
        self.ran: list[subprocess.CompletedProcess[str]] = []
        (place / ".nima/memory").mkdir(parents=True)
        stores.small_store(place / ".nima/memory/graph.sqlite", count=300)
        sessions = place / "storage/data/sessions"
        (sessions / "archive").mkdir(parents=True)
        checkpoint(sessions / "archive" / "2023-06-01-0900.pt", EPISODES // 2)
        checkpoint(sessions / "latest.pt", EPISODES)
        (place / "bin").mkdir()
        for name, module in (("nimactl", "nimad.ctl.main"), ("python3", "")):
            script = place / "bin" / name
            call = f'"{sys.executable}" {f"-m {module} " if module else ""}"$@"'
            script.write_text(f"#!/bin/sh\nexec {call}\n")
            script.chmod(0o755)
        self.daemon = DaemonProcess(
            place, config="migration:\n  idle_seconds: 0\n", fork=True
        ).start()

    def run_until(self, number: int) -> subprocess.CompletedProcess[str]:
        """What that step of STEPS gave; it and those before it run once."""
        while len(self.ran) <= number:
            self.ran.append(self.run(STEPS[len(self.ran)]))
        return self.ran[number]

    def run(self, step: Step) -> subprocess.CompletedProcess[str]:
        command = ["sh", "-ec", step.code]
        if step.kind == "python":
            command = [sys.executable, "-c", step.code]
        environment = {
            **os.environ,
            "HOME": str(self.place),
            "PATH": f"{self.place / 'bin'}:{os.environ['PATH']}",
            "PYTHONPATH": str(ROOT),
            "NIMAD_SOCKET": str(self.daemon.socket),
            "COLUMNS": "100",
        }
        return subprocess.run(
            command,
            cwd=self.place,
            env=environment,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    made = Home(tmp_path_factory.mktemp("home"))
    yield made
    made.daemon.finish()


def pattern(lines: list[str]) -> str:
    """A regular expression for what is shown: `...` stands for anything."""
    return r"\s*".join(
        ".*".join(re.escape(part) for part in " ".join(line.split()).split("...")) for line in lines
    )


def test_the_page_shows_enough() -> None:
    code = "".join(step.code for step in STEPS)
    for task in ("--dry-run", "--strategy", "--verify", "--rollback", "VSAMigrator", "Lazy"):
        assert task in code


@pytest.mark.parametrize(
    "number", range(len(STEPS)), ids=lambda number: f"line {STEPS[number].line}"
)
def test_it_works_as_shown(home: Home, number: int) -> None:
    step, ran = STEPS[number], home.run_until(number)
    assert ran.returncode == 0, (
        f"{step.code}\n{ran.stdout}{ran.stderr}\n{home.daemon.log()[-2000:]}"
    )
    printed = " ".join(ran.stdout.split())
    if step.prints:
        wanted = pattern(step.prints)
        assert re.fullmatch(wanted, printed, re.DOTALL), f"{step.code}\n{ran.stdout}"
