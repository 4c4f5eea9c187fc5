"""Messages of a real stream: taken, acknowledged and given back, as many as there is room for."""

from __future__ import annotations

import asyncio
from collections import Counter
from itertools import count
from typing import TYPE_CHECKING

import pytest
from programs import started
from streams import STREAM, StreamServer, StreamTaking, deliver, operating, payloads, pulling
from taking import hpub, publish_raw, until

from nats_fluent.delivery import Outcome
from nats_fluent.source import acks, connect, jetstream
from nats_fluent.topics import Topic

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from nats_fluent.delivery import Delivery

LOST = "lost the connection to NATS"


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connect, "RECONNECT_WAIT", 0.05)
    monkeypatch.setattr(connect, "RECONNECT_JITTER", 0.0)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[StreamServer]:
    with started(StreamServer(tmp_path)) as one:
        yield one


async def test_each_message_is_taken_once_in_order_and_acknowledged(server: StreamServer) -> None:
    async with operating(server) as ops:
        await ops.make()
        await ops.publish("events.a", *payloads(5000))
        async with pulling(server, before=deliver) as taken:
            await taken.wait_for(5000)
            assert taken.payloads == payloads(5000)
            assert taken.numbers == list(range(1, 5001))
            info = await ops.settled(5000)
            assert info["num_redelivered"] == 0
            assert info["delivered"]["consumer_seq"] == 5000
            await ops.publish("events.b.c", b"later")
            await taken.wait_for(5001)
            last = taken.deliveries[-1]
            assert (last.topic, last.subject, last.payload) == ("events", "events.b.c", b"later")
            assert (last.stream, last.sequence, last.deliveries, last.reply) == (STREAM, 5001, 1, "")
            assert taken.source.connected
            assert taken.source.pending == 0
            await ops.settled(5001)
        assert taken.events() == [
            "connected to NATS",
            "taking from JetStream",
            "closed the connection to NATS",
        ]
        assert taken.source.returned == 0


async def test_a_header_a_name_and_an_empty_message(server: StreamServer) -> None:
    block = b"NATS/1.0\r\nStatus: 409\r\nTrace: one\r\n\r\n"
    async with operating(server) as ops:
        await ops.make("events.>", "other")
        topics = Topic("events.*", "first"), Topic("events.a.>", "second"), Topic("other", "other")
        async with pulling(server, *topics) as taken:
            await asyncio.to_thread(publish_raw, server.port, hpub("events.x", block, b""))
            await ops.publish("events.a.b", b"1")
            await ops.publish("other", b"")
            await taken.wait_for(3)
        assert [(each.topic, each.subject, each.payload, each.headers) for each in taken.deliveries] == [
            ("first", "events.x", b"", block),
            ("second", "events.a.b", b"1", None),
            ("other", "other", b"", None),
        ]


async def test_what_no_topic_matches_is_named_after_its_filter_or_the_stream(server: StreamServer) -> None:
    async with operating(server) as ops:
        await ops.make("events.>", "a.>", "b")
        for filters, names in (
            (("events.*.x", "a.>", "b"), ["events.x", "a", "b"]),
            ((">",), ["EVENTS"] * 3),
        ):
            durable = f"durable-{len(filters)}"
            async with pulling(server, "none", durable=durable, filter_subjects=filters) as taken:
                for subject in ("events.1.x", "a.2", "b") if len(filters) > 1 else ():
                    await ops.publish(subject, b"")
                await taken.wait_for(3)
            assert [each.topic for each in taken.deliveries] == names


async def test_many_subjects_and_what_is_no_message_of_the_stream(
    server: StreamServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jetstream, "NAMES", 2)
    async with operating(server) as ops:
        await ops.make()
        async with pulling(server, before=deliver) as taken:
            await until(lambda: taken.source._inboxes, what="a pull")
            (inbox,) = taken.source._inboxes.values()
            await ops.client.publish(f"{inbox.prefix}.x", b"by mistake")
            await ops.client.publish(f"{inbox.prefix}.1", b"by mistake")
            for number in range(6):
                await ops.publish(f"events.{number % 3}", b"")
            await taken.wait_for(6)
            await ops.settled(6)
        assert {each.topic for each in taken.deliveries} == {"events"}
        assert taken.numbers == list(range(1, 7))


async def test_what_the_topics_do_not_ask_for_stays_in_the_stream(server: StreamServer) -> None:
    async with operating(server) as ops:
        await ops.make("events.>", "other")
        async with pulling(server, "events.a", "nowhere", before=deliver) as taken:
            await ops.publish("other", b"")
            await ops.publish("events.b", b"")
            await ops.publish("events.a", b"mine")
            await taken.wait_for(1)
            await ops.settled(3)
        assert taken.payloads == [b"mine"]


async def test_a_message_is_not_acknowledged_before_it_is_settled(server: StreamServer) -> None:
    async with operating(server) as ops:
        await ops.make()
        await ops.publish("events.a", *payloads(10))
        async with pulling(server) as taken:
            await taken.wait_for(10)
            assert (await ops.consumer())["num_ack_pending"] == 10
            for delivery in taken.deliveries[5:]:
                deliver(delivery)
            await until(lambda: taken.source.unsettled == 5, what="half are settled")
            info = await ops.until(lambda info: info["num_ack_pending"] == 5, what="half are acknowledged")
            assert info["ack_floor"]["stream_seq"] == 0
            for delivery in taken.deliveries[:5]:
                deliver(delivery)
            await ops.settled(10)


async def test_what_is_given_back_comes_again_later(
    server: StreamServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(acks, "RETRY_FIRST", 0.1)
    async with operating(server) as ops:
        await ops.make()

        def full_twice(delivery: Delivery) -> None:
            delivery.settled(Outcome.RETRY if delivery.deliveries < 3 else Outcome.DELIVERED)

        async with pulling(server, before=full_twice) as taken:
            await ops.publish("events.a", b"x")
            await taken.wait_for(3)
            assert [(each.sequence, each.deliveries) for each in taken.deliveries] == [(1, 1), (1, 2), (1, 3)]
            await ops.settled(1)


async def test_an_undecodable_one_is_terminated_and_others_are_not(server: StreamServer) -> None:
    async with operating(server) as ops:
        await ops.make()
        told: list[bytes] = []

        async def told_of(message) -> None:
            told.append(message.data)

        await ops.client.subscribe("$JS.EVENT.ADVISORY.CONSUMER.MSG_TERMINATED.>", cb=told_of)
        await ops.publish("events.a", *payloads(3))
        async with pulling(server) as taken:
            await taken.wait_for(3)
            for delivery, outcome in zip(
                taken.deliveries, (Outcome.DELIVERED, Outcome.UNDECODABLE, Outcome.DELIVERED), strict=True
            ):
                delivery.settled(outcome)
            await ops.settled(3)
            await until(lambda: told, what="the advisory")
        assert len(told) == 1
        assert b'"stream_seq":2' in told[0]


async def test_a_message_that_takes_longer_than_ack_wait_is_not_delivered_twice(server: StreamServer) -> None:
    async with operating(server) as ops:
        await ops.make()
        await ops.publish("events.a", *payloads(500))
        told: Counter[str] = Counter()

        async def told_of(message) -> None:
            told[message.subject] += message.data == acks.AT_WORK

        await ops.client.subscribe("$JS.ACK.>", cb=told_of)
        async with pulling(server, ack_wait=4.0) as taken:
            await taken.wait_for(500)
            # Each after 2 s, half of the time that the server waits, and once more after that time.
            await until(lambda: len(told) == 500 and min(told.values()) >= 2, what="the server is told twice")
            info = await ops.consumer()
            assert (info["num_redelivered"], info["num_ack_pending"]) == (0, 500)
            for delivery in taken.deliveries:
                deliver(delivery)
            await ops.settled(500)
        assert taken.numbers == list(range(1, 501))


async def test_what_is_unsettled_at_the_close_goes_to_another_member_at_once(server: StreamServer) -> None:
    async with operating(server) as ops:
        await ops.make()
        await ops.publish("events.a", *payloads(100))
        async with pulling(server) as one:
            await one.wait_for(100)
            for delivery in one.deliveries[:40]:
                deliver(delivery)
            await one.source.stop_taking()
            assert not one.source.connected
        assert one.source.returned == 60
        deliver(one.deliveries[-1])  # too late, and of no effect
        async with pulling(server, before=deliver) as other:
            await other.wait_for(60)
            await ops.settled(100)
        assert sorted(other.numbers) == list(range(41, 101))
        assert {each.deliveries for each in other.deliveries} == {2}


async def test_two_members_share_one_durable(server: StreamServer) -> None:
    async with operating(server) as ops:
        await ops.make()
        async with (
            pulling(server, max_ack_pending=50) as one,
            pulling(server, max_ack_pending=50) as other,
        ):
            one.before_receiving = other.before_receiving = deliver
            await ops.publish("events.a", *payloads(2000))
            await until(lambda: len(one.deliveries) + len(other.deliveries) >= 2000, what="all of them")
            info = await ops.settled(2000)
            assert info["num_redelivered"] == 0
        assert sorted(one.numbers + other.numbers) == list(range(1, 2001))
        assert one.numbers
        assert other.numbers


async def test_a_member_waits_while_another_has_all_that_may_be_unacknowledged(server: StreamServer) -> None:
    async with operating(server) as ops:
        await ops.make()
        async with pulling(server, max_ack_pending=7) as one:
            await ops.publish("events.a", *payloads(100))
            await one.wait_for(7)
            async with pulling(server, max_ack_pending=7, before=deliver) as other:
                await ops.until(lambda info: info["num_waiting"] >= 1, what="the other has asked")
                assert not other.deliveries
                one.before_receiving = deliver
                for delivery in list(one.deliveries):
                    deliver(delivery)
                await ops.settled(100)
                assert other.deliveries
                assert sorted(one.numbers + other.numbers) == list(range(1, 101))
        assert "JetStream ended a pull; looking at the consumer" not in [
            line["event"] for line in [*one.logged, *other.logged]
        ]


async def test_when_one_member_goes_the_other_takes_all(server: StreamServer) -> None:
    async with operating(server) as ops:
        await ops.make()
        async with pulling(server) as one:
            async with pulling(server) as gone:
                await ops.publish("events.a", *payloads(50))
                await until(lambda: len(one.deliveries) + len(gone.deliveries) >= 50, what="all of them")
                await gone.source.stop_taking()
                for delivery in one.deliveries:
                    deliver(delivery)
                one.before_receiving = deliver
            await ops.publish("events.a", b"another")
            await ops.settled(51)
        assert set(one.numbers) == set(range(1, 52))


# How much


async def test_no_more_is_taken_than_may_be_unacknowledged(server: StreamServer) -> None:
    async with operating(server) as ops:
        await ops.make()
        await ops.publish("events.a", *payloads(100))
        async with pulling(server, max_ack_pending=7) as taken:
            await taken.wait_for(7)
            info = await ops.consumer()
            assert (info["num_ack_pending"], info["num_pending"]) == (7, 93)
            assert info["num_waiting"] == 0, "nothing is asked for that could not be held"
            for at in count():
                if at == 100:
                    break
                await taken.wait_for(at + 1)
                deliver(taken.deliveries[at])
            await ops.settled(100)
        assert taken.numbers == list(range(1, 101))


async def test_no_more_is_taken_than_there_is_room_for(server: StreamServer) -> None:
    async with operating(server) as ops:
        await ops.make()
        await ops.publish("events.a", *payloads(200, size=1000))
        taken = StreamTaking(server)
        budget = 50_000
        held = 0

        def hold(delivery: Delivery) -> None:
            nonlocal held
            held += len(delivery.payload) + 256
            assert held <= budget, "the pipeline would have to give it back"
            taken.room = budget - held

        taken.room, taken.before_receiving = budget, hold
        await taken.source.start()
        at = 0
        while at < 200:
            await taken.wait_for(at + 1)
            delivery, at = taken.deliveries[at], at + 1
            held -= len(delivery.payload) + 256
            taken.room = budget - held
            deliver(delivery)
        info = await ops.settled(200)
        assert info["num_redelivered"] == 0
        await taken.source.close()


async def test_a_message_larger_than_the_room_comes_when_nothing_else_is_held(server: StreamServer) -> None:
    async with operating(server) as ops:
        await ops.make()
        await ops.publish("events.a", b"small", b"x" * 500_000, b"small again")
        taken = StreamTaking(server)
        taken.room = 100_000
        await taken.source.start()
        await taken.wait_for(1)
        await taken.wait_log("the next message is larger than the memory that is free")
        assert len(taken.deliveries) == 1
        deliver(taken.deliveries[0])
        await taken.wait_for(2)
        deliver(taken.deliveries[1])
        await taken.wait_for(3)
        deliver(taken.deliveries[2])
        info = await ops.settled(3)
        assert info["num_redelivered"] == 0
        await taken.source.close()
