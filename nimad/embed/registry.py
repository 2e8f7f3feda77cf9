"""The embedders by name; each is made once, when it is first asked for."""

from __future__ import annotations

import functools

from nimad.embed.base import Embedder
from nimad.embed.hash import HashEmbedder
from nimad.errors import ConfigError

NAMES = ("static", "hash")


@functools.cache
def get_embedder(name: str) -> Embedder:
    """The embedder of that name; raises ConfigError, which lists the names, for any other.

    Raises FormatCorrupt and its kin when the table that it is made from is damaged.
    """
    if name == "hash":
        return HashEmbedder()
    if name == "static":
        from nimad.embed.static import StaticEmbedder

        return StaticEmbedder()
    raise ConfigError(path="embedder", detail=f"{name!r} is none of {', '.join(NAMES)}")
