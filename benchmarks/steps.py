"""The stages of a publication's way: each function makes its inputs, and returns what is to be measured."""

from __future__ import annotations

import asyncio
import contextlib
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
from nats_fluent.sections import BatchSettings, JetStreamSettings, NatsSettings
from nats_fluent.source.consumer import Limits
from nats_fluent.source.core import CoreSource
from nats_fluent.source.jetstream import JetStreamSource, _Inbox
from nats_fluent.source.parser import FrameParser
from nats_fluent.topics import Topic

if TYPE_CHECKING:
    from collections.abc import Callable

    from nats_fluent.source.base import Source

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


def _reads(data: bytes) -> list[bytes]:
    return [data[at : at + READ] for at in range(0, len(data), READ)]


def _parser(source: Source, marks: list[object]) -> FrameParser:
    """Return what takes the reads of a connection apart, with the source behind it."""
    parser = FrameParser(SimpleNamespace(stats=defaultdict(int)), source._taken)  # noqa: SLF001
    parser.marks.update(enumerate(marks, 1))
    return parser


def _core(kind: str, receive: Callable[[list[Delivery]], None]) -> FrameParser:
    subjects = workloads.subjects(kind)
    topics = [Topic(each, each) for each in subjects]
    return _parser(CoreSource(NatsSettings(), topics, receive=receive), subjects)


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
    parser, reads = _core(kind, [].extend), _reads(workloads.frames(kind, count, first))

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

    together = READ // len(deliveries[0].payload) + 1

    def measured() -> None:
        for at in range(0, count, together):
            take(deliveries[at : at + together])

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


def jetstream(kind: str, first: int, count: int) -> Callable[[], object]:
    """Frames of a pull to deliveries, and their outcomes to what is written to the server."""
    deliveries: list[Delivery] = []
    source = JetStreamSource(
        NatsSettings(),
        [Topic(each, each) for each in workloads.subjects(kind)],
        jetstream=JetStreamSettings(stream="EVENTS"),
        receive=deliveries.extend,
        room=lambda: 1 << 30,
    )
    source._window.trusted(Limits(30.0, 20_000))  # noqa: SLF001
    before = range(10_000)  # which wait for their acknowledgement meanwhile
    source._unsettled.hold(before, [""] * len(before), 0.0)  # noqa: SLF001
    inbox = _Inbox("")
    parser = _parser(source, [inbox])
    reads = _reads(workloads.pulled(kind, count, first))
    batcher = Batcher(BATCH, runtime.new_chunk_id)

    async def run() -> None:
        inbox.pull = source._window.ask(0.0).pull  # noqa: SLF001
        for data in reads:
            await parser.parse(data)
        for delivery in deliveries:
            batcher.add("tag", b"", 0.0, delivery.settle, delivery.key)
        batcher.flush()
        for chunk in batcher.ready:
            for waiting in chunk.waiting:
                waiting.settle(waiting.keys, waiting.outcome)
        if source._outgoing.take(count).count(b"+ACK") != count:  # noqa: SLF001
            raise AssertionError("not all were acknowledged")

    def measured() -> None:
        with contextlib.suppress(StopIteration):
            run().send(None)

    return measured


def whole(kind: str, first: int, count: int) -> Callable[[], object]:
    """All of these on an event loop, from the frames to the account; without the sockets."""
    pipeline, connection = _pipeline(), ForwardConnection()
    parser, reads = _core(kind, pipeline.receive), _reads(workloads.frames(kind, count, first))

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
