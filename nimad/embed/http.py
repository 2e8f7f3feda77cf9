"""Vectors from an endpoint on the network, through the helper process nimad-embedder.

The daemon opens no network socket: it talks to the helper over a Unix socket, one line of JSON each
way (docs/embedders.md).  What comes back is checked like anything from outside.

While the helper or its endpoint is away nothing waits for it: after a failure the next attempt is
made after 2 seconds, then 4, and so on up to a minute; in between every call fails at once, so
queries go by words and new memories are encoded later.
"""

from __future__ import annotations

import base64
import hashlib
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nimad import helper_line
from nimad.config import Config
from nimad.embed.base import Embedder
from nimad.errors import ConfigError, Degraded

QUICK_SECONDS = 3.0
"""Longest wait for one text, which is a query or a new memory [seconds]."""
GRACE = 2.0
"""Time that the helper may take beyond the endpoint's own limit [seconds]."""
FIRST_PAUSE, LONGEST_PAUSE = 2.0, 60.0
"""Pauses after a failure: the first, doubled up to the longest [seconds]."""
MOST_BYTES = 16 << 20
"""Largest reply of the helper [bytes]."""


class HttpEmbedder(Embedder):
    """An OpenAI-compatible endpoint behind the helper; safe to use from many threads."""

    name = "http"

    def __init__(self, config: Config, clock: Callable[[], float] = time.monotonic) -> None:
        """Raises ConfigError when http.url is empty; does not connect yet."""
        if not config["http.url"]:
            raise ConfigError(path="embedder", detail="http needs http.url")
        which = f"{config['http.url']} {config['http.model']}"
        self.revision = hashlib.blake2b(which.encode(), digest_size=8).hexdigest()
        self.dims: int = config["http.dims"]
        self._socket = config["http.socket"]
        self._seconds: float = config["http.timeout"]
        self._batch: int = config["http.batch"]
        self._clock = clock
        self._pause = 0.0
        self._not_before = 0.0
        self._lock = threading.Lock()

    @classmethod
    def create(cls, config: Config) -> HttpEmbedder:
        """The endpoint of the section `http` of the configuration.  Raises ConfigError."""
        return cls(config)

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """float32[n, dims]: see `nimad.embed.base.Embedder`.  Raises Degraded."""
        rows = np.zeros((len(texts), self.dims), np.float32)
        asked = [n for n, text in enumerate(texts) if text.strip()]
        for start in range(0, len(asked), self._batch):
            part = asked[start : start + self._batch]
            with self._lock:
                if self.trouble is not None and self._clock() < self._not_before:
                    raise Degraded(part="embedder", detail=self.trouble)
            try:
                limit = QUICK_SECONDS if len(part) == 1 else self._seconds
                request = {
                    "texts": [texts[n] for n in part],
                    "seconds": min(limit, self._seconds),
                }
                reply = helper_line.ask(self._socket, request, limit + GRACE, MOST_BYTES)
                made = self._parsed(reply, len(part))
            except (OSError, ValueError, KeyError, TypeError) as error:
                reason = str(error) or type(error).__name__
                if isinstance(error, (FileNotFoundError, ConnectionRefusedError)):
                    reason = "nimad-embedder does not run"
                    reason += " (systemctl enable --now nimad-embedder.socket)"
                with self._lock:
                    self._pause = min(max(self._pause * 2, FIRST_PAUSE), LONGEST_PAUSE)
                    self._not_before = self._clock() + self._pause
                    self.trouble = reason
                raise Degraded(part="embedder", detail=reason) from error
            with self._lock:
                self.trouble, self._pause = None, 0.0
            rows[part] = made
        return rows

    def _parsed(self, reply: dict[str, Any], count: int) -> NDArray[np.float32]:
        """The vectors of a reply at length 1.  Raises ValueError and its kin."""
        if "error" in reply:
            raise ValueError(str(reply["error"])[:300])
        size = int(reply["dims"])
        values = np.frombuffer(base64.b64decode(reply["vectors"]), "<f4")
        if size < self.dims or len(values) != count * size:
            raise ValueError(f"the endpoint gives {size} dimensions, http.dims is {self.dims}")
        # more than wanted are cut off: right for models trained so (Matryoshka), see the manual
        rows = values.reshape(count, size)[:, : self.dims].astype(np.float64)
        if not np.isfinite(rows).all():
            raise ValueError("the endpoint gave numbers that are none")
        lengths = np.sqrt(np.square(rows).sum(axis=1, keepdims=True))
        lengths[lengths == 0] = 1.0
        return np.asarray(rows / lengths, np.float32)
