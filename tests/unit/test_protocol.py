"""Frames and JSON-RPC: what is taken, what is refused, and that a refusal is always a clean one."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from nimad.errors import (
    Busy,
    FrameTooLarge,
    InvalidRequest,
    NimadError,
    ParseError,
    ReplyTooLarge,
)
from nimad.limits import MAX_FRAME, MAX_RECORD
from nimad.serve import protocol, wire
from nimad.serve.frames import FrameDecoder


def frame(**members: Any) -> bytes:
    return json.dumps({"jsonrpc": "2.0", **members}).encode()


def understood(data: bytes) -> protocol.Request:
    return protocol.request(protocol.decode(data))


# --- frames ---------------------------------------------------------------------------------------


def taken(decoder: FrameDecoder) -> list[bytes]:
    found = []
    while (one := decoder.take()) is not None:
        found.append(one.data)
    return found


def test_a_line_is_a_frame_however_it_arrives() -> None:
    decoder = FrameDecoder()
    decoder.feed(b"on")
    assert taken(decoder) == []
    decoder.feed(b"e\ntwo\n\nthr")
    assert taken(decoder) == [b"one", b"two", b""]
    assert decoder.partial == 3
    decoder.feed(b"ee\n")
    assert taken(decoder) == [b"three"]


@pytest.mark.parametrize("end", [b"", b"\n"])
def test_a_frame_may_have_the_limit_and_not_a_byte_more(end: bytes) -> None:
    decoder = FrameDecoder()
    decoder.feed(b"x" * MAX_FRAME + b"\n")
    assert taken(decoder) == [b"x" * MAX_FRAME]
    decoder.feed(b"x" * (MAX_FRAME + 1) + end)
    with pytest.raises(FrameTooLarge):
        decoder.take()


def test_a_descriptor_belongs_to_the_frame_of_the_last_byte_it_came_with() -> None:
    decoder = FrameDecoder()
    assert decoder.feed(b"first\nsecond\nthird", [7]) == []
    assert decoder.feed(b" goes on\nfourth\n") == []
    assert decoder.feed(b"fifth\n", [8]) == []
    frames = [decoder.take() for _ in range(5)]
    assert [found.fds for found in frames if found] == [[], [], [7], [], [8]]


def test_a_second_descriptor_is_handed_back_at_once_and_the_frame_says_so() -> None:
    decoder = FrameDecoder()
    assert decoder.feed(b"a", [7]) == []
    assert decoder.feed(b"b", [8]) == [8]
    assert decoder.feed(b"c\n", [9, 10]) == [9, 10]
    assert decoder.feed(b"next\n", [11, 12]) == [12]
    first, second = decoder.take(), decoder.take()
    assert first and second
    assert (first.fds, first.refused) == ([7], 3)
    assert (second.fds, second.refused) == ([11], 1)


def test_descriptors_the_kernel_cut_off_count_as_refused() -> None:
    decoder = FrameDecoder()
    decoder.feed(b"a\n", [7], truncated=True)
    found = decoder.take()
    assert found and (found.fds, found.refused) == ([7], 1)


def test_abandoning_hands_back_what_nobody_took() -> None:
    decoder = FrameDecoder()
    decoder.feed(b"whole\n", [7])
    decoder.feed(b"part", [8])
    assert decoder.abandon() == [7, 8]
    assert decoder.abandon() == []


# --- requests -------------------------------------------------------------------------------------


def test_a_request() -> None:
    found = understood(frame(id=1, method="query", params={"text": "who fixed the gate?"}))
    assert found == protocol.Request("query", {"text": "who fixed the gate?"}, 1)


def test_params_may_be_left_out_and_no_id_means_a_notification() -> None:
    found = understood(frame(method="ping"))
    assert found.params == {} and found.notification
    assert not understood(frame(method="ping", id=None)).notification


NOT_JSON = {
    "nothing": b"",
    "blank": b"   \r",
    "NUL": b"\0\0\0",
    "NUL in a text": b'{"a": "\0"}',
    "bad UTF-8": b'{"a": "\xff"}',
    "UTF-8 of a surrogate": b'{"a": "\xed\xa0\x80"}',
    "lone surrogate": rb'{"a": "\ud800"}',
    "lone surrogate as a key": rb'{"\udc00": 1}',
    "byte order mark": "\ufeff{}".encode(),
    "cut off": b'{"a": [1, 2',
    "two values": b"{} {}",
    "NaN": b'{"a": NaN}',
    "infinity": b'{"a": -Infinity}',
    "a float beyond measure": b'{"a": 1e400}',
    "an integer beyond measure": b'{"a": ' + b"9" * 5000 + b"}",
    "a key twice": b'{"a": 1, "a": 2}',
    "a key twice, with a surrogate": rb'{"\ud800": 1, "\ud800": 2}',
    "too deep": b'{"a": ' + b"[" * 64 + b"]" * 64 + b"}",
    "far too deep": b'{"a": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    "far too deep and never closed": b'{"a":' * 100_000,
}


@pytest.mark.parametrize("data", NOT_JSON.values(), ids=NOT_JSON)
def test_what_is_no_json_object_is_a_parse_error(data: bytes) -> None:
    with pytest.raises(ParseError) as caught:
        protocol.decode(data)
    assert len(protocol.error_reply(None, caught.value)) < 1000


def test_many_repeated_keys_are_refused_in_no_time() -> None:
    with pytest.raises(ParseError):
        protocol.decode(b"{" + b",".join(b'"%d":1' % (i // 2) for i in range(100_000)) + b"}")


NOT_A_REQUEST = {
    "an array (batch)": b"[]",
    "a number": b"1",
    "null": b"null",
    "text": b'"ping"',
    "no version": b'{"id": 1, "method": "ping"}',
    "another version": b'{"jsonrpc": "1.0", "id": 1, "method": "ping"}',
    "no method": frame(id=1),
    "an empty method": frame(id=1, method=""),
    "a number as method": frame(id=1, method=5),
    "params in a list": frame(id=1, method="ping", params=[1]),
    "params null": frame(id=1, method="ping", params=None),
    "an unknown member": frame(id=1, method="ping", parms={}),
    "an id that is true": frame(id=True, method="ping"),
    "an id that is a list": frame(id=[1], method="ping"),
    "an endless id": frame(id="x" * 257, method="ping"),
    "a gigantic id": frame(id=2**63, method="ping"),
}


@pytest.mark.parametrize("data", NOT_A_REQUEST.values(), ids=NOT_A_REQUEST)
def test_what_is_json_but_no_request_is_an_invalid_request(data: bytes) -> None:
    with pytest.raises(InvalidRequest):
        understood(data)


# --- replies --------------------------------------------------------------------------------------


def test_a_reply_is_one_line_whatever_is_in_it() -> None:
    line = protocol.result_reply("x", {"text": "line\nbreak\r\u2028 and \0 and \ud800"})
    assert line.count(b"\n") == 1 and line.endswith(b"\n")
    assert json.loads(line)["result"]["text"] == "line\nbreak\r\u2028 and \0 and \ud800"


def test_numbers_json_cannot_hold_become_null() -> None:
    line = protocol.result_reply(1, {"a": [float("nan"), 1.5], "b": float("inf")})
    assert json.loads(line)["result"] == {"a": [None, 1.5], "b": None}


def test_a_reply_that_would_not_fit_is_refused_and_the_refusal_fits() -> None:
    assert len(protocol.result_reply(1, "x" * (MAX_FRAME - 100))) <= MAX_FRAME
    with pytest.raises(ReplyTooLarge):
        protocol.result_reply(1, "x" * MAX_FRAME)
    endless = protocol.error_reply("x" * 256, Busy(detail="\0" * MAX_FRAME))
    assert len(endless) < MAX_FRAME


def test_an_error_carries_code_exit_and_hint() -> None:
    found = json.loads(protocol.error_reply(3, Busy(detail="it is stopping")))
    assert found["id"] == 3 and "result" not in found
    assert found["error"]["message"] == "nimad is busy: it is stopping"
    assert found["error"]["data"] == {"code": "busy", "exit": 75, "hint": "Try again in a moment."}


def test_a_long_list_of_a_result_is_made_a_few_entries_at_a_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The encoder keeps the interpreter's lock until it has ended."""
    compact, most = protocol._COMPACT, 0

    class Counting:
        def encode(self, value: object) -> str:
            nonlocal most
            made = compact.encode(value)
            most = max(most, len(made))
            return made

    entries = [{"id": n, "text": "x" * 1000} for n in range(100)]
    odd = [*entries, {"text": "\ud800", "ä": float("nan")}, [], {}]
    monkeypatch.setattr(protocol, "_COMPACT", Counting())
    for results in (entries, entries[:8], odd):
        result = {"results": results, "degraded": None, "took_ms": 1.5}
        reply = protocol.result_reply(7, result)
        assert most < 9000 and reply.count(b"\n") == 1
        expected = {"jsonrpc": "2.0", "id": 7, "result": result}
        assert json.loads(reply) == json.loads(json.dumps(expected).replace("NaN", "null"))
        if results != odd:
            assert reply == json.dumps(expected, separators=(",", ":")).encode() + b"\n"
            assert protocol.size_of(result) == len(protocol.encode(result))
    length = len(reply) - 1  # without the newline
    assert protocol.result_reply(7, result, length) == reply
    with pytest.raises(ReplyTooLarge):
        protocol.result_reply(7, result, length - 1)


def test_an_error_whose_template_lacks_a_field_still_makes_a_reply() -> None:
    class Forgetful(NimadError, code="forgetful", exit=70, wire=-32603):
        """It has {something}."""

        hint = "Look at {what_was_never_given}."

    error = Forgetful(something="a field")
    assert json.loads(protocol.error_reply(1, error))["error"]["data"]["code"] == "internal"


LONG = base64.b64encode(bytes(protocol.LONG // 3 * 3))
"""Four thirds as long as what is decoded apart."""


@pytest.mark.parametrize("end", [b"", b"AA==", b"AAA="])
def test_long_blobs_of_a_record_are_bytes(end: bytes) -> None:
    """And everything else is what `decode` makes of it."""
    line = b'{"text":"%s","blobs":{"a":"%s","b":"AA==","c":"%s"}}' % (LONG, LONG + end, LONG)
    found, plain = protocol.decode_record(line), protocol.decode(line)
    assert found["text"] == plain["text"] and found["blobs"]["b"] == "AA=="
    for name in "ac":
        assert found["blobs"][name] == base64.b64decode(plain["blobs"][name])


@pytest.mark.parametrize(
    ("line", "detail"),
    [
        (b'{"text":"x","blobs":{"a":"\\u00001","b":"%s"}}', "base64 texts"),
        (b'{"blobs":{"a":"b"},"text":"%s"}', "must be its last field"),
        (b'{"blobs":{"a":{"b":"%s"}}}', "must be its last field"),
        (b'{"blobs":{"a":"A%s"}}', "no base64"),
        (b'{"blobs":{"a":"%s"},"blobs":{}}', "appears twice"),
        (b'{"text":"' + b"x," * (6 << 20) + b'","blobs":{"a":"%s"}}', "at most 12 MiB fit"),
        (b"[" * 70 + b'"blobs":{"a":"%s"}', "not one JSON object"),
    ],
    ids=["no text", "not last", "in an object", "no base64", "twice", "large", "no object"],
)
def test_records_that_are_none_are_refused(line: bytes, detail: str) -> None:
    with pytest.raises(NimadError, match=detail):
        wire.imported(protocol.decode_record(line % LONG), "default")


def test_one_wide_letter_does_not_make_a_record_four_times_as_large() -> None:
    """Python holds each character of a text in as many bytes as its widest needs."""
    line = '{"text":"%s"}' % ("x" * (MAX_RECORD // 2 + 1000) + "%s")
    for letter in ("\u00fc", "\u20ac"):
        assert protocol.decode_record((line % letter).encode())["text"].endswith(letter)
    with pytest.raises(ParseError, match="24 MiB in memory"):
        protocol.decode_record((line % "\U0001f600").encode())


def test_what_is_encoded_is_that_of_the_library() -> None:
    """Its encoder is made once, which the library does for each value."""
    values = [None, True, 'a\u00e9\u2028\ud800"', 3, 0.1, [], {}, {"a": [{"b": (1, "x")}, 1e300]}]
    for value in (*values, values):
        assert protocol._json(value) == protocol._COMPACT.encode(value)
    with pytest.raises(ValueError):
        protocol._json([float("nan")])
    with pytest.raises(TypeError):
        protocol._json(object())
