"""LangGraph's store and langmem's tools with the real packages, on a real daemon."""

from __future__ import annotations

import os
import re
import shutil
import zipfile
from pathlib import Path

import pytest

from tests.agents.tools import HERE, ROOT, python_of, run
from tests.process import DaemonProcess


@pytest.fixture
def environment(daemon: DaemonProcess, tmp_path: Path) -> dict[str, str]:
    """A Python that sees the client as it is distributed, and no other nimad."""
    package = tmp_path / "package"
    run([python_of("langgraph"), "-c", "import langmem"])
    wheel = run(["make", "-s", "-C", str(ROOT), "client"]).split()[-1]
    with zipfile.ZipFile(wheel) as file:
        file.extractall(package)
    return {**os.environ, "NIMAD_SOCKET": str(daemon.socket), "PYTHONPATH": str(package)}


@pytest.mark.slow
@pytest.mark.agents
def test_what_langgraph_asks_of_a_store(environment: dict[str, str], tmp_path: Path) -> None:
    cases = shutil.copy(HERE / "langgraph_store.py", tmp_path / "test_cases.py")
    command = [python_of("langgraph"), "-m", "pytest", "-q", "-p", "no:cacheprovider", str(cases)]
    said = run(command, env=environment, cwd=tmp_path)
    passed = re.search(r"(\d+) passed", said)
    assert passed and int(passed[1]) >= 41 and "skipped" not in said, said


@pytest.mark.slow
@pytest.mark.agents
def test_the_example_of_the_manual_runs(environment: dict[str, str]) -> None:
    text = (ROOT / "docs" / "client.md").read_text(encoding="utf-8")
    (example,) = re.findall(r"```python\n([^`]*langgraph.*?)```", text, re.DOTALL)
    said = run([python_of("langgraph"), "-c", example], env=environment)
    assert said == "{'text': 'Anna likes green tea.'}\n[('memories', 'anna')]\n"
