"""Of a text a bug report has what stands in the source of nimad, and nothing else."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

import nimad
from nimad.ctl.redaction import HIDDEN, Redaction
from nimad.errors import RemoteError, all_errors

PACKAGE = Path(nimad.__file__).parent
CANARY = "zyxgnu qwvbkt"


@pytest.fixture(scope="module")
def redaction() -> Redaction:
    return Redaction()


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (CANARY, HIDDEN),
        ("", ""),
        ("verified", "verified"),
        ("0.1.0", "0.1.0"),
        (f"state /home/{CANARY}, socket /run/x", "state … , socket …"),
        ("query for process 123 took 12.3 ms", "… for process 123 took 12.3 ms"),
        (f"the verb query failed: KeyError: '{CANARY}'", "the verb … failed: KeyError …"),
        (
            '  File "/usr/lib/nimad/nimad/core/store.py", line 12, in query',
            "nimad/core/store.py, line 12, in query",
        ),
        (f'  File "/home/{CANARY}/nimad/x.py", line 12, in query', HIDDEN),
        (f"    raise ValueError('{CANARY}')", "ValueError …"),
    ],
)
def test_a_text(redaction: Redaction, text: str, told: str) -> None:
    assert redaction.text(text) == told


def test_keys_are_told_as_far_as_they_are_ours(redaction: Redaction) -> None:
    told = redaction.value({"memories": 3, "namespaces": {CANARY: 2}, CANARY: [CANARY, None, True]})
    assert told == {"memories": 3, "namespaces": {HIDDEN: 2}, HIDDEN: [HIDDEN, None, True]}


def logged() -> set[str]:
    """The sentence of every line that nimad logs."""
    found = set()
    for file in sorted(PACKAGE.rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if (
                isinstance(node, ast.Call)
                and isinstance(node.func, ast.Attribute)
                and node.func.attr in ("debug", "info", "warning", "error", "critical")
                and node.args
                and isinstance(node.args[0], ast.Constant)
                and isinstance(node.args[0].value, str)
            ):
                found.add(node.args[0].value)
    return found


def test_no_line_of_the_log_tells_what_it_was_filled_with(redaction: Redaction) -> None:
    sentences = sorted(logged())
    assert len(sentences) > 30
    telling = []
    for sentence in sentences:
        filled = re.sub(r"%[-+ #0-9.]*[sr]", CANARY, sentence)
        filled = re.sub(r"%[-+ #0-9.]*[dfgxi]", "123456789012", filled).replace("%%", "%")
        told = redaction.text(filled)
        if set(CANARY.split()) & set(re.findall(r"\w+", told)) or "123456789012" in told:
            telling.append(sentence)
    assert telling == []


@pytest.mark.parametrize("cls", [cls for cls in all_errors() if cls is not RemoteError])
def test_no_error_tells_what_it_was_filled_with(redaction: Redaction, cls: type) -> None:
    text = re.sub(r"\{[^{}]*\}", CANARY, f"{' '.join((cls.__doc__ or '').split())} {cls.hint}")
    told = redaction.text(text)
    assert not set(CANARY.split()) & set(re.findall(r"\w+", told))
