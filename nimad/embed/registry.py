"""The embedders by name; each is made once, when it is first asked for."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import TYPE_CHECKING

from nimad.config import Config
from nimad.errors import ConfigError, EmbedderMissing

if TYPE_CHECKING:
    from nimad.embed.base import Embedder

NAMES = ("static", "hash", "minilm", "http")
ALWAYS_THERE = ("static", "hash")
"""Those that need nothing but this package."""

_made: dict[tuple[object, ...], Embedder] = {}
_making = threading.Lock()


def get_embedder(name: str, config: Config | None = None) -> Embedder:
    """The embedder of that name, shared by all who ask; its code and its table load only now.

    Raises:
        ConfigError: when there is none of that name; it lists the names.
        TableDamaged: when the table behind it is missing or not what was shipped.
        EmbedderMissing: when it is not installed.
    """
    if name not in NAMES:
        raise ConfigError(path="embedder", detail=f"{name!r} is none of {', '.join(NAMES)}")
    settings = config or Config()
    own = [value for key, value in settings.values.items() if key.startswith(f"{name}.")]
    with _making:
        key = (name, *own)
        if key not in _made:
            _made[key] = _make(name, settings)
        return _made[key]


def _make(name: str, settings: Config) -> Embedder:
    if name == "hash":
        from nimad.embed.hash import HashEmbedder

        return HashEmbedder()
    if name == "minilm":
        from nimad.embed.minilm import MiniLmEmbedder

        return MiniLmEmbedder(find_model(), settings["minilm.threads"])
    if name == "http":
        from nimad.embed.http import HttpEmbedder

        return HttpEmbedder(settings)
    from nimad.embed.static import StaticEmbedder

    return StaticEmbedder()


def model_places() -> list[Path]:
    """Where minilm.model is looked for: beside the static table (the package nimad-minilm puts it
    there), then in the user's cache (`make minilm` does)."""
    base = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")  # noqa: PTH111
    return [Path(__file__).parent / "data" / "minilm.model", Path(base) / "nimad" / "minilm.model"]


def find_model() -> Path:
    """The file of the embedder minilm.  Raises EmbedderMissing."""
    for place in model_places():
        if os.access(place, os.R_OK):
            return place
    raise EmbedderMissing(name="minilm", detail=f"there is no {model_places()[0]}")
