"""JetStream: a durable pull consumer, each message acknowledged when its record was delivered.

One task asks for messages, one sends what the server is told of them, one tells it in time of those that take longer,
and one learns now and then how far the stream is acknowledged. The messages themselves come through the connection's
parser, as those of core NATS do.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import TYPE_CHECKING

from nats import errors

from nats_fluent.addresses import bare_subject
from nats_fluent.delivery import Delivery, Outcome
from nats_fluent.source import acks
from nats_fluent.source.acks import Outgoing, Places, Unsettled
from nats_fluent.source.api import Api, NotYet
from nats_fluent.source.base import BACKLOG, Source
from nats_fluent.source.client import end
from nats_fluent.source.connect import CLOSE_WITHIN
from nats_fluent.source.consumer import Floor, Limits
from nats_fluent.source.pull import PullWindow
from nats_fluent.topics import Topic, topic_name

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Sequence

    from nats.aio.subscription import Subscription

    from nats_fluent.delivery import Settle
    from nats_fluent.log import Log
    from nats_fluent.sections import JetStreamSettings, NatsSettings
    from nats_fluent.source.acks import Key
    from nats_fluent.source.parser import Message
    from nats_fluent.source.pull import Ask

LOOK_AGAIN = 0.2
"""Seconds before JetStream is tried again when it cannot be used; each further time doubles it."""

LOOK_AGAIN_MOST = 5.0
"""Seconds, the longest such wait."""

FLOOR_EVERY = 10.0
"""Seconds between two questions up to where the consumer is acknowledged. So much of a stream at most is delivered
twice when somebody deletes the consumer and it is made again."""

TICKS = 10
"""How often in `ack_wait` it is looked for messages that the server is to hear of."""

SLICE = 2000
"""Answers that are written as one: about 150 KB."""

NAMES = 10_000
"""Subjects whose topics are remembered."""

_clock = time.monotonic


class _Inbox:
    """Where the messages of one pull after the other arrive."""

    __slots__ = ("prefix", "pull", "subscription")

    def __init__(self, prefix: str) -> None:
        self.prefix = prefix
        self.pull = 0
        self.subscription: Subscription | None = None


class JetStreamSource(Source):
    """Takes the messages of a stream through a durable consumer, as fast as there is room for them.

    Args:
        settings: the NATS connection.
        topics: the names that the deliveries carry, and the subjects, where `jetstream` has none.
        jetstream: stream and consumer.
        receive: as for every source.
        room: the bytes of memory that are free.
        log: as for every source.

    Raises:
        SettingsError: a TLS file cannot be used.
    """

    def __init__(
        self,
        settings: NatsSettings,
        topics: Sequence[Topic],
        *,
        jetstream: JetStreamSettings,
        receive: Callable[[list[Delivery]], None],
        room: Callable[[], int],
        log: Log | None = None,
    ) -> None:
        super().__init__(settings, topics, receive=receive, log=log)
        self._api = Api(self._connection.client, jetstream, self._topics)
        # A topic is never made of the message's own subject: it may become a Kafka topic, and subjects have no end.
        others = [Topic(each, bare_subject(each) or jetstream.stream) for each in jetstream.filter_subjects]
        self._kinds = (*self._topics, *others, Topic(">", jetstream.stream))
        self._places = Places()
        self._unsettled = Unsettled(jetstream.ack_wait)
        self._outgoing = Outgoing(2 * jetstream.max_ack_pending + SLICE)
        self._window = PullWindow(
            Limits(jetstream.ack_wait, jetstream.max_ack_pending),
            room=room,
            unsettled=self._unsettled.__len__,
        )
        self._floor = Floor()
        self._inboxes: dict[int, _Inbox] = {}
        self._free: list[_Inbox] = []
        self._leaving: set[asyncio.Task[None]] = set()
        self._names: dict[str, str] = {}
        # One object, by which a chunk knows that one call is enough for all of these.
        self._settling: Settle = self._settle
        self._wake = asyncio.Event()
        self._up = asyncio.Event()
        self._answers = asyncio.Event()
        self._telling: list[asyncio.Task[None]] = []
        self._said, self._closing = "", False

    @property
    def unsettled(self) -> int:
        """Messages that were handed on and are not settled."""
        return len(self._unsettled)

    @property
    def unsent(self) -> int:
        """Answers that were given up because too many waited: their messages come again."""
        return self._outgoing.dropped

    async def start(self) -> None:
        """Begin to connect, to pull and to acknowledge, and return; NATS may be down, and the stream not there."""
        await super().start()
        for name, part in (
            ("nats-answer", self._answer()),
            ("nats-in-progress", self._hold()),
            ("nats-floor", self._follow()),
        ):
            self._telling.append(asyncio.create_task(self._watched(part), name=name))

    async def stop_taking(self) -> None:
        """Pull no more; return when everything that had arrived was handed to `receive`. Never raises.

        What was handed on is acknowledged as before.
        """
        await self._end_taking()
        client = self._connection.client
        inboxes = [*self._inboxes.values(), *self._free]
        self._inboxes.clear()
        self._free.clear()
        async with asyncio.TaskGroup() as group:
            for inbox in inboxes:
                if inbox.subscription is not None:
                    group.create_task(client.finish(inbox.subscription), name="nats-finish")
        if self._leaving:
            await asyncio.wait(self._leaving)
        self._subscribed.clear()

    async def close(self) -> None:
        """Give back what is not settled, so that another member takes it at once, and end the connection.

        Never raises.
        """
        await self._end_taking()
        for task in [*self._telling, *self._leaving]:
            await end(task)
        self._closing, again = True, self._unsettled.clear()
        self._outgoing.add(again, acks.AGAIN)
        self.returned += len(again)
        with contextlib.suppress(errors.Error, OSError):
            async with asyncio.timeout(CLOSE_WITHIN):  # a server that reads nothing
                while self._outgoing and self._connection.connected:
                    await self._connection.client.send(self._outgoing.take(SLICE), backlog=BACKLOG)
        await super().close()

    # Asking

    async def _take(self) -> None:
        window = self._window
        while True:
            await self._up.wait()
            now = _clock()
            for number in window.silent(now):
                self._leave(self._inboxes.pop(number))
            if window.doubt:
                await self._look()
                continue
            for number in [number for number in self._inboxes if not window.is_open(number)]:
                self._free.append(self._inboxes.pop(number))
            if window.well:
                self._said = ""
            while self._up.is_set() and (ask := window.ask(now)) is not None:
                await self._send(ask)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(max(window.deadline(now) - now, 0.01)):
                    await self._wake.wait()
            self._wake.clear()

    async def _look(self) -> None:
        """Look at the consumer, and see to it that it is as it should be, however long that takes."""
        doubt = self._window.doubt
        began = not self._subscribed.is_set()
        if not began and doubt != self._said:
            self._said = doubt
            self._log.warning("JetStream ended a pull; looking at the consumer", reason=doubt)
        wait, reason = LOOK_AGAIN, ""
        while True:
            await self._up.wait()
            try:
                found = await self._api.have(self._floor)
            except NotYet as problem:
                self._subscribed.clear()
                if str(problem) != reason and self._up.is_set():
                    reason = str(problem)
                    self._log.warning("waiting for JetStream", reason=reason)
                await asyncio.sleep(wait)
                wait = min(2 * wait, LOOK_AGAIN_MOST)
            else:
                break
        self._unsettled.ack_wait = found.limits.ack_wait
        self._window.trusted(found.limits)
        self.pending = found.pending
        self._subscribed.set()
        if began or reason or found.done:
            self._log.info(
                "taking from JetStream",
                consumer=self._api.where,
                **({"done": found.done} if found.done else {}),
                acknowledged=found.floor,
                pending=found.pending,
                unacknowledged=found.unacknowledged,
            )

    async def _send(self, ask: Ask) -> None:
        inbox = self._free.pop() if self._free else await self._new_inbox()
        inbox.pull = ask.pull
        self._inboxes[ask.pull] = inbox
        if not self._window.is_open(ask.pull):
            return  # the connection was lost meanwhile
        subject = f"{self._api.prefix}.CONSUMER.MSG.NEXT.{self._api.where}"
        with contextlib.suppress(errors.OutboundBufferLimitError):  # a pull that stays silent is given up
            await self._connection.client.publish(subject, ask.request, reply=f"{inbox.prefix}.{ask.pull}")

    async def _new_inbox(self) -> _Inbox:
        inbox = _Inbox(self._connection.client.new_inbox())
        inbox.subscription = await self._connection.client.take(f"{inbox.prefix}.*", "", inbox)
        return inbox

    def _leave(self, inbox: _Inbox) -> None:
        if inbox.subscription is not None:
            task = asyncio.create_task(self._connection.client.finish(inbox.subscription), name="nats-finish")
            self._leaving.add(task)
            task.add_done_callback(self._leaving.discard)

    def _changed(self) -> None:
        if self._connection.connected:
            self._up.set()
        else:
            self._up.clear()
            self._window.lost()
            for inbox in [*self._inboxes.values(), *self._free]:
                if inbox.subscription is not None:
                    self._connection.client.forget(inbox.subscription)
            self._inboxes.clear()
            self._free.clear()
        self._wake.set()

    async def _follow(self) -> None:
        """Learn now and then up to where the stream is acknowledged."""
        while True:
            await asyncio.sleep(FLOOR_EVERY)
            if self._up.is_set() and not self._window.doubt:
                with contextlib.suppress(NotYet):
                    info = await self._api.consumer()
                    if info is not None:
                        self.pending = info.get("num_pending", self.pending)
                        self._floor.raised(info.get("ack_floor", {}).get("stream_seq", 0))

    # Taking

    def _deliveries(self, messages: list[Message]) -> list[Delivery]:
        now = _clock()
        read, names, settle = self._places.read, self._names, self._settling
        found: list[Delivery] = []
        keys: list[Key] = []
        replies: list[str] = []
        pull = count = size = 0
        for inbox, subject, reply, payload, headers in messages:
            at = read(reply)
            if inbox.pull != pull or at is None:
                self._count(pull, count, size, now)
                pull, count, size = inbox.pull, 0, 0
            if at is None:
                self._status(subject, headers)
                continue
            stream, sequence, deliveries, time_ns, self.pending, key = at
            count += 1
            size += len(subject) + len(reply) + len(payload) + (len(headers) if headers is not None else 0)
            if deliveries > 1:
                self.redelivered += 1
            keys.append(key)
            replies.append(reply)
            found.append(
                Delivery(
                    names.get(subject) or self._name(subject),
                    subject,
                    payload,
                    "",
                    headers,
                    settle,
                    key,
                    stream,
                    sequence,
                    deliveries,
                    time_ns,
                )
            )
        self._count(pull, count, size, now)
        if self._closing:  # they came after the end of all that would have become of them
            self._outgoing.add(replies, acks.AGAIN)
            return []
        known = self._unsettled.hold(keys, replies, now)
        if not known:
            return found
        delivered = self._unsettled.was_delivered
        self._say([replies[at] for at in known if delivered(keys[at])], acks.DELIVERED)
        return [delivery for at, delivery in enumerate(found) if at not in known]

    def _count(self, pull: int, count: int, size: int, now: float) -> None:
        if count and self._window.taken(pull, count, size, now):
            self._wake.set()

    def _status(self, subject: str, headers: bytes | None) -> None:
        r"""Take in what the server says of a pull: ``NATS/1.0 <code> <text>\r\n...``, on the pull's own inbox."""
        number = subject.rpartition(".")[2]
        line = (headers or b"").partition(b"\r\n")[0].decode("utf-8", "replace")
        _, _, status = line.partition(" ")
        code, _, text = status.partition(" ")
        if not (number.isdecimal() and code.isdecimal()):
            self._log.debug("not a message of the stream", subject=subject)
            return
        window, blocked = self._window, self._window.too_small
        window.status(int(number), int(code), text, _clock())
        if window.too_small > blocked:
            self._log.info("the next message is larger than the memory that is free", bytes=window.too_small)
        self._wake.set()

    def _name(self, subject: str) -> str:
        name = topic_name(self._kinds, subject)
        if len(self._names) >= NAMES:
            self._names.clear()
        self._names[subject] = name
        return name

    # Answering

    def _settle(self, keys: list[Key], outcome: Outcome) -> None:
        match outcome:
            case Outcome.DELIVERED | Outcome.FILTERED:
                self._say(self._unsettled.settle(keys, delivered=True), acks.DELIVERED)
            case Outcome.UNDECODABLE:
                self._say(self._unsettled.settle(keys, delivered=True), acks.TERMINATED)
            case _:
                for reply in self._unsettled.settle(keys, delivered=False):
                    at = self._places.read(reply)
                    self._say([reply], acks.again(at[2] if at is not None else 1))

    def _say(self, replies: list[str], answer: bytes) -> None:
        self._outgoing.add(replies, answer)
        self._answers.set()
        self._wake.set()

    async def _answer(self) -> None:
        """Send what the server is to be told, while there is a connection."""
        client, outgoing = self._connection.client, self._outgoing
        while True:
            await self._answers.wait()
            self._answers.clear()
            while outgoing:
                await self._up.wait()
                with contextlib.suppress(errors.Error, OSError):
                    await client.send(outgoing.take(SLICE), backlog=BACKLOG)

    async def _hold(self) -> None:
        """Tell the server of what is not settled, before it takes it for lost."""
        while True:
            await asyncio.sleep(self._unsettled.ack_wait / TICKS)
            if self._up.is_set():
                self._say(self._unsettled.due(_clock()), acks.AT_WORK)

    async def _watched(self, part: Coroutine[None, None, None]) -> None:
        try:
            await part
        except Exception as error:  # noqa: BLE001 - handed to whoever waits for the source to end
            self._connection.fail(error)
