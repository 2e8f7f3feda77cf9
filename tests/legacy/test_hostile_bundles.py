"""Bundles made to do harm, from seeds: each is refused or taken, and costs the daemon nothing."""

from __future__ import annotations

import gc
import hashlib
import io
import json
import pickle
import random
import resource
import struct
import tarfile
import time
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from nimad.errors import NimadError, SourceTooLarge
from nimad.legacy import reader_process
from nimad.legacy.detect import FILES
from nimad.legacy.files import LegacyFiles
from tests.client import RemoteFailure
from tests.legacy.checkpoints import episode
from tests.process import DaemonProcess
from tests.threads import PATIENCE

LIMIT = 40 << 20
"""Memory that a bundle may cost the process that asks for it [bytes]."""
SEEDS = [
    pytest.param(range(2), id="few"),
    pytest.param(range(2, 25), id="more", marks=[pytest.mark.slow, pytest.mark.alone]),
]
Files = dict[str, bytes]


def bundle(path: Path, files: Files) -> Path:
    with tarfile.open(path, "w", format=tarfile.USTAR_FORMAT) as archive:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return path


def text(said: bytes) -> bytes:
    return b"X" + struct.pack("<I", len(said)) + said


def state(episodes: bytes, more: bytes = b"") -> bytes:
    """A pickle of {"metadata": episodes, ...}."""
    return b"\x80\x04}(" + text(b"metadata") + episodes + more + b"u."


def zipped(*entries: tuple[str, bytes], compressed: bool = False) -> bytes:
    made = io.BytesIO()
    how = zipfile.ZIP_DEFLATED if compressed else zipfile.ZIP_STORED
    with zipfile.ZipFile(made, "w", how) as archive:
        for name, data in entries:
            archive.writestr(name, data)
    return made.getvalue()


def tensor(size: tuple[int, ...], stride: tuple[int, ...], items: int) -> bytes:
    """The pickle of a tensor over the storage data/0."""
    numbers = [b"\x8a\x08" + n.to_bytes(8, "little") for n in (*size, *stride)]
    counts = b"(" + b"".join(numbers[: len(size)]) + b"t("
    return (
        b"ctorch._utils\n_rebuild_tensor_v2\n(("
        + text(b"storage")
        + b"ctorch\nFloatStorage\n"
        + text(b"0")
        + text(b"cpu")
        + b"\x8a\x08"
        + items.to_bytes(8, "little")
        + b"tQK\x00"
        + counts
        + b"".join(numbers[len(size) :])
        + b"t\x89}tR"
    )


def shared(rnd: random.Random) -> Files:
    width, levels = rnd.choice([2, 10, 100]), rnd.choice([4, 12, 60])
    value: object = rnd.choice(["ha", "x" * 100_000, 1.5])
    for _ in range(levels):
        value = [value] * width if rnd.random() < 0.7 else dict.fromkeys(range(width), value)
    field = rnd.choice(["what", "mood", "raw_text", "timestamp"])
    return {"m.pkl": pickle.dumps({"metadata": [episode(1), {**episode(2), field: value}]}, 4)}


def itself(rnd: random.Random) -> Files:
    inside = b"(" + b"h\0" * rnd.choice([1, 2, 9, 200]) + rnd.choice([b"l", b"t"])
    return {
        "m.pkl": state(b"]}q\0(" + text(b"raw_text") + text(b"x") + text(b"w") + inside + b"ua")
    }


def many(rnd: random.Random) -> Files:
    number = int(10 ** rnd.uniform(3, 6.3))
    one = rnd.choice([b"]", b"}", b")", b"N", b"K\1", text(b"x"), b"}" + text(b"a") + b"Ns"])
    return {"m.pkl": state(b"(" + one * (number // len(one)) + b"l")}


def deep(rnd: random.Random) -> Files:
    number = int(10 ** rnd.uniform(2, 6.3))
    if rnd.random() < 0.5:
        return {"m.pkl": state(b"]" + b"\x85" * number + b"a")}
    nested = b"[" * number + b"]" * number
    return {"m.json": b'{"config":{"num_blocks":1,"block_dim":1},"metadata":' + nested + b"}"}


def long(rnd: random.Random) -> Files:
    said = rnd.choice(["x", "é", "漢", "🧊"]) * int(10 ** rnd.uniform(4, 6.7))
    one = {**episode(1), rnd.choice(["raw_text", "what", "who", "other"]): said}
    if rnd.random() < 0.5:
        return {"m.json": json.dumps({"metadata": [one]}, ensure_ascii=False).encode()}
    return {"m.pkl": pickle.dumps({"metadata": [one] * rnd.choice([1, 50])}, 4)}


def json_many(rnd: random.Random) -> Files:
    one = rnd.choice(["{},", "[],", "1,", '"",', "1.5e3,", "[[1,2],[3]],", '{"raw_text":"x"},'])
    array = "[" + one * int(10 ** rnd.uniform(3, 5.7)) + "0]"
    place = rnd.choice(["metadata", "vectors", "factors", "config", "other"])
    inside = array if rnd.random() < 0.5 else f'[{{"raw_text":"x","what":{array}}}]'
    told = {"metadata": '[{"raw_text":"x"}]', "config": '{"num_blocks":9,"block_dim":9}'}
    told[place] = inside
    return {"m.json": ("{" + ",".join(f'"{k}":{v}' for k, v in told.items()) + "}").encode()}


def zips(rnd: random.Random) -> Files:
    good = pickle.dumps({"metadata": [episode(1)]}, 2)
    number = int(10 ** rnd.uniform(1, 4))
    if rnd.random() < 0.3:
        return {"m.pt": zipped(("m/data.pkl", bytes(30_000_000)), compressed=True)}
    data = bytearray(zipped(("m/data.pkl", good), *((f"m/data/{n}", b"") for n in range(number))))
    for _ in range(rnd.choice([0, 3, 50])):  # directories that lie about places and sizes
        data[rnd.randrange(len(good) + 100, len(data))] = rnd.randrange(256)
    return {"m.pt": bytes(data)}


def tensors(rnd: random.Random) -> Files:
    size = rnd.choice([(1 << 40, 4), (4, 1 << 20), (1 << 20, 1 << 20), (3, 0), (2, 2)])
    stride = rnd.choice([(0, 1), (1, 0), (0, 0), (1 << 30, 1)])
    vectors = tensor(size, stride, rnd.choice([4, 1 << 45]))
    if rnd.random() < 0.5:
        names = range(rnd.choice([10, 20_000]))
        items = b"".join(text(b"f%d" % n) + tensor((4,), (1,), 4) for n in names)
        vectors += text(b"fillers") + b"}(" + items + b"u"
    episodes = b"](" + b"".join(
        b"}" + text(b"raw_text") + text(b"%d" % n) + b"s" for n in range(99)
    )
    program = state(episodes + b"e", text(b"vectors") + vectors)
    return {"m.pt": zipped(("m/data.pkl", program), ("m/data/0", bytes(16)))}


def purged(rnd: random.Random) -> Files:
    number = int(10 ** rnd.uniform(3, 6.3))
    told = rnd.choice([b'{"m.pkl":[' + b"1," * number + b"1]}", b"[" * number, b"{}" * number])
    return {"m.pkl": pickle.dumps({"metadata": [episode(1)]}, 4), "nimad-purged.json": told}


def crowd(rnd: random.Random) -> Files:
    one = rnd.choice(
        [b"\x80\x04}.", b"", state(b"(" + b"]" * 20_000 + b"l"), b"PK\3\4" + bytes(99)]
    )
    number = rnd.choice([10, 300]) if len(one) > 1000 else rnd.choice([100, 3000])
    return {f"{n}{rnd.choice(['.pt', '.pkl'])}\x1b": one for n in range(number)}


def flipped(rnd: random.Random) -> Files:
    value = {"metadata": [episode(n) for n in range(20)], "vectors": []}
    data = bytearray(pickle.dumps(value, rnd.choice([0, 1, 2, 4, 5])))
    for _ in range(rnd.choice([1, 5, 100])):
        data[rnd.randrange(len(data))] = rnd.randrange(256)
    return {"m.pkl": bytes(data)[: rnd.choice([None, len(data) // 2])]}


def programs(rnd: random.Random) -> Files:
    return {"m.pkl": b"\x80\x04" + rnd.randbytes(int(10 ** rnd.uniform(1, 5))), "x.json": b"{"}


KINDS: list[Callable[[random.Random], Files]] = [
    shared,
    itself,
    many,
    deep,
    long,
    json_many,
    zips,
    tensors,
    purged,
    crowd,
    flipped,
    programs,
]


def resident(name: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith(name)).split()[1]) << 10


@contextmanager
def no_memory() -> Iterator[None]:
    gc.collect()
    Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
    before = resident("VmRSS")
    yield
    assert resident("VmHWM") - before < LIMIT


def look_at_all(path: Path) -> int:
    """What a migration looks at; how many memories."""
    with LegacyFiles.open(path, check=True) as files:
        totals, mapper, after, found = files.survey(), files.mapper("x"), None, 0
        while page := files.nodes(mapper, after, 1000):
            after, found = page[-1].key, found + len(page)
        if (dense := files.dense()) is not None:
            assert len(dense.keys()) <= totals.nodes
            del dense
        assert found == totals.nodes
        return found


@pytest.mark.parametrize("seeds", SEEDS)
@pytest.mark.parametrize("kind", KINDS, ids=[kind.__name__ for kind in KINDS])
def test_hostile_bundles_cost_nothing(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    kind: Callable[[random.Random], Files],
    seeds: range,
) -> None:
    monkeypatch.setattr(reader_process, "MOST", 96 << 20)  # that of a small board
    for seed in seeds:
        path = bundle(tmp_path / "b.tar", kind(random.Random(f"{kind.__name__} {seed}")))
        with no_memory():
            try:
                look_at_all(path)
            except NimadError as error:
                assert "ended" not in error.message, (seed, "the process fell")
                if type(error) is SourceTooLarge:
                    assert "MiB" in error.message or "values" in error.message


def test_the_kernel_keeps_the_limits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What gets past the budget's estimates ends the reading process, and nothing else."""
    path = bundle(tmp_path / "b.tar", many(random.Random(9)))
    monkeypatch.setattr(reader_process, "MOST", 1 << 20)
    monkeypatch.setattr(reader_process, "BASE", 40 << 20)
    with pytest.raises(SourceTooLarge, match="MiB"):
        LegacyFiles.open(path, bytes=1 << 40)
    monkeypatch.undo()
    monkeypatch.setattr(reader_process, "SECONDS", 1)
    monkeypatch.setattr(reader_process, "SECONDS_EACH", 0)
    path = bundle(tmp_path / "b.tar", {"m.json": b'{"metadata":[' + b"[1]," * 3_000_000 + b"1]}"})
    with pytest.raises(SourceTooLarge, match="1 s of processor time"):
        LegacyFiles.open(path, bytes=1 << 40)
    assert resource.getrlimit(resource.RLIMIT_AS)[0] == resource.RLIM_INFINITY


def settled(daemon: DaemonProcess) -> int:
    """The daemon's memory once it has not changed for five seconds [bytes]."""
    until, looks = time.monotonic() + PATIENCE, [0]
    while len(looks) < 6 or len(set(looks[-6:])) > 1:
        assert time.monotonic() < until
        time.sleep(1)
        looks.append(daemon.resident())
    return looks[-1]


@pytest.mark.slow
@pytest.mark.alone
def test_hostile_bundles_cost_a_living_daemon_nothing(tmp_path: Path) -> None:
    """300 of them looked through one after the other, to the last row."""
    daemon = DaemonProcess(tmp_path).start()
    try:
        daemon.call("remember", text="Something to keep.")
        rest = settled(daemon)  # after the work that follows the first memory
        clear, status = (Path(f"/proc/{daemon.pid}/{name}") for name in ("clear_refs", "status"))
        clear.write_text("5")  # the peak begins anew
        taken = refused = 0
        for seed in range(25):
            for kind in KINDS:
                files = kind(random.Random(f"{kind.__name__} {seed}"))
                path = bundle(tmp_path / "b.tar", files)
                data = path.read_bytes()
                asked = {"path": f"/x/{kind.__name__}-{seed}", "kind": FILES, "size": len(data)}
                asked |= {"sha256": hashlib.sha256(data).hexdigest(), "dry_run": True}
                with daemon.client(10 * PATIENCE) as client, path.open("rb") as file:
                    client.send_with([file.fileno()], "migrate.attach", **asked)
                    try:
                        client.result()
                        taken += 1
                    except RemoteFailure as error:
                        refused += 1
                        assert error.code not in ("internal_error", "invalid_params"), (
                            kind,
                            seed,
                            error,
                        )
                    lines = status.read_text().splitlines()
                    peak = next(int(x.split()[1]) << 10 for x in lines if x.startswith("VmHWM"))
                    assert peak - rest < LIMIT, (kind, seed)
        assert taken + refused == 300 and min(taken, refused) > 9
        print(f"{taken} taken, {refused} refused, most {(peak - rest) / 2**20:.1f} MiB above rest")
    finally:
        daemon.finish()
