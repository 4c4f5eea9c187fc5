"""For tests of handlers and settings: publications as the platform writes them, and a sidecar in memory.

The sidecar is all that is between NATS and the log shipper, without either.

::

    from nats_fluent.testing import Sidecar, publication

    def test_an_enforcer():
        ran = Sidecar(transforms=["my.py"]).give(publication("enforcer", {"name": "one"}))
        assert ran.records[0].record["name"] == "one"
"""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from nats_fluent import writing
from nats_fluent.addresses import bare_subject
from nats_fluent.delivery import Delivery, Outcome
from nats_fluent.envelope import JSON, MSGPACK, published_to
from nats_fluent.forward.codec import read_entries
from nats_fluent.loader import handlers_of, load
from nats_fluent.pipeline import Pipeline
from nats_fluent.record import FORWARD_LEVELS
from nats_fluent.recorders import recorder_of
from nats_fluent.sections import BatchSettings
from nats_fluent.settings import Settings
from nats_fluent.topics import topic_name
from nats_fluent.transforms import Transforming

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import datetime

    from nats_fluent.account import Account
    from nats_fluent.delivery import Chunk
    from nats_fluent.record import Maker, Record

__all__ = ["JSON", "MSGPACK", "TIME", "Emitted", "Message", "Ran", "Sidecar", "bare", "publication"]

TIME = "2026-01-01T00:00:00Z"
"""When a publication is published, and received, where nothing else is said."""
_TIME_NS = 1_767_225_600_000_000_000


def publication(
    identity: str,
    entity: Mapping[str, Any] | None = None,
    *,
    operation: str = "update",
    timestamp: str | datetime | None = TIME,
    topic: str = "squall-events",
    encoding: str = MSGPACK,
    ask_ack: bool = False,
) -> bytes:
    """Return an event in its envelope, as the platform's Go libraries write it.

    Args:
        identity: what the entity is.
        entity: the object; times in it may be `datetime`, with a zone. None for an event without one.
        operation: what was done to it.
        timestamp: when, as RFC 3339 or with a zone; None for no time.
        topic: the subject that it is published to.
        encoding: MSGPACK or JSON.
        ask_ack: whether the publisher waits for an answer.

    Raises:
        TypeError: a value in the entity is of a type that cannot be published.
        ValueError: a time is not RFC 3339, or has no zone.
    """
    event = writing.event(identity, operation, entity, timestamp, encoding=encoding)
    return writing.envelope(event, topic, encoding=encoding, ask_ack=ask_ack)


def bare(value: Mapping[str, Any], topic: str, *, encoding: str = MSGPACK, ask_ack: bool = False) -> bytes:
    """Return an object that is sent without an event, as activities and reports are; else as `publication`."""
    return writing.envelope(writing.encode(value, encoding), topic, encoding=encoding, ask_ack=ask_ack)


class Message(NamedTuple):
    """A NATS message.

    Attributes:
        payload: its bytes.
        subject: its own; by default what the publication says it was published to.
        headers: of the message.
    """

    payload: bytes
    subject: str = ""
    headers: Mapping[str, str] | None = None


class Emitted(NamedTuple):
    """A record as the log shipper gets it: tag, time in nanoseconds since 1970, and fields."""

    tag: str
    time_ns: int
    record: dict[str, Any]


class Ran(NamedTuple):
    """What became of what was given.

    Attributes:
        records: in the order in which they were made.
        outcomes: of each message, what its source was told: ``delivered``, ``undecodable`` or ``filtered``.
        account: the counts.
    """

    records: list[Emitted]
    outcomes: list[str]
    account: Account


class Sidecar:
    """What `nats-fluent run` does between NATS and the log shipper, in memory.

    It begins anew with each `give`: the first record has the id ``test-1``. What has no time is received at `TIME`.

    Args:
        settings: those of `nats_fluent.settings.load`; by default the defaults.
        transforms: files or entry points with handlers, modules, or handlers, besides those of the settings.

    Raises:
        SettingsError: there is no handler in one of them, or it cannot be loaded.
    """

    def __init__(self, settings: Settings | None = None, *, transforms: Iterable[object] = ()) -> None:
        self._settings = settings if settings is not None else Settings()
        found: list[tuple[str, object]] = []
        names = list(self._settings.transforms)
        for each in transforms:
            if isinstance(each, str):
                names.append(each)
            else:
                found.append((getattr(each, "__name__", "?"), each))
        self._handlers = handlers_of(found, load(names))

    def give(self, *messages: bytes | Message) -> Ran:
        """Take messages, and return what became of them; also where a loop is running."""
        given = [each if isinstance(each, Message) else Message(each) for each in messages]
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            return asyncio.run(self._give(given))
        with ThreadPoolExecutor(1) as thread:
            return thread.submit(lambda: asyncio.run(self._give(given))).result()

    async def _give(self, messages: list[Message]) -> Ran:
        loop, chunks, outcomes = asyncio.get_running_loop(), count(1), [""] * len(messages)
        records: list[Emitted] = []

        def submit(chunk: Chunk) -> None:
            records.extend(Emitted(chunk.tag, *each) for each in read_entries(chunk.entries))
            loop.call_soon(pipeline.settled, chunk, Outcome.DELIVERED)

        async def acknowledge(_: str) -> None:
            """Nobody waits for it."""

        pipeline = Pipeline(
            # A chunk for each record: so they come in the order in which they were made, whatever their tags.
            msgspec.structs.replace(BatchSettings(), max_records=1, buffer_bytes=2**62),
            self._maker(),
            new_chunk_id=lambda: str(next(chunks)),
            dropped=lambda _: None,
        )
        running = asyncio.create_task(pipeline.run(submit=submit, acknowledge=acknowledge))

        def settle(keys: list[int], outcome: Outcome) -> None:
            for at in keys:
                outcomes[at] = outcome.name.lower()

        for at, message in enumerate(messages):
            subject = message.subject or published_to(message.payload) or "unknown"
            topic = topic_name(self._settings.topics, subject) or bare_subject(subject)
            headers = _headers(message.headers) if message.headers else None
            pipeline.receive([Delivery(topic, subject, message.payload, "", headers, settle, at)])
        await asyncio.wait(
            [running, asyncio.create_task(pipeline.end())], return_when=asyncio.FIRST_COMPLETED
        )
        await running
        return Ran(records, outcomes, pipeline.account)

    def _maker(self) -> Maker:
        settings = self._settings
        levels = None if settings.fluent.url[0].scheme == "stdout" else FORWARD_LEVELS
        recorder = recorder_of(settings, "test", levels=levels)
        return _Still(
            Transforming(recorder, self._handlers, levels=levels) if len(self._handlers) else recorder
        )


class _Still:
    """Makes records at one moment."""

    def __init__(self, maker: Maker) -> None:
        self._maker = maker

    def record(self, delivery: Delivery, now_ns: int) -> Record:  # noqa: ARG002 - that is the point
        return self._maker.record(delivery, _TIME_NS)


def _headers(headers: Mapping[str, str]) -> bytes:
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return f"NATS/1.0\r\n{lines}\r\n".encode()
