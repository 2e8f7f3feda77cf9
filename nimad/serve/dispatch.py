"""Frames in, replies out: finds the verb, asks whether the peer may, runs it in a worker thread.

Reading, writing and lengthy verbs have thread pools of their own, so that a query never queues
behind a write, nor either behind a verification that takes a minute.  Whatever a verb raises
becomes an error reply; anything but a NimadError is a bug and is logged with its traceback.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import threading
import time
import traceback
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor

from nimad.errors import Busy, InvalidRequest, NimadError, ReplyTooLarge, UnknownMethod
from nimad.serve import protocol
from nimad.serve.access import Access, Peer
from nimad.serve.frames import Frame
from nimad.serve.protocol import Request
from nimad.serve.verbs import Call, Verb

log = logging.getLogger(__name__)

WRITERS = 2
"""Number of threads for writing verbs: one commits while the next is prepared [threads]."""
LENGTHY = 2
"""Number of threads for lengthy verbs [threads]."""

Outcome = asyncio.Future[bytes | None]


class Dispatcher:
    """Answers requests; lives on one event loop.  `before` is called on the loop when a verb
    begins, `after` when it has answered: the daemon registers its callbacks there."""

    def __init__(self, verbs: Iterable[Verb], access: Access, threads: int) -> None:
        self._verbs = {verb.name: verb for verb in verbs}
        self._access = access
        self._lanes = {
            "read": ThreadPoolExecutor(threads, "read"),
            "write": ThreadPoolExecutor(WRITERS, "write"),
            "lengthy": ThreadPoolExecutor(LENGTHY, "lengthy"),
        }
        self._waiting: dict[Outcome, str] = {}
        self._working: set[Future[bytes | None]] = set()
        self._lock = threading.Lock()
        self.before: Callable[[Verb], None] = lambda verb: None
        self.after: Callable[[Verb], None] = lambda verb: None
        self.requests = 0  # of clients; a query to oneself is none

    async def answer(self, frame: Frame, peer: Peer) -> bytes | None:
        """The reply to a frame, None for a notification; its descriptors are closed afterwards."""
        ident: protocol.Id = None
        try:
            message = protocol.decode(frame.data)
            ident = protocol.request_id(message)
            request = protocol.request(message)
        except NimadError as error:
            close_all(frame.fds)
            return protocol.error_reply(ident, error)
        try:
            if frame.refused:
                raise InvalidRequest(detail="it carries more descriptors than the one it may")
            verb = self._verbs.get(request.method)
            if verb is None:
                raise UnknownMethod(method=protocol.shown(request.method))
            self.before(verb)
            reply = await self._run(verb, request, peer, frame.fds)
        except NimadError as error:
            close_all(frame.fds)
            reply = protocol.error_reply(ident, error)
        else:
            self.after(verb)
        return None if request.notification else reply

    async def _run(self, verb: Verb, request: Request, peer: Peer, fds: list[int]) -> bytes | None:
        """Perform the verb in its lane; raises Busy when `abandon` gives up on it."""
        loop = asyncio.get_running_loop()
        outcome: Outcome = loop.create_future()
        kind = "lengthy" if verb.lengthy else "read" if verb.access == "read" else "write"
        try:
            work = self._lanes[kind].submit(self._perform, verb, request, peer, fds)
        except RuntimeError:  # the lanes are closed
            raise Busy(detail="it is stopping") from None
        with self._lock:
            self._working.add(work)
        self._waiting[outcome] = verb.name

        def finished(work: Future[bytes | None]) -> None:
            """Close the descriptors, which no thread uses any more, and pass the outcome on."""
            close_all(fds)
            with self._lock:
                self._working.discard(work)
            if not work.cancelled():
                with contextlib.suppress(RuntimeError):  # the loop is closed
                    loop.call_soon_threadsafe(_settle, outcome, work)

        work.add_done_callback(finished)
        try:
            return await outcome
        finally:
            self._waiting.pop(outcome, None)

    def _perform(self, verb: Verb, request: Request, peer: Peer, fds: list[int]) -> bytes | None:
        """Answer one request; never raises."""
        began = time.perf_counter()
        try:
            self._access.check(peer, verb.access, verb.name)
            result = verb.answer(Call(request.params, peer, fds))
            try:
                reply = protocol.result_reply(request.id, result)
            except ReplyTooLarge:
                if verb.shorten is None:
                    raise
                reply = protocol.result_reply(request.id, verb.shorten(result))
            took = (time.perf_counter() - began) * 1000
            log.debug("%s for process %d took %.1f ms", verb.name, peer.pid, took)
            return reply
        except NimadError as error:
            if error.wire == NimadError.wire:
                log.error("%s: %s", verb.name, error.message)
            return protocol.error_reply(request.id, error)
        except BaseException as error:  # SystemExit would end the loop, and the daemon with it
            frames = "".join(traceback.format_tb(error.__traceback__)).rstrip()
            log.error("%s failed: %s\n%s", verb.name, describe(error), frames)
            failure = NimadError(detail=f"{verb.name} failed with {type(error).__name__}")
            return protocol.error_reply(request.id, failure)

    @property
    def waiting(self) -> list[str]:
        """The verbs whose replies a client waits for."""
        return sorted(self._waiting.values())

    @property
    def working(self) -> bool:
        """True while a thread is at work, whether or not a client still waits for the reply."""
        with self._lock:
            return bool(self._working)

    def abandon(self) -> None:
        """Refuse what is under way (Busy) and take no more; threads cannot be stopped, though."""
        for outcome in list(self._waiting):
            if not outcome.done():
                outcome.set_exception(Busy(detail="it is stopping"))
        for lane in self._lanes.values():
            lane.shutdown(wait=False, cancel_futures=True)


def _settle(outcome: Outcome, work: Future[bytes | None]) -> None:
    if outcome.done():
        return
    if (error := work.exception()) is not None:  # memory ran out while the error was described
        outcome.set_exception(NimadError(detail=type(error).__name__))
    else:
        outcome.set_result(work.result())


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
