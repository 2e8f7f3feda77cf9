"""Frames in, replies out: finds the verb, asks whether the peer may, runs it in a worker thread.

Reading, writing and lengthy verbs have lanes of their own, so that a query never queues behind a
write, nor either behind a verification that takes a minute, nor what is to be forgotten behind
somebody's checks, nor one memory behind what comes in bulk; in each the users take turns.  Large
frames are parsed in a lane, too: the event loop does nothing that takes long.  Whatever a verb
raises becomes an error reply; anything but a NimadError is a bug and is logged with its traceback.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import time
import traceback
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from functools import partial
from typing import Any

from nimad.disk.failures import disk_errors, missing
from nimad.errors import InvalidRequest, NamespaceDenied, NimadError, ReplyTooLarge, UnknownMethod
from nimad.limits import is_lengthy
from nimad.namespaces import Namespaces
from nimad.serve import protocol
from nimad.serve.access import Access, Peer
from nimad.serve.frames import Frame
from nimad.serve.lanes import Job, Lane
from nimad.serve.protocol import Refused, Request
from nimad.serve.request_counts import OK, UNKNOWN, UNREADABLE, RequestCounts
from nimad.serve.verbs import Call, Verb

log = logging.getLogger(__name__)

WRITERS = 8
"""Number of threads for writing verbs, which commit together what they have ready [threads]."""
BULK = 2
"""Number of threads for writing verbs whose frames are LARGE: eight would leave a question of
somebody else's a ninth of the processor [threads]."""
LENGTHY = 2
"""Number of threads for lengthy verbs that read, and for those that write [threads]."""
SMALL = 2048
"""Size of a frame up to which it is parsed on the event loop: that takes 0.2 ms at most [bytes]."""
LARGE = 1 << 16
"""Size from which on a frame is parsed when no query is under way: from 0.6 ms on [bytes]."""
HUNG_SECONDS = 120.0
"""Time after which a reading verb, which has a deadline, is stuck and not busy [seconds]."""
MYSELF = Peer(os.getpid(), os.geteuid(), os.getegid())


def lane_of(verb: Verb, params: dict[str, Any], size: int) -> str:
    """The name of the lane for a request whose frame has `size` bytes."""
    kind = "read" if verb.access == "read" else "write"
    if is_lengthy(verb.name, params):
        return "purge" if verb.name == "forget" else f"lengthy {kind}"
    return "bulk" if kind == "write" and size > LARGE else kind


class Dispatcher:
    """Answers requests; lives on one event loop.  `before` is called on the loop when a verb
    begins, `after` when it has answered: the daemon registers its callbacks there.  Work in the
    background is to wait within `first`, from when a reading verb came until its reply is sent;
    `give_way` returns, soon in any case, when none is under way."""

    def __init__(self, verbs: Iterable[Verb], access: Access, threads: int) -> None:
        self._verbs = {verb.name: verb for verb in verbs}
        self._access = access
        self._lanes = {
            "read": Lane("read", threads),
            "write": Lane("write", WRITERS),
            "bulk": Lane("bulk", BULK),
            "lengthy read": Lane("lengthy_read", LENGTHY),
            "lengthy write": Lane("lengthy_write", LENGTHY),
            "purge": Lane("purge", 1),
        }
        self._parsing = Lane("parse", 1)
        self._watchdog = Lane("watchdog", 1)
        self._waiting: dict[Job, str] = {}
        self.before: Callable[[Verb], None] = lambda verb: None
        self.after: Callable[[Verb], None] = lambda verb: None
        self.first: AbstractContextManager[object] = contextlib.nullcontext()
        self.give_way: Callable[[], object] = lambda: None
        self.requests = 0  # of clients; a query to oneself is none
        self.counts = RequestCounts()

    async def admit(self, peer: Peer) -> None:
        """Return when the peer may do anything at all; else raise NotPermitted or OwnerOnly."""
        check = partial(self._access.check, peer, "read", "connect")
        if self._access.is_known(peer):
            check()
        else:
            await self._parsing.submit(peer.uid, check).outcome

    async def answer(self, frame: Frame, peer: Peer) -> bytes | None:
        """The reply to a frame, None for a notification; its descriptors are closed afterwards."""
        began = time.perf_counter()
        if len(frame.data) <= SMALL:
            found = protocol.read(frame.data)
        else:
            found = await self._parsing.submit(peer.uid, partial(self._read, frame.data)).outcome
        if isinstance(found, Refused):
            close_all(frame.fds)
            self.counts.note(UNREADABLE, found.error.code, time.perf_counter() - began)
            return protocol.error_reply(found.id, found.error)
        name = UNKNOWN
        try:
            if frame.refused:
                raise InvalidRequest(detail="it carries more descriptors than the one it may")
            verb = self._verbs.get(found.method)
            if verb is None:
                raise UnknownMethod(method=protocol.shown(found.method))
            name = verb.name
            self.before(verb)
            kind = lane_of(verb, found.params, len(frame.data))
            with self._going_first(verb.watching or kind != "read"):
                job = self._lanes[kind].submit(
                    peer.uid, partial(self._perform, verb, found, peer, frame.fds)
                )
                self._waiting[job] = verb.name
                try:
                    reply: bytes
                    reply, outcome = await job.outcome  # Busy when `abandon` gives up on it
                finally:
                    del self._waiting[job]
                    if job.began is None:
                        close_all(frame.fds)
        except NimadError as error:
            close_all(frame.fds)
            reply, outcome = protocol.error_reply(found.id, error), error.code
        else:
            self.after(verb)
        self.counts.note(name, outcome, time.perf_counter() - began)
        return None if found.notification else reply

    def _read(self, data: bytes) -> Request | Refused:
        if len(data) > LARGE:
            self.give_way()
        return protocol.read(data)

    @contextlib.contextmanager
    def _going_first(self, waits: bool) -> Iterator[None]:
        """See `first`; a verb that `waits` does not go first.  The loop ends it: the reply, which
        is sent before the loop takes its next turn, needs the interpreter once more."""
        if not waits:
            self.first.__enter__()
        try:
            yield
        finally:
            if not waits:
                asyncio.get_running_loop().call_soon(self.first.__exit__, None, None, None)

    async def self_query(self) -> bool:
        """Ask for a ping past all queues; True when it came, and no reading verb hangs."""
        ping = partial(self._perform, self._verbs["ping"], Request("ping", {}), MYSELF, [])
        _, outcome = await self._watchdog.submit(MYSELF.uid, ping).outcome
        return outcome == OK and self._lanes["read"].oldest < HUNG_SECONDS

    @property
    def busy(self) -> float:
        """How long the oldest request that is not lengthy is under way [seconds]."""
        return max(self._lanes[lane].oldest for lane in ("read", "write", "bulk"))

    def _perform(
        self, verb: Verb, request: Request, peer: Peer, fds: list[int]
    ) -> tuple[bytes, str]:
        """Answer one request and close its descriptors, which no thread uses any more; the reply,
        and OK or the code of the error."""
        began = time.perf_counter()
        try:
            self._access.check(peer, verb.access, verb.name)
            within: Namespaces | None = None  # it is bound to some namespaces, or to none
            if (bounds := self._access.bounds(peer)) is not None:
                if not verb.bounded:
                    detail = "it reaches beyond the namespaces that this user is bound to"
                    raise NamespaceDenied(uid=peer.uid, verb=verb.name, detail=detail)
                within = bounds.read if verb.access == "read" else bounds.control
            with disk_errors(f"{verb.name} could not be done"):
                result = verb.answer(Call(request.params, peer, fds, within))
            try:
                reply = protocol.result_reply(request.id, result)
            except ReplyTooLarge:
                if verb.shorten is None:
                    raise
                reply = protocol.result_reply(request.id, verb.shorten(result))
            took = (time.perf_counter() - began) * 1000
            log.debug("%s for process %d took %.1f ms", verb.name, peer.pid, took)
            return reply, OK
        except NimadError as error:
            if error.wire == NimadError.wire:
                log.error("%s: %s", verb.name, error.message)
            return protocol.error_reply(request.id, error), error.code
        except FileNotFoundError as error:
            gone = missing(error)
            log.error("%s: %s", verb.name, gone.message)
            return protocol.error_reply(request.id, gone), gone.code
        except BaseException as error:  # SystemExit would end the loop, and the daemon with it
            frames = "".join(traceback.format_tb(error.__traceback__)).rstrip()
            log.error("the verb %s failed: %s\n%s", verb.name, describe(error), frames)
            failure = NimadError(detail=f"{verb.name} failed with {type(error).__name__}")
            return protocol.error_reply(request.id, failure), failure.code
        finally:
            close_all(fds)

    @property
    def waiting(self) -> list[str]:
        """The verbs whose replies a client waits for."""
        return sorted(self._waiting.values())

    @property
    def working(self) -> bool:
        """True while a thread is at work, whether or not a client still waits for the reply."""
        return any(lane.working for lane in self._lanes.values())

    def abandon(self) -> None:
        """Refuse what is under way (Busy) and take no more; threads cannot be stopped, though."""
        for lane in (*self._lanes.values(), self._parsing, self._watchdog):
            lane.close()


def close_all(fds: list[int]) -> None:
    """Close descriptors and forget them."""
    while fds:
        with contextlib.suppress(OSError):
            os.close(fds.pop())


def describe(error: BaseException) -> str:
    """The kind of an error, and its words unless they may quote a memory.

    ValueError and KeyError repeat the value they choked on, and no text of a memory may get into a
    log; it would outlive `forget --purge`.
    """
    name = type(error).__name__
    if isinstance(error, (ValueError, LookupError)) or not str(error):
        return name
    return f"{name}: {str(error)[:300]}"
