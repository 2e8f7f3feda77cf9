"""Files that are deleted once they are not mapped any more."""

from __future__ import annotations

import mmap
from pathlib import Path

import pytest

from nimad.disk.mapped import is_waiting, note_map, remove_file, remove_waiting


def mapped(path: Path, content: bytes = b"content") -> mmap.mmap:
    path.write_bytes(content)
    with path.open("rb") as file:
        made = mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ)
        note_map(made, file.fileno())
    return made


def test_a_file_keeps_its_name_while_it_is_mapped(tmp_path: Path) -> None:
    path = tmp_path / "file"
    first, second = mapped(path), None
    with path.open("rb") as file:
        second = mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ)
        note_map(second, file.fileno())
    remove_file(path)
    for _ in range(2):
        remove_waiting(tmp_path)
        assert path.exists() and is_waiting(path)
        first = None
    assert first is None and second is not None
    second = None
    remove_waiting(tmp_path / "elsewhere")
    assert path.exists()
    remove_waiting(tmp_path)
    assert not path.exists() and not is_waiting(path)


def test_what_is_not_mapped_goes_at_once_and_a_purge_waits_for_nothing(tmp_path: Path) -> None:
    plain, held = tmp_path / "plain", tmp_path / "held"
    plain.write_bytes(b"")
    remove_file(plain)
    remove_file(tmp_path / "missing")
    made = mapped(held)
    remove_file(held)
    remove_waiting(tmp_path, mapped=True)
    assert list(tmp_path.iterdir()) == [] and made[:] == b"content"


@pytest.mark.parametrize("moved", [False, True], ids=["deleted", "renamed"])
def test_another_file_of_the_same_name_stays(tmp_path: Path, moved: bool) -> None:
    path = tmp_path / "file"
    made = mapped(path)
    remove_file(path)
    path.rename(tmp_path / "aside") if moved else path.unlink()
    path.write_bytes(b"new")
    remove_waiting(tmp_path)
    assert path.read_bytes() == b"new" and not is_waiting(path)
    assert made[:] == b"content"
