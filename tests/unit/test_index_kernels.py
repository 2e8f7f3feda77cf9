"""Which form of the kernels runs: a fitting object, else numpy; numba only on request."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import struct
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from nimad.index.kernels import loader

ROOT = Path(__file__).resolve().parents[2]
MANIFEST = json.loads((loader.NATIVE / "manifest.json").read_text())

SEARCH = """
import sys
import numpy as np
from pathlib import Path
from nimad.index.blocks import BlockIndex
index = BlockIndex(Path("."), 16)
index.append(np.array([1, 2]), np.eye(2, 16, dtype=np.float32))
print(index.kernels, index.search(np.eye(2, 16, dtype=np.float32)[1], 1)[0].tolist(),
      sorted({"numba", "llvmlite"} & set(sys.modules)))
"""


def search(kernels: str = "") -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "NIMAD_KERNELS": kernels, "PYTHONPATH": str(ROOT)}
    return subprocess.run(
        [sys.executable, "-c", SEARCH], env=environment, capture_output=True, text=True, check=False
    )


def test_objects_belong_to_the_source() -> None:
    """When this fails, run packaging/build_kernels.py and commit what it writes."""
    assert MANIFEST["source"] == loader.source_digest()


@pytest.mark.parametrize("entry", MANIFEST["objects"], ids=lambda entry: entry["name"])
def test_each_object_is_what_the_manifest_says(entry: dict[str, object]) -> None:
    raw = (loader.NATIVE / str(entry["file"])).read_bytes()
    assert hashlib.blake2b(raw, digest_size=16).hexdigest() == entry["digest"]
    (machine,) = struct.unpack_from("<H", raw, 18)
    assert machine == {"x86_64": 62, "aarch64": 183}[str(entry["arch"])]


def test_every_kind_of_machine_has_its_object() -> None:
    names = [entry["name"] for entry in MANIFEST["objects"]]
    assert names == [
        *("x86-64-v2", "x86-64-v3", "x86-64-v4"),
        *("cortex-a53", "cortex-a72", "cortex-a76"),
    ]


PI4 = {"fp", "asimd", "evtstrm", "crc32", "cpuid"}
PI5 = PI4 | {
    *("aes", "pmull", "sha1", "sha2", "atomics", "fphp", "asimdhp", "asimdrdm"),
    *("lrcpc", "dcpop", "asimddp"),
}


@pytest.mark.parametrize(
    ("arch", "features", "part", "expected"),
    [
        ("aarch64", PI4, "0xd03", ["cortex-a53", "cortex-a72"]),
        ("aarch64", PI4, "0xd08", ["cortex-a72", "cortex-a53"]),
        ("aarch64", PI5, "0xd0b", ["cortex-a76", "cortex-a72", "cortex-a53"]),
        ("aarch64", PI5, "0xd40", ["cortex-a76", "cortex-a72", "cortex-a53"]),
        ("aarch64", {"fp"}, "", []),
        ("x86_64", {"sse4_2"}, "", []),
        ("riscv64", PI5, "", []),
    ],
)
def test_the_best_object_for_a_cpu(
    monkeypatch: pytest.MonkeyPatch,
    arch: str,
    features: set[str],
    part: str,
    expected: list[str],
) -> None:
    monkeypatch.setattr(os, "uname", lambda: SimpleNamespace(machine=arch))
    monkeypatch.setattr(loader, "cpu", lambda: (frozenset(features), part))
    assert [entry["name"] for entry in loader.fitting()] == expected


def test_cores_of_two_kinds_can_do_what_both_can(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    text = "processor\t: 0\nFeatures\t: asimd crc32 asimddp\nCPU part\t: 0xd05\n\n"
    text += "processor\t: 1\nFeatures\t: asimd crc32\nCPU part\t: 0xd03\n"
    (tmp_path / "cpuinfo").write_text(text)
    monkeypatch.setattr(loader, "CPUINFO", tmp_path / "cpuinfo")
    assert loader.cpu() == (frozenset({"asimd", "crc32"}), "0xd05")
    monkeypatch.setattr(loader, "CPUINFO", tmp_path / "nothing")
    assert loader.cpu() == (frozenset(), "")


def test_numba_is_not_imported(tmp_path: Path) -> None:
    """Neither with an object nor with numpy: it takes 66 MB and a third of a second."""
    for kernels in ("", "numpy"):
        done = search(kernels)
        assert done.stderr == ""
        assert done.stdout.strip().endswith("[2] []")
    assert search("numpy").stdout.startswith("numpy ")
    assert "does not fit this machine" in search("z80").stderr


def test_a_damaged_object_is_passed_over(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    whole = [kernels.name for kernels in loader.objects()]
    if not whole:
        pytest.skip("no object fits this CPU")
    native = tmp_path / "native"
    shutil.copytree(loader.NATIVE, native)
    monkeypatch.setattr(loader, "NATIVE", native)
    raw = bytearray((native / f"{whole[0]}.so").read_bytes())
    raw[len(raw) // 2] ^= 1
    (native / f"{whole[0]}.so").write_bytes(raw)
    assert [kernels.name for kernels in loader.objects()] == whole[1:]
    (native / "manifest.json").write_text("{")
    assert list(loader.objects()) == []
