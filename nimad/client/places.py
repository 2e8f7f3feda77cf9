"""Where a daemon may listen."""

from __future__ import annotations

import os

SYSTEM_SOCKET = "/run/nimad/nimad.sock"


def candidates(given: str | None) -> list[str]:
    """The sockets to try, in order: the one that was named, or those a daemon may have made.

    That is --socket, else $NIMAD_SOCKET, else /run/nimad/nimad.sock, nimad.sock in
    $XDG_RUNTIME_DIR (/run/user/UID where it is not set: agents pass on few variables), and
    nimad/nimad.sock in the user's state directory.
    """
    if named := given or os.environ.get("NIMAD_SOCKET"):
        return [named]
    runtime = os.environ.get("XDG_RUNTIME_DIR") or f"/run/user/{os.geteuid()}"
    found = [SYSTEM_SOCKET, f"{runtime}/nimad.sock"]
    state = os.environ.get("XDG_STATE_HOME") or os.path.expanduser("~/.local/state")  # noqa: PTH111
    return [*found, f"{state}/nimad/nimad.sock"]
