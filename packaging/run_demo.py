"""`make run`: the whole path once, on a daemon of its own that is gone afterwards.

    python packaging/run_demo.py

Starts nimad on a temporary state directory and socket, makes a sample legacy store, migrates it,
asks three questions whose answers are known, and stops the daemon.  Exits 1 with the reason when
any of it goes wrong.
"""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
COMMANDS = Path(sys.executable).parent
START_SECONDS = 60.0
STOP_SECONDS = 30.0

QUESTIONS = (
    ("What did Maya plant on the balcony?", "strawberries"),
    ("What is Pilar allergic to?", "penicillin"),
    ("Where is the spare key?", "Pilar"),
)
"""A question about the sample store, and a word that an answer among the first three must hold."""


class DemoError(Exception):
    """A step did not do what it should; the message says which and what came instead."""


def say(text: str) -> None:
    print(f"\n\033[1m{text}\033[0m" if sys.stdout.isatty() else f"\n{text}", flush=True)


def nimactl(socket: Path, *arguments: str) -> list[str]:
    return [str(COMMANDS / "nimactl"), "--socket", str(socket), *arguments]


def show(socket: Path, *arguments: str) -> None:
    """Runs nimactl for the person who watches; raises when it fails."""
    print(f"$ nimactl {shlex.join(arguments)}", flush=True)
    done = subprocess.run(nimactl(socket, *arguments))
    if done.returncode != 0:
        raise DemoError(f"nimactl {arguments[0]} exited {done.returncode}")


def is_answering(socket: Path) -> bool:
    return subprocess.run(nimactl(socket, "status"), capture_output=True).returncode == 0


@contextmanager
def daemon(state: Path, socket: Path, *options: str) -> Iterator[None]:
    """A nimad that answers; it is stopped with SIGTERM and must end well."""
    command = [str(COMMANDS / "nimad"), "--foreground", *options]
    process = subprocess.Popen([*command, "--state", str(state), "--socket", str(socket)])
    try:
        deadline = time.monotonic() + START_SECONDS
        while not is_answering(socket):
            if process.poll() is not None:
                raise DemoError(f"nimad ended at once with exit code {process.returncode}")
            if time.monotonic() > deadline:
                raise DemoError(f"nimad did not answer within {START_SECONDS:.0f} s")
            time.sleep(0.1)
        yield
        process.terminate()
        if (code := process.wait(STOP_SECONDS)) != 0:
            raise DemoError(f"nimad was asked to stop and exited {code}")
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()


def check_answer(socket: Path, question: str, word: str) -> None:
    """Asks again as a program would, and looks for the word in the first three results."""
    command = nimactl(socket, "--json", "query", question, "-k", "3")
    answer = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    texts = [result["text"] for result in answer["results"]]
    if not any(word.lower() in text.lower() for text in texts):
        raise DemoError(f'"{question}" should be answered with "{word}", but: {texts}')


def demo(folder: Path) -> None:
    state, socket, legacy = folder / "state", folder / "nimad.sock", folder / "graph.sqlite"
    say("1. A legacy store to take over, made for this purpose")
    subprocess.run([sys.executable, ROOT / "packaging/make_sample.py", legacy], check=True)
    say("2. The daemon starts")
    with daemon(state, socket):
        say("3. It takes the store over, every row is compared with the source")
        show(socket, "migrate", str(legacy), "--strategy", "full", "--wait")
        say("4. Three questions")
        for question, word in QUESTIONS:
            show(socket, "query", question, "-k", "3")
            check_answer(socket, question, word)
        say("5. How it is")
        show(socket, "status")
        say("6. The daemon stops")


def main() -> int:
    try:
        with tempfile.TemporaryDirectory(prefix="nimad-demo-") as folder:
            demo(Path(folder))
    except (DemoError, OSError, subprocess.SubprocessError, ValueError) as error:
        print(f"make run: {error}", file=sys.stderr)
        return 1
    say("It works. `make test` runs the tests, `make deb` makes the Debian package.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
