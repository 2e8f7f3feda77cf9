"""The embedders by name; each is made once, when it is first asked for."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

from nimad.errors import ConfigError

if TYPE_CHECKING:
    from nimad.embed.base import Embedder

NAMES = ("static", "hash")


@functools.cache
def get_embedder(name: str) -> Embedder:
    """The embedder of that name, shared by all who ask; its code and its table load only now.

    Raises:
        ConfigError: when there is none of that name; it lists the names.
        TableDamaged: when the table behind it is missing or not what was shipped.
    """
    if name == "hash":
        from nimad.embed.hash import HashEmbedder

        return HashEmbedder()
    if name == "static":
        from nimad.embed.static import StaticEmbedder

        return StaticEmbedder()
    raise ConfigError(path="embedder", detail=f"{name!r} is none of {', '.join(NAMES)}")
