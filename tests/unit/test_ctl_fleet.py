"""nimactl fleet: joins and leaves by the configuration, and says how far the boards are."""

from __future__ import annotations

from pathlib import Path

import pytest

from nimad import config
from nimad.ctl.fleet_commands import lines
from nimad.ctl.main import main

URL = "postgresql://home@hub.example/nimad"


@pytest.fixture
def yaml(tmp_path: Path) -> Path:
    place = tmp_path / "nimad.yaml"
    place.write_text("log_level: debug\n# sync:\n#   url: x\n")
    place.chmod(0o640)
    return place


def test_join_shares_and_leave_takes_it_back(yaml: Path) -> None:
    before = yaml.read_text()
    command = ["fleet", "join", URL, "family=both", "a=b: 'c'=push", "--config", str(yaml)]
    assert main(command) == 0
    found = config.load(yaml)
    assert found["sync.url"] == URL and found["log_level"] == "debug"
    assert found["sync.namespaces"] == {"family": "both", "a=b: 'c'": "push"}
    assert yaml.stat().st_mode & 0o777 == 0o640
    assert main(["fleet", "join", URL, "garden=pull", "--config", str(yaml)]) == 0
    assert config.load(yaml)["sync.namespaces"] == {"garden": "pull"}
    assert main(["fleet", "leave", "--config", str(yaml)]) == 0
    assert yaml.read_text() == before


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["join"], 64),
        (["join", URL], 64),
        (["join", URL, "family"], 64),
        (["join", URL, "family=all"], 78),
        (["join", URL, "=both"], 78),
        (["leave", URL], 64),
        (["nothing"], 64),
    ],
)
def test_what_makes_no_configuration_changes_none(
    yaml: Path, arguments: list[str], code: int
) -> None:
    before = yaml.read_bytes()
    assert main(["fleet", *arguments, "--config", str(yaml)]) == code
    assert yaml.read_bytes() == before


def test_a_section_of_the_owner_is_left_alone(yaml: Path) -> None:
    yaml.write_text(f"sync: {{url: {URL}, namespaces: {{family: pull}}}}\n")
    assert main(["fleet", "join", URL, "garden=pull", "--config", str(yaml)]) == 78
    assert config.load(yaml)["sync.namespaces"] == {"family": "pull"}


def test_each_board_and_each_purge_has_a_line() -> None:
    told = {
        "namespaces": {"family": "both"},
        "state": "connected",
        "heard_seconds": 12.0,
        "peers": {"car@1": {"behind": 0, "seconds": 40}, "shed@2": {"behind": 3, "seconds": 7200}},
        "refused": {"text must be text": 2},
        "purges": [{"key": ["u", 7], "namespace": "family", "pending": ["shed@2"], "done": []}],
    }
    text = "\n".join(lines(told))
    for part in ("family (both)", "car@1: has all", "shed@2: 3 rows behind", "memory 7", "2: text"):
        assert part in text
    assert not list(lines({}))
