"""Whether a client's Cypher only asks: anything else is refused before an engine sees it.

The engine's process is closed to other files anyway (see `worker`); what is said here is a clear
reason, and the same one for both engines.
"""

from __future__ import annotations

import re

from nimad.errors import CypherRefused
from nimad.patterns import lazy_pattern

BEGINNINGS = ("MATCH", "OPTIONAL", "UNWIND", "WITH", "RETURN", "CALL")
REFUSED = frozenset(
    (
        *("CREATE", "MERGE", "SET", "DELETE", "DETACH", "REMOVE", "DROP", "ALTER", "RENAME"),
        *("COPY", "EXPORT", "IMPORT", "LOAD", "INSTALL", "UNINSTALL", "UPDATE", "ATTACH", "USE"),
        *("BEGIN", "COMMIT", "ROLLBACK", "CHECKPOINT", "COMMENT", "EXPLAIN", "PROFILE", "MACRO"),
    )
)
"""Words that write, or reach for other files; as a name they stand in `backquotes`."""
CALLS = frozenset(("SHOW_TABLES", "TABLE_INFO", "SHOW_CONNECTION", "SHOW_FUNCTIONS", "DB_VERSION"))
"""What may be called: it tells about the graph and changes nothing."""

_TOKEN = lazy_pattern(
    r"""(?P<skip>//[^\n]*|/\*.*?\*/|\s+|`(?:[^`])*`|'(?:\\.|[^'\\])*'|"(?:\\.|[^"\\])*")"""
    r"""|(?P<word>[.$]?\s*[^\W\d]\w*)|(?P<sign>.)""",
    re.DOTALL,
)


def check_reads(cypher: str) -> None:
    """Raise CypherRefused unless the text is one statement that only reads."""
    words: list[str] = []
    ended = False
    for token in _TOKEN.finditer(cypher):
        if token["skip"]:
            continue
        if ended:
            raise CypherRefused(detail="it is more than one statement")
        if token["sign"]:
            ended = token["sign"] == ";"
            if token["sign"] in "'\"`":
                raise CypherRefused(detail=f"a {token['sign']} is not closed")
            continue
        if token["word"][0] not in ".$":  # m.set is a property, $set a parameter
            words.append(token["word"].upper())
    if not words or words[0] not in BEGINNINGS:
        first = f"not with {words[0][:40]}" if words else "and this is none"
        raise CypherRefused(detail=f"a question begins with MATCH, UNWIND, WITH or RETURN, {first}")
    for place, word in enumerate(words):
        if word in REFUSED:
            raise CypherRefused(detail=f"{word} is refused, because the graph is only read")
        if word == "CALL" and words[place + 1 : place + 2] not in [[name] for name in CALLS]:
            allowed = ", ".join(sorted(name.lower() for name in CALLS))
            raise CypherRefused(detail=f"CALL is refused, except for {allowed}")
