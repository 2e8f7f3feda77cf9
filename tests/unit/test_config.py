"""The configuration: defaults, refusals by name, and the shipped file."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from hypothesis import example, given
from hypothesis import strategies as st

from nimad.config import KEYS, Config, load, read_plain
from nimad.errors import ConfigError

ROOT = Path(__file__).resolve().parents[2]


def write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "nimad.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def test_an_empty_file_means_the_defaults(tmp_path: Path) -> None:
    assert load(write(tmp_path, "")).values == Config().values


def test_sections_and_dotted_keys_mean_the_same(tmp_path: Path) -> None:
    section = load(write(tmp_path, "graph:\n  engine: kuzu\n"))
    dotted = load(write(tmp_path, "graph.engine: kuzu\n"))
    assert section["graph.engine"] == dotted["graph.engine"] == "kuzu"


def test_an_unknown_key_is_refused_with_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"graph\.engin; did you mean graph\.engine\?"):
        load(write(tmp_path, "graph:\n  engin: kuzu\n"))


@pytest.mark.parametrize(
    "text",
    [
        "graph: {engine: postgres}",
        "migration: {batch_size: -1}",
        "migration: {batch_size: true}",
        "migration: {batch_seconds: fast}",
        "- a list",
        "a: [unclosed",
        "migration: {min_batch: 500, max_batch: 100}",
        "\x00",
    ],
)
def test_bad_values_are_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(ConfigError):
        load(write(tmp_path, text))


def test_a_named_file_must_exist(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="there is no such file"):
        load(tmp_path / "none.yaml")


def test_graph_none_may_stand_unquoted(tmp_path: Path) -> None:
    assert load(write(tmp_path, "graph:\n  engine: off\n"))["graph.engine"] == "none"


def test_the_shipped_file_loads_and_changes_nothing() -> None:
    assert load(ROOT / "config" / "nimad.yaml").values == Config().values


def test_the_shipped_file_with_every_key_switched_on_means_the_defaults(tmp_path: Path) -> None:
    shipped = (ROOT / "config" / "nimad.yaml").read_text(encoding="utf-8").splitlines()
    lines = []
    for line in shipped:
        bare = line.strip().removeprefix("#")
        known = {name.rpartition(".")[2] for name in KEYS}
        if line.strip().startswith("#") and bare.partition(":")[0] in known:
            line = line.replace("#", "", 1)
        lines.append(line)
    assert load(write(tmp_path, "\n".join(lines))).values == Config().values


def test_the_shipped_file_and_the_manual_are_up_to_date() -> None:
    script = ROOT / "packaging" / "make_config.py"
    done = subprocess.run(
        [sys.executable, str(script), "--check"], capture_output=True, text=True, cwd=ROOT
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("text", ["embedder: 2024-13-45", "a: 2024-01-01T99:00:00", "[" * 100_000])
def test_what_no_reader_of_yaml_takes_is_refused(tmp_path: Path, text: str) -> None:
    (path := tmp_path / "nimad.yaml").write_text(text)
    with pytest.raises(ConfigError, match="is not YAML"):
        load(path)


@pytest.mark.parametrize(
    "text",
    [
        "log_level: info\nlog_level: debug",
        "recall:\n  results: 5\nrecall:\n  strictness: 0.4",
        "recall:\n  results: 5\n  results: 6",
        "recall: {results: 5, results: 6}",
        "recall.results: 5\nrecall:\n  results: 6",
        "access:\n  namespaces:\n  - {user: a, user: b, namespaces: [x]}",
    ],
)
def test_a_key_that_comes_twice_is_refused(tmp_path: Path, text: str) -> None:
    """YAML would take the last one, and a rule of access that stands before it was none."""
    (path := tmp_path / "nimad.yaml").write_text(text)
    with pytest.raises(ConfigError, match="appears twice"):
        load(path)


@pytest.mark.parametrize("place", ["before", "behind"])
def test_a_section_may_stand_there_empty_too(tmp_path: Path, place: str) -> None:
    text = (ROOT / "config" / "nimad.yaml").read_text()
    mine = "\nrecall:\n  results: 2\nretention:\n- before=90d and layer=note\n"
    (path := tmp_path / "nimad.yaml").write_text(mine + text if place == "before" else text + mine)
    assert load(path)["recall.results"] == 2 and load(path)["retention"]


def same(one: object, other: object) -> bool:
    return one == other and repr(one) == repr(other)  # True is no 1


WORDS = [
    "log_level",
    "true",
    "no",
    "on",
    "y",
    "null",
    "info",
    "0",
    "7",
    "012",
    "1_0",
    "-3",
    "1e3",
    "~",
]
WORDS += [
    "/run/a.sock",
    "/",
    "# a",
    "a b",
    '""',
    "'a",
    "{}",
    "[1]",
    "|",
    "&a",
    "*a",
    "!!str 1",
    "2.0",
    "\t",
    "",
]
LINES = st.builds(
    "{}{}{}{}".format,
    st.sampled_from(["", "  ", "   ", " ", "    ", "\t", "# "]),
    st.sampled_from([*WORDS, "graph", "dream", "a-b"]),
    st.sampled_from([":", ": ", "", " : "]),
    st.sampled_from(WORDS),
)


@given(st.lists(LINES, max_size=6).map("\n".join))
@example(":log_level")
@example("graph: \n  :info")
def test_what_is_read_without_yaml_is_what_yaml_reads(text: str) -> None:
    if (plain := read_plain(text)) is not None:
        assert same(plain, yaml.safe_load(text) or {})


def test_the_shipped_file_is_read_without_yaml_and_with_values_set() -> None:
    shipped = (ROOT / "config" / "nimad.yaml").read_text(encoding="utf-8")
    chosen = {"log_level": "debug", "flush_rows": "500", "engine": "none", "socket": "/run/x.sock"}
    changed = "\n".join(
        line.replace(f"#{name}: ", f"{name}: {chosen[name]} #").partition(" #")[0]
        if (name := line.strip(" #").partition(":")[0]) in chosen and not line.startswith("# ")
        else line
        for line in shipped.split("\n")
    )
    for text in (shipped, changed):
        assert same(read_plain(text), yaml.safe_load(text))
    assert changed != shipped
