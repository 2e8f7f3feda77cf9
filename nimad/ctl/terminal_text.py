"""Text that may be shown to a person: made harmless, measured in columns, wrapped.

A memory may hold anything, an escape sequence that retitles the terminal or a mark that turns the
reading direction round among it; what is shown of it goes through `safe` first.
"""

from __future__ import annotations

from nimad.patterns import lazy_pattern

TYPE_CHECKING = False
if TYPE_CHECKING:
    import re

# C0 and C1 controls, DEL, direction overrides and isolates, line and paragraph separators,
# halves of surrogate pairs.  A newline is decided on by the caller.
_HARMFUL = lazy_pattern(
    "[\x00-\x09\x0b-\x1f\x7f-\x9f\u061c\u202a-\u202e\u2066-\u2069\u2028\u2029\ud800-\udfff]"
)
_IN_JSON = lazy_pattern("[\x7f-\x9f\u061c\u202a-\u202e\u2066-\u2069\u2028\u2029\ud800-\udfff]")


def safe(text: str) -> str:
    """The text with every control character but the newline made visible: ESC becomes `\\x1b`."""
    text = text.replace("\r\n", "\n")
    harmless = text.replace("\n", "").isprintable()  # then `re` need not be loaded
    return text if harmless else _HARMFUL.sub(_visible, text)


def one_line(text: str) -> str:
    """As `safe`, with newlines made visible too."""
    return safe(text).replace("\n", "\\n")


def safe_json(document: str) -> str:
    """A JSON document that means the same and shows no control character (they are escaped)."""
    if document.isprintable():
        return document
    return _IN_JSON.sub(lambda found: f"\\u{ord(found.group()):04x}", document)


def _visible(found: re.Match[str]) -> str:
    char = found.group()
    if char == "\t":
        return "    "
    return f"\\x{ord(char):02x}" if char < "\x80" else f"\\u{ord(char):04x}"


def columns(text: str) -> int:
    """Width of a text on a terminal: two for wide characters, none for marks [columns]."""
    if text.isascii():
        return len(text)
    from unicodedata import category, east_asian_width

    taken = 0
    for char in text:
        if category(char) not in ("Mn", "Me", "Cf"):
            taken += 2 if east_asian_width(char) in ("W", "F") else 1
    return taken


def wrap(text: str, width: int | None) -> list[str]:
    """The text's own lines, each broken between words into lines of at most `width` columns.  A
    word that is longer than a line is broken where the line ends.  None does not wrap."""
    lines: list[str] = []
    for line in text.split("\n"):
        if width is None or columns(line) <= width:
            lines.append(line)
            continue
        current = ""
        for word in line.split():
            longer = f"{current} {word}" if current else word
            if columns(longer) <= width:
                current = longer
                continue
            if current:
                lines.append(current)
            *full, current = _pieces(word, width)
            lines += full
        lines.append(current)
    return lines


def _pieces(word: str, width: int) -> list[str]:
    """A word cut into pieces that fit; the last is what remains."""
    pieces = [""]
    taken = 0
    for char in word:
        wide = columns(char)
        if taken + wide > width and pieces[-1]:
            pieces.append("")
            taken = 0
        pieces[-1] += char
        taken += wide
    return pieces


def cut(text: str, most: int) -> str:
    """One line of at most `most` characters; what was cut shows as `…`."""
    line = one_line(text)
    return line if len(line) <= most else f"{line[: most - 2]} …"


def shorten(text: str, width: int | None) -> str:
    """One line of at most `width` columns; what was cut shows as `...`."""
    line = one_line(text)
    if width is None or columns(line) <= width:
        return line
    return _pieces(line, max(width - 3, 1))[0].rstrip() + "..."
