"""What this process has had written to the disk: wear of a card is counted here."""

from __future__ import annotations


def own_writes() -> int | None:
    """Bytes of pages that this process dirtied in files since it began, which the kernel writes out
    (`write_bytes` of /proc/self/io, proc_pid_io(5)); None where the kernel does not count them."""
    import psutil

    try:
        return int(psutil.Process().io_counters().write_bytes)
    except (OSError, psutil.Error, AttributeError, NotImplementedError):
        return None
