"""One connection: reads frames while its user has room, writes the replies.

A connection has at most `IN_FLIGHT` requests under way, its user what `accounts` allows: further
frames stay in the kernel until there is room, so the client waits and not the server.  While it
does not take a reply no request of it begins, and those that it has count for no other connection
of its user any more.  It is dropped when it does not take a reply within `SEND_SECONDS`, does not
end a frame that it began within `FRAME_SECONDS`, or is silent for longer than the idle timeout.  A
client that has closed its writing side still gets its replies.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import socket
import struct
from collections.abc import Callable

from nimad.errors import FrameTooLarge, NimadError, ParseError
from nimad.serve import protocol
from nimad.serve.access import Peer
from nimad.serve.accounts import Account, Accounts, cost_of
from nimad.serve.dispatch import Dispatcher, close_all
from nimad.serve.frames import Frame, FrameDecoder

log = logging.getLogger(__name__)

IN_FLIGHT = 8
"""Number of requests of one connection under way [requests]."""
FRAME_SECONDS = 10.0
"""Time from the first byte of a frame to its last, while it is read [seconds]."""
SEND_SECONDS = 30.0
"""Time a client has to take a reply, before it is dropped [seconds]."""
STUCK_SECONDS = 0.25
"""Time a client has to take a reply, before that is set aside [seconds]."""
READ_BYTES = 1 << 16
ONE_DESCRIPTOR = socket.CMSG_LEN(struct.calcsize("i"))
"""Room for one descriptor: the kernel closes further ones and sets MSG_CTRUNC [bytes]."""


def receive(sock: socket.socket) -> tuple[bytes, list[int], bool]:
    """One read: bytes (empty at the end), descriptors, and whether more of those were cut off."""
    data, ancillary, flags, _ = sock.recvmsg(READ_BYTES, ONE_DESCRIPTOR, socket.MSG_CMSG_CLOEXEC)
    fds: list[int] = []
    for level, kind, body in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            count = len(body) // 4
            fds += struct.unpack(f"{count}i", body[: count * 4])
    return data, fds, bool(flags & socket.MSG_CTRUNC)


def hang_up(sock: socket.socket) -> None:
    """Close so that the peer reads its last replies and then an end, not a reset.

    Closing with requests unread would be a reset (Linux); after the shutdown no more can come, so
    what is discarded is at most what the kernel had queued.
    """
    with contextlib.suppress(OSError):
        sock.shutdown(socket.SHUT_RDWR)
        while True:
            data, fds, _ = receive(sock)
            close_all(fds)
            if not data:
                break
    sock.close()


class Connection:
    """Serves one connected, non-blocking socket: await `serve`; `stop` lets it end early."""

    def __init__(
        self,
        sock: socket.socket,
        peer: Peer,
        dispatcher: Dispatcher,
        accounts: Accounts,
        idle_seconds: float,
        send_seconds: float = SEND_SECONDS,
    ) -> None:
        self._sock = sock
        self._peer = peer
        self._dispatcher = dispatcher
        self._accounts = accounts
        self.account: Account = accounts.of(peer.uid)
        self.account.connections.add(self)
        self._idle_seconds = idle_seconds
        self._send_seconds = send_seconds
        self._loop = asyncio.get_running_loop()
        self._decoder = FrameDecoder()
        self._tasks: set[asyncio.Task[None]] = set()
        self._writing = asyncio.Lock()
        self._waiter: asyncio.Future[None] | None = None
        self._reads = self._listens = False
        """Whether it waits for bytes, and whether the loop tells it of them."""
        self._stuck = 0
        """Number of replies that were set aside, as the client does not take them."""
        self.stuck_since = math.inf
        self._stopping = False
        self._gone = False
        self._frame_end = math.inf
        """When the frame that has begun must be whole [seconds]; infinite while none has."""
        self.active = self._loop.time()
        """When the last request was answered, or the connection was made [seconds]."""
        self._timer = self._loop.call_later(idle_seconds, self._check_idle)

    @property
    def idle(self) -> bool:
        """Whether nothing is under way."""
        return not self._tasks

    async def serve(self) -> None:
        """Answer until the client is done, gone or silent for too long, or `stop` is called."""
        try:
            await self._dispatcher.admit(self._peer)
            await self._read()
            while self._tasks:
                await asyncio.wait(self._tasks)
        except NimadError as error:  # it may do nothing here; what it sent was not even read
            await self._refuse(error)
        finally:
            self._gone = True
            self._timer.cancel()
            for task in self._tasks:
                task.cancel()
            close_all(self._decoder.abandon())
            self._loop.remove_reader(self._sock)
            self._loop.remove_writer(self._sock)
            hang_up(self._sock)
            self._accounts.leave(self.account, self)

    def stop(self, *, at_once: bool = False) -> None:
        """Read no more; `serve` returns when the replies under way are out, or `at_once`."""
        self._stopping = True
        self._gone = self._gone or at_once
        for task in self._tasks if at_once else ():
            task.cancel()
        self.wake()

    # --- reading ------------------------------------------------------------------------------

    async def _read(self) -> None:
        try:
            while not self._stopping:
                if len(self._tasks) >= IN_FLIGHT or self._stuck:
                    await self._wait()
                elif not self._accounts.has_room(self.account):
                    self.account.waiting.append(self)
                    try:
                        await self._wait()
                    finally:
                        self.account.waiting.remove(self)
                    self._frame_end = math.inf
                elif frame := self._decoder.take():
                    size = cost_of(frame.data)
                    self._accounts.add(self.account, size)
                    self._dispatcher.requests += 1
                    self._frame_end = math.inf
                    task = self._loop.create_task(self._answer(frame, size))
                    self._tasks.add(task)
                    task.add_done_callback(self._done)
                    self._accounts.wake()  # there may be room for the next one that waits
                elif not await self._fill():
                    break
        except FrameTooLarge as error:
            await self._refuse(error)
        except OSError as error:
            self._lose(error)

    async def _fill(self) -> bool:
        """Wait for bytes and feed them to the decoder; False at the end of the stream."""
        begun = bool(self._decoder.partial)
        if not begun:
            self._frame_end = math.inf
        elif self._frame_end == math.inf:
            self._frame_end = self._loop.time() + FRAME_SECONDS
        if not self._listens:
            self._loop.add_reader(self._sock, self._on_bytes)
        self._reads = self._listens = True
        try:
            if begun:
                async with asyncio.timeout_at(self._frame_end):
                    await self._wait()
            else:
                await self._wait()
        except TimeoutError:
            detail = f"a line did not end within {FRAME_SECONDS:g} seconds"
            await self._refuse(ParseError(detail=detail))
            return False
        finally:
            self._reads = False
        if self._stopping:
            return False
        try:
            data, fds, truncated = receive(self._sock)
        except (BlockingIOError, InterruptedError):
            return True
        close_all(self._decoder.feed(data, fds, truncated))
        if not data and self._decoder.partial:
            await self._refuse(ParseError(detail="the connection ended in the middle of a line"))
        return bool(data)

    def _on_bytes(self) -> None:
        """There is something to read.  The loop is asked not to tell while nobody reads: it would
        tell all the time.  Mostly a client sends nothing before it has its reply, and what is
        asked for once stays."""
        if self._reads:
            self.wake()
        else:
            self._loop.remove_reader(self._sock)
            self._listens = False

    async def _wait(self) -> None:
        """Sleep until `wake`."""
        self._waiter = self._loop.create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None

    def wake(self) -> None:
        """Look again: there is something to read, a request is done, there is room; or `stop`."""
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    # --- answering ----------------------------------------------------------------------------

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        self.active = self._loop.time()
        if len(self._tasks) == IN_FLIGHT - 1:
            self.wake()
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("a reply could not be sent", exc_info=error)
            self.stop()

    async def _answer(self, frame: Frame, size: int) -> None:
        aside = False

        def set_aside() -> None:
            nonlocal aside
            aside = True
            self._stuck += 1
            self.stuck_since = min(self.stuck_since, self._loop.time())
            self._accounts.set_aside(self.account, size)

        try:
            reply = await self._dispatcher.answer(frame, self._peer)
            if reply is not None:
                self._accounts.resize(self.account, len(reply) - size)
                size = len(reply)
                await self._send(reply, set_aside)
        finally:
            if aside:
                self._accounts.remove_aside(self.account, size)
                self._stuck -= 1
                if not self._stuck:
                    self.stuck_since = math.inf
                    self.wake()
            else:
                self._accounts.remove(self.account, size)

    async def _refuse(self, error: NimadError) -> None:
        await self._send(protocol.error_reply(None, error))

    # --- writing ------------------------------------------------------------------------------

    async def _send(self, reply: bytes, stuck: Callable[[], None] | None = None) -> None:
        """Write one reply whole, or lose the client that does not take it in time.  `stuck` is
        called once when it has not taken it for a while."""
        timer = self._stuck_timer(stuck) if self._writing.locked() else None
        try:
            async with self._writing:
                if self._gone:
                    return
                sent = 0
                with contextlib.suppress(BlockingIOError, InterruptedError):
                    sent = self._sock.send(reply)
                if sent < len(reply):
                    timer = timer or self._stuck_timer(stuck)
                    async with asyncio.timeout(self._send_seconds):
                        await self._loop.sock_sendall(self._sock, memoryview(reply)[sent:])
        except (OSError, TimeoutError) as error:
            self._lose(error)
        finally:
            if timer is not None:
                timer.cancel()

    def _stuck_timer(self, stuck: Callable[[], None] | None) -> asyncio.TimerHandle | None:
        return None if stuck is None else self._loop.call_later(STUCK_SECONDS, stuck)

    # --- the end ------------------------------------------------------------------------------

    def _lose(self, error: Exception) -> None:
        """The client is gone, or as good as gone: nothing more is read or written."""
        reason = "it does not read" if isinstance(error, TimeoutError) else str(error)
        log.debug("lost the client of process %d: %s", self._peer.pid, reason)
        self._gone = True
        self.stop()

    def _check_idle(self) -> None:
        """Close a silent connection; one timer for each client, which fires when it may be due."""
        left = self.active + self._idle_seconds - self._loop.time()
        if self._tasks or left > 0:
            self._timer = self._loop.call_later(max(left, 1.0), self._check_idle)
        else:
            log.debug("process %d was silent for too long", self._peer.pid)
            self.stop()
