"""How things end: what is closed at the end of a `with` block, a stream that takes no more."""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Self, TextIO


class Closing:
    """A base for what has `close()`: `with` gives the object itself, and closes it at the end."""

    def close(self) -> None:
        """Give back what it holds."""
        raise NotImplementedError

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def let_go(stream: TextIO = sys.stderr) -> None:
    """Drop what a vanished terminal or a full disk does not take.  Otherwise the interpreter tries
    once more when it ends, and makes the exit code 120."""
    try:
        stream.flush()
    except OSError:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)
