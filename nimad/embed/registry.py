"""The embedders by name; each is made once, when it is first asked for."""

from __future__ import annotations

import importlib
import threading
from typing import TYPE_CHECKING

from nimad.config import Config
from nimad.errors import ConfigError
from nimad.keys import EMBEDDERS

if TYPE_CHECKING:
    from nimad.embed.base import Embedder

CLASSES = {
    "static": "StaticEmbedder",
    "hash": "HashEmbedder",
    "minilm": "MiniLmEmbedder",
    "http": "HttpEmbedder",
}
"""The class of each embedder, in the module of its name."""
ALWAYS_THERE = ("static", "hash")
"""Names of those that need nothing but this package."""

_made: dict[tuple[object, ...], Embedder] = {}
_making = threading.Lock()


def get_embedder(name: str, config: Config | None = None) -> Embedder:
    """The embedder of that name, shared by all callers; its code and its table load only now.
    Raises ConfigError, which lists the names, when there is none of that name; TableDamaged when
    the table behind it is missing or not what was shipped; EmbedderMissing without its package.
    """
    settings = config or Config()
    own = [value for key, value in settings.values.items() if key.startswith(f"{name}.")]
    with _making:
        key = (name, *own)
        if key not in _made:
            _made[key] = embedder_class(name).create(settings)
        return _made[key]


def embedder_class(name: str) -> type[Embedder]:
    """The class of the embedder of that name; only its code loads.  Raises ConfigError."""
    if name not in CLASSES:
        raise ConfigError(path="embedder", detail=f"{name!r} is none of {', '.join(EMBEDDERS)}")
    found: type[Embedder] = getattr(importlib.import_module(f"nimad.embed.{name}"), CLASSES[name])
    return found
