"""The package that `make deb` made: files, dependencies, and what must not be in it."""

from __future__ import annotations

import ctypes
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import numpy
import pytest

from tests.system.machine.conftest import store_of
from tests.system.tools import need

PACKAGE = Path(os.environ.get("NIMAD_DEB", Path(__file__).parents[2] / "dist" / "nimad.deb"))
LARGEST, INSTALLED = 22_000_000, 83_500
"""Bytes to download, and kB on the disk; the packages for arm64 are a tenth smaller."""

PRESENT_IN_EVERY_DEBIAN = {"libc6", "libgcc-s1", "libstdc++6", "tzdata", "zlib1g"}
COME_WITH_PYTHON = {"libssl3", "libssl3t64", "python3", "python3.11", "python3.13"}

if not PACKAGE.exists():
    pytest.skip("there is no dist/nimad.deb yet: `make deb` makes it", allow_module_level=True)


@pytest.fixture(scope="module")
def package() -> Path:
    need("dpkg-deb", "dpkg")
    return PACKAGE


@pytest.fixture(scope="module")
def files(package: Path) -> dict[str, str]:
    """Path (without the leading dot) to the mode string of every file."""
    command = ["dpkg-deb", "--contents", str(package)]
    lines = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()
    return {line.split()[5][1:]: line.split()[0] for line in lines}


def field(package: Path, name: str) -> str:
    command = ["dpkg-deb", "--field", str(package), name]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


@pytest.mark.parametrize(
    "path",
    [
        "/etc/nimad/nimad.yaml",
        "/usr/bin/nimad",
        "/usr/bin/nimactl",
        "/usr/lib/nimad/nimad/daemon.py",
        "/usr/lib/nimad/vendor/numpy/__init__.py",
        "/usr/lib/nimad/vendor/ladybug/__init__.py",
        "/usr/lib/systemd/system/nimad.service",
        "/usr/lib/systemd/system/nimad.socket",
        "/usr/lib/systemd/system/nimad-backup.service",
        "/usr/lib/systemd/system/nimad-backup.timer",
        "/usr/lib/systemd/system/nimad-embedder.service",
        "/usr/lib/systemd/system/nimad-embedder.socket",
        "/usr/lib/systemd/system/nimad-sync.service",
        "/usr/lib/nimad/vendor/psycopg/__init__.py",
        "/usr/lib/nimad/vendor/psycopg/types/numpy.py",
        "/usr/lib/systemd/system/nimad-web.service",
        "/usr/lib/systemd/system/nimad-web.socket",
        "/usr/lib/systemd/system/nimad-metrics.service",
        "/usr/lib/systemd/system/nimad-metrics.timer",
        "/usr/lib/sysusers.d/nimad.conf",
        "/usr/share/bash-completion/completions/nimactl",
        "/usr/share/doc/nimad/README.Debian",
        "/usr/share/doc/nimad/copyright",
        "/usr/share/doc/nimad/vendored.txt",
        "/usr/share/doc/nimad/agents.md",
        "/usr/share/doc/nimad/client.md",
        "/usr/share/doc/nimad/cognition.md",
        "/usr/share/doc/nimad/dense.md",
        "/usr/share/doc/nimad/backup.md",
        "/usr/share/doc/nimad/embedders.md",
        "/usr/share/doc/nimad/fleet.md",
        "/usr/share/doc/nimad/follow.md",
        "/usr/share/doc/nimad/hypervectors.md",
        "/usr/share/doc/nimad/migration.md",
        "/usr/share/doc/nimad/operations.md",
        "/usr/share/doc/nimad/protocol.md",
        "/usr/share/doc/nimad/security.md",
        "/usr/share/doc/nimad/web.md",
        "/usr/share/doc/nimad/web-search-wide-light.png",
        "/usr/lib/nimad/nimad/web/static/style.css",
        "/usr/lib/nimad/nimad/web/static/icon.svg",
        "/usr/share/man/man1/nimactl.1.gz",
        "/usr/share/nimad/claude-code/.claude-plugin/marketplace.json",
        "/usr/share/nimad/claude-code/.claude-plugin/plugin.json",
        "/usr/share/nimad/claude-code/.mcp.json",
        "/usr/share/nimad/claude-code/hooks/hooks.json",
        "/usr/share/nimad/claude-code/skills/nimad/SKILL.md",
        "/usr/share/nimad/hermes/__init__.py",
        "/usr/share/nimad/hermes/plugin.yaml",
        *(
            f"/usr/share/nimad/{folder}/{name}"
            for folder in ("openclaw", "openclaw-beside")
            for name in (
                *("index.js", "client.js", "markdown.js", "recall.js", "settings.js", "text.js"),
                *("tools.js", "transcript.js", "workspace.js", "package.json"),
                "openclaw.plugin.json",
                "skills/nimad/SKILL.md",
            )
        ),
        "/usr/share/man/man5/nimad.yaml.5.gz",
        "/usr/share/man/man8/nimad.8.gz",
        "/usr/share/man/man8/nimad-embedder.8.gz",
        "/usr/share/man/man8/nimad-hub.8.gz",
        "/usr/share/man/man8/nimad-sync.8.gz",
    ],
)
def test_it_has(files: dict[str, str], path: str) -> None:
    assert path in files or f"{path}.gz" in files  # debhelper packs long documents


def test_restarts_get_rarer_where_systemd_knows_how(files: dict[str, str], package: Path) -> None:
    dropin = "/usr/lib/systemd/system/nimad.service.d/restart-steps.conf"
    assert (dropin in files) == ("+deb12" not in field(package, "Version"))


def test_it_has_the_model_and_the_kernels_of_its_architecture(
    files: dict[str, str], package: Path
) -> None:
    for name in ("static.tokens", "static.lexicon", "NOTICE"):
        assert f"/usr/lib/nimad/nimad/embed/data/{name}" in files
    kernels = [p for p in files if re.match(r"/usr/lib/nimad/nimad/index/native/.+\.so$", p)]
    wanted = "x86" if field(package, "Architecture") == "amd64" else "cortex"
    assert kernels
    assert all(wanted in path for path in kernels)


@pytest.mark.parametrize(
    "unwanted",
    [
        r"\.pyc$",
        r"/__pycache__/",
        r"/tests/",
        r"\.pyi$",
        r"\.h$",
        r"\.a$",
        r"dist-info",
        r"\bnumba\b/",
    ],
)
def test_it_carries_nothing_that_a_board_does_not_need(
    files: dict[str, str], unwanted: str
) -> None:
    assert [path for path in files if re.search(unwanted, path)] == []


def test_only_the_commands_are_executable(files: dict[str, str]) -> None:
    executable = [path for path, mode in files.items() if mode.startswith("-") and "x" in mode]
    commands = ("nimactl", "nimad", "nimad-embedder", "nimad-hub", "nimad-sync")
    assert sorted(executable) == [f"/usr/bin/{name}" for name in commands]


def test_it_depends_only_on_what_a_minimal_system_has(package: Path) -> None:
    depends = [text.strip() for text in field(package, "Depends").split(",")]
    names = {re.split(r"[ |(]", text)[0] for text in depends}
    assert names <= PRESENT_IN_EVERY_DEBIAN | COME_WITH_PYTHON | {"systemd"}


def test_it_is_tied_to_the_python_its_libraries_were_built_for(
    package: Path, files: dict[str, str]
) -> None:
    (python,) = re.findall(r"python3\.(\d+)", field(package, "Depends"))
    tags = {found[1] for path in files if (found := re.search(r"\.cpython-3(\d+)-", path))}
    assert tags == {python}


def test_the_download_stays_small(package: Path) -> None:
    assert package.stat().st_size < LARGEST
    assert int(field(package, "Installed-Size")) < INSTALLED


@pytest.fixture(scope="module")
def vendored(package: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The libraries of the package, where they run here."""
    machine = {"x86_64": "amd64", "aarch64": "arm64"}.get(os.uname().machine)
    if field(package, "Architecture") != machine:
        pytest.skip("the package is for another processor")
    if f"python3.{sys.version_info[1]}," not in field(package, "Depends"):
        pytest.skip("the package is for another Python")
    into = tmp_path_factory.mktemp("package")
    subprocess.run(["dpkg-deb", "--extract", str(package), str(into)], check=True)
    return into / "usr/lib/nimad/vendor"


def answers(script: str, folder: Path, *arguments: Path, **settings: str) -> bytes:
    """What a script prints with the libraries of a folder."""
    place = Path(__file__).with_name(script)
    command = [sys.executable, "-IS", *map(str, (place, folder, *arguments))]
    return subprocess.check_output(
        command, env={**os.environ, "OPENBLAS_NUM_THREADS": "1", **settings}
    )


WHOLE = Path(numpy.__file__).parents[1]
"""The same libraries, as their wheels have them."""


@pytest.mark.parametrize("script", ["linear_algebra.py", "graph_queries.py"])
def test_what_cannot_be_reached_is_zeros_and_nothing_else_is(vendored: Path, script: str) -> None:
    """Each routine that numpy calls, and the graph, give the same bits as before."""
    assert answers(script, vendored) == answers(script, WHOLE)


def test_a_name_is_found_where_there_is_a_function(vendored: Path) -> None:
    """Who looks up what was emptied is told that there is none."""
    (place,) = (vendored / "numpy.libs").glob("libscipy_openblas*")
    emptied, whole = (ctypes.CDLL(str(f / "numpy.libs" / place.name)) for f in (vendored, WHOLE))
    for library, has_all in ((emptied, False), (whole, True)):
        assert hasattr(library, "scipy_cblas_dgemm64_")
        assert hasattr(library, "scipy_LAPACKE_dgesvx64_") == has_all


def test_its_modules_are_imported_as_before(vendored: Path) -> None:
    """Without help texts, and with what replaces some of them."""
    script = "vendored_modules.py"
    assert answers(script, vendored, vendored) == answers(script, WHOLE, vendored)


def test_nimad_works_with_its_libraries(vendored: Path, tmp_path: Path) -> None:
    """Each part is asked, of a nimad that is unpacked and not installed."""
    commands = {}
    for name in ("nimad", "nimactl"):
        text = (vendored.parents[2] / "bin" / name).read_text()
        commands[name] = tmp_path / f"{name}.py"
        commands[name].write_text(text.replace("/usr/lib/nimad", str(vendored.parent)))
    graph = store_of(40, tmp_path / "graph.sqlite")
    place = ("--socket", str(tmp_path / "sock"))

    def run(name: str, *arguments: str) -> list[str]:
        return [sys.executable, "-IS", str(commands[name]), *arguments, *place]

    def ask(*arguments: str) -> str:
        return subprocess.check_output(run("nimactl", *arguments), text=True, timeout=120)

    daemon = subprocess.Popen(
        run("nimad", "--state", str(tmp_path / "state")), stderr=subprocess.PIPE
    )
    try:
        deadline = time.monotonic() + 60
        while not (tmp_path / "sock").exists() and time.monotonic() < deadline:
            time.sleep(0.1)
        ask("remember", "The kettle is in the shed")
        assert "kettle" in ask("query", "Where is the kettle?")
        ask("migrate", str(graph), "--strategy", "full", "--wait")
        ask("rebuild")
        ask("graph", "MATCH (m:Memory) RETURN count(*)")
        ask("backup", str(tmp_path / "kept.nimad"))
        ask("backup", "--verify", str(tmp_path / "kept.nimad"))
        ask("audit")
        ask("doctor")
    finally:
        daemon.terminate()
        told = daemon.communicate()[1].decode()
    assert "Traceback" not in told, told


@pytest.mark.slow
@pytest.mark.parametrize("core", ["Prescott", "Nehalem", "Sandybridge", "Haswell", "SkylakeX"])
def test_linear_algebra_is_all_there_for_each_kind_of_processor(vendored: Path, core: str) -> None:
    """OpenBLAS has functions for each, of which it is told which to take."""
    flags = Path("/proc/cpuinfo").read_text()
    if (
        os.uname().machine != "x86_64"
        or {"Haswell": "avx2", "SkylakeX": "avx512f"}.get(core, "sse2") not in flags
    ):
        pytest.skip(f"this processor cannot do what a {core} does")
    found = (answers("linear_algebra.py", f, OPENBLAS_CORETYPE=core) for f in (vendored, WHOLE))
    assert len(set(found)) == 1
