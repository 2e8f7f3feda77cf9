"""Frames to requests and answers to frames: JSON-RPC 2.0, as pure functions.

Whatever a peer sends becomes a `Request` or a NimadError: NUL bytes, broken UTF-8, lone surrogates,
NaN, infinite numbers, repeated keys and nesting that would exhaust the stack are refused here.
"""

from __future__ import annotations

import binascii
import json
import math
import re
import sys
from collections.abc import Callable, Iterator
from json import encoder
from typing import Any

from nimad.dataclass import dataclass
from nimad.errors import InvalidRequest, NimadError, ParseError, ReplyTooLarge, UsageError
from nimad.limits import (
    MAX_FRAME,
    MAX_NODES,
    MAX_RECORD,
    MAX_RECORD_FILE,
    MAX_RECORD_NODES,
    count_nodes,
    refuse_constant,
    refuse_twice,
)

MAX_DEPTH = 64
"""Depth of nested arrays and objects in a frame [levels]."""
MAX_DIGITS = 1000
"""Length of the longest whole number: Python's time for one grows with its square [digits]."""
MAX_HELD = 2 * MAX_RECORD + 1000
"""Size of the text of a frame or record in memory; a character beyond U+FFFF makes all its
characters take four bytes each [bytes]."""
MAX_ID = 256
"""Length of the longest id of a request [characters]."""
MAX_MESSAGE = 2000
"""Length of the longest error message and hint in a reply [characters]."""

TOGETHER = 8
"""Entries of a list that are made into JSON in one call of the encoder, where it has more."""
LONG = 1 << 20
"""Length of base64 from which on it is decoded apart from what stands around it [bytes]."""
_LONG_TEXT = re.compile(rb'"[A-Za-z0-9+/]{%d,}={0,2}"' % LONG)

Id = str | int | float | None


# --- requests -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Request:
    """A valid JSON-RPC request; `notification` ones get no reply."""

    method: str
    params: dict[str, Any]
    id: Id = None
    notification: bool = False


@dataclass(frozen=True)
class Refused:
    """A frame that is no request, and the id that the refusal carries."""

    error: NimadError
    id: Id = None


def read(data: bytes) -> Request | Refused:
    """The request of a frame, or why it is none; never raises a NimadError."""
    ident: Id = None
    try:
        message = decode(data)
        ident = request_id(message)
        return request(message)
    except NimadError as error:
        return Refused(error, ident)


def decode(data: bytes, most: int = MAX_NODES) -> dict[str, Any]:
    """The JSON object of a frame, of at most `most` values.  Raises ParseError when it is none,
    InvalidRequest for a batch."""
    if count_nodes(data, most) > most:
        raise ParseError(detail=f"it holds more than {most} values")
    try:
        text = data.decode("utf-8")
        del data  # where nobody else holds it: a record has 12 MB
        if sys.getsizeof(text) > MAX_HELD:
            raise ParseError(detail=f"its letters take more than {MAX_HELD >> 20} MiB in memory")
        value = _JSON.decode(text)
        plain = text.isascii() and "\\u" not in text
        flat = plain and text.count("{") + text.count("[") <= MAX_DEPTH  # as deep as that at most
        del text
    except UnicodeDecodeError as error:
        raise ParseError(detail=f"byte {error.start} is not UTF-8") from None
    except json.JSONDecodeError as error:
        raise ParseError(detail=f"{error.msg} at character {error.pos}") from None
    except ValueError as error:
        raise ParseError(detail=str(error)) from None
    except RecursionError:
        raise ParseError(detail=f"it is nested deeper than {MAX_DEPTH} levels") from None
    if isinstance(value, list):
        raise InvalidRequest(detail="batches are not taken; send one request a line")
    if not isinstance(value, dict):
        raise InvalidRequest(detail=f"it is {_kind(value)}, not an object")
    if not flat:
        _check_tree(value, plain)
    return value


def decode_record(data: bytes) -> dict[str, Any]:
    """The JSON object of a memory that comes as a file or a line.  Long base64 of its blobs is made
    bytes piece by piece, where `blobs` are its last field.  Raises as `decode`, UsageError for more
    than MAX_RECORD."""
    begin = data.rfind(b'"blobs":{') if len(data) > LONG else -1
    places = [found.span() for found in _LONG_TEXT.finditer(data, begin)] if begin >= 0 else []
    weight = len(data) - sum(end - first for first, end in places) * 3 // 4
    if weight > MAX_RECORD:
        most = f"{MAX_RECORD >> 20} MiB fit, {MAX_RECORD_FILE >> 20} MiB of blobs alone"
        raise UsageError(detail=f"it has {len(data) >> 20} MiB as JSON; at most {most}")
    parts: list[bytes] = []
    blobs: list[bytes] = []
    last = 0
    with memoryview(data) as view:
        for first, end in places:
            try:
                made = binascii.a2b_base64(view[first + 1 : end - 1], strict_mode=True)
            except ValueError:
                raise UsageError(detail="a blob of it is no base64") from None
            blobs.append(made)
            parts += [data[last:first], b'"\\u0000%d"' % len(blobs)]
            last = end
    parts.append(data[last:])
    del data, view  # `decode` alone holds what it reads, and lets it go
    parts[:] = [b"".join(parts)]
    value = decode(parts.pop(), MAX_RECORD_NODES)
    kept = value.get("blobs")
    if places and isinstance(kept, dict):
        marks = {f"\0{number}": blob for number, blob in enumerate(blobs, 1)}
        found = {n: marks.pop(v, v) if isinstance(v, str) else v for n, v in kept.items()}
        if not marks:
            return {**value, "blobs": found}
    if places:
        raise UsageError(detail="blobs of this length must be its last field, in base64")
    return value


def request_id(message: dict[str, Any]) -> Id:
    """The id a reply must carry, None when there is none; InvalidRequest for an unusable one."""
    found = message.get("id")
    if found is None or (isinstance(found, str) and len(found) <= MAX_ID):
        return found
    if isinstance(found, (int, float)) and not isinstance(found, bool) and abs(found) < 2**63:
        return found
    raise InvalidRequest(detail=f"id must be a number or a text of at most {MAX_ID} characters")


_MEMBERS = {"jsonrpc", "id", "method", "params"}


def request(message: dict[str, Any]) -> Request:
    """Check a decoded message against JSON-RPC 2.0; InvalidRequest says what is wrong with it."""
    if message.get("jsonrpc") != "2.0":
        raise InvalidRequest(detail='"jsonrpc" must be "2.0"')
    if not message.keys() <= _MEMBERS:
        name = next(name for name in message if name not in _MEMBERS)
        raise InvalidRequest(detail=f"it has the unknown member {shown(name)}")
    method = message.get("method")
    if not isinstance(method, str) or not method:
        raise InvalidRequest(detail='"method" must be a name')
    params = message.get("params", {})
    if not isinstance(params, dict):
        raise InvalidRequest(detail=f'"params" must be an object, not {_kind(params)}')
    return Request(method, params, request_id(message), notification="id" not in message)


def shown(value: Any, longest: int = 60) -> str:
    """A value as JSON for an error message, cut short."""
    text = json.dumps(value, ensure_ascii=False, default=lambda _: "?")
    return text if len(text) <= longest else text[: longest - 1] + "…"


def _kind(value: Any) -> str:
    names = {dict: "an object", list: "an array", str: "text", bool: "a truth value"}
    return "null" if value is None else names.get(type(value), "a number")


def _finite(digits: str) -> float:
    number = float(digits)
    if not math.isfinite(number):
        raise ParseError(detail="a number in it is too large")
    return number


def _whole(digits: str) -> int:
    if len(digits) > MAX_DIGITS:
        raise ParseError(detail="a number in it has too many digits")
    return int(digits)


_JSON = json.JSONDecoder(
    object_pairs_hook=refuse_twice,
    parse_int=_whole,
    parse_float=_finite,
    parse_constant=refuse_constant,
)


_NESTED = {dict, list}


def _check_tree(value: Any, plain: bool) -> None:
    """Refuse what parsed but could not be passed on: deep nesting and lone surrogates, which the
    text of a `plain` one cannot hold."""
    level: list[Any] = [value]
    for _ in range(MAX_DEPTH):
        below: list[Any] = []
        for node in level:
            items = node.values() if isinstance(node, dict) else node
            if not _NESTED.isdisjoint(map(type, items)):
                below += [item for item in items if isinstance(item, (dict, list))]
            for text in () if plain else (*(node if isinstance(node, dict) else ()), *items):
                if isinstance(text, str):
                    _check_text(text)
        level = below
        if not level:
            return
    raise ParseError(detail=f"it is nested deeper than {MAX_DEPTH} levels")


def _check_text(text: str) -> None:
    if text.isascii():
        return
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        raise ParseError(detail="a text in it is not Unicode (a lone surrogate)") from None


# --- replies --------------------------------------------------------------------------------------


def result_reply(ident: Id, result: Any, limit: int = MAX_FRAME) -> bytes:
    """The line that answers a request; ReplyTooLarge when it would not fit in a frame."""
    line = b'{"jsonrpc":"2.0","id":%b,"result":%b}\n' % (encode(ident), encode(result))
    if len(line) > limit + 1:
        raise ReplyTooLarge(limit=limit)
    return line


def error_reply(ident: Id, error: NimadError) -> bytes:
    """The line that refuses a request; over-long messages are cut, so it always fits."""
    try:
        body = error.to_wire()
    except (KeyError, IndexError, ValueError):  # a template with a field that was not given
        body = NimadError(detail=type(error).__name__).to_wire()
    body["message"] = body["message"][:MAX_MESSAGE]
    body["data"]["hint"] = body["data"]["hint"][:MAX_MESSAGE]
    return encode({"jsonrpc": "2.0", "id": ident, "error": body}) + b"\n"


def size_of(value: Any) -> int:
    """Size of a part of a result in its frame [bytes]."""
    return len(encode(value))


def encode(value: Any) -> bytes:
    """Compact UTF-8 JSON; what JSON or UTF-8 cannot hold becomes null or an escape."""
    try:
        return _text(value).encode("utf-8")
    except UnicodeEncodeError:
        return json.dumps(value, separators=(",", ":")).encode("ascii")
    except ValueError:  # NaN or infinity, which a legacy column may hold
        return encode(_without_nan(value))


def _text(value: Any) -> str:
    """The JSON of a value.  Of a long list in an object, such as the results of a question,
    TOGETHER are made at a time: one long call would keep the interpreter's lock, for which the
    answers of others wait."""
    if isinstance(value, dict):
        for part in value.values():
            if isinstance(part, list) and len(part) > TOGETHER:
                return "".join(_texts(value))
    return _json(value)


def _texts(value: dict[str, Any]) -> Iterator[str]:
    between = "{"
    for name, part in value.items():
        yield f"{between}{_json(str(name))}:"
        between = ","
        if isinstance(part, list):
            for first in range(0, len(part), TOGETHER):
                yield "," if first else "["
                yield _json(part[first : first + TOGETHER])[1:-1]
            yield "]" if part else "[]"
        else:
            yield _json(part)
    yield "}"


_COMPACT = json.JSONEncoder(
    # what is encoded is made here, and a look for circles takes a tenth of its time
    ensure_ascii=False,
    check_circular=False,
    allow_nan=False,
    separators=(",", ":"),
)


def _encoder() -> Callable[[Any], str]:
    """What `_COMPACT.encode` does, which makes the encoder proper anew for each value: that takes
    as long as a small one."""
    make = getattr(encoder, "c_make_encoder", None)
    if make is None:
        return _COMPACT.encode
    marks = None, ":", ",", False, False, False
    made = make(None, _COMPACT.default, encoder.encode_basestring, *marks)
    return lambda value: "".join(made(value, 0))


_json = _encoder()


def _without_nan(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _without_nan(item) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_without_nan(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
