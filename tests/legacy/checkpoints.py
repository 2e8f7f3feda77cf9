"""Writes checkpoints and sparse memories as torch and nima-core do, without either of them."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import pickle
import sys
import types
import zipfile
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

STORAGES = {
    "float32": "FloatStorage",
    "float64": "DoubleStorage",
    "float16": "HalfStorage",
    "bfloat16": "BFloat16Storage",
}


class Storage:
    """Numbers as bytes."""

    def __init__(self, values: NDArray[Any], dtype: str) -> None:
        self.dtype, self.items = dtype, values.size
        flat = np.ascontiguousarray(values).reshape(-1)
        if dtype == "bfloat16":
            self.data = (flat.astype(np.float32).view(np.uint32) >> 16).astype("<u2").tobytes()
        else:
            self.data = flat.astype(np.dtype(dtype).newbyteorder("<")).tobytes()


@dataclass
class Tensor:
    """A view of a storage; strides and offset count items."""

    storage: Storage
    offset: int
    size: tuple[int, ...]
    stride: tuple[int, ...]
    more: tuple[Any, ...] = ()

    def __reduce_ex__(self, protocol: Any) -> Any:
        rebuild = sys.modules["torch._utils"]._rebuild_tensor_v2
        place = (self.storage, self.offset, self.size, self.stride, False, OrderedDict())
        return rebuild, (*place, *self.more)


def tensor(values: NDArray[Any], dtype: str = "float32") -> Tensor:
    """A tensor of its own, row by row."""
    stride = tuple(int(np.prod(values.shape[n + 1 :])) for n in range(values.ndim))
    return Tensor(Storage(values, dtype), 0, values.shape, stride)


@contextmanager
def _torch() -> Iterator[types.ModuleType]:
    """Modules by the names that torch's pickles mention, for the time of a dump."""
    torch, utils = types.ModuleType("torch"), types.ModuleType("torch._utils")
    for name in STORAGES.values():
        setattr(torch, name, type(name, (), {"__module__": "torch"}))

    def rebuild(*_: Any) -> None: ...

    rebuild.__module__, rebuild.__qualname__ = "torch._utils", "_rebuild_tensor_v2"
    rebuild.__name__ = "_rebuild_tensor_v2"
    utils._rebuild_tensor_v2 = rebuild  # type: ignore[attr-defined]
    before = {name: sys.modules.get(name) for name in ("torch", "torch._utils")}
    sys.modules.update({"torch": torch, "torch._utils": utils})
    try:
        yield torch
    finally:
        for name, module in before.items():
            if module is None:
                del sys.modules[name]
            else:
                sys.modules[name] = module


def save(path: Path, value: Any, *, checksum: bool = False, byteorder: bytes = b"little") -> Path:
    """torch.save(value, path); `checksum` puts NIMA's sidecar beside it."""
    storages: list[Storage] = []

    with _torch() as torch:

        class Pickler(pickle.Pickler):
            def persistent_id(self, item: Any) -> Any:
                if not isinstance(item, Storage):
                    return None
                if item not in storages:
                    storages.append(item)
                kind, key = getattr(torch, STORAGES[item.dtype]), str(storages.index(item))
                return ("storage", kind, key, "cpu", item.items)

        written = io.BytesIO()
        Pickler(written, 2).dump(value)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr(f"{path.stem}/data.pkl", written.getvalue())
        archive.writestr(f"{path.stem}/byteorder", byteorder)
        for number, storage in enumerate(storages):
            archive.writestr(f"{path.stem}/data/{number}", storage.data)
        archive.writestr(f"{path.stem}/version", b"3\n")
    if checksum:
        sign(path)
    return path


def sign(path: Path, **more: str) -> None:
    """Write the sidecar of a file as it is now."""
    told = {"hash": hashlib.sha256(path.read_bytes()).hexdigest(), "algorithm": "sha256", **more}
    Path(f"{path}.sha256").write_text(json.dumps(told))


def episode(number: int, **more: Any) -> dict[str, Any]:
    """An episode like those of nima-core."""
    clock = f"{number // 3600 % 24:02d}:{number // 60 % 60:02d}:{number % 60:02d}"
    text = f"Episode number {number} is about the {['sea', 'garden', 'station'][number % 3]}."
    return {
        "who": ["Ada", "Ben"][number % 2],
        "what": text[:60],
        "where": "chat",
        "when": "2023-05-08",
        "context": f"session {number // 10}",
        "emotions": ["joy"] if number % 2 else [],
        "themes": ["family"],
        "importance": number % 100 / 100,
        "raw_text": text,
        "timestamp": f"2023-05-08T{clock}+00:00",
        **more,
    }


def nested(
    episodes: Sequence[Any], vectors: Tensor | None, fillers: Mapping[str, Tensor] | None = None
) -> dict[str, Any]:
    """The form of `sessions/latest.pt`."""
    return {
        "state": {
            "version": "1.0",
            "timestamp": "2023-07-15T13:59:00+00:00",
            "vsa_dimension": vectors.size[1] if vectors else 0,
            "filler_keys": list(fillers or {}),
            "metadata": list(episodes),
        },
        "tensors": {"vectors": vectors, "fillers": dict(fillers or {}), "roles": {}},
    }


def sparse(
    episodes: Sequence[Any], rows: NDArray[np.float64], blocks: int, *, as_json: bool
) -> dict[str, Any]:
    """A sparse memory with the non-zero blocks of float64[n, blocks * size]."""
    size = rows.shape[1] // blocks
    vectors = []
    for row in rows.reshape(len(rows), blocks, size):
        active = [n for n in range(blocks) if row[n].any()]
        packed = {str(n): _packed(row[n], as_json) for n in active}
        vectors.append({"active_blocks": active, "blocks": packed})
    return {
        "config": {"block_dim": size, "num_blocks": blocks, "default_sparsity": 0.1},
        "metadata": list(episodes),
        "factors": [
            {role: each[role.lower()] for role in ("WHO", "WHAT", "WHERE")} for each in episodes
        ],
        "stats": {"stores": len(rows)},
        "vectors": vectors,
        "block_learner": {"factor_block_scores": {each["what"]: 1 for each in episodes}},
    }


def _packed(block: NDArray[np.float64], as_json: bool) -> Any:
    raw = block.astype("<f8").tobytes()
    if not as_json:
        return raw
    return {"data": base64.b64encode(raw).decode(), "dtype": "float64", "shape": [len(block), 1]}
