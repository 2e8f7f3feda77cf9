"""The endpoint: POST URL {"model", "input"}, as the embeddings of OpenAI and its likes work."""

from __future__ import annotations

import http.client
import json
import math
import ssl
import time
from array import array
from collections.abc import Sequence
from typing import Any
from urllib.parse import urlsplit

import tenacity

from nimad import __version__
from nimad.config import Config
from nimad.errors import ConfigError

MOST_BYTES = 64 << 20
"""Largest reply accepted [bytes]."""
ATTEMPTS = 4
LEAST_SECONDS = 0.05
"""What a try has that begins too late: what is told then is what is wrong, as each time before
[seconds]."""
PASSING = {408, 425, 429, 500, 502, 503, 504}
"""HTTP statuses after which the request is sent again."""


class EndpointError(Exception):
    """What the endpoint did wrong, in words for a person; they go to the log and to `status`.

    Nothing of the endpoint's own words: an endpoint that quotes what it was asked would put the
    text of a memory there, where no purge removes it.

    Attributes:
        passes: whether trying again may help.
    """

    def __init__(self, message: str, passes: bool) -> None:
        super().__init__(message)
        self.passes = passes


class Endpoint:
    """One endpoint; safe to use from many threads: each request has a connection of its own."""

    def __init__(self, config: Config, key: str | None = None) -> None:
        """`key` is sent as a bearer token.  Raises ConfigError when http.url is no http(s) URL."""
        self.url = urlsplit(config["http.url"])
        if self.url.scheme not in ("http", "https") or not self.url.hostname:
            detail = f"{config['http.url']!r} is no address with http or https"
            raise ConfigError(path="http.url", detail=detail)
        self.model: str = config["http.model"]
        self.dims: int = config["http.dims"]
        self.most_characters: int = config["http.max_chars"]
        self._headers = {"Content-Type": "application/json", "User-Agent": f"nimad/{__version__}"}
        if key:
            self._headers["Authorization"] = f"Bearer {key}"

    def embed(self, texts: Sequence[str], seconds: float) -> tuple[int, array[float]]:
        """Dimensions, and the vectors of `texts` one after the other, as float32.

        Longer texts are cut at http.max_chars.  Tries again within `seconds`, with growing pauses.
        Raises EndpointError.
        """
        deadline = time.monotonic() + seconds
        cut = [text[: self.most_characters].encode("utf-8", "replace").decode() for text in texts]
        body = json.dumps({"model": self.model, "input": cut, "encoding_format": "float"}).encode()
        retrying = tenacity.Retrying(
            stop=tenacity.stop_any(
                tenacity.stop_after_attempt(ATTEMPTS), tenacity.stop_before_delay(seconds)
            ),
            wait=tenacity.wait_exponential(multiplier=0.2) + tenacity.wait_random(0, 1),
            retry=tenacity.retry_if_exception(
                lambda error: isinstance(error, EndpointError) and error.passes
            ),
            reraise=True,
        )
        reply: bytes = retrying(self._post, body, deadline)
        return _vectors(reply, len(cut))

    def _post(self, body: bytes, deadline: float) -> bytes:
        left = max(deadline - time.monotonic(), LEAST_SECONDS)
        host, port = self.url.hostname or "", self.url.port
        connection = http.client.HTTPConnection(host, port, timeout=left)
        if self.url.scheme == "https":
            context = ssl.create_default_context()
            connection = http.client.HTTPSConnection(host, port, timeout=left, context=context)
        try:
            target = (self.url.path or "/") + (f"?{self.url.query}" if self.url.query else "")
            connection.request("POST", target, body, self._headers)
            response = connection.getresponse()
            reply = response.read(MOST_BYTES + 1)
        except http.client.HTTPException as error:
            detail = f"{self.url.netloc} does not speak HTTP ({type(error).__name__})"
            raise EndpointError(detail, passes=True) from error
        except OSError as error:
            reason = error.strerror or str(error) or type(error).__name__
            raise EndpointError(f"{self.url.netloc}: {reason}", passes=True) from error
        finally:
            connection.close()
        if response.status != 200:
            meaning = http.client.responses.get(response.status, "an unknown status")
            message = f"{self.url.netloc} answered {response.status} {meaning}"
            raise EndpointError(message, response.status in PASSING)
        if len(reply) > MOST_BYTES:
            raise EndpointError(f"{self.url.netloc} answered without an end", passes=False)
        return reply


def _vectors(reply: bytes, count: int) -> tuple[int, array[float]]:
    """The "data" of a reply, in the order of "index"."""
    try:
        items: list[dict[str, Any]] = json.loads(reply)["data"]
        if len(items) != count:
            raise EndpointError(f"the endpoint gave {len(items)} vectors for {count} texts", False)
        places = [int(item.get("index", n)) for n, item in enumerate(items)]
        if sorted(places) != list(range(count)):
            raise EndpointError("the endpoint's indices are not those of the texts", False)
        order = sorted(range(count), key=places.__getitem__)
        rows = [items[n]["embedding"] for n in order]
        size = len(rows[0])
        values = array("f", [float(value) for row in rows for value in row])
        if any(len(row) != size for row in rows) or not all(map(math.isfinite, values)):
            detail = "the endpoint's vectors differ in length, or are not finite"
            raise EndpointError(detail, passes=False)
    except (ValueError, TypeError, KeyError, OverflowError) as error:
        message = f"the endpoint's answer is not one of embeddings ({type(error).__name__})"
        raise EndpointError(message, passes=False) from error
    return size, values
