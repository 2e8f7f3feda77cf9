"""One connection: reads frames while its user has room, writes the replies.

A connection has at most `IN_FLIGHT` requests under way, its user what `accounts` allows: further
frames stay in the kernel until there is room, so the client waits and not the server.  While it
does not take a reply no request of it begins, and those that it has count for no other connection
of its user any more.  It is dropped when it does not take a reply within `SEND_SECONDS`, does not
end a frame that it began within `FRAME_SECONDS`, or is silent for longer than the idle timeout.  A
client that has closed its writing side still gets its replies.

A small request takes two turns of the loop: one in which it is received, parsed and given to a
thread, one in which its reply is sent.  So nothing here is a task or waits for a future: the loop,
the dispatcher and timers call what there is to do next.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import socket
import struct
from collections import deque

from nimad.dataclass import dataclass
from nimad.errors import FrameTooLarge, NimadError, ParseError
from nimad.serve import protocol
from nimad.serve.access import Peer
from nimad.serve.accounts import Account, Accounts, cost_of
from nimad.serve.dispatch import Dispatcher, Pending, close_all
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


@dataclass(eq=False)
class Answer(Pending):
    """A request under way, until its reply is sent or lost."""

    size: int = 0
    """What the account counts for it [bytes]."""
    left: bytes | memoryview = b""
    """What is to be sent of its reply."""
    patience: asyncio.TimerHandle | None = None
    """Sets it aside."""
    aside: bool = False
    counted: bool = True
    """False: nobody asked for it, it says why the connection ends."""


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
        self._under_way: set[Answer] = set()
        self._outgoing: deque[Answer] = deque()
        """Those whose replies are there; the client takes that of the first."""
        self._reads = self._listens = False
        """Whether it waits for bytes, and whether the loop tells it of them."""
        self._stuck = 0
        """Number of replies that were set aside, as the client does not take them."""
        self.stuck_since = math.inf
        self._woken = False
        self._stopping = False
        self._gone = False
        self._ended = self._loop.create_future()
        self._frame_timer: asyncio.TimerHandle | None = None
        """Ends a frame that has begun and is not whole in time."""
        self._send_timer: asyncio.TimerHandle | None = None
        """The same for the reply that is being sent; there while the loop tells of room for it."""
        self.active = self._loop.time()
        """When the last request was answered, or the connection was made [seconds]."""
        self._idle_timer = self._loop.call_later(idle_seconds, self._check_idle)

    @property
    def idle(self) -> bool:
        """Whether nothing is under way."""
        return not self._under_way

    async def serve(self) -> None:
        """Answer until the client is done, gone or silent for too long, or `stop` is called."""
        try:
            try:
                await self._dispatcher.admit(self._peer)
                self._go_on()
            except NimadError as error:  # it may do nothing here; what it sent was not even read
                self._refuse(error)
            await self._ended
        finally:
            self.stop(at_once=True)
            self._idle_timer.cancel()
            close_all(self._decoder.abandon())
            self._loop.remove_reader(self._sock)
            hang_up(self._sock)
            self._accounts.leave(self.account, self)

    def stop(self, *, at_once: bool = False) -> None:
        """Read no more; `serve` returns when the replies under way are out, or `at_once`."""
        self._stopping = True
        self._reads = False
        self._stop_frame_timer()
        self._leave_queue()
        if at_once:
            self._gone = True
            self._drop_replies()
            for answer in list(self._under_way):
                self._dispatcher.cancel(answer)
                self._finish(answer)
        self._look_for_end()

    def _look_for_end(self) -> None:
        if self._stopping and not self._under_way and not self._ended.done():
            self._ended.set_result(None)

    # --- reading ------------------------------------------------------------------------------

    def wake(self) -> None:
        """Look again whether a request may begin, in the next turn of the loop."""
        if not self._woken:
            self._woken = True
            self._loop.call_soon(self._go_on)

    def _go_on(self) -> None:
        """Begin the requests that are here while there is room for them, then wait for bytes."""
        self._woken = self._reads = False
        for _ in range(IN_FLIGHT):
            if not self._may_begin():
                self._stop_frame_timer()
                return
            try:
                frame = self._decoder.take()
            except FrameTooLarge as error:
                self._refuse(error)
                return
            if frame is None:
                self._await_bytes()
                return
            self._stop_frame_timer()
            self._begin(frame)
        self.wake()  # others have their turn before the next ones

    def _may_begin(self) -> bool:
        if self._stopping or self._stuck or len(self._under_way) >= IN_FLIGHT:
            return False
        if self._accounts.has_room(self.account):
            self._leave_queue()
            return True
        if self not in self.account.waiting:
            self.account.waiting.append(self)
        return False

    def _leave_queue(self) -> None:
        if self in self.account.waiting:
            self.account.waiting.remove(self)
            self._accounts.wake()

    def _begin(self, frame: Frame) -> None:
        answer = Answer(frame, self._peer, self._reply, size=cost_of(frame.data))
        self._accounts.add(self.account, answer.size)
        self._under_way.add(answer)
        self._dispatcher.requests += 1
        self._accounts.wake()  # there may be room for the next one that waits
        try:
            self._dispatcher.answer(answer)
        except Exception as error:
            log.error("a request could not be begun", exc_info=error)
            self.stop(at_once=True)

    def _await_bytes(self) -> None:
        if self._decoder.partial and self._frame_timer is None:
            late = ParseError(detail=f"a line did not end within {FRAME_SECONDS:g} seconds")
            self._frame_timer = self._loop.call_later(FRAME_SECONDS, self._refuse, late)
        self._reads = True
        if not self._listens:
            self._listens = True
            self._loop.add_reader(self._sock, self._on_bytes)

    def _on_bytes(self) -> None:
        """There is something to read.  The loop is asked not to tell while nobody reads: it would
        tell all the time.  Mostly a client sends nothing before it has its reply, and what is
        asked for once stays."""
        if not self._reads:
            self._loop.remove_reader(self._sock)
            self._listens = False
            return
        try:
            data, fds, truncated = receive(self._sock)
        except (BlockingIOError, InterruptedError):
            return
        except OSError as error:
            self._lose(error)
            return
        close_all(self._decoder.feed(data, fds, truncated))
        if data:
            self._go_on()
        elif self._decoder.partial:
            self._refuse(ParseError(detail="the connection ended in the middle of a line"))
        else:
            self.stop()

    def _stop_frame_timer(self) -> None:
        if self._frame_timer is not None:
            self._frame_timer.cancel()
            self._frame_timer = None

    # --- answering ----------------------------------------------------------------------------

    def _reply(self, answer: Answer, reply: bytes | None) -> None:
        """The dispatcher has answered."""
        if reply is None:
            self._finish(answer)
        else:
            self._accounts.resize(self.account, len(reply) - answer.size)
            answer.size = len(reply)
            self._send(answer, reply)

    def _refuse(self, error: NimadError) -> None:
        """Read nothing more, and say why."""
        answer = Answer(Frame(b""), self._peer, self._reply, counted=False)
        self._under_way.add(answer)
        self.stop()
        self._send(answer, protocol.error_reply(None, error))

    def _set_aside(self, answer: Answer) -> None:
        """The client has not taken it for a while."""
        answer.aside = True
        self._stuck += 1
        self.stuck_since = min(self.stuck_since, self._loop.time())
        self._leave_queue()
        self._accounts.set_aside(self.account, answer.size)

    def _finish(self, answer: Answer) -> None:
        """Its reply is sent or lost, or there is none."""
        self._under_way.discard(answer)
        if answer.patience is not None:
            answer.patience.cancel()
        if answer.aside:
            self._accounts.remove_aside(self.account, answer.size)
            self._stuck -= 1
            if not self._stuck:
                self.stuck_since = math.inf
                self.wake()
        elif answer.counted:
            self._accounts.remove(self.account, answer.size)
        self.active = self._loop.time()
        if len(self._under_way) == IN_FLIGHT - 1:
            self.wake()
        self._look_for_end()

    # --- writing ------------------------------------------------------------------------------

    def _send(self, answer: Answer, reply: bytes) -> None:
        """Write one reply whole, behind those that wait for the client, or lose the client that
        does not take it in time."""
        if self._gone:
            self._finish(answer)
            return
        answer.left = reply
        self._outgoing.append(answer)
        if len(self._outgoing) == 1:
            self._write()
        else:
            self._have_patience(answer)

    def _write(self) -> None:
        """Send as much as the client takes now."""
        while self._outgoing:
            answer, sent = self._outgoing[0], 0
            try:
                sent = self._sock.send(answer.left)
            except (BlockingIOError, InterruptedError):
                pass
            except OSError as error:
                self._lose(error)
                return
            if sent < len(answer.left):
                answer.left = memoryview(answer.left)[sent:]
                self._have_patience(answer)
                if self._send_timer is None:
                    late = TimeoutError("it does not read")
                    self._send_timer = self._loop.call_later(self._send_seconds, self._lose, late)
                    self._loop.add_writer(self._sock, self._write)
                return
            self._stop_send_timer()
            self._finish(self._outgoing.popleft())

    def _have_patience(self, answer: Answer) -> None:
        if answer.counted and answer.patience is None:
            answer.patience = self._loop.call_later(STUCK_SECONDS, self._set_aside, answer)

    def _stop_send_timer(self) -> None:
        if self._send_timer is not None:
            self._send_timer.cancel()
            self._send_timer = None
            self._loop.remove_writer(self._sock)

    # --- the end ------------------------------------------------------------------------------

    def _lose(self, error: Exception) -> None:
        """The client is gone, or as good as gone: nothing more is read or written."""
        log.debug("lost the client of process %d: %s", self._peer.pid, error)
        self._gone = True
        self._drop_replies()
        self.stop()

    def _drop_replies(self) -> None:
        self._stop_send_timer()
        while self._outgoing:
            self._finish(self._outgoing.popleft())

    def _check_idle(self) -> None:
        """Close a silent connection; one timer for each client, which fires when it may be due."""
        left = self.active + self._idle_seconds - self._loop.time()
        if self._under_way or left > 0:
            self._idle_timer = self._loop.call_later(max(left, 1.0), self._check_idle)
        else:
            log.debug("process %d was silent for too long", self._peer.pid)
            self.stop()
