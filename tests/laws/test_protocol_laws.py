"""Whatever bytes come: frames do not depend on how they arrive, and only NimadErrors rise."""

from __future__ import annotations

import itertools
import json

from hypothesis import given, settings
from hypothesis import strategies as st

from nimad.errors import FrameTooLarge, NimadError
from nimad.serve import protocol
from nimad.serve.frames import FrameDecoder

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


def pieces_of(data: bytes, cuts: list[int]) -> list[bytes]:
    places = sorted({cut % (len(data) + 1) for cut in cuts} | {0, len(data)})
    return [data[a:b] for a, b in itertools.pairwise(places)]


@given(st.lists(st.binary(max_size=30).filter(lambda b: b"\n" not in b)), st.lists(st.integers(0)))
def test_frames_do_not_depend_on_how_the_bytes_arrive(lines: list[bytes], cuts: list[int]) -> None:
    stream = b"".join(line + b"\n" for line in lines) + b"rest"
    decoder = FrameDecoder()
    found = []
    for piece in pieces_of(stream, cuts):
        decoder.feed(piece)
        while (frame := decoder.take()) is not None:
            found.append(frame.data)
    assert found == lines and decoder.partial == 4


@given(st.lists(st.tuples(st.binary(max_size=12), st.integers(0, 3)), max_size=20))
def test_every_descriptor_comes_out_exactly_once(pieces: list[tuple[bytes, int]]) -> None:
    decoder, given_fds, out = FrameDecoder(), 0, []
    for data, number in pieces:
        fds = list(range(given_fds, given_fds + number))
        given_fds += number
        out += decoder.feed(data, fds)
        while (frame := decoder.take()) is not None:
            assert len(frame.fds) <= 1
            out += frame.fds
    out += decoder.abandon()
    assert sorted(out) == list(range(given_fds))


@given(st.binary(max_size=300), st.integers(1, 40))
def test_a_frame_above_the_limit_never_comes_out(data: bytes, limit: int) -> None:
    decoder = FrameDecoder(limit)
    decoder.feed(data)
    try:
        while (frame := decoder.take()) is not None:
            assert len(frame.data) <= limit
        assert decoder.partial <= limit
    except FrameTooLarge:
        assert max(map(len, data.split(b"\n"))) > limit


@settings(max_examples=300)
@given(st.binary(max_size=200) | JSON.map(lambda v: json.dumps(v).encode()))
def test_a_frame_is_a_request_or_a_clean_error(data: bytes) -> None:
    ident = None
    try:
        message = protocol.decode(data)
        ident = protocol.request_id(message)
        protocol.request(message)
    except NimadError as error:
        reply = protocol.error_reply(ident, error)
        assert reply.count(b"\n") == 1 and json.loads(reply)["error"]["code"] < 0


MEMBERS = st.fixed_dictionaries(
    {"jsonrpc": st.just("2.0"), "method": st.text() | JSON},
    optional={"id": JSON, "params": JSON, "extra": JSON},
)


@given(MEMBERS)
def test_near_requests_are_requests_or_clean_errors(members: dict[str, object]) -> None:
    try:
        found = protocol.request(protocol.decode(json.dumps(members).encode()))
    except NimadError:
        return
    assert found.method == members["method"] and found.params == members.get("params", {})


@given(JSON)
def test_a_result_survives_the_wire(value: object) -> None:
    line = protocol.result_reply(1, value)
    try:
        json.dumps(value, allow_nan=False)
    except ValueError:
        return
    assert json.loads(line)["result"] == value
