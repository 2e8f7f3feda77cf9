"""Regular expressions that are compiled when they are first used.

`re.compile` is slow: those of dates alone take as long as the interpreter needs to start, and most
questions come to none of them.  `re` itself is loaded only then.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    import re
    from typing import Any


def lazy_pattern(source: str, flags: int = 0) -> re.Pattern[str]:
    """What `re.compile` gives, as to its methods and attributes."""
    return _Lazy(source, flags)  # type: ignore[return-value]


class _Lazy:
    def __init__(self, source: str, flags: int) -> None:
        self._given = source, flags

    def __getattr__(self, name: str) -> Any:
        """Only asked for what is not there: once for each method."""
        if name == "_compiled":
            from re import compile

            self._compiled = compile(*self._given)
            return self._compiled
        value = getattr(self._compiled, name)
        setattr(self, name, value)
        return value
