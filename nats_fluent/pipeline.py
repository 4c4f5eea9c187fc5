"""From a delivery to a chunk, and back from the chunk's acknowledgement: the way of one publication.

Everything that is held in memory, from receipt to acknowledgement, is charged to one budget of bytes. When it is full,
what comes next from core NATS is dropped and counted by its subject: there is no way to slow the publishers down. What
a stream still has is given back to it, and the source asks it for no more than there is `room` for.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

from nats_fluent.account import Account, Histogram
from nats_fluent.batch import Batcher
from nats_fluent.delivery import CHUNK_BYTES, Chunk, Outcome
from nats_fluent.forward.codec import entry, first_second
from nats_fluent.inbox import Inbox

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable

    from nats_fluent.delivery import Delivery, Settle
    from nats_fluent.record import Maker, Record, Transformed
    from nats_fluent.sections import BatchSettings

DELIVERY_BYTES = 256
"""What a waiting delivery costs besides its payload, about: 175 bytes without a reply subject, 262 with one
(tracemalloc, CPython 3.11, one-word subjects)."""

SLICE = 256
"""Deliveries that are worked on before the loop goes round: about 2.5 ms, while one read of the socket brings up to
256 KiB. So reading goes first when both have work, which it must: what a slow reader leaves in the server is kept up to
64 MB (nats-server's `max_pending`), and then the server closes the connection and all of it is lost."""


class _Together:
    """Settles a delivery when all of its records are settled, in whatever chunks they are.

    Args:
        settle: what to call with
        key: this, then.
        records: how many there are.
        unsettled: where it stands until then.
    """

    __slots__ = ("_key", "_outcome", "_settle", "_unsettled", "left")

    def __init__(self, settle: Settle, key: Any, records: int, unsettled: set[_Together]) -> None:  # noqa: ANN401
        self.left = records
        self._settle = settle
        self._key = key
        self._outcome = Outcome.DELIVERED
        self._unsettled = unsettled
        unsettled.add(self)

    def __call__(self, records: list[Any], outcome: Outcome) -> None:
        """Take what became of some records; that of all is the least of them."""
        self.left -= len(records)
        if outcome is Outcome.RETRY or self._outcome is Outcome.DELIVERED:
            self._outcome = outcome
        if not self.left:
            self._unsettled.discard(self)
            self._settle([self._key], self._outcome)


class Pipeline:
    """Decodes what a source hands over, collects it into chunks and hands these to a sink.

    Args:
        batch: limits of a chunk, and the budget.
        recorder: makes records.
        new_chunk_id: makes a chunk id that was never made before.
        dropped: told the subject of each publication that found the budget full and is lost.
        answer_late: whether a publisher that asks is answered when its record is delivered or on disk, instead of when
            it is received.
        reserve: bytes of the budget that are kept for chunks that are `loaded`.
        failed: told of each handler that failed.
    """

    def __init__(
        self,
        batch: BatchSettings,
        recorder: Maker,
        *,
        new_chunk_id: Callable[[], str],
        dropped: Callable[[str], None],
        answer_late: bool = False,
        reserve: int = 0,
        failed: Callable[[Transformed], None] = lambda _: None,
    ) -> None:
        self._budget = batch.buffer_bytes - reserve
        self._recorder = recorder
        self._batcher = Batcher(batch, new_chunk_id)
        self._dropped = dropped
        self._failed = failed
        self._together: set[_Together] = set()
        self._answer_late = answer_late
        self._answers: list[str] = []
        self._inbox = Inbox()
        self._growth = 0.0
        """Bytes by which each that waits will take more than it is charged: so many did those before. A record has
        272 bytes more than a publication of some words, and 3 times the bytes of one that is all times."""
        self._sleeper: asyncio.Future[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._ending = False
        self._handed_over = asyncio.Event()
        self._emptied = asyncio.Event()
        self.account = Account()
        self._received = self.account.received
        self._received_bytes = self.account.received_bytes
        # Of each chunk in memory, since when; the oldest is the first, as chunks are made and loaded in order.
        self._chunks: dict[Chunk, float] = {}
        self.end_to_end = Histogram()
        """Of each chunk that was acknowledged: the time since its first publication was published, by the publication's
        own clock. The chunk's own bytes have that time, so this costs a publication nothing."""
        self.delivered_at: float | None = None
        """When the log shipper last acknowledged a chunk, in seconds since 1970."""
        self.held_bytes = 0
        """Bytes of the budget in use."""

    @property
    def room(self) -> int:
        """Bytes of the budget that are free, and are not for what is in memory and is going to grow."""
        return self._budget - self.held_bytes - int(self._growth * len(self._inbox))

    @property
    def oldest(self) -> float | None:
        """Seconds for which the oldest chunk in memory has been there; None without one."""
        for since in self._chunks.values():
            return time.monotonic() - since
        return None

    @property
    def waiting(self) -> int:
        """Deliveries that were taken and not worked on yet."""
        return len(self._inbox)

    def receive(self, deliveries: Iterable[Delivery]) -> None:
        """Take deliveries; never blocks. What finds the budget full is given back, or dropped and counted."""
        received, received_bytes, room = self._received, self._received_bytes, self.room
        taken: list[Delivery] = []
        for delivery in deliveries:
            size = len(delivery.payload)
            topic = delivery.topic
            received[topic] += 1
            received_bytes[topic] += size
            charge = size + DELIVERY_BYTES
            if charge > room:
                self._refuse(delivery)
            else:
                room -= charge
                self.held_bytes += charge
                taken.append(delivery)
        self._inbox.put(taken)
        if self._sleeper is not None:
            self._wake()

    def _refuse(self, delivery: Delivery) -> None:
        if delivery.settle is not None:
            self.account.returned += 1
            delivery.settled(Outcome.RETRY)
        else:
            self.account.dropped += 1
            self.account.dropped_by_topic[delivery.topic] += 1
            self._dropped(delivery.subject)

    def settled(self, chunk: Chunk, outcome: Outcome) -> None:
        """Account for a chunk that the log shipper acknowledged, and tell who waits for its records."""
        self._gone(chunk)
        if outcome is Outcome.DELIVERED:
            self.delivered_at = time.time()
            published = first_second(chunk.entries)
            if published is not None:
                self.end_to_end.add(self.delivered_at - published)
            self.account.delivered += chunk.count
            self.account.delivered_undecodable += chunk.undecodable
        for settle, delivered_as, keys in chunk.waiting:
            settle(keys, delivered_as if outcome is Outcome.DELIVERED else outcome)
        if self._ending:
            self._wake()

    def recovered(self, records: int) -> None:
        """Account for records that an earlier process left on disk."""
        self.account.recovered += records
        self.account.spooled += records

    def stored(self, chunk: Chunk) -> None:
        """Tell who waits for its records that a chunk is on disk; it stays in memory."""
        waiting, chunk.waiting = chunk.waiting, ()
        for settle, _, keys in waiting:
            settle(keys, Outcome.SPOOLED)

    def spooled(self, chunk: Chunk) -> None:
        """Account for a chunk that is on disk and no longer in memory, and tell who waits for its records."""
        self._gone(chunk)
        self.account.spooled += chunk.count
        self.stored(chunk)
        if self._ending:
            self._wake()

    def lost(self, records: int) -> None:
        """Account for records that were on disk only, and cannot be read there."""
        self.account.spooled -= records
        self.account.lost += records

    def loaded(self, chunk: Chunk) -> None:
        """Account for a chunk that was on disk only, and is in memory again."""
        self._charge(chunk, time.monotonic())
        self.account.spooled -= chunk.count

    def _charge(self, chunk: Chunk, now: float, paid: int = 0) -> None:
        """Take note of a chunk in memory, of which so many bytes are charged already."""
        self._chunks[chunk] = now
        self.held_bytes += chunk.memory - paid

    def _gone(self, chunk: Chunk) -> None:
        del self._chunks[chunk]
        self.held_bytes -= chunk.memory

    async def end(self) -> None:
        """Let `run` return when nothing is held in memory, and wait for that; also when `run` has died."""
        self._ending = True
        if not self.account.in_memory and not self._answers:
            self._emptied.set()
        self._wake()
        await self._emptied.wait()

    async def handed_over(self) -> None:
        """Wait until, after `end`, all that was received is submitted; also until `run` has died."""
        await self._handed_over.wait()

    async def run(
        self, *, submit: Callable[[Chunk], None], acknowledge: Callable[[str], Awaitable[None]]
    ) -> None:
        """Work on deliveries until `end`, and then until all of them are settled.

        Args:
            submit: takes a chunk; never blocks.
            acknowledge: answers a publisher that asked for it, on that reply subject.
        """
        ready = self._batcher.ready
        try:
            while True:
                if self._inbox:
                    await asyncio.sleep(0)
                elif self._ending and self._batcher.records:
                    self._batcher.flush()
                elif self._ending and not self.account.in_memory and not self._answers:
                    return
                elif not self._answers:
                    if self._ending:
                        self._handed_over.set()
                    await self._sleep()
                self._work(time.time_ns(), time.monotonic())
                answers, self._answers = self._answers, []
                for reply in answers:
                    await acknowledge(reply)
                now = time.monotonic()
                while ready:
                    chunk = ready.popleft()
                    self._charge(chunk, now, len(chunk.entries))
                    submit(chunk)
        finally:
            self._handed_over.set()  # nothing more will be: whoever waits is to go on
            self._emptied.set()
            if self._timer is not None:
                self._timer.cancel()

    def _work(self, now_ns: int, now: float) -> None:
        """Put a slice of the inbox into chunks."""
        account, record, add = self.account, self._recorder.record, self._batcher.add
        answer, kinds, grown = self._answer, account.kinds, 0
        deliveries = self._inbox.take(SLICE)
        for delivery in deliveries:
            made = record(delivery, now_ns)
            if made.filtered:
                grown -= len(delivery.payload) + DELIVERY_BYTES
                self._filtered(delivery, ack_asked=made.ack_asked)
                continue
            encoded = entry(made.time_ns, made.packed)
            grown += len(encoded) - len(delivery.payload) - DELIVERY_BYTES
            if made.error:
                account.undecodable += 1
                account.undecodable_by_topic[delivery.topic] += 1
            else:
                kind = delivery.topic, made.identity, made.operation
                try:
                    kinds[kind] += 1
                except KeyError:
                    account.new_kind(kind)
            if made.replaced:
                account.replaced_bytes += made.replaced
            settle, key = delivery.settle, delivery.key
            if made.ack_asked and delivery.reply:
                if self._answer_late:
                    settle, key = answer, delivery
                else:
                    self._answers.append(delivery.reply)
            if made.transformed is None:
                add(made.tag, encoded, now, settle, key, made.error != "")
            else:
                grown += self._add_all(made, made.transformed, encoded, now, settle, key)
        self.held_bytes += grown
        self._batcher.expire(now)
        if deliveries:
            self._growth = max(0.0, (grown + CHUNK_BYTES * len(self._batcher.ready)) / len(deliveries))

    def _add_all(
        self,
        made: Record,
        transformed: Transformed,
        encoded: bytes,
        now: float,
        settle: Settle | None,
        key: Any,  # noqa: ANN401
    ) -> int:
        """Put the records of one publication into chunks; return the bytes of all but the first."""
        account, more = self.account, transformed.more
        if transformed.error:
            account.transform_failed(made.identity)
            self._failed(transformed)
        account.extra += len(more)
        if settle is not None and more:
            settle = _Together(settle, key, 1 + len(more), self._together)
        self._batcher.add(made.tag, encoded, now, settle, key)
        grown = 0
        for each in more:
            encoded = entry(each.time_ns, each.packed)
            grown += len(encoded)
            self._batcher.add(each.tag, encoded, now, settle, key)
        return grown

    def returned(self, publications: int) -> None:
        """Account for publications that the source has given back, and with them for what was made of them."""
        if not publications:
            return  # of core NATS none is: what it was made into is left
        self.account.returned += publications
        # One of the records stands for its publication, which is among the returned.
        self.account.extra -= sum(each.left - 1 for each in self._together)
        self._together.clear()

    def _filtered(self, delivery: Delivery, *, ack_asked: bool) -> None:
        """Account for a publication that becomes no record, and tell who waits for it that it is done with."""
        self.account.filtered += 1
        self.account.filtered_by_topic[delivery.topic] += 1
        if ack_asked and delivery.reply:
            self._answers.append(delivery.reply)
        delivery.settled(Outcome.FILTERED)

    def _answer(self, deliveries: list[Delivery], outcome: Outcome) -> None:
        for delivery in deliveries:
            if outcome is not Outcome.RETRY:
                self._answers.append(delivery.reply)
            delivery.settled(outcome)
        self._wake()

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
