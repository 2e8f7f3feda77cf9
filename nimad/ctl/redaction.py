"""What of a text may leave the machine: the words that nimad's own source has, and no others.

Nothing is looked for that must not be told; what is told is chosen.  A log line is its sentence as
the source has it, between two placeholders, and numbers beside it; a name of a field or a state is
one that stands in the source.  All else is "…".
"""

from __future__ import annotations

import ast
import builtins
import re
from pathlib import Path
from typing import Any

import nimad

HIDDEN = "…"
"""What stands for what is not told."""
LEAST_LETTERS = 10
"""Number of letters of a sentence, placeholders left out, from which on it is told [characters]."""
LONGEST_WORD = 60
"""Length of the longest word that is told as it is [characters]."""
EXCEPTIONS = {name for name in dir(builtins) if name.endswith(("Error", "Exception", "Interrupt"))}
"""Names of Python's own errors, which are told wherever they stand."""
_FRAME = re.compile(r'^\s*File "[^"]*/(nimad/[\w/]+\.py)", line (\d+), in ([\w<>]+)$')
_PLACE = re.compile(r"\{[^{}]*\}|%[-+ #0-9.]*[sdrfgxi]")
_FIGURE = re.compile(r"[\s:(]*-?\d[\d.,]{0,8}\s?(?:%|ms|s|MB|MiB|bytes|years?)?[\s,;:)]*")


class Redaction:
    """The words and sentences of a package's source.  Cost: 0.5 s on a fast machine."""

    def __init__(self, package: Path = Path(nimad.__file__).parent) -> None:
        self._package = package
        constants: set[str] = set()  # the texts, f-strings with {} for what they fill in
        for file in sorted(package.rglob("*.py")):
            for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
                if isinstance(node, ast.Constant) and isinstance(node.value, str):
                    constants.add(node.value)
                elif isinstance(node, ast.JoinedStr):
                    pieces = (p.value if isinstance(p, ast.Constant) else "{}" for p in node.values)
                    constants.add("".join(map(str, pieces)))
        self._words = {text for text in constants if re.fullmatch(r"[\w.+/-]+", text)}
        templates = {
            tuple(part for part in _PLACE.split(" ".join(text.split())) if part.strip())
            for text in constants
        }
        self._templates = sorted(
            parts
            for parts in templates
            if " " in "".join(parts).strip()  # a sentence, no mere punctuation between names
            and sum(map(str.isalpha, "".join(parts))) >= LEAST_LETTERS
        )

    def value(self, value: Any) -> Any:
        """A value of JSON, its texts and keys as far as they may be told."""
        if isinstance(value, dict):
            return {self._word(key): self.value(item) for key, item in value.items()}
        if isinstance(value, (list, tuple)):
            return [self.value(item) for item in value]
        return self.text(value) if isinstance(value, str) else value

    def _word(self, text: str) -> str:
        known = text in self._words or re.fullmatch(r"\d{1,3}(\.\d{1,4}){0,3}", text)
        return text if known and len(text) <= LONGEST_WORD else HIDDEN

    def text(self, text: str) -> str:
        """A text as far as it may be told."""
        if (frame := _FRAME.search(text)) and (self._package.parent / frame[1]).is_file():
            return f"{frame[1]}, line {frame[2]}, in {frame[3]}"
        text = " ".join(text.split())
        if (word := self._word(text)) != HIDDEN or not text:
            return word if text else ""
        shown = bytearray(len(text))
        for template in self._templates:
            spans, place = [], 0
            for part in template:
                if (place := text.find(part, place)) < 0:
                    break
                spans.append((place, place := place + len(part)))
            else:
                for first, end in spans:
                    shown[first:end] = b"\x01" * (end - first)
        pieces = []  # what is told, and what stands for what is between
        for found in re.finditer(rb"\x01+|\x00+", shown):
            piece = text[found.start() : found.end()]
            told = found[0][0] or (any(shown) and _FIGURE.fullmatch(piece))
            kinds = [word for word in re.findall(r"[A-Z]\w+", piece) if word in EXCEPTIONS]
            pieces.append(piece if told else f" {' '.join([*kinds, HIDDEN])} ")
        return " ".join("".join(pieces).split())
