"""HTML that cannot be anything but what was meant: every text is escaped unless it was made here.

A memory may hold any text, markup among it.  `tag` escapes each child and attribute that is no
`Html`, and only this module makes `Html`; so nothing that came from elsewhere becomes markup.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterable

# Controls but tab and newline, and halves of surrogate pairs: HTML has no way to write them.
_NOT_SHOWN = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")
_EMPTY = frozenset({"br", "input", "link", "meta", "base", "hr"})
"""Elements without content, which have no end tag."""


class Html(str):
    """Markup that may be sent as it is."""

    __slots__ = ()


Child = str | int | float | None | Iterable["Child"]
"""What stands in an element: a text (escaped), markup, a number, or several; None is nothing."""
Value = str | int | float | bool | None
"""An attribute's value; True is the bare name, None and False leave it out."""


def escape(text: str) -> Html:
    """A text as HTML shows it; what cannot be shown is U+FFFD."""
    return Html(html.escape(_NOT_SHOWN.sub("\ufffd", text)))


def join(children: Child) -> Html:
    """Children one after the other."""
    if children is None:
        return Html()
    if isinstance(children, Html):
        return children
    if isinstance(children, str):
        return escape(children)
    if isinstance(children, (int, float)):
        return escape(str(children))
    return Html("".join(map(join, children)))


def tag(name: str, /, *children: Child, **attributes: Value) -> Html:
    """An element.  `class_` stands for class, `aria_label` for aria-label."""
    given = "".join(
        f" {key.rstrip('_').replace('_', '-')}" + ("" if value is True else f'="{join(value)}"')
        for key, value in attributes.items()
        if value is not None and value is not False
    )
    if name in _EMPTY:
        return Html(f"<{name}{given}>")
    return Html(f"<{name}{given}>{join(children)}</{name}>")


def document(*children: Child, **attributes: Value) -> Html:
    """A whole page."""
    return Html(f"<!doctype html>\n{tag('html', *children, **attributes)}\n")
