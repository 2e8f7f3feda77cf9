"""The bytes of segments: the newest version is written like this, all can be read for ever.

`segment-v1-*.nsb` and `segment-v2-*.nsb` were written when their version was the newest.  They are
never written anew: a change that alters the bytes needs a new version and new files.
"""

from __future__ import annotations

import hashlib
import shutil
import struct
from pathlib import Path

import numpy as np
import pytest

from nimad.disk.container import Container, write_container
from nimad.index.blocks import BlockIndex, BlockParams
from nimad.index.kernels.contract import rotation_signs
from tests.vectors import Floats

HERE = Path(__file__).parent
FLAT, BLOCKS = "segment-v2-flat", "segment-v2-blocks"
EVERY = [FLAT, BLOCKS, "segment-v1-flat", "segment-v1-blocks"]
DIMS = 24
IDS = np.arange(100, 160, dtype=np.int64)[::-1]


def vectors() -> Floats:
    """Whole numbers that every machine makes alike; every ninth row is zero."""
    numbers = np.arange(60 * DIMS).reshape(60, DIMS)
    made = ((numbers * numbers * 7 + numbers * 13) % 251 - 125).astype(np.float32)
    made[::9] = 0
    return made


def opened(name: str, tmp_path: Path) -> BlockIndex:
    shutil.copy(HERE / f"{name}.nsb", tmp_path)
    index = BlockIndex(tmp_path, DIMS)
    assert index.open([name]) == []
    return index


def test_a_container_has_these_bytes(tmp_path: Path) -> None:
    write_container(tmp_path / "box", "kind", 1, [("a", [b"hello"]), ("b", [])])
    raw = (tmp_path / "box").read_bytes()
    assert raw[:32] == b"\x89NMD\r\n\x1a\n" + b"kind".ljust(16, b"\0") + b"\1\0\1\0\2\0\0\0"
    assert struct.unpack_from("<QI", raw, 48) == (288, 0)
    assert struct.unpack_from("<16sQQ", raw, 64) == (b"a".ljust(16, b"\0"), 192, 5)
    assert struct.unpack_from("<16sQQ", raw, 104) == (b"b".ljust(16, b"\0"), 256, 0)
    assert raw[192:256] == b"hello".ljust(64, b"\0")
    assert raw[256:264] == bytes(byte ^ 0xFF for byte in b"\x89NMD\r\n\x1a\n")
    assert raw[264:280] == raw[32:48]
    assert hashlib.sha256(raw).hexdigest() == (
        "928b9c40a93fc32e2f3aa8e8b3868fb03412db52cac87d5313937b1442d7bab3"
    )


def test_the_rotation_is_this_one() -> None:
    signs = rotation_signs()
    assert signs.shape == (3, 512)
    assert hashlib.sha256((signs > 0).tobytes()).hexdigest() == (
        "74416663df8861a8e14830611621ad3d4754f3d1424f21c9fc89aaa37edfb667"
    )


def test_a_flat_segment_has_these_bytes(tmp_path: Path) -> None:
    index = BlockIndex(tmp_path, DIMS)
    index.write_segment(FLAT, IDS, vectors())
    assert index.path(FLAT).read_bytes() == (HERE / f"{FLAT}.nsb").read_bytes()


@pytest.mark.parametrize("name", EVERY)
def test_old_segments_give_these_answers(name: str, tmp_path: Path) -> None:
    index = opened(name, tmp_path)
    assert index.verify() == []
    assert index.ids().tolist() == list(range(100, 160))
    ids, scores = index.search(vectors()[1] + vectors()[2], 4)
    assert ids.tolist() == [158, 157, 151, 139]
    assert scores.view(np.uint32).tolist() == [1060209374, 1057745820, 1053245252, 1051194017]


@pytest.mark.parametrize("name", EVERY)
def test_old_segments_can_be_merged(name: str, tmp_path: Path) -> None:
    """What version 1 does not tell about its codebooks is learned anew."""
    index = opened(name, tmp_path)
    index.params = BlockParams(blocks=3, learn_rows=1)
    info = index.merge_segments([name], "merged")
    assert (info.rows, info.learned) == (60, 53)
    index.publish(["merged"], [name])
    assert index.search(vectors()[1] + vectors()[2], 4)[0].tolist() == [158, 157, 151, 139]


def test_the_regions_are_where_the_specification_says(tmp_path: Path) -> None:
    shutil.copy(HERE / f"{BLOCKS}.nsb", tmp_path)
    box = Container.open(tmp_path / f"{BLOCKS}.nsb", "segment", 2, 2)
    assert list(box.regions) == [
        *("meta", "mean", "blocks", "block_start", "cell_codes", "cell_start"),
        *("fit", "added", "ids", "order", "codes", "rows"),
    ]
    meta = struct.unpack("<IIQQqqIIIIQ", box.region("meta"))
    assert meta == (24, 512, 60, 53, 100, 159, 4, 3, 3, 1, 53)
    assert (np.diff(np.frombuffer(box.region("fit"), "<f4")) >= 0).all()
    assert np.frombuffer(box.region("added"), "<u4").tolist() == [0] * 20
    assert len(box.region("rows")) == 53 * 24
    assert len(box.region("codes")) == 2 * 2048
    ids = np.frombuffer(box.region("ids"), "<u4")
    order = np.frombuffer(box.region("order"), "<u4")
    assert ids[order].tolist() == list(range(60))
    starts = np.frombuffer(box.region("cell_start"), "<u4")
    assert starts[0] == 0
    assert starts[-1] == 53


def make_blocks(directory: Path) -> None:
    """How `segment-v2-blocks.nsb` was made."""
    index = BlockIndex(directory, DIMS, BlockParams(blocks=3, learn_rows=1))
    index.write_segment(BLOCKS, IDS, vectors())
