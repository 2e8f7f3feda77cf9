"""The names that NIMA's pickles may use, and the plain values they become; no torch, no numpy.

| name                                            | becomes                                        |
|-------------------------------------------------|------------------------------------------------|
| torch._utils._rebuild_tensor_v2, _rebuild_tensor | `Tensor`: where its numbers lie               |
| torch.FloatStorage and its kin                  | the dtype of a `Storage`                       |
| collections.OrderedDict, defaultdict, Counter   | dict                                           |
| collections.deque                               | list                                           |
| torch.Size                                      | tuple                                          |
| set, frozenset, bytearray                       | set, bytes                                     |
| datetime.datetime, date, time                   | its ISO 8601 text                              |
| numpy arrays, scalars, dtypes                   | `Array`, a number or text, the dtype's name    |
| pathlib paths, decimal.Decimal, Fraction        | their text                                     |
| complex, range, slice, SimpleNamespace,         | `Other`: harmless, and not taken over          |
| numpy's times, masked and big-endian arrays     |                                                |

Every builder checks what it is given and raises ValueError (or TypeError) when that is not fit.
"""

from __future__ import annotations

import datetime
import math
import struct
from typing import Any

from nimad.dataclass import dataclass
from nimad.legacy.pickle_vm import Builders, Name, Span, as_key

STORAGES = {
    "torch.FloatStorage": "float32",
    "torch.DoubleStorage": "float64",
    "torch.HalfStorage": "float16",
    "torch.BFloat16Storage": "bfloat16",
    "torch.LongStorage": "int64",
    "torch.IntStorage": "int32",
    "torch.ShortStorage": "int16",
    "torch.CharStorage": "int8",
    "torch.ByteStorage": "uint8",
    "torch.BoolStorage": "uint8",
}
"""torch's names for arrays of numbers -> their dtype; all little-endian in the file."""
ITEM_BYTES = {
    "float32": 4,
    "float64": 8,
    "float16": 2,
    "bfloat16": 2,
    "int64": 8,
    "int32": 4,
    "int16": 2,
    "int8": 1,
    "uint8": 1,
}
NUMPY_TYPES = {
    "f4": "float32",
    "f8": "float64",
    "f2": "float16",
    "i8": "int64",
    "i4": "int32",
    "i2": "int16",
    "i1": "int8",
    "u1": "uint8",
    "b1": "bool",
    "u2": "uint16",
    "u4": "uint32",
    "u8": "uint64",
}
MAX_DIMENSIONS = 8
"""Dimensions of a tensor or an array."""
TEXT, OTHER, BOOL = "text", "other", "bool"
"""Types of numpy's that no tensor has; of OTHER nothing is read."""
SCALARS = {
    "float64": "<d",
    "float32": "<f",
    "float16": "<e",
    "int64": "<q",
    "int32": "<i",
    "int16": "<h",
    "int8": "<b",
    "uint64": "<Q",
    "uint32": "<I",
    "uint16": "<H",
    "uint8": "<B",
    BOOL: "<?",
}
"""Type -> how struct reads one number of it."""


@dataclass(frozen=True, slots=True)
class Storage:
    """Numbers of a checkpoint: `items` of `dtype` in the zip's entry `data/KEY`."""

    dtype: str
    key: str
    items: int


@dataclass(frozen=True, slots=True)
class Tensor:
    """A view of a storage: offset and strides count items."""

    storage: Storage
    offset: int
    size: tuple[int, ...]
    stride: tuple[int, ...]
    negative: bool = False
    """Whether its numbers are those of the storage with the other sign: a lazy view of torch's."""


@dataclass(slots=True)
class Array:
    """A numpy array; `data` is where its bytes are, None until the pickle has said so."""

    dtype: str = "float64"
    shape: tuple[int, ...] = ()
    data: Span | bytes | None = None


@dataclass(slots=True)
class Dtype:
    """The type of the numbers of an array: of NUMPY_TYPES, TEXT, or OTHER."""

    name: str


class Other:
    """A harmless value that no JSON can hold and that no reader needs."""


def persistent(given: Any) -> Storage:
    """A persistent id of torch: ("storage", type, key, place, number of items)."""
    if not isinstance(given, tuple) or len(given) < 5 or given[0] != "storage":
        raise ValueError("it refers to something that is no storage")
    kind, key, items = given[1], given[2], given[4]
    if not isinstance(kind, Name) or kind.name not in STORAGES:
        raise ValueError("its storage has a type that is not known")
    if not isinstance(key, str) or not isinstance(items, int) or not 0 <= items < 1 << 48:
        raise ValueError("its storage has no name, or no length")
    return Storage(STORAGES[kind.name], key, items)


def _tensor(
    storage: Any,
    offset: Any,
    size: Any,
    stride: Any,
    _: Any = None,
    __: Any = None,
    more: Any = None,
) -> Tensor:
    if not isinstance(storage, Storage):
        raise ValueError("a tensor lies in what is no storage")
    numbers = (offset, *size, *stride)
    if len(size) != len(stride) or len(size) > MAX_DIMENSIONS:
        raise ValueError("a tensor has a shape that fits no strides")
    if not all(type(n) is int and 0 <= n < 1 << 48 for n in numbers):
        raise ValueError("a tensor has a shape of what are no counts")
    last = offset + sum((n - 1) * step for n, step in zip(size, stride, strict=True))
    if 0 not in size and last >= storage.items:
        raise ValueError("a tensor reaches beyond its storage")
    negative = isinstance(more, dict) and more.get("neg") is True
    return Tensor(storage, offset, tuple(size), tuple(stride), negative)


def _tensor_of_type(make: Any, _: Any, arguments: Any, *__: Any) -> Tensor:
    """A tensor with attributes, or of a class derived from Tensor: those are left out."""
    if make != Name("torch._utils._rebuild_tensor_v2") or not isinstance(arguments, tuple):
        raise ValueError("a tensor of a kind that is not known")
    return _tensor(*arguments)


def _parameter(tensor: Any, *_: Any) -> Tensor:
    if not isinstance(tensor, Tensor):
        raise ValueError("a parameter is no tensor")
    return tensor


def _dict(items: Any = ()) -> dict[Any, Any]:
    made: dict[Any, Any] = {}
    for key, value in items:
        made[as_key(key)] = value
    return made


def _list(items: Any = (), _: Any = None) -> list[Any]:
    if not isinstance(items, (list, tuple)):
        raise ValueError("a list is made of what is none")
    return list(items)


def _set(items: Any = ()) -> set[Any]:
    if not isinstance(items, (list, tuple, set)):
        raise ValueError("a set is made of what is no list")
    return {as_key(item) for item in items}


def _joined(*parts: Any) -> str:
    if not all(isinstance(part, str) for part in parts):
        raise ValueError("a path of what is no text")
    return "/".join(parts).replace("//", "/")


def _size(numbers: Any = ()) -> tuple[int, ...]:
    if len(numbers) > MAX_DIMENSIONS or not all(type(n) is int for n in numbers):
        raise ValueError("a shape of too many dimensions, or of what are no counts")
    if not all(0 <= number < 1 << 48 for number in numbers):
        raise ValueError("a shape that is too large")
    return tuple(numbers)


def _text(value: Any = "", *_: Any) -> str:
    if not isinstance(value, (str, int)):
        raise ValueError("a name is no text")
    return str(value)


def _latin1(text: Any, encoding: Any = "latin1") -> bytes:
    if not isinstance(text, str) or encoding not in ("latin1", "latin-1"):
        raise ValueError("bytes in an unknown coding")
    return text.encode("latin-1")


def _bytes(*given: Any) -> bytes | Span:
    """How protocol 2 writes bytes of no length, and any a bytearray."""
    if len(given) == 1 and isinstance(given[0], (bytes, Span)):
        return given[0]
    if len(given) == 2:
        return _latin1(*given)
    if given:
        raise ValueError("bytes in an unknown coding")
    return b""


def _never(*_: Any) -> None:
    raise ValueError("a type is called that is only to be named")


# --- times ----------------------------------------------------------------------------------------


def _zone(offset: Any, *_: Any) -> datetime.timezone:
    if not isinstance(offset, datetime.timedelta):
        raise ValueError("a zone without an offset")
    return datetime.timezone(offset)


def _moment(packed: Any, zone: Any = None) -> str:
    """The ten bytes in which Python pickles a datetime."""
    if not isinstance(packed, bytes) or len(packed) != 10:
        raise ValueError("a datetime is not ten bytes")
    year, month, day, hour, minute, second = struct.unpack(">H5B", packed[:7])
    micro = int.from_bytes(packed[7:], "big")
    tz = zone if isinstance(zone, datetime.timezone) else None
    return datetime.datetime(
        year, month & 0x7F, day, hour, minute, second, micro, tzinfo=tz
    ).isoformat()


def _time(packed: Any, _: Any = None) -> str:
    """The six bytes of a time of the day; a zone says nothing without a day."""
    if not isinstance(packed, bytes) or len(packed) != 6:
        raise ValueError("a time is not six bytes")
    micro = int.from_bytes(packed[3:], "big")
    return datetime.time(packed[0] & 0x7F, packed[1], packed[2], micro).isoformat()


def _day(packed: Any) -> str:
    if not isinstance(packed, bytes) or len(packed) != 4:
        raise ValueError("a date is not four bytes")
    year, month, day = struct.unpack(">HBB", packed)
    return datetime.date(year, month, day).isoformat()


# --- numpy ----------------------------------------------------------------------------------------


def _dtype(name: Any, *_: Any) -> Dtype:
    if not isinstance(name, str):
        raise ValueError("an array of a type that is not known")
    plain = name.lstrip("<|=")
    return Dtype(NUMPY_TYPES.get(plain, TEXT if plain[:1] == "U" else OTHER))


def _dtype_state(dtype: Dtype, state: Any) -> None:
    if not isinstance(state, tuple) or len(state) < 2 or state[1] not in ("<", "|", "=", ">"):
        raise ValueError("an array in an unknown order of bytes")
    if state[1] == ">":  # of another machine: stays in the backup
        dtype.name = OTHER


def _array_state(array: Array, state: Any) -> None:
    _, shape, dtype, fortran, data = state
    if not isinstance(dtype, Dtype):
        raise ValueError("an array of a type that is not known")
    array.dtype, array.shape = dtype.name, _size(shape)
    if dtype.name in ITEM_BYTES and not fortran:  # others stay in the backup
        if not isinstance(data, (bytes, Span)):
            raise ValueError("an array whose numbers are no bytes")
        length = data.length if isinstance(data, Span) else len(data)
        if length != math.prod(array.shape) * ITEM_BYTES[dtype.name]:
            raise ValueError("an array whose bytes do not fit its shape")
        array.data = data


def _array_from_bytes(data: Any, dtype: Any, shape: Any, order: Any = "C") -> Array:
    array = Array()
    _array_state(array, (1, shape, dtype, order != "C", data))
    return array


def _scalar(dtype: Any, data: Any = b"") -> Any:
    if not isinstance(dtype, Dtype):
        raise ValueError("a number of a type that is not known")
    if dtype.name == TEXT and isinstance(data, bytes):
        return data.decode("utf-32-le", "replace").rstrip("\0")
    if dtype.name not in SCALARS:
        return Other()
    if not isinstance(data, bytes):
        raise ValueError("a number of what are no bytes")
    return struct.unpack(SCALARS[dtype.name], data)[0]


_MULTIARRAY = ("numpy.core.multiarray", "numpy._core.multiarray")
_BUILTINS = ("builtins", "__builtin__")
_NUMERIC = ("numpy.core.numeric", "numpy._core.numeric")

BUILDERS: Builders = {
    "torch._utils._rebuild_tensor_v2": _tensor,
    "torch._utils._rebuild_tensor": _tensor,
    "torch._utils._rebuild_parameter": _parameter,
    "torch._utils._rebuild_parameter_with_state": _parameter,
    "torch._tensor._rebuild_from_type_v2": _tensor_of_type,
    **{
        f"torch.{name}": _never
        for name in ("Tensor", "nn.parameter.Parameter", "nn.parameter.Buffer")
    },
    "torch.Size": _size,
    "torch.device": _text,
    **dict.fromkeys(STORAGES, _never),
    **{f"torch.{name}": _never for name in ("float32", "float64", "float16", "bfloat16")},
    "collections.OrderedDict": _dict,
    "collections.defaultdict": lambda _=None: {},
    "collections.Counter": lambda counts=(): _dict(
        counts.items() if isinstance(counts, dict) else counts
    ),
    "collections.deque": _list,
    **{f"builtins.{name}": _never for name in ("int", "float", "list", "dict", "str")},
    **{f"__builtin__.{name}": _never for name in ("int", "long", "float", "list", "dict", "str")},
    **{f"{module}.{name}": _bytes for module in _BUILTINS for name in ("bytes", "bytearray")},
    **{f"{module}.{name}": _set for module in _BUILTINS for name in ("set", "frozenset")},
    **{
        f"{module}.{name}": lambda *_: Other()
        for module in _BUILTINS
        for name in ("complex", "range", "xrange", "slice")
    },
    **{
        name: lambda *_: Other()
        for name in ("types.SimpleNamespace", "numpy.ma.core._mareconstruct")
    },
    "Other state": lambda _, __: None,
    **dict.fromkeys(("numpy.ma.core.MaskedArray", "numpy.ma.MaskedArray"), _never),
    **{
        f"{module}.{name}": _never for module in _BUILTINS for name in ("Ellipsis", "bool", "tuple")
    },
    "decimal.Decimal": _text,
    "fractions.Fraction": lambda *parts: "/".join(map(_text, parts)),
    # Python 3.13 names the module of its own insides.
    **{
        f"pathlib{inner}.{kind}Path": _joined
        for inner in ("", "._local")
        for kind in ("Posix", "PurePosix")
    },
    # Attributes of an OrderedDict, such as the `_metadata` of torch's: nothing reads them.
    "dict state": lambda _, __: None,
    "_codecs.encode": _latin1,
    "datetime.datetime": _moment,
    "datetime.date": _day,
    "datetime.time": _time,
    "datetime.timedelta": lambda days=0, seconds=0, micro=0: datetime.timedelta(
        int(days), int(seconds), int(micro)
    ),
    "datetime.timezone": _zone,
    "numpy.dtype": _dtype,
    "numpy.ndarray": _never,
    **{f"{module}._reconstruct": lambda *_: Array() for module in _MULTIARRAY},
    **{f"{module}.scalar": _scalar for module in _MULTIARRAY},
    **{f"{module}._frombuffer": _array_from_bytes for module in _NUMERIC},
    "Dtype state": _dtype_state,
    "Array state": _array_state,
}
