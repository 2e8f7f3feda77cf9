"""What nimactl prints: text for people, JSON for programs, notes, progress and errors on stderr.

Colours only on a terminal and without $NO_COLOR.  Text is wrapped on a terminal, or to $COLUMNS
when that is set; a pipe gets each line whole.  JSON is UTF-8 whatever the locale.
"""

from __future__ import annotations

import os
import sys
import time

from nimad.closing import Closing
from nimad.ctl import light_json
from nimad.ctl.terminal_text import one_line, safe, safe_json, shorten, wrap

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, TextIO

    from nimad.errors import NimadError

BOLD, DIM, RED, GREEN, YELLOW = "1", "2", "31", "32", "33"
NARROWEST = 20
"""Width below which what a terminal says of itself is taken for wrong [columns]."""
REDRAW = 0.1
"""Pause between two drawings [seconds]."""


class Screen:
    """Standard output and error of one run; `json` says that a program reads them."""

    def __init__(self, as_json: bool = False) -> None:
        self.json = as_json
        self._out = _stream(sys.stdout)
        self._err = _stream(sys.stderr)
        self.terminal = self._out.isatty()
        given = os.environ.get("COLUMNS", "")
        self.width = int(given) if given.isdigit() and int(given) >= NARROWEST else None
        """Columns to wrap to: $COLUMNS, the terminal's, or None."""
        if self.width is None and self.terminal:
            try:  # noqa: SIM105 - contextlib takes long to load
                self.width = os.get_terminal_size(self._out.fileno()).columns
            except (OSError, ValueError):
                pass
            if self.width is None or self.width < NARROWEST:
                self.width = 80
        plain = "NO_COLOR" in os.environ or os.environ.get("TERM") == "dumb"
        self._coloured = self.terminal and not plain

    @property
    def progress(self) -> TextIO | None:
        """Where progress may be drawn: standard error, when it is a terminal."""
        return self._err if self._err.isatty() else None

    def shows(self, text: str) -> bool:
        """Whether standard output has the characters of a text."""
        try:
            text.encode(getattr(self._out, "encoding", None) or "ascii")
        except (UnicodeEncodeError, LookupError):
            return False
        return True

    def style(self, text: str, *codes: str) -> str:
        """The text in a colour, where colours are shown."""
        return f"\x1b[{';'.join(codes)}m{text}\x1b[0m" if self._coloured and text else text

    def line(self, text: str = "") -> None:
        """Print a line that is already safe."""
        self._write(self._out, text + "\n")

    def paragraph(self, text: str, indent: str = "") -> None:
        """Print any text: made safe, indented, wrapped."""
        room = None if self.width is None else max(self.width - len(indent), NARROWEST)
        for line in wrap(safe(text), room):
            self.line(f"{indent}{line}".rstrip())

    def result(self, value: Any) -> int:
        """Print a result as one JSON document: a line of its own, indented on a terminal.  Returns
        the exit code 0."""
        self.raw(json_bytes(value, indent=2 if self.terminal else None))
        return 0

    def answer(self, result: Any, *lines: str) -> int:
        """A result as JSON for a program, or lines about it that are already safe.  Returns the
        exit code 0."""
        if self.json:
            return self.result(result)
        for line in lines:
            self.line(line)
        return 0

    def raw(self, data: bytes) -> None:
        """Write bytes to standard output, after what was printed before."""
        self.flush()
        binary = getattr(self._out, "buffer", None)
        if binary is None:
            self._write(self._out, data.decode("utf-8", "replace"))
            return
        with _said(self._out):
            binary.write(data)

    def note(self, text: str) -> None:
        """Say something beside the result, on standard error."""
        self.aside(f"nimactl: {text}")

    def aside(self, text: str) -> None:
        """Print a line on standard error."""
        self.flush()
        self._write(self._err, f"{one_line(text)}\n")

    def fail(self, error: NimadError, **more: Any) -> int:
        """Say what went wrong and what to do next; returns the exit code.  With --json: one object
        {"error": {"code", "message", "hint", "exit", ...}}."""
        import contextlib

        from nimad.errors import NimadError

        with contextlib.suppress(OSError, NimadError):
            self.flush()
        if self.json:
            about = {"code": error.code, "message": error.message, "hint": error.next_step}
            document = json_bytes({"error": {**about, "exit": error.exit, **more}})
            text = document.decode("utf-8", "replace")
        else:
            text = f"nimactl: {safe(error.sentences)}\n"
        with contextlib.suppress(OSError, ValueError, NimadError):
            self._write(self._err, text.replace("\n", " ").rstrip() + "\n")
        return error.exit

    def flush(self) -> None:
        """Everything printed so far is out; OutputUnusable when it cannot be."""
        with _said(self._out):
            self._out.flush()

    def _write(self, stream: TextIO, text: str) -> None:
        with _said(stream):
            stream.write(text)
            if stream is self._err:
                stream.flush()


class _said:  # noqa: N801
    """Turns what a full disk does to standard output into an error; a closed pipe stays one."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def __enter__(self) -> None:
        """Nothing needs to be done."""

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, OSError) and not isinstance(error, BrokenPipeError):
            from nimad.errors import OutputUnusable

            raise OutputUnusable(path="standard output", detail=error.strerror) from error


def json_bytes(value: Any, indent: int | None = None) -> bytes:
    """A JSON document and a newline, in UTF-8, without any control character."""
    if indent is None:
        document = light_json.dumps(value)
    else:
        import json

        document = json.dumps(value, ensure_ascii=False, indent=indent)
    return f"{safe_json(document)}\n".encode()


def _stream(stream: TextIO | None) -> TextIO:
    """A standard stream that can say anything in its encoding; closed ones swallow it."""
    if stream is None:
        return open(os.devnull, "w", encoding="utf-8")  # noqa: PTH123
    reconfigure = getattr(stream, "reconfigure", None)
    if reconfigure is not None:
        reconfigure(errors="backslashreplace")
    return stream


def bar(fraction: float, cells: int = 24) -> str:
    """`[######------]`: full only when all is done."""
    inside = min(max(fraction, 0.0), 1.0)
    full = cells if inside >= 1 else min(int(inside * cells), cells - 1)
    return f"[{'#' * full}{'-' * (cells - full)}]"


class Progress(Closing):
    """Draws on a stream that is a terminal; with None it draws nothing.  Use it in `with`."""

    def __init__(self, stream: TextIO | None) -> None:
        self._stream = stream
        self._drawn = False
        self._last = 0.0

    def show(self, text: str, *, now: bool = False) -> None:
        """Draw the line anew, cut to the terminal; at most ten times a second unless `now`."""
        if self._stream is None or (time.monotonic() - self._last < REDRAW and not now):
            return
        self._last = time.monotonic()
        self._drawn = True
        try:
            columns = max(os.get_terminal_size(self._stream.fileno()).columns, 20)
        except (OSError, ValueError):
            columns = 80
        self._write(f"\r\x1b[K{shorten(text, columns - 1)}")

    def close(self) -> None:
        """Take the line away."""
        if self._drawn:
            self._drawn = False
            self._write("\r\x1b[K")

    def _write(self, text: str) -> None:
        assert self._stream is not None
        try:
            self._stream.write(text)
            self._stream.flush()
        except OSError:
            pass
