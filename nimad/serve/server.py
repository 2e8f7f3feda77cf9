"""The socket server: takes connections in, up to a number for each user; drains and closes.

Nothing here ticks: between requests the event loop sleeps in the kernel.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import socket
from collections.abc import Iterable, Sequence

from nimad import heap
from nimad.config import Config
from nimad.dataclass import dataclass
from nimad.errors import Busy
from nimad.serve import protocol
from nimad.serve.access import Access, peer_of
from nimad.serve.accounts import Accounts
from nimad.serve.connection import SEND_SECONDS, Connection, hang_up
from nimad.serve.dispatch import Dispatcher
from nimad.serve.verbs import Verb

log = logging.getLogger(__name__)

EXHAUSTED = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}
EXHAUSTED_PAUSE = 1.0
"""Pause before the next accept when descriptors or memory ran out [seconds]."""
ACCEPTED_AT_ONCE = 64
"""Number of connections taken before other clients get their turn [connections]."""
REST_SECONDS = 2.0
"""Time from the last of many requests until freed memory is given back [seconds]."""
FAREWELL = 1.0
"""Time to send the refusals of unfinished requests on stop [seconds]."""


@dataclass(frozen=True)
class Limits:
    """How much the server takes on; see the server.* keys of nimad.yaml(5)."""

    max_clients: int = 64
    user_clients: int = 16
    threads: int = 2
    idle_seconds: float = 600.0
    drain_seconds: float = 10.0
    send_seconds: float = SEND_SECONDS

    @classmethod
    def of(cls, config: Config) -> Limits:
        """The limits that a configuration sets."""
        return cls(
            max_clients=config["server.max_clients"],
            user_clients=config["server.max_clients_per_user"],
            threads=config["server.threads"],
            idle_seconds=config["server.idle_timeout"],
            drain_seconds=config["server.drain_seconds"],
        )


class Server:
    """Serves verbs on listening sockets; make it, `start` it and `drain` it on one event loop."""

    def __init__(self, verbs: Iterable[Verb], access: Access, limits: Limits) -> None:
        self._limits = limits
        self.dispatcher = Dispatcher(verbs, access, limits.threads)
        self._accounts = Accounts(access.trusted, limits.max_clients, limits.user_clients)
        # give back what many or large requests took, once nothing is under way
        self._accounts.rest = lambda: self._loop.call_later(
            REST_SECONDS, self._loop.run_in_executor, None, self._give_back
        )
        self._connections: dict[Connection, asyncio.Task[None]] = {}
        self._listeners: list[socket.socket] = []
        self._complained = False

    def _give_back(self) -> None:
        self.dispatcher.give_way()  # who asks for memory waits for it
        heap.give_back()

    @property
    def clients(self) -> int:
        """Connections that are open."""
        return len(self._connections)

    @property
    def requests(self) -> int:
        """Requests since the start."""
        return self.dispatcher.requests

    def start(self, listeners: Sequence[socket.socket]) -> None:
        """Accept connections from now on; the sockets are the server's to close."""
        self._loop = asyncio.get_running_loop()
        for listener in listeners:
            listener.setblocking(False)
            self._listeners.append(listener)
            self._listen(listener)

    async def drain(self) -> bool:
        """Stop accepting, let requests under way finish in time, refuse the rest, close.

        False when a worker thread is still at work: threads cannot be stopped, so its store must
        not be closed under it.
        """
        for listener in self._listeners:
            self._loop.remove_reader(listener)
            listener.close()
        for connection in self._connections:
            connection.stop()
        await self._wait_for_clients(self._limits.drain_seconds)
        if unfinished := self.dispatcher.waiting:
            log.warning("stopped before these were done: %s", ", ".join(unfinished))
        self.dispatcher.abandon()
        await self._wait_for_clients(FAREWELL)
        for task in list(self._connections.values()):
            task.cancel()
        await asyncio.gather(*self._connections.values(), return_exceptions=True)
        return not self.dispatcher.working

    async def _wait_for_clients(self, seconds: float) -> None:
        if self._connections:
            await asyncio.wait(list(self._connections.values()), timeout=seconds)

    # --- accepting ----------------------------------------------------------------------------

    def _accept(self, listener: socket.socket) -> None:
        """Take the connections that wait, some at a time: who floods us is turned away cheaply."""
        for _ in range(ACCEPTED_AT_ONCE):
            try:
                sock, _ = listener.accept()
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno in EXHAUSTED:
                    if not self._complained:
                        self._complained = True
                        log.warning("cannot take more connections for now: %s", error.strerror)
                    self._loop.remove_reader(listener)
                    self._loop.call_later(EXHAUSTED_PAUSE, self._listen, listener)
                    return
                log.debug("a connection was gone before it was accepted: %s", error)
                continue
            self._complained = False
            sock.setblocking(False)
            self._welcome(sock)

    def _listen(self, listener: socket.socket) -> None:
        if listener.fileno() >= 0:  # not closed meanwhile
            self._loop.add_reader(listener, self._accept, listener)

    def _welcome(self, sock: socket.socket) -> None:
        try:
            peer = peer_of(sock)
        except OSError as error:
            log.debug("a connection without credentials was closed: %s", error)
            sock.close()
            return
        account = self._accounts.of(peer.uid)
        if not self._accounts.make_room(account):
            if self._accounts.must_tell(account):
                detail = f"user {peer.uid} has too many connections, all of them in use"
                with contextlib.suppress(OSError):
                    sock.send(protocol.error_reply(None, Busy(detail=detail)))
                hang_up(sock)
            sock.close()
            return
        limits = self._limits
        connection = Connection(
            sock, peer, self.dispatcher, self._accounts, limits.idle_seconds, limits.send_seconds
        )
        task = asyncio.create_task(connection.serve())
        self._connections[connection] = task

        def ended(task: asyncio.Task[None]) -> None:
            self._connections.pop(connection, None)
            if not task.cancelled() and (error := task.exception()) is not None:
                log.error("a connection ended with a bug", exc_info=error)

        task.add_done_callback(ended)
