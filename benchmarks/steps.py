"""The stages of a publication's way: each function makes its inputs, and returns what is to be measured."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from types import SimpleNamespace
from typing import TYPE_CHECKING, NamedTuple

import msgpack
import workloads

from nats_fluent import runtime, settings
from nats_fluent.batch import Batcher
from nats_fluent.delivery import Delivery, Outcome
from nats_fluent.forward.codec import entry
from nats_fluent.forward.connection import ForwardConnection
from nats_fluent.pipeline import Pipeline
from nats_fluent.record import FORWARD_LEVELS, Recorder
from nats_fluent.recorders import recorder_of
from nats_fluent.sections import BatchSettings, NatsSettings
from nats_fluent.source import acks
from nats_fluent.source.core import CoreSource
from nats_fluent.source.parser import FrameParser
from nats_fluent.topics import Topic

if TYPE_CHECKING:
    from collections.abc import Callable

READ = 64 * 1024
"""Bytes of a read from NATS."""
BATCH = BatchSettings(linger=3600.0)
"""As by default, but that no chunk is closed by the clock: valgrind is some 50 times slower."""
NOW_NS = 1_560_375_482_268_588_123


def _recorder() -> Recorder:
    """Return what makes records by default."""
    loaded = settings.load(flags={}, environ={}, file=None)
    return recorder_of(loaded.settings, "stages", levels=FORWARD_LEVELS)


def _deliveries(kind: str, first: int, count: int) -> list[Delivery]:
    return [
        Delivery(subject, subject, payload) for subject, payload in workloads.publications(kind, count, first)
    ]


def _reads(kind: str, first: int, count: int) -> list[bytes]:
    data = workloads.frames(kind, count, first)
    return [data[at : at + READ] for at in range(0, len(data), READ)]


def _parser(kind: str, receive: Callable[[Delivery], None]) -> FrameParser:
    """Return what takes the reads of a connection apart, with core NATS's own taker behind it."""
    subjects = workloads.subjects(kind)
    source = CoreSource(NatsSettings(), [Topic(each, each) for each in subjects], receive=receive)
    parser = FrameParser(SimpleNamespace(stats=defaultdict(int)))
    parser.takers.update((number, source._taker(each)) for number, each in enumerate(subjects, 1))  # noqa: SLF001
    return parser


def _pipeline() -> Pipeline:
    def dropped(_subject: str) -> None:
        raise AssertionError("the budget is full")

    return Pipeline(BATCH, _recorder(), new_chunk_id=runtime.new_chunk_id, dropped=dropped)


def _chunks(kind: str, first: int, count: int) -> list:
    recorder = _recorder()
    batcher = Batcher(BATCH, runtime.new_chunk_id)
    for delivery in _deliveries(kind, first, count):
        made = recorder.record(delivery, NOW_NS)
        batcher.add(made.tag, entry(made.time_ns, made.packed), 0.0)
    batcher.flush()
    return [*batcher.ready]


def read(kind: str, first: int, count: int) -> Callable[[], object]:
    """Frames of a connection to deliveries."""
    parser, reads = _parser(kind, [].append), _reads(kind, first, count)

    async def run() -> None:
        for data in reads:
            await parser.parse(data)

    def measured() -> None:
        coroutine = run()
        try:
            coroutine.send(None)
        except StopIteration:
            return
        raise AssertionError("the parser waited")

    return measured


def receive(kind: str, first: int, count: int) -> Callable[[], object]:
    """A delivery to the inbox: account and budget."""
    take, deliveries = _pipeline().receive, _deliveries(kind, first, count)

    def measured() -> None:
        for delivery in deliveries:
            take(delivery)

    return measured


def record(kind: str, first: int, count: int) -> Callable[[], object]:
    """A delivery to an encoded record."""
    make = _recorder().record
    deliveries = _deliveries(kind, first, count)

    def measured() -> None:
        for delivery in deliveries:
            make(delivery, NOW_NS)

    return measured


def batch(kind: str, first: int, count: int) -> Callable[[], object]:
    """A record to its entry in a chunk, and the entries to chunks."""
    make = _recorder().record
    records = [make(delivery, NOW_NS) for delivery in _deliveries(kind, first, count)]
    batcher = Batcher(BATCH, runtime.new_chunk_id)

    def measured() -> None:
        for made in records:
            batcher.add(made.tag, entry(made.time_ns, made.packed), 0.0)
        batcher.flush()

    return measured


def encode(kind: str, first: int, count: int) -> Callable[[], object]:
    """A chunk to what is written to the log shipper."""
    connection, chunks = ForwardConnection(), _chunks(kind, first, count)

    def measured() -> None:
        for chunk in chunks:
            connection.send_chunk(chunk, now=0.0)

    return measured


def ack(kind: str, first: int, count: int) -> Callable[[], object]:
    """The log shipper's acknowledgement of a chunk, to the account."""
    pipeline, connection = _pipeline(), ForwardConnection()
    answers = []
    for chunk in _chunks(kind, first, count):
        pipeline._charge(chunk, 0.0)  # noqa: SLF001 - as `run` does before it submits one
        connection.send_chunk(chunk, now=0.0)
        answers.append(msgpack.packb({"ack": chunk.id}))

    def measured() -> None:
        for answer in answers:
            for event in connection.receive_data(answer):
                pipeline.settled(event.chunk, Outcome.DELIVERED)

    return measured


def jetstream(_kind: str, first: int, count: int) -> Callable[[], object]:
    """What JetStream takes besides: the message's place, the note that it is held, and the answer to the server."""
    replies = [
        f"$JS.ACK.EVENTS.nats-fluent.1.{number}.{number}.{NOW_NS + number}.0"
        for number in range(first + 1, first + count + 1)
    ]
    unsettled, outgoing = acks.Unsettled(30.0), acks.Outgoing(1_000_000)

    def settle(key: acks.Key, _outcome: Outcome) -> None:
        outgoing.add(acks.publish(unsettled.settle(key, delivered=True), acks.DELIVERED))

    def measured() -> None:
        settles = []
        for reply in replies:
            key = acks.place(reply).key
            unsettled.hold(key, reply, 0.0)
            settles.append(acks.Settled(settle, key))
        for each in settles:
            each(Outcome.DELIVERED)
        outgoing.take(count)

    return measured


def whole(kind: str, first: int, count: int) -> Callable[[], object]:
    """All of these on an event loop, from the frames to the account; without the sockets."""
    pipeline, connection = _pipeline(), ForwardConnection()
    parser, reads = _parser(kind, pipeline.receive), _reads(kind, first, count)

    def submit(chunk: object) -> None:
        connection.send_chunk(chunk, now=0.0)
        for event in connection.receive_data(msgpack.packb({"ack": chunk.id})):
            pipeline.settled(event.chunk, Outcome.DELIVERED)

    async def acknowledge(_reply: str) -> None:
        raise AssertionError("nobody asked")

    async def run() -> None:
        working = asyncio.create_task(pipeline.run(submit=submit, acknowledge=acknowledge))
        for data in reads:
            await parser.parse(data)
            await asyncio.sleep(0)
        await pipeline.end()
        await working

    loop = asyncio.new_event_loop()

    def measured() -> None:
        loop.run_until_complete(run())
        loop.close()
        if pipeline.account.delivered != count:
            raise AssertionError(pipeline.account.delivered)

    return measured


class Stage(NamedTuple):
    make: Callable[[str, int, int], Callable[[], object]]
    kind: str
    publications: int

    @property
    def name(self) -> str:
        return f"{self.make.__name__} {self.kind}"


STAGES = [
    Stage(read, "event", 1000),
    Stage(read, "object", 40),
    Stage(receive, "event", 1000),
    Stage(record, "event", 500),
    Stage(record, "flow", 500),
    Stage(record, "activity", 300),
    Stage(record, "object", 10),
    Stage(record, "mix", 600),
    Stage(record, "json", 300),
    Stage(batch, "event", 1000),
    Stage(encode, "event", 5000),
    Stage(ack, "event", 5000),
    Stage(jetstream, "event", 1000),
    Stage(whole, "event", 500),
    Stage(whole, "mix", 600),
]
