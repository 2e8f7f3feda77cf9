"""nimactl's manual, completion, README and help tell of every command, option, error and exit."""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from nimad.ctl.main import build
from nimad.errors import RemoteError, all_errors
from tests.system.tools import need

ROOT = Path(__file__).resolve().parents[2]
MANUAL = ROOT / "docs" / "man" / "nimactl.1"
COMPLETION = ROOT / "packaging" / "completion" / "nimactl.bash"
README = ROOT / "README.md"


def commands() -> dict[str, argparse.ArgumentParser]:
    (found,) = (a for a in build()._actions if isinstance(a, argparse._SubParsersAction))
    return dict(found.choices)


COMMANDS = commands()
OPTIONS = [
    (name, option)
    for name, parser in COMMANDS.items()
    for action in parser._actions
    for option in action.option_strings
]


@pytest.fixture(scope="module")
def manual() -> str:
    return MANUAL.read_text(encoding="utf-8")


def test_the_generated_regions_are_up_to_date() -> None:
    script = ROOT / "packaging" / "make_manual.py"
    ran = subprocess.run([sys.executable, script, "--check"], capture_output=True, text=True)
    assert ran.returncode == 0, ran.stdout + ran.stderr


@pytest.mark.parametrize("name", COMMANDS)
def test_each_command_is_in_the_manual_with_an_example(manual: str, name: str) -> None:
    assert f".SS {name}\n" in manual
    examples = manual.partition(".SH EXAMPLES")[2]
    assert f"nimactl {name}" in examples.replace("\\-", "-")


@pytest.mark.parametrize(("name", "option"), OPTIONS)
def test_each_option_is_in_the_manual_and_has_a_help(manual: str, name: str, option: str) -> None:
    section = manual.partition(f".SS {name}\n")[2].partition("\n.SS ")[0]
    shared = manual.partition('.SH "OPTIONS OF EVERY COMMAND"')[2].partition("\n.SH ")[0]
    escaped = option.replace("-", "\\-")
    assert f"\\fB{escaped}\\fP" in section + shared
    for action in COMMANDS[name]._actions:
        assert action.help, f"{name} {option} says nothing"


@pytest.mark.parametrize("cls", [c for c in all_errors() if c is not RemoteError])
def test_each_error_stands_below_its_exit_code(manual: str, cls: type) -> None:
    table = manual.partition('.SH "EXIT STATUS"')[2].partition("END exit codes")[0]
    section = re.search(rf"^\.B {cls.exit}$(.*?)(?=^\.B \d+$|\Z)", table, re.MULTILINE | re.DOTALL)
    assert section is not None, f"exit {cls.exit} is not in the table"
    number = str(cls.wire).replace("-", "\\-")
    assert f'.BR {cls.code} " ({number})"' in section[1]


@pytest.mark.parametrize("code", [0, 1, 130, 141])
def test_exit_codes_without_an_error_are_there_too(manual: str, code: int) -> None:
    assert f"\n.B {code}\n" in manual


def test_the_manual_can_be_set(manual: str) -> None:
    ran = subprocess.run(
        [need("man", "man-db"), "--warnings", "-E", "UTF-8", "-l", MANUAL],
        capture_output=True,
        text=True,
    )
    assert ran.returncode == 0
    assert ran.stderr == ""


# --- completion -----------------------------------------------------------------------------------


def completed(*words: str, path: str = "/nowhere") -> list[str]:
    """What bash would offer for the last word."""
    quoted = " ".join(f"'{word}'" for word in words)
    script = (
        f"source '{COMPLETION}'; COMP_WORDS=({quoted}); COMP_CWORD={len(words) - 1}; _nimactl;"
        ' printf "%s\\n" "${COMPREPLY[@]}"'
    )
    bash = shutil.which("bash")
    if bash is None:
        pytest.skip("bash is not installed")
    ran = subprocess.run(
        [bash, "--norc", "-c", script],
        capture_output=True,
        text=True,
        env={"PATH": f"{path}:/usr/bin:/bin"},
    )
    assert ran.stderr == ""
    return ran.stdout.split()


def test_completion_knows_every_command() -> None:
    assert set(completed("nimactl", "")) == set(COMMANDS)
    assert completed("nimactl", "--json", "rem") == ["remember"]
    assert set(completed("nimactl", "--socket", "/x", "")) == set(COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
def test_completion_knows_every_option(name: str) -> None:
    wanted = {option for command, option in OPTIONS if command == name and option != "-h"}
    offered = set(completed("nimactl", name, "-"))
    assert wanted - offered == set()
    assert offered - wanted == {"--version"}


def test_completion_knows_values_and_files(tmp_path: Path) -> None:
    (tmp_path / "graph.sqlite").touch()
    assert completed("nimactl", "query", "x", "--mode", "w") == ["words"]
    assert completed("nimactl", "rebuild", "b") == ["blocks"]
    assert completed("nimactl", "hook", "s") == ["session-start", "stop"]
    assert completed("nimactl", "migrate", f"{tmp_path}/g") == [f"{tmp_path}/graph.sqlite"]
    assert completed("nimactl", "query", "x", "--who", "") == []


def test_completion_asks_for_the_names_of_sources(tmp_path: Path) -> None:
    fake = tmp_path / "nimactl"
    sources = '{"sources":[{"name":"graph","kind":"x"},{"name":"old","kind":"x"}],"idle":true}'
    fake.write_text(f"#!/bin/sh\necho '{sources}'\n")
    fake.chmod(0o755)
    assert completed("nimactl", "migrate", "--verify", "", path=str(tmp_path)) == ["graph", "old"]
    assert completed("nimactl", "migrate", "--status", "o", path=str(tmp_path)) == ["old"]


# --- README ---------------------------------------------------------------------------------------


def shown_commands(text: str) -> list[list[str]]:
    """Every `nimactl ...` line of the README's and the manual's examples, split."""
    found = re.findall(r"^\$? ?nimactl ([^\n|>&#]*)", text, re.MULTILINE)
    return [line.split() for line in found]


def test_the_readme_shows_only_what_exists(manual: str) -> None:
    examples = manual.partition(".SH EXAMPLES")[2].replace("\\-", "-")
    shown = shown_commands(README.read_text(encoding="utf-8")) + shown_commands(examples)
    assert len(shown) > 10
    for words in shown:
        name = next(word for word in words if not word.startswith("-"))
        assert name in COMMANDS, f"README or manual shows nimactl {name}"
        known = {option for command, option in OPTIONS if command == name}
        for word in words:
            if re.fullmatch(r"--?[a-z][a-z-]*", word):
                assert word in known, f"nimactl {name} has no {word}"


@pytest.mark.parametrize("target", ["run", "test", "deb", "setup"])
def test_the_readmes_make_targets_exist(target: str) -> None:
    assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    assert f"make {target}" in README.read_text(encoding="utf-8")


def test_the_changelog_names_the_version() -> None:
    from nimad import __version__

    assert f"## [{__version__}]" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
