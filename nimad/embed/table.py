"""The table of token vectors behind the static embedder, and its file.

The file is a container (`nimad.disk.container`: magic, checksums, refusals) of the format "tokens",
made by packaging/distill_static.py.  Everything is little-endian.  Version 1 has these regions, for
N tokens of 256 dimensions:

    name        type          meaning
    ----------  ------------  ------------------------------------------------------------------
    numbers     u32[2]        id of the first token; size of one bucket of a hashed feature
    rows        i8[N, 256]    token vectors
    weights     u16[N]        how much a token counts: its vector is `row * weight`
    tokens      UTF-8         the N tokens, one a line, none with a line feed; "##" continues a word
    characters  UTF-8         what code points become (`wordpiece.Characters`), one span a line:
                              FIRST LAST KIND[TEXT], code points in hexadecimal, and KIND
                              "=" stands alone, ">" becomes TEXT (which may be empty)

All vectors are whole numbers in one common unit, whose size does not matter: sums of them are
exact, and the caller makes unit rows of the sums.
"""

from __future__ import annotations

import mmap
import struct
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nimad.dataclass import dataclass
from nimad.disk.container import Container, Summary, write_container
from nimad.disk.durable import Buffer
from nimad.embed.base import DIMS
from nimad.embed.wordpiece import Span, TokenLines
from nimad.errors import FormatCorrupt, FormatTooNew, FormatTooOld, TableDamaged

FORMAT = "tokens"
VERSION = 1
_NUMBERS = struct.Struct("<II")


@dataclass(frozen=True)
class TokenTable:
    """Token vectors and what it takes to cut text into tokens.

    Attributes:
        tokens: token i has the id `first + i`.
        spans: what code points become, in order.
        rows: int8[n, 256]; with `read`, mapped from the file: shared, and read as it is used.
        weights: uint16[n], at most 4095, so that 2**30 tokens add up below 2**53.
        hashed: what one bucket of a hashed feature adds, in the unit of `rows * weights`.
        digest: of the content; equal content, equal digest.  "" before it is written.
        unmap: gives the mapped rows back to the system; the next use reads them again.
        verify: compares what `read_table` has left for later; raises TableDamaged.
    """

    tokens: Sequence[str]
    spans: Sequence[Span]
    rows: NDArray[np.int8]
    weights: NDArray[np.uint16]
    first: int
    hashed: int
    digest: str = ""
    unmap: Callable[[], None] = lambda: None
    verify: Callable[[], None] = lambda: None


def write_table(path: Path, table: TokenTable) -> Summary:
    """Write a table durably; the same table gives the same bytes."""
    numbers = _NUMBERS.pack(table.first, table.hashed)
    regions = [
        ("numbers", [numbers]),
        ("rows", [table.rows.astype("<i1").tobytes()]),
        ("weights", [table.weights.astype("<u2").tobytes()]),
        ("tokens", ["\n".join(table.tokens).encode()]),
        ("characters", [write_spans(table.spans)]),
    ]
    return write_container(path, FORMAT, VERSION, regions)


def read_table(path: Path, later: Sequence[str] = ()) -> TokenTable:
    """Map a table after comparing every checksum but those of the regions `later`: 10 ms.  Raises
    TableDamaged when the file is missing, is not what was written, or is of another version."""
    with opened(path, FORMAT, VERSION, later) as container:
        first, hashed = _NUMBERS.unpack(container.region("numbers"))
        table = TokenTable(
            tokens=TokenLines(container.region("tokens")),
            spans=_SpanLines(container.region("characters")),
            rows=np.frombuffer(container.region("rows"), "<i1").reshape(-1, DIMS),
            weights=np.frombuffer(container.region("weights"), "<u2"),
            first=first,
            hashed=hashed,
            digest=container.digest,
            unmap=lambda: container.advise("rows", mmap.MADV_DONTNEED),
            verify=lambda: verify(container, VERSION, later),
        )
    if not len(table.tokens) == len(table.rows) == len(table.weights) > 0:
        counts = f"{len(table.tokens)} tokens, {len(table.rows)} rows, {len(table.weights)} weights"
        raise TableDamaged(path=path, detail=f"its parts have different lengths: {counts}")
    return table


@contextmanager
def opened(
    path: Path, format_name: str, version: int, later: Sequence[str] = ()
) -> Iterator[Container]:
    """A container whose every checksum was compared, but those of the regions `later`, to be read
    in the block.  Raises TableDamaged when the file is missing, is not what was written, or is of
    another version."""
    with _told_as_damage(path, version):
        container = Container.open(path, format_name, version, version)
        container.verify([name for name in container.regions if name not in later])
        yield container


def verify(container: Container, version: int, later: Sequence[str]) -> None:
    """Compare the checksums that `opened` has left for later.  Raises TableDamaged."""
    with _told_as_damage(container.path, version):
        container.verify(later)


@contextmanager
def _told_as_damage(path: Path, version: int) -> Iterator[None]:
    try:
        yield
    except FormatCorrupt as error:
        raise TableDamaged(path=path, detail=error.fields["detail"]) from error
    except (FormatTooNew, FormatTooOld) as error:
        detail = f"it has format version {error.fields['found']}, this nimad reads {version}"
        raise TableDamaged(path=path, detail=detail) from error
    except (ValueError, struct.error) as error:  # whole, but written wrongly
        detail = f"its content does not fit together ({error})"
        raise TableDamaged(path=path, detail=detail) from error


def write_spans(spans: Sequence[Span]) -> bytes:
    """The region "characters"."""
    lines = (
        f"{span.first:x} {span.last:x} {'=' if span.text is None else f'>{span.text}'}"
        for span in spans
    )
    return "\n".join(lines).encode()


class _SpanLines(Sequence[Span]):
    """The spans of a region, read when first asked for."""

    def __init__(self, region: Buffer) -> None:
        self._region = region

    @cached_property
    def _read(self) -> list[Span]:
        return read_spans(self._region)

    def __len__(self) -> int:
        return len(self._read)

    def __getitem__(self, number: Any) -> Any:
        return self._read[number]

    def __iter__(self) -> Iterator[Span]:
        return iter(self._read)


def read_spans(region: Buffer) -> list[Span]:
    """What `write_spans` wrote.  Raises ValueError for anything else."""
    spans = []
    for line in str(region, "utf-8").split("\n"):
        first, last, what = line.split(" ", 2)
        spans.append(Span(int(first, 16), int(last, 16), None if what == "=" else what[1:]))
    return spans
