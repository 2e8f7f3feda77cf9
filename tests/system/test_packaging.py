"""What the package is made from fits together: locks, launchers, manuals, licenses, completion."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tests.system.tools import need

ROOT = Path(__file__).parents[2]
PACKAGING = ROOT / "packaging"
LOCKS = sorted((PACKAGING / "locks").glob("*.txt"))
MANUALS = ("nimad.8", "nimactl.1", "nimad.yaml.5")
COMPILED_AHEAD = {"numba"}
"""Needed to build the search kernels; the package carries the result instead."""


def pins(path: Path) -> dict[str, str]:
    found = re.findall(r"^([A-Za-z0-9_.-]+)==(\S+)", path.read_text(encoding="utf-8"), re.MULTILINE)
    return dict(found)


def test_every_lock_holds_exactly_what_is_vendored() -> None:
    wanted = pins(PACKAGING / "locks" / "vendored.in")
    sdists = pins(PACKAGING / "locks" / "sdists.txt")
    wheels = [lock for lock in LOCKS if lock.name.startswith("py")]
    assert len(wheels) == 4
    for lock in wheels:
        assert {**pins(lock), **sdists} == wanted, lock.name


@pytest.mark.parametrize("lock", LOCKS, ids=lambda path: path.name)
def test_every_locked_line_has_a_digest_and_no_address(lock: Path) -> None:
    lines = lock.read_text(encoding="utf-8").splitlines()
    for line in (line for line in lines if not line.startswith("#")):
        assert re.fullmatch(r"[A-Za-z0-9_.-]+==[0-9.]+ --hash=sha256:[0-9a-f]{64}", line), line


def test_what_the_code_needs_is_vendored_in_a_version_it_accepts() -> None:
    from packaging.requirements import Requirement  # comes with pytest

    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    vendored = pins(PACKAGING / "locks" / "vendored.in")
    needed = [Requirement(text) for text in project["dependencies"]]
    for requirement in needed:
        if requirement.name not in COMPILED_AHEAD:
            assert requirement.specifier.contains(vendored[requirement.name]), requirement
    assert set(vendored) == {r.name.lower() for r in needed} - COMPILED_AHEAD


def test_versions_agree() -> None:
    from nimad import __version__

    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    changelog = (ROOT / "debian/changelog").read_text(encoding="utf-8")
    assert project["version"] == __version__
    assert changelog.startswith(f"nimad ({__version__}) ")


def test_every_vendored_project_has_its_license_in_copyright() -> None:
    text = (ROOT / "debian/copyright").read_text(encoding="utf-8")
    folders = {"pyyaml": "yaml", "typing-extensions": "typing_extensions"}
    for name in pins(PACKAGING / "locks" / "vendored.in"):
        place = f"usr/lib/nimad/vendor/{folders.get(name, name)}"
        assert f"{place}/*" in text or f"{place}.py" in text, name
    assert "all-MiniLM-L6-v2" in text
    named = set(re.findall(r"^License: (.+)$", text, re.MULTILINE))
    defined = set(re.findall(r"^License: (.+)\n ", text, re.MULTILINE))
    used = {part for line in named for part in re.split(r" and ", line)}
    assert used <= defined


@pytest.mark.parametrize("name", ["nimad", "nimactl"])
def test_a_launcher_sees_the_package_and_the_standard_library_only(name: str) -> None:
    text = (PACKAGING / "launchers" / name).read_text(encoding="utf-8")
    compile(text, name, "exec")
    assert text.startswith("#!/usr/bin/python@PYTHON@ -IS\n")
    assert '"/usr/lib/nimad", "/usr/lib/nimad/vendor"' in text


@pytest.mark.parametrize("name", MANUALS)
def test_a_manual_page_is_well_formed(name: str) -> None:
    program = need("mandoc", "mandoc")
    command = [program, "-T", "lint", "-W", "warning", str(ROOT / "docs/man" / name)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "")


def test_the_daemon_s_manual_has_every_option() -> None:
    from nimad.options import parser

    manual = (ROOT / "docs/man/nimad.8").read_text(encoding="utf-8").replace("\\-", "-")
    options = [text for action in parser()._actions for text in action.option_strings]
    missing = [text for text in options if text.startswith("--") and text not in manual]
    assert missing == []


def test_bash_can_read_the_completion() -> None:
    completion = PACKAGING / "completion" / "nimactl.bash"
    subprocess.run([need("bash", "bash"), "-n", str(completion)], check=True)
    assert re.search(
        r"^complete .*\bnimactl$", completion.read_text(encoding="utf-8"), re.MULTILINE
    )


def test_maintainer_scripts_are_valid_shell() -> None:
    for name in ("nimad.postinst", "nimad.prerm", "nimad.postrm", "tests/smoke", "tests/service"):
        subprocess.run(["sh", "-n", str(ROOT / "debian" / name)], check=True)


def test_a_changed_wheel_is_refused(tmp_path: Path) -> None:
    (tmp_path / "numpy-2.4.6-cp311-cp311-manylinux_2_28_x86_64.whl").write_bytes(b"something else")
    command = [sys.executable, str(PACKAGING / "vendor.py"), "--release=bookworm", "--arch=amd64"]
    command += [f"--wheels={tmp_path}", f"--into={tmp_path / 'tree'}"]
    command += [f"--licenses={tmp_path / 'licenses'}"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 1
    assert "numpy 2.4.6 with the digest" in done.stderr
    assert not (tmp_path / "tree").exists()
