"""`nimactl capture`: which JSON it reads, what it sends, prints and exits with."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from nimad.ctl.main import main
from nimad.limits import MAX_FRAME, MAX_TURNS
from tests.fake_daemon import FakeDaemon

TURN = {"session": "s", "turn": "t", "input": "x"}
ODD = {**TURN, "input": "one\u2028two\x85three\u2029"}
Run = Callable[..., tuple[int, str, str]]


def stored(params: dict[str, Any]) -> dict[str, Any]:
    return {
        "turns": [
            {"turn": turn["turn"], "state": "stored", "ids": {"input": number}}
            for number, turn in enumerate(params["turns"], 1)
        ]
    }


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[FakeDaemon]:
    with FakeDaemon(tmp_path / "s", capture=stored) as daemon:
        yield daemon


@pytest.fixture
def run(
    daemon: FakeDaemon, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Run:
    monkeypatch.setenv("NIMAD_SOCKET", str(daemon.path))

    def run(text: str, *args: str) -> tuple[int, str, str]:
        stdin = io.TextIOWrapper(io.BytesIO(text.encode()))
        monkeypatch.setattr(sys, "stdin", stdin)
        return main(["capture", *args]), *capsys.readouterr()

    return run


@pytest.mark.parametrize(
    ("text", "turns"),
    [
        (json.dumps(TURN), [TURN]),
        (json.dumps(TURN, indent=2), [TURN]),
        (json.dumps([TURN, TURN]), [TURN, TURN]),
        (json.dumps({"turns": [TURN]}), [TURN]),
        (f"\ufeff{json.dumps(TURN)}\n\n{json.dumps(TURN)}\n", [TURN, TURN]),
        (f"{json.dumps(ODD, ensure_ascii=False)}\r\n{json.dumps(TURN)}", [ODD, TURN]),
    ],
)
def test_a_turn_a_list_or_a_turn_a_line(
    daemon: FakeDaemon, run: Run, text: str, turns: list[Any]
) -> None:
    code, out, _ = run(text)
    assert code == 0 and out.startswith("turn t: stored as 1\n")
    (sent,) = daemon.sent("capture")
    assert sent["turns"] == turns


def test_a_file_and_what_turns_do_not_name(daemon: FakeDaemon, run: Run, tmp_path: Path) -> None:
    file = tmp_path / "turn.json"
    file.write_text(json.dumps([TURN, {**TURN, "namespace": "own"}]))
    run("", str(file), "--namespace", "n", "--agent", "main")
    first, second = daemon.sent("capture")[0]["turns"]
    assert (first["namespace"], second["namespace"]) == ("n", "own")
    assert first["agent"] == second["agent"] == "main"


def test_many_turns_are_several_requests_each_within_a_frame(daemon: FakeDaemon, run: Run) -> None:
    large = {**TURN, "output": "y" * 300_000}
    run(json.dumps([TURN] * (MAX_TURNS + 1) + [large] * 4))
    sizes = [len(sent["turns"]) for sent in daemon.sent("capture")]
    assert sizes == [MAX_TURNS, 1 + 3, 1]
    assert max(daemon.frames) <= MAX_FRAME


def test_a_conflict_is_told_and_the_exit_code_is_1(daemon: FakeDaemon, run: Run) -> None:
    one = {"turn": "t", "state": "conflict", "ids": {"input": 7}, "conflicts": ["input"]}
    two = {"turn": "u", "state": "unchanged", "ids": {"input": 8}, "forgotten": ["output"]}
    daemon.answers["capture"] = {"turns": [one, two]}
    code, out, _ = run(json.dumps(TURN))
    told = "turn t: another input is stored already: 7\nturn u: unchanged: 8"
    told += " (output stays forgotten)\n"
    assert (code, out) == (1, told)
    code, out, _ = run(json.dumps(TURN), "--json")
    assert code == 1 and json.loads(out) == {"turns": [one, two]}


@pytest.mark.parametrize(
    ("text", "code", "said"),
    [
        ("", 0, "there is no turn in it"),
        ("{}\n7", 65, "stdin:2: a turn must be a JSON object"),
        ('{"session": "s"}\n{"turn"', 65, "stdin:2: it is not JSON"),
        ('{"turn": "a", "turn": "b"}', 65, "the key 'turn' appears twice"),
        ("[1]", 65, "stdin, turn 1: a turn must be a JSON object"),
        ('"x"', 65, "a turn must be a JSON object"),
        ("[" * 100_000, 65, "it is not JSON"),
    ],
)
def test_what_is_no_turn_is_refused_by_its_place(
    daemon: FakeDaemon, run: Run, text: str, code: int, said: str
) -> None:
    got, out, err = run(text)
    assert (got, said in out + err) == (code, True), (out, err)
    assert not daemon.sent("capture")


def test_an_input_that_cannot_be_read(daemon: FakeDaemon, run: Run, tmp_path: Path) -> None:
    assert run("", str(tmp_path / "absent"))[0] == 66
    (tmp_path / "bytes").write_bytes(b"\xff")
    code, _, err = run("", str(tmp_path / "bytes"))
    assert code == 66 and "not UTF-8" in err
