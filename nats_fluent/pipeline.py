"""From a delivery to a chunk, and back from the chunk's acknowledgement: the way of one publication.

Everything that is held, from receipt to acknowledgement, is charged to one budget of bytes. When it is full, what
comes next is dropped and counted by its subject: core NATS offers no way to slow the publishers down.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from typing import TYPE_CHECKING

from nats_fluent.account import Account
from nats_fluent.batch import Batcher
from nats_fluent.delivery import Chunk, Outcome
from nats_fluent.forward.codec import entry

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from nats_fluent.delivery import Delivery
    from nats_fluent.record import Recorder
    from nats_fluent.settings import BatchSettings

DELIVERY_BYTES = 256
"""What a waiting delivery costs besides its payload: 167 bytes without a reply subject, 254 with one (tracemalloc,
CPython 3.11, one-word subjects)."""

SLICE = 256
"""Deliveries that are worked on before the loop goes round: about 2.5 ms, while one read of the socket brings up to
256 KiB. So reading goes first when both have work, which it must: what a slow reader leaves in the server is kept up to
64 MB (nats-server's `max_pending`), and then the server closes the connection and all of it is lost."""


class Pipeline:
    """Decodes what a source hands over, collects it into chunks and hands these to a sink.

    Args:
        batch: limits of a chunk, and the budget.
        recorder: makes records.
        new_chunk_id: makes a chunk id that was never made before.
        dropped: told the subject of each publication that found the budget full.
    """

    def __init__(
        self,
        batch: BatchSettings,
        recorder: Recorder,
        *,
        new_chunk_id: Callable[[], str],
        dropped: Callable[[str], None],
    ) -> None:
        self._budget = batch.buffer_bytes
        self._recorder = recorder
        self._batcher = Batcher(batch, new_chunk_id)
        self._dropped = dropped
        self._inbox: deque[Delivery] = deque()
        self._sleeper: asyncio.Future[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._ending = False
        self._emptied = asyncio.Event()
        self.account = Account()
        self._received = self.account.received
        self.held_bytes = 0
        """Bytes of the budget in use."""

    def receive(self, delivery: Delivery) -> None:
        """Take a delivery; never blocks. It is dropped and counted when the budget is full."""
        self._received[delivery.topic] += 1
        charge = len(delivery.payload) + DELIVERY_BYTES
        if self.held_bytes + charge > self._budget:
            self.account.dropped += 1
            self._dropped(delivery.subject)
            if delivery.settle is not None:
                delivery.settle(Outcome.RETRY)
            return
        self.held_bytes += charge
        self._inbox.append(delivery)
        if self._sleeper is not None:
            self._wake()

    def settled(self, chunk: Chunk, outcome: Outcome) -> None:
        """Account for a chunk that the log shipper acknowledged, and tell who waits for its records."""
        self.held_bytes -= len(chunk.entries)
        if outcome is Outcome.DELIVERED:
            self.account.delivered += chunk.count
            self.account.delivered_undecodable += chunk.undecodable
        for settle, delivered_as in chunk.settles:
            settle(delivered_as if outcome is Outcome.DELIVERED else outcome)
        if self._ending and not self.account.held:
            self._emptied.set()

    async def end(self) -> None:
        """Let `run` return when all that was received is with the sink; return when all of that is settled.

        Also when `run` has died: what is held then stays so.
        """
        self._ending = True
        if not self.account.held:
            self._emptied.set()
        self._wake()
        await self._emptied.wait()

    async def run(
        self, *, submit: Callable[[Chunk], None], acknowledge: Callable[[str], Awaitable[None]]
    ) -> None:
        """Work on deliveries until `end`.

        Args:
            submit: takes a chunk; never blocks.
            acknowledge: answers a publisher that asked for it, on that reply subject.
        """
        ready = self._batcher.ready
        try:
            while not (self._ending and not self._inbox):
                if self._inbox:
                    await asyncio.sleep(0)
                else:
                    await self._sleep()
                asks = self._work(time.time_ns(), time.monotonic())
                for reply in asks:
                    await acknowledge(reply)
                while ready:
                    submit(ready.popleft())
        except BaseException:
            self._emptied.set()  # nothing more will be: whoever waits in `end` is to go on
            raise
        finally:
            if self._timer is not None:
                self._timer.cancel()
        self._batcher.flush()
        while ready:
            submit(ready.popleft())

    def _work(self, now_ns: int, now: float) -> list[str]:
        """Put a slice of the inbox into chunks; return the reply subjects that wait for an `ack`."""
        inbox, account, record, add = self._inbox, self.account, self._recorder.record, self._batcher.add
        asks = []
        grown = 0
        for _ in range(min(len(inbox), SLICE)):
            delivery = inbox.popleft()
            made = record(delivery, now_ns)
            encoded = entry(made.time_ns, made.packed)
            grown += len(encoded) - len(delivery.payload) - DELIVERY_BYTES
            if made.error:
                account.undecodable += 1
            if made.replaced:
                account.replaced_bytes += made.replaced
            if made.ack_asked and delivery.reply:
                asks.append(delivery.reply)
            add(made.tag, encoded, now, delivery.settle, made.error != "")
        self.held_bytes += grown
        self._batcher.expire(now)
        return asks

    async def _sleep(self) -> None:
        """Wait until something is received or an open chunk is due."""
        loop = asyncio.get_running_loop()
        # The timer of a chunk that was completed meanwhile stays: one wake-up too many in `linger` costs less than
        # a timer made and cancelled for each message.
        due = self._batcher.deadline
        if due is not None and self._timer is None:
            self._timer = loop.call_later(max(due - time.monotonic(), 0), self._due)
        self._sleeper = loop.create_future()
        try:
            await self._sleeper
        finally:
            self._sleeper = None

    def _due(self) -> None:
        self._timer = None
        self._wake()

    def _wake(self) -> None:
        if self._sleeper is not None and not self._sleeper.done():
            self._sleeper.set_result(None)
