"""The service between a real nats-server and a Forward server: what arrives is delivered, or counted."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter

import nats.errors
import pytest
from building import publication
from decoding import with_fields
from forward_server import CLOSE, ForwardServer, Shipper, ack, close, nack, silence, until
from logged import captured
from programs import PATIENCE, NatsServer, free_port, started
from sending import LOOPS, run_on
from taking import publish_raw, publisher

from nats_fluent.addresses import FluentUrl
from nats_fluent.runtime import Service
from nats_fluent.sections import BatchSettings, FluentSettings, NatsSettings, ShutdownSettings
from nats_fluent.settings import Settings
from nats_fluent.topics import Topic

ASKING = with_fields(responseMode=1)
TOPICS = (Topic("a", "a"), Topic("b.>", "b"))


def numbered(number):
    return publication({"ID": str(number), "text": "x" * 200})


class Serving:
    """A service that runs."""

    def __init__(self, settings, task, service, stop):
        self.settings = settings
        self.task = task
        self.service = service
        self.stop = stop

    @property
    def received(self):
        return sum(self.service.account.received.values())

    async def ready(self):
        await asyncio.wait_for(self.service.ready(), PATIENCE)

    async def stopped(self):
        """Stop it, and hold what it says about the time that takes and about what became of everything."""
        self.stop.set()
        return await self.ended(within=self.settings.shutdown.timeout + PATIENCE)

    async def ended(self, *, within=PATIENCE):
        summary = await asyncio.wait_for(asyncio.shield(self.task), within)
        assert (
            sum(summary.received.values()) == summary.delivered + sum(summary.dropped.values()) + summary.left
        )
        return summary


@contextlib.asynccontextmanager
async def serving(nats_url, shipper, *, patience=PATIENCE, batch=None, fluent=None, **nats_settings):
    settings = Settings(
        nats=NatsSettings(servers=(nats_url,), **nats_settings),
        topics=TOPICS,
        fluent=FluentSettings(url=(FluentUrl("forward", "127.0.0.1", shipper.port),), **(fluent or {})),
        batch=BatchSettings(**({"max_records": 50, "linger": 0.01} | (batch or {}))),
        shutdown=ShutdownSettings(timeout=patience),
    )
    service, stop = Service(settings), asyncio.Event()
    task = asyncio.create_task(service.serve(stop))
    try:
        yield Serving(settings, task, service, stop)
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def publish(server, subject, count, *, first=0):
    """Publish, and return when the server has sent all of it on."""
    commands = []
    for number in range(first, first + count):
        payload = numbered(number)
        commands.append(b"PUB %s %d\r\n%s\r\n" % (subject.encode(), len(payload), payload))
    await asyncio.to_thread(publish_raw, server.port, *commands)


def entities(shipper, topic):
    return [
        int(record["content"]["entity"]["ID"]) for record in shipper.records() if record["topic"] == topic
    ]


# Stopping


@pytest.mark.parametrize("loop", LOOPS)
def test_all_that_arrived_before_the_stop_is_delivered_once_and_in_order(nats_server, loop):
    async def main():
        async with ForwardServer() as shipper, serving(nats_server.url, shipper) as serve:
            await serve.ready()
            await publish(nats_server, "a", 3000)
            await publish(nats_server, "b.c", 500)
            summary = await serve.stopped()
            assert (summary.exit_code, summary.left, summary.failure) == (0, 0, "")
            assert summary.received == {"a": 3000, "b": 500}
            assert (summary.delivered, summary.dropped, summary.undecodable) == (3500, {}, 0)
            assert entities(shipper.shipper, "a") == list(range(3000))
            assert entities(shipper.shipper, "b") == list(range(500))
            assert len({record["id"] for record in shipper.shipper.records()}) == 3500

    run_on(loop, main())


async def test_what_is_published_after_the_stop_is_not_taken(nats_server):
    async with ForwardServer() as shipper, serving(nats_server.url, shipper) as serve:
        await serve.ready()
        await publish(nats_server, "a", 10)
        await serve.stopped()
        await publish(nats_server, "a", 10, first=10)
        assert entities(shipper.shipper, "a") == list(range(10))


async def test_what_was_being_batched_goes_out_at_the_stop(nats_server):
    batch = {"linger": 3600.0, "max_records": 1000}
    async with ForwardServer() as shipper, serving(nats_server.url, shipper, batch=batch) as serve:
        await serve.ready()
        await publish(nats_server, "a", 10)
        await until(lambda: serve.received == 10, what="all is received")
        assert shipper.shipper.frames == []
        assert (await serve.stopped()).delivered == 10
        assert entities(shipper.shipper, "a") == list(range(10))


@pytest.mark.parametrize("answer", [silence, close, nack])
async def test_what_the_log_shipper_does_not_acknowledge_is_left_and_counted(nats_server, answer):
    async with (
        ForwardServer(Shipper(answer=answer)) as shipper,
        serving(nats_server.url, shipper, patience=0.5) as serve,
    ):
        await serve.ready()
        await publish(nats_server, "a", 120)
        with captured() as logged:
            summary = await serve.stopped()
    assert (summary.exit_code, summary.delivered, summary.left) == (1, 0, 120)
    events = [line["event"] for line in logged]
    assert events.count("gave up waiting for acknowledgements") == 1
    assert events[-1] == "stopped"
    assert logged[-1]["left"] == 120


async def test_a_log_shipper_that_is_down_at_the_stop(nats_server):
    async with ForwardServer() as shipper, serving(nats_server.url, shipper, patience=0.5) as serve:
        await serve.ready()
        await publish(nats_server, "a", 70)
        await until(lambda: serve.service.account.delivered == 70, what="all is delivered")
        await shipper.stop()
        await publish(nats_server, "a", 30)
        await publish(nats_server, "b.c", 5)
        summary = await serve.stopped()
        assert (summary.exit_code, summary.delivered, summary.left) == (1, 70, 35)
        assert summary.received == {"a": 100, "b": 5}
        await shipper.start()


async def test_a_log_shipper_that_comes_back_in_time(nats_server):
    async with ForwardServer() as shipper, serving(nats_server.url, shipper) as serve:
        await serve.ready()
        await shipper.stop()
        await publish(nats_server, "a", 200)
        serve.stop.set()
        await until(lambda: serve.received == 200, what="all is received")
        await shipper.start()
        summary = await serve.stopped()
        assert (summary.exit_code, summary.delivered, summary.left) == (0, 200, 0)


async def test_a_stop_before_nats_was_ever_there():
    async with ForwardServer() as shipper, serving(f"nats://127.0.0.1:{free_port()}", shipper) as serve:
        await asyncio.sleep(0.1)
        summary = await serve.stopped()
        assert (summary.exit_code, summary.received) == (0, {})


async def test_a_stop_while_nats_is_away(tmp_path):
    server = NatsServer(tmp_path)
    with started(server):
        async with ForwardServer() as shipper, serving(server.url, shipper) as serve:
            await serve.ready()
            await publish(server, "a", 50)
            await until(lambda: serve.received == 50, what="all is received")
            await asyncio.to_thread(server.stop)
            summary = await serve.stopped()
            assert (summary.exit_code, summary.delivered) == (0, 50)


# Trouble on the way


@pytest.mark.parametrize("loop", LOOPS)
def test_a_log_shipper_that_refuses_now_and_then_gets_all(nats_server, loop):
    shipper = Shipper(first=[ack, close, silence, ack, nack, close, ack])

    async def main():
        quick = {"ack_timeout": 1.0}  # for the chunk of which nothing is said
        async with ForwardServer(shipper) as server, serving(nats_server.url, server, fluent=quick) as serve:
            await serve.ready()
            await publish(nats_server, "a", 1000)
            summary = await serve.stopped()
            assert (summary.exit_code, summary.delivered) == (0, 1000)
            seen = Counter(record["id"] for record in shipper.records())
            assert len(seen) == 1000
            # What came twice has the same id and the same chunk.
            frames = {frame.chunk_id: frame for frame in shipper.frames}
            assert sorted(
                int(record["content"]["entity"]["ID"])
                for frame in frames.values()
                for record in frame.records
            ) == list(range(1000))

    run_on(loop, main())


async def test_a_log_shipper_that_closes_after_every_chunk(nats_server):
    def once(frame):
        return [*ack(frame), CLOSE]

    async with ForwardServer(Shipper(answer=once)) as server, serving(nats_server.url, server) as serve:
        await serve.ready()
        await publish(nats_server, "a", 200)
        assert (await serve.stopped()).delivered == 200


async def test_nats_that_comes_later(tmp_path):
    port = free_port()
    async with ForwardServer() as shipper, serving(f"nats://127.0.0.1:{port}", shipper) as serve:
        await asyncio.sleep(0.2)
        assert not serve.task.done()
        server = NatsServer(tmp_path, port=port)
        with started(server):
            await serve.ready()
            await publish(server, "a", 20)
            summary = await serve.stopped()
        assert (summary.exit_code, summary.delivered) == (0, 20)


async def test_a_part_that_dies_takes_all_down_and_says_so(nats_server):
    async with ForwardServer() as shipper, serving(nats_server.url, shipper) as serve:
        await serve.ready()
        await publish(nats_server, "a", 10)
        await until(lambda: serve.service.account.delivered == 10, what="all is delivered")

        def broken(*_):
            raise ZeroDivisionError("a bug")

        serve.service._pipeline._recorder.record = broken
        with captured() as logged:
            await publish(nats_server, "a", 10)
            summary = await serve.ended()
        assert summary.exit_code == 1
        assert summary.failure == "pipeline: ZeroDivisionError: a bug"
        assert (summary.delivered, summary.left) == (10, 10)
        assert "a part of this program died" in [line["event"] for line in logged]


# The budget


async def test_what_the_budget_does_not_hold_is_dropped_and_counted_by_subject(nats_server):
    batch = {"buffer_bytes": 200_000, "max_bytes": 50_000, "max_records": 500}
    async with ForwardServer() as shipper, serving(nats_server.url, shipper, batch=batch) as serve:
        await serve.ready()
        await shipper.stop()
        published = {"a": 1000, "b.c": 400, "b.d": 5}
        for subject, count in published.items():
            await publish(nats_server, subject, count)
        await until(lambda: serve.received == 1405, what="all is received")
        assert serve.service.account.dropped > 500
        await shipper.start()
        summary = await serve.stopped()
        delivered = Counter(record["subject"] for record in shipper.shipper.records())
        assert summary.exit_code == 0
        assert summary.delivered == delivered.total() > 100
        assert summary.dropped == {
            subject: count - delivered[subject]
            for subject, count in published.items()
            if count > delivered[subject]
        }
        # Oldest first: what was held is what came first.
        assert entities(shipper.shipper, "a")[:100] == list(range(100))


# Publishers that wait for an answer


@pytest.mark.parametrize("loop", LOOPS)
def test_a_publisher_that_asks_for_it_is_answered(nats_server, loop):
    async def main():
        async with (
            ForwardServer() as shipper,
            serving(nats_server.url, shipper) as serve,
            publisher(nats_server) as client,
        ):
            await serve.ready()
            answers = await asyncio.gather(
                *(client.request("a", ASKING, timeout=PATIENCE) for _ in range(50))
            )
            assert {answer.data for answer in answers} == {b"ack"}
            broken = with_fields(responseMode=1, data=b"\xc1")
            assert (await client.request("a", broken, timeout=PATIENCE)).data == b"ack"
            for payload in (numbered(1), b"junk", with_fields(responseMode=2)):
                with pytest.raises(nats.errors.TimeoutError):
                    await client.request("a", payload, timeout=0.2)
            summary = await serve.stopped()
            assert (summary.delivered, summary.undecodable) == (54, 2)

    run_on(loop, main())


async def test_an_answer_does_not_wait_for_the_log_shipper(nats_server):
    """As in Go, where it is sent before the application sees the publication."""
    async with (
        ForwardServer(Shipper(answer=silence)) as shipper,
        serving(nats_server.url, shipper, patience=0.1) as serve,
        publisher(nats_server) as client,
    ):
        await serve.ready()
        assert (await client.request("a", ASKING, timeout=PATIENCE)).data == b"ack"
        assert (await serve.stopped()).left == 1
