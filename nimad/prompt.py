"""A memory as a line of a prompt: what nimactl prints, and what the daemon counts for a budget."""

from __future__ import annotations

import time
from contextlib import suppress


def line(text: str, who: str | None, layer: str, timestamp: int | None) -> str:
    """`2023-05-08 13:56 Maya: text`, the time in this machine's zone; without one where there is
    no date.

    Who said nothing of who gets the layer instead, and a contemplation says that it is one: it was
    thought, not said.  Further lines of the text are indented.
    """
    speaker = who or layer
    if who and layer == "contemplation":
        speaker = f"{who} (contemplation)"
    shown = "\n  ".join(text.strip().splitlines())
    date = ""
    with suppress(ValueError, OverflowError, OSError):  # no calendar has it
        if timestamp is not None:
            date = time.strftime("%Y-%m-%d %H:%M ", time.localtime(timestamp / 1000))
    return f"{date}{speaker}: {shown}"
