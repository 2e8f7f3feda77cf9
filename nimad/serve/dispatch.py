"""Frames in, replies out: finds the verb, asks whether the peer may, runs it in a worker thread.

Reading, writing and lengthy verbs have lanes of their own, so that a query never queues behind a
write, nor either behind a verification that takes a minute, nor what is to be forgotten behind
somebody's checks, nor one memory behind what comes in bulk; in each the users take turns.  Large
frames are parsed in a lane, too: the event loop does nothing that takes long.  Whatever a verb
raises becomes an error reply; anything but a NimadError is a bug and is logged with its traceback.
"""

from __future__ import annotations

import contextlib
import logging
import os
import time
import traceback
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from dataclasses import field
from functools import partial
from typing import Any

from nimad.dataclass import dataclass
from nimad.disk.failures import disk_error, missing
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
"""Number of threads for writing verbs whose frames are LARGE, or name MANY: eight would leave a
question of somebody else's a ninth of the processor [threads]."""
LENGTHY = 2
"""Number of threads for lengthy verbs that read, and for those that write [threads]."""
SMALL = 2048
"""Size of a frame up to which it is parsed on the event loop: that takes 0.2 ms at most [bytes]."""
LARGE = 1 << 16
"""Size from which on a frame is parsed when no query is under way: from 0.6 ms on [bytes]."""
MANY = 64
"""Memories, say, that a writing verb names: each takes some us of Python [items]."""
HUNG_SECONDS = 120.0
"""Time after which a reading verb, which has a deadline, is stuck and not busy [seconds]."""
MYSELF = Peer(os.getpid(), os.geteuid(), os.getegid())


def lane_of(verb: Verb, params: dict[str, Any], size: int) -> str:
    """The name of the lane for a request whose frame has `size` bytes."""
    kind = "read" if verb.access == "read" else "write"
    if is_lengthy(verb.name, params):
        return "purge" if verb.name == "forget" else f"lengthy {kind}"
    if kind == "read":
        return kind
    named = max((len(value) for value in params.values() if isinstance(value, list)), default=0)
    return "bulk" if size > LARGE or named > MANY else kind


@dataclass(eq=False)
class Pending:
    """A frame on its way to its reply, which `done` gets with it; None for a notification."""

    frame: Frame
    peer: Peer
    done: Callable[[Any, bytes | None], None]
    began: float = field(default_factory=time.perf_counter)
    """When it came [seconds]."""
    name: str = UNREADABLE
    """Of its verb, where that is known."""
    id: protocol.Id = None
    notification: bool = False
    job: Job | None = None
    """What a thread does for it, or is to do."""
    goes_first: bool = False
    """Whether work in the background waits for it."""


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
        self._waiting: dict[Pending, str] = {}
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
            await self._parsing.run(peer.uid, check)

    def answer(self, pending: Pending) -> None:
        """Let `done` of a frame get its reply, perhaps before this returns."""
        data = pending.frame.data
        if len(data) <= SMALL:
            self._ask(pending, protocol.read(data))
            return

        def parsed(found: Request | Refused, error: NimadError | None) -> None:
            self._ask(pending, found if error is None else Refused(error))

        try:
            pending.job = self._parsing.submit(pending.peer.uid, partial(self._read, data), parsed)
        except NimadError as error:  # it is stopping
            self._refuse(pending, error)

    def cancel(self, pending: Pending) -> None:
        """Nobody waits for its reply any more; what a thread has begun is done nevertheless."""
        if pending.job is not None:
            pending.job.cancel()
        self._take_out(pending)
        self._let_others_go_on(pending)

    def _read(self, data: bytes) -> Request | Refused:
        if len(data) > LARGE:
            self.give_way()
        return protocol.read(data)

    def _ask(self, pending: Pending, found: Request | Refused) -> None:
        """Give a request to the lane of its verb, or refuse it."""
        pending.job, pending.id = None, found.id
        if isinstance(found, Refused):
            self._refuse(pending, found.error)
            return
        pending.name, pending.notification = UNKNOWN, found.notification
        peer, fds = pending.peer, pending.frame.fds
        try:
            if pending.frame.refused:
                raise InvalidRequest(detail="it carries more descriptors than the one it may")
            verb = self._verbs.get(found.method)
            if verb is None:
                raise UnknownMethod(method=protocol.shown(found.method))
            pending.name = verb.name
            self.before(verb)
            kind = lane_of(verb, found.params, len(pending.frame.data))
            if kind == "read" and not verb.watching:
                self.first.__enter__()
                pending.goes_first = True
            pending.job = self._lanes[kind].submit(
                peer.uid,
                partial(self._perform, verb, found, peer, fds),
                partial(self._performed, pending, verb),
            )
            self._waiting[pending] = verb.name
        except NimadError as error:
            self._refuse(pending, error)

    def _performed(
        self,
        pending: Pending,
        verb: Verb,
        found: tuple[bytes, str],
        error: NimadError | None,
    ) -> None:
        if error is not None:  # Busy: `abandon` gave up on it
            self._refuse(pending, error)
        else:
            self.after(verb)
            self._end(pending, *found)

    def _refuse(self, pending: Pending, error: NimadError) -> None:
        self._end(pending, protocol.error_reply(pending.id, error), error.code)

    def _end(self, pending: Pending, reply: bytes, outcome: str) -> None:
        """Pass a reply on.  Background work goes on after it: sending needs the interpreter."""
        self._take_out(pending)
        took = time.perf_counter() - pending.began
        self.counts.note(pending.name, outcome, took)
        log.debug("%s for process %d took %.1f ms", pending.name, pending.peer.pid, took * 1000)
        try:
            pending.done(pending, None if pending.notification else reply)
        finally:
            self._let_others_go_on(pending)

    def _take_out(self, pending: Pending) -> None:
        """No client waits for it.  Its descriptors are closed, unless a thread has them."""
        asked = self._waiting.pop(pending, None)
        if asked is None or pending.job is None or pending.job.began is None:
            close_all(pending.frame.fds)
        pending.job = None

    def _let_others_go_on(self, pending: Pending) -> None:
        if pending.goes_first:
            pending.goes_first = False
            self.first.__exit__(None, None, None)

    async def self_query(self) -> bool:
        """Ask for a ping past all queues; True when it came, and no reading verb hangs."""
        ping = partial(self._perform, self._verbs["ping"], Request("ping", {}), MYSELF, [])
        _, outcome = await self._watchdog.run(MYSELF.uid, ping)
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
        try:
            self._access.check(peer, verb.access, verb.name)
            within: Namespaces | None = None  # it is bound to some namespaces, or to none
            if (bounds := self._access.bounds(peer)) is not None:
                if not verb.bounded:
                    detail = "it reaches beyond the namespaces that this user is bound to"
                    raise NamespaceDenied(uid=peer.uid, verb=verb.name, detail=detail)
                within = bounds.read if verb.access == "read" else bounds.control
            result = verb.answer(Call(request.params, peer, fds, within))
            try:
                reply = protocol.result_reply(request.id, result)
            except ReplyTooLarge:
                if verb.shorten is None:
                    raise
                reply = protocol.result_reply(request.id, verb.shorten(result))
            return reply, OK
        except BaseException as error:  # SystemExit would end the loop, and the daemon with it
            failure = explain(verb.name, error)
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


def explain(verb: str, error: BaseException) -> NimadError:
    """What a client is told of an error; what is not the client's doing is logged."""
    ours = disk_error(error, f"{verb} could not be done") if isinstance(error, OSError) else None
    if ours is not None:
        return ours
    if isinstance(error, NimadError):
        if error.wire == NimadError.wire:
            log.error("%s: %s", verb, error.message)
        return error
    if isinstance(error, FileNotFoundError):
        gone = missing(error)
        log.error("%s: %s", verb, gone.message)
        return gone
    frames = "".join(traceback.format_tb(error.__traceback__)).rstrip()
    log.error("the verb %s failed: %s\n%s", verb, describe(error), frames)
    return NimadError(detail=f"{verb} failed with {type(error).__name__}")


def describe(error: BaseException) -> str:
    """The kind of an error, and its words unless they may quote a memory.

    ValueError and KeyError repeat the value they choked on, and no text of a memory may get into a
    log; it would outlive `forget --purge`.
    """
    name = type(error).__name__
    if isinstance(error, (ValueError, LookupError)) or not str(error):
        return name
    return f"{name}: {str(error)[:300]}"
