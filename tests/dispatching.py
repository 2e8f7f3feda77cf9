"""Asks a dispatcher as a connection does, and waits for the reply."""

from __future__ import annotations

import asyncio

from nimad.serve.access import Peer
from nimad.serve.dispatch import Dispatcher, Pending
from nimad.serve.frames import Frame


async def answer_to(dispatcher: Dispatcher, frame: Frame, peer: Peer) -> bytes | None:
    """The reply to a frame, None for a notification; cancelling it gives the request up."""
    reply: asyncio.Future[bytes | None] = asyncio.get_running_loop().create_future()
    pending = Pending(frame, peer, lambda _, line: reply.set_result(line))
    dispatcher.answer(pending)
    try:
        return await reply
    finally:
        dispatcher.cancel(pending)
