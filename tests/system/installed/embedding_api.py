"""An OpenAI-compatible endpoint for the machine of the tests: embeds by spelling, wants a key.

    python3 embedding_api.py PORT KEY LOG

Each request adds a line to LOG: "200 TEXTS" or "401 0".  Standard library only; it is copied into
the machine as it is.
"""

from __future__ import annotations

import json
import sys
import zlib
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

DIMS = 64
PORT, KEY, LOG = int(sys.argv[1]), sys.argv[2], Path(sys.argv[3])


def vector(text: str) -> list[float]:
    """The words, each counted at the place of its hash; never all zero."""
    counts = [0.01] * DIMS
    for word in text.lower().replace(".", " ").replace("?", " ").split():
        counts[zlib.crc32(word.encode()) % DIMS] += 1.0
    return counts


class Handler(BaseHTTPRequestHandler):
    """POST anything: the vectors of "input" for who has the key."""

    def do_POST(self) -> None:
        texts = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["input"]
        if self.headers.get("Authorization") == f"Bearer {KEY}":
            data = [{"index": n, "embedding": vector(text)} for n, text in enumerate(texts)]
            self.answer(200, json.dumps({"data": data}).encode(), len(texts))
        else:
            self.answer(401, b"no such key", 0)

    def answer(self, status: int, body: bytes, texts: int) -> None:
        """Send it, and note what was sent."""
        with LOG.open("a", encoding="utf-8") as log:
            log.write(f"{status} {texts}\n")
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """LOG says it."""


if __name__ == "__main__":
    ThreadingHTTPServer(("127.0.0.1", PORT), Handler).serve_forever()
