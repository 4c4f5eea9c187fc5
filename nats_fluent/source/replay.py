"""A part of a stream, once more, through a consumer of its own that nobody else knows.

It is named, as it must be found again after a reconnect, and ephemeral: it is deleted at the end, and by the server
when nobody asked it for `INACTIVE` seconds.
"""

from __future__ import annotations

import contextlib
import secrets
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from nats_fluent.delivery import Outcome
from nats_fluent.errors import NatsFluentError, RunFailed, SourceError
from nats_fluent.source.api import Api, Found, NotYet, found_in
from nats_fluent.source.connect import connect_once
from nats_fluent.source.consumer import subjects_for, wanted
from nats_fluent.source.jetstream import JetStreamSource

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from nats.aio.client import Client

    from nats_fluent.delivery import Delivery
    from nats_fluent.log import Log
    from nats_fluent.sections import JetStreamSettings, NatsSettings
    from nats_fluent.settings import Settings
    from nats_fluent.source.consumer import Config, Floor
    from nats_fluent.topics import Topic

INACTIVE = 300.0
"""Seconds after which the server deletes a consumer that nobody asks."""

_NS = 1_000_000_000

Start = int | str
"""A sequence, or a time as RFC 3339."""


class Part(NamedTuple):
    """A part of a stream.

    Attributes:
        created: when the stream was made, which tells it from another one of its name.
        subjects: what is taken of it.
        first: the first sequence.
        last: the last sequence.
        messages: how many messages of these subjects it has.
    """

    created: str
    subjects: tuple[str, ...]
    first: int
    last: int
    messages: int


class Place(NamedTuple):
    """Where a replay stands.

    Attributes:
        floor: the sequence up to which everything is acknowledged.
        unacknowledged: messages that were delivered and are not acknowledged.
        done: whether all of the part is acknowledged.
    """

    floor: int
    unacknowledged: int
    done: bool


class ReplayApi(Api):
    """The consumer of one replay; the arguments are those of `Api`, the durable being a name for it.

    Args:
        part: what to replay; None to `measure` only.
    """

    def __init__(
        self, client: Client, settings: JetStreamSettings, topics: Sequence[Topic], part: Part | None = None
    ) -> None:
        named = msgspec.structs.replace(settings, durable=f"{settings.durable}-replay-{secrets.token_hex(4)}")
        super().__init__(client, named, topics)
        self._named = named
        self._part = part

    async def have(self, floor: Floor) -> Found:
        """See to it that the consumer is there; one that was lost is made again and goes on at `floor`.

        Raises:
            NotYet: the stream is not there, or JetStream is not.
            SourceError: it is another stream by now, or no consumer may be made.
        """
        part = self._part
        if part is None:
            raise SourceError("JetStream: there is nothing to replay")
        stream = await self.stream()
        if stream.created != part.created:
            raise SourceError(f"JetStream: the stream {self._named.stream} was deleted and made anew")
        info = await self.consumer()
        done = ""
        if info is None:
            first = max(part.first, floor.of(stream) + 1)
            info = await self._make(self._config(first, part.subjects), "create")
            done = "made"
        found = found_in(info)._replace(done=done)
        floor.note(stream, found.floor)
        return found

    async def measure(self, start: Start, end: Start | None) -> Part:
        """Find the part from `start` to `end`, that included; to the end of the stream when it is None.

        Raises:
            NotYet: the stream is not there, or JetStream is not.
            SourceError: the stream has none of the subjects, or no consumer may be made.
            RunFailed: it is a work queue.
        """
        name = self._named.stream
        stream = await self.stream()
        if stream.retention == "workqueue":
            raise RunFailed(
                f"the stream {name} is a work queue: what was acknowledged is gone, and it has one reader only"
            )
        subjects = tuple(subjects_for(self._named, self._topics, stream.subjects))
        last = stream.last
        beyond = last + 1
        if isinstance(end, int):
            beyond = min(beyond, end + 1)
        elif end is not None:
            beyond, _ = await self._looked(end, subjects)
            last = stream.last
        first, messages = await self._looked(start, subjects)
        _, after = await self._looked(max(first, beyond), subjects)
        return Part(stream.created, subjects, first, min(last, beyond - 1), max(messages - after, 0))

    async def place(self) -> Place | None:
        """Return where the replay stands; None when the consumer is not there.

        Raises:
            NotYet: there is no answer.
        """
        info = await self.consumer()
        part = self._part
        if info is None or part is None:
            return None
        pending, unacknowledged = info.get("num_pending", 0), info.get("num_ack_pending", 0)
        all_delivered = not pending or info["delivered"]["stream_seq"] >= part.last
        done = all_delivered and not unacknowledged
        floor = max(part.first - 1, info["ack_floor"]["stream_seq"])
        return Place(part.last if done else min(floor, part.last), unacknowledged, done)

    async def delete(self) -> None:
        """Delete the consumer; one that cannot be deleted goes when it was not asked for `INACTIVE` seconds."""
        with contextlib.suppress(NotYet):
            await self._request(f"CONSUMER.DELETE.{self.where}")

    async def _looked(self, start: Start, subjects: Sequence[str]) -> tuple[int, int]:
        """Return the sequence at which a consumer would start, and how many messages it would have."""
        info = await self._make(self._config(start, subjects), "create")
        await self.delete()
        # The server has them as delivered up to the one before (nats-server 2.15.1).
        return info["delivered"]["stream_seq"] + 1, info.get("num_pending", 0)

    def _config(self, start: Start, subjects: Sequence[str]) -> Config:
        config = wanted(self._named, subjects)
        del config["durable_name"]
        return config | {"inactive_threshold": round(INACTIVE * _NS)} | _start(start)


def _start(start: Start) -> dict[str, Any]:
    if isinstance(start, int):
        return {"deliver_policy": "by_start_sequence", "opt_start_seq": start}
    return {"deliver_policy": "by_start_time", "opt_start_time": start}


async def measured(settings: Settings, start: Start, end: Start | None) -> Part:
    """Connect, find the part of the stream of the settings, and leave again.

    Raises:
        SourceError: NATS cannot be reached, or the stream has none of the subjects.
        RunFailed: the stream is not there, or is a work queue.
    """

    async def look(client: Client) -> Part | NatsFluentError:
        try:
            return await ReplayApi(client, settings.jetstream, settings.topics).measure(start, end)
        except NatsFluentError as error:
            return error

    reached = await connect_once(settings.nats, settings.nats.connect_timeout, look)
    if isinstance(reached.seen, Part):
        return reached.seen
    if isinstance(reached.seen, NotYet):
        raise RunFailed(str(reached.seen)) from reached.seen
    assert isinstance(reached.seen, NatsFluentError)
    raise reached.seen


class ReplaySource(JetStreamSource):
    """Takes the messages of a part of a stream; the arguments are those of `JetStreamSource`, and the part."""

    def __init__(
        self,
        settings: NatsSettings,
        topics: Sequence[Topic],
        *,
        jetstream: JetStreamSettings,
        part: Part,
        receive: Callable[[list[Delivery]], None],
        room: Callable[[], int],
        log: Log | None = None,
    ) -> None:
        def in_part(deliveries: list[Delivery]) -> None:
            for delivery in deliveries:
                if delivery.sequence > part.last:
                    delivery.settled(Outcome.DELIVERED)  # to this consumer alone
            receive([delivery for delivery in deliveries if delivery.sequence <= part.last])

        super().__init__(settings, topics, jetstream=jetstream, receive=in_part, room=room, log=log)
        self._api = self._replay = ReplayApi(self._connection.client, jetstream, self._topics, part)

    async def place(self) -> Place | None:
        """Return where the replay stands; None when that cannot be said now."""
        if self.connected:
            with contextlib.suppress(NotYet):
                return await self._replay.place()
        return None

    async def close(self) -> None:
        """Delete the consumer and end the connection. Never raises."""
        await self._end_taking()
        if self._connection.connected:
            await self._replay.delete()
        await super().close()
