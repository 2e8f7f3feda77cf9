"""The name of this machine's time zone, looked up anew each time."""

from __future__ import annotations

import os

from nimad.patterns import lazy_pattern

LOCALTIME = "/etc/localtime"
_AS_OFFSET = lazy_pattern(r"<([+-][0-9]{2})([0-9]{2})>[+-][0-9]{2}:[0-9]{2}")
"""How `nimad.times.use_zone` writes an offset."""


def local_name() -> str:
    """The name of this machine's zone: $TZ, else where /etc/localtime points, else /etc/timezone;
    "" where it has none."""
    named = os.environ.get("TZ")
    if named is None:
        try:
            named = os.readlink(LOCALTIME)  # noqa: PTH115 - for each query: pathlib is slower
        except OSError:  # a copy instead of a link, or none
            try:
                with open("/etc/timezone", encoding="ascii") as file:  # noqa: PTH123
                    return file.read().strip()
            except (OSError, ValueError):
                return ""
    if named.startswith("<") and (found := _AS_OFFSET.fullmatch(named)):
        return f"{found[1]}:{found[2]}"
    name = named.removeprefix(":").rpartition("zoneinfo/")[2] or "UTC"
    return "" if name.startswith("/") else name


def is_installed(name: str) -> bool:
    """Whether this machine has the data of a zone."""
    return os.path.isfile(f"/usr/share/zoneinfo/{name}")  # noqa: PTH113
