"""From a stream to a log shipper: acknowledged when that has it, sent again after any other end."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from typing import TYPE_CHECKING

import pytest
from building import publication
from commands import Running
from forward_server import ForwardServer, Shipper, ack, silence, until
from programs import PATIENCE, free_port, started, wait_until
from sending import LOOPS, run_on
from streams import STREAM, StreamServer, operating

from nats_fluent.addresses import FluentUrl
from nats_fluent.runtime import Service
from nats_fluent.sections import (
    BatchSettings,
    FluentSettings,
    JetStreamSettings,
    NatsSettings,
    ShutdownSettings,
)
from nats_fluent.settings import Settings
from nats_fluent.topics import Match, Topic

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def server(tmp_path: Path) -> Iterator[StreamServer]:
    with started(StreamServer(tmp_path)) as one:
        yield one


def numbered(number: int, *, size: int = 100) -> bytes:
    return publication({"ID": str(number), "text": "x" * size}, "events.a")


TOPIC = Topic("events.>", "events")


@contextlib.asynccontextmanager
async def serving(
    server, shipper, *, patience=PATIENCE, batch=None, ack_timeout=30.0, topic=TOPIC, **jetstream
):
    settings = Settings(
        nats=NatsSettings(servers=(server.url,)),
        topics=(topic,),
        jetstream=JetStreamSettings(**({"stream": STREAM} | jetstream)),
        fluent=FluentSettings(
            url=(FluentUrl("forward", "127.0.0.1", shipper.port),), ack_timeout=ack_timeout
        ),
        batch=BatchSettings(**({"max_records": 50, "linger": 0.01} | (batch or {}))),
        shutdown=ShutdownSettings(timeout=patience),
    )
    service, stop = Service(settings), asyncio.Event()
    task = asyncio.create_task(service.serve(stop))

    async def stopped():
        stop.set()
        return await asyncio.wait_for(asyncio.shield(task), patience + PATIENCE)

    try:
        await asyncio.wait_for(service.ready(), PATIENCE)
        yield service, stopped
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def entities(shipper):
    return [int(record["content"]["entity"]["ID"]) for record in shipper.shipper.records()]


@pytest.mark.parametrize("loop", LOOPS)
def test_what_the_stream_has_is_delivered_once_and_acknowledged(server, loop):
    async def main():
        async with operating(server) as ops:
            await ops.make()
            await ops.publish("events.a", *(numbered(n) for n in range(3000)))
            async with ForwardServer() as shipper, serving(server, shipper) as (_, stopped):
                await ops.settled(3000)
                await ops.publish("events.a", numbered(3000))
                await ops.settled(3001)
                summary = await stopped()
            assert entities(shipper) == list(range(3001))
            assert (summary.exit_code, summary.left, summary.returned) == (0, 0, 0)
            assert (summary.received, summary.delivered) == ({"events": 3001}, 3001)
            first = shipper.shipper.records()[0]
            assert (first["id"], first["stream"], first["sequence"], first["deliveries"]) == (
                "EVENTS-1",
                STREAM,
                1,
                1,
            )

    run_on(loop, main())


async def test_a_message_is_acknowledged_after_its_chunk_was(server):
    gate = asyncio.Event()
    held = []

    def answer(frame):
        held.append(frame)
        return ack(frame) if gate.is_set() else silence(frame)

    async with operating(server) as ops:
        await ops.make()
        await ops.publish("events.a", *(numbered(n) for n in range(100)))
        async with (
            ForwardServer(Shipper(answer=answer)) as shipper,
            serving(server, shipper, ack_timeout=1.0) as (service, stopped),
        ):
            await until(
                lambda: len({record["id"] for frame in held for record in frame.records}) == 100,
                what="all is sent",
            )
            info = await ops.consumer()
            assert (info["num_ack_pending"], info["ack_floor"]["stream_seq"]) == (100, 0)
            assert service.account.held == 100
            gate.set()
            await ops.settled(100)
            assert (await stopped()).delivered == 100


async def test_a_filtered_one_is_acknowledged_and_a_secret_does_not_arrive(server):
    unwanted = publication({"ID": "unwanted", "namespace": "/apomux/tests"})
    wanted = publication({"ID": "wanted", "namespace": "/apomux", "list": [{"password": "s3cret"}]})
    topic = Topic("events.>", "events", exclude=Match(namespace=("/apomux/tests",)))
    async with operating(server) as ops:
        await ops.make()
        await ops.publish("events.a", *[unwanted, wanted] * 20)
        async with (
            ForwardServer() as shipper,
            serving(server, shipper, topic=topic, ack_wait=1.0) as (service, stopped),
        ):
            info = await ops.settled(40)
            summary = await stopped()
        assert info["num_redelivered"] == 0
        assert (summary.received, summary.delivered, summary.filtered) == ({"events": 40}, 20, 20)
        assert (summary.exit_code, summary.left, service.account.held) == (0, 0, 0)
        entities = [record["content"]["entity"] for record in shipper.shipper.records()]
        assert entities == 20 * [{"ID": "wanted", "namespace": "/apomux", "list": [{"password": "***"}]}]


async def test_an_undecodable_one_is_delivered_and_not_delivered_again(server):
    async with operating(server) as ops:
        await ops.make()
        await ops.publish("events.a", numbered(0), b"junk", numbered(2))
        async with ForwardServer() as shipper, serving(server, shipper) as (_, stopped):
            info = await ops.settled(3)
            assert info["num_redelivered"] == 0
            summary = await stopped()
        assert (summary.delivered, summary.undecodable) == (3, 1)
        (bad,) = [frame for frame in shipper.shipper.frames if frame.tag == "aporeto.undecodable"]
        assert [(record["id"], record["sequence"]) for record in bad.records] == [("EVENTS-2", 2)]


async def test_a_log_shipper_that_is_away_for_longer_than_ack_wait_gets_each_once(server):
    async with operating(server) as ops:
        await ops.make()
        await ops.publish("events.a", *(numbered(n) for n in range(200)))
        async with ForwardServer() as shipper:
            await shipper.stop()
            async with serving(server, shipper, ack_wait=1.0) as (service, stopped):
                await until(lambda: service.account.held == 200, what="all is held")
                await asyncio.sleep(2.5)  # longer than the server would wait
                await shipper.start()
                await ops.settled(200)
                summary = await stopped()
        assert entities(shipper) == list(range(200))
        assert summary.returned == 0


async def test_with_little_memory_less_is_pulled_and_nothing_is_lost(server):
    async with operating(server) as ops:
        await ops.make()
        await ops.publish("events.a", *(numbered(n, size=2000) for n in range(400)))
        async with ForwardServer() as shipper:
            await shipper.stop()
            batch = {"buffer_bytes": 100_000, "max_bytes": 50_000}
            async with serving(server, shipper, batch=batch) as (service, stopped):
                await until(lambda: service.account.held, what="some is held")
                info = await ops.consumer()
                assert info["num_pending"] > 300
                await shipper.start()
                info = await ops.settled(400)
                assert info["num_redelivered"] == 0
                summary = await stopped()
        assert entities(shipper) == list(range(400))
        assert (summary.dropped, summary.returned, summary.left) == ({}, 0, 0)


async def test_a_stop_while_the_log_shipper_is_away_gives_all_back(server):
    async with operating(server) as ops:
        await ops.make()
        await ops.publish("events.a", *(numbered(n) for n in range(120)))
        async with ForwardServer() as shipper:
            await shipper.stop()
            async with serving(server, shipper, patience=0.3) as (service, stopped):
                await until(lambda: service.account.held == 120, what="all is held")
                summary = await stopped()
            assert (summary.exit_code, summary.left, summary.returned, summary.delivered) == (0, 0, 120, 0)
            await shipper.start()
            async with serving(server, shipper) as (_, stopped):  # long before ack_wait is over
                await ops.settled(120)
                summary = await stopped()
        assert (summary.delivered, summary.returned) == (120, 0)
        assert sorted(entities(shipper)) == list(range(120))
        assert {record["deliveries"] for record in shipper.shipper.records()} == {2}


def test_what_a_killed_process_had_comes_again_with_the_same_id(tmp_path, server):
    environ = {
        "NATS_FLUENT_JETSTREAM_STREAM": STREAM,
        "NATS_FLUENT_JETSTREAM_ACK_WAIT": "1s",
        "NATS_FLUENT_TOPICS": "events.>=events",
        "NATS_FLUENT_FLUENT_ACK_TIMEOUT": "60s",
    }

    async def prepare():
        async with operating(server) as ops:
            await ops.make()
            await ops.publish("events.a", *(numbered(n) for n in range(300)))

    async def sent_and_killed():
        async with ForwardServer(Shipper(answer=silence)) as shipper:
            url = f"forward://127.0.0.1:{shipper.port}"
            (tmp_path / "one").mkdir()
            with started(Running(tmp_path / "one", server, NATS_FLUENT_FLUENT_URL=url, **environ)) as running:
                await until(lambda: len(shipper.shipper.records()) == 300, what="all is sent")
                running.kill()
            return shipper.shipper.records()

    asyncio.run(prepare())
    before = asyncio.run(sent_and_killed())
    (tmp_path / "two").mkdir()
    with started(Running(tmp_path / "two", server, **environ)) as running:
        wait_until(lambda: len(running.records()) >= 300, what="all comes again")
        assert running.stop() == 0
    after = running.records()
    assert Counter(record["id"] for record in after) == Counter(record["id"] for record in before)
    assert {record["id"] for record in after} == {f"EVENTS-{n}" for n in range(1, 301)}
    assert {record["deliveries"] for record in before} == {1}
    assert {record["deliveries"] for record in after} == {2}
    stopped = running.log()[-1]
    assert (stopped["received"], stopped["delivered"], stopped["returned"]) == (300, 300, 0)


def test_a_consumer_that_differs_ends_the_program_with_a_sentence(tmp_path, server):
    async def prepare():
        async with operating(server) as ops:
            await ops.make()
            await ops.make_consumer(max_ack_pending=1)

    asyncio.run(prepare())
    environ = {"NATS_FLUENT_JETSTREAM_STREAM": STREAM, "NATS_FLUENT_TOPICS": "events.>"}
    shipper = f"forward://127.0.0.1:{free_port()}"
    with started(Running(tmp_path, server, NATS_FLUENT_FLUENT_URL=shipper, **environ)) as running:
        assert running.ended() == 1
    (failed,) = [line for line in running.log() if line["event"] == "failed"]
    assert failed["reason"].startswith(
        "JetStream: the consumer EVENTS.nats-fluent differs: max_ack_pending is 1, wanted 20000."
    )
    assert "Traceback" not in running.stderr.read_text()
