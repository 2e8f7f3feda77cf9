"""Who gets in: one key, known to the person alone, and only from our own pages.

Every local user, and every page in the person's browser, can reach a loopback port.  So each
request is looked at in this order, whatever it asks for:

1. `Host` names this machine: a page of another name that was made to resolve to it (DNS rebinding)
   is refused.
2. `Origin` and `Sec-Fetch-Site`, where the browser sends them, are ours; a POST says its origin.
3. The key: `?key=` once, which sets a cookie and leads on to an address without it.
4. A POST carries the seal of its form.

Cookies do not know of ports: a browser sends them to every server of the same name.  So the pages,
and the cookie's `Path`, stand below a prefix that nobody can guess; another port never sees it.
Cookie, prefix and seal are derived from the key, so nothing is kept between requests.
"""

from __future__ import annotations

import hmac
import re
import secrets
from collections.abc import Mapping
from email.message import Message
from hashlib import sha256

from nimad.web.exchange import Refused

Headers = Mapping[str, str] | Message
COOKIE = "nimad"
_HOST = re.compile(r"(127\.0\.0\.1|localhost|\[::1\])(:\d{1,5})?", re.IGNORECASE)
KEY_NEEDED = (
    "These pages need a key. Open the address that `nimactl web` printed, or that `nimactl web"
    " --url` prints when the unit nimad-web runs."
)


def make_key() -> str:
    """A new key, 256 bits."""
    return secrets.token_urlsafe(32)


class Guard:
    """Compares requests with one key."""

    def __init__(self, key: str) -> None:
        self._key = key
        self.prefix = f"/{self._derive('path')[:24]}/"
        """Below which all pages stand."""
        self.cookie = self._derive("cookie")
        self.seal = self._derive("seal")

    def _derive(self, what: str) -> str:
        return hmac.new(self._key.encode(), what.encode(), sha256).hexdigest()

    def check_origin(self, method: str, headers: Headers) -> None:
        """Raise Refused for a request that another site, or another port, brought about."""
        host = headers.get("Host") or ""
        if not _HOST.fullmatch(host):
            raise Refused(421, "This server answers as 127.0.0.1 or localhost only.")
        origin = headers.get("Origin")
        if origin is None and method == "POST":
            raise Refused(403, "The browser did not say which page sent this.")
        foreign = origin is not None and origin.lower() != f"http://{host.lower()}"
        if foreign or headers.get("Sec-Fetch-Site", "none") not in ("none", "same-origin"):
            raise Refused(403, "This came from another page. Open the address by itself.")

    def is_key(self, given: str) -> bool:
        """Whether that is the key."""
        return hmac.compare_digest(given.encode(), self._key.encode())

    def check_cookie(self, path: str, headers: Headers) -> None:
        """Raise Refused for a request without our cookie, or beside our prefix."""
        values = cookies_of(headers).get(COOKIE, ())
        known = any(hmac.compare_digest(v.encode(), self.cookie.encode()) for v in values)
        if not (known and path.startswith(self.prefix)):
            raise Refused(401, KEY_NEEDED)

    def check_seal(self, given: str | None) -> None:
        """Raise Refused for a form that was not made here."""
        if not hmac.compare_digest((given or "").encode(), self.seal.encode()):
            raise Refused(403, "This form is not of this server, or of an earlier one. Go back.")


def cookies_of(headers: Headers) -> dict[str, list[str]]:
    """The values of each cookie."""
    found: dict[str, list[str]] = {}
    for pair in (headers.get("Cookie") or "").split(";"):
        name, _, value = pair.strip().partition("=")
        found.setdefault(name, []).append(value)
    return found
