"""Messages on their way from a real nats-server to the receiver: all of them, once, as they came."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from programs import PATIENCE
from taking import Taking, hpub, publish_raw, publisher, settings_for, taking, until

from nats_fluent.delivery import Delivery
from nats_fluent.errors import SourceError
from nats_fluent.record import parse_headers
from nats_fluent.topics import Topic

if TYPE_CHECKING:
    from programs import NatsServer


async def test_each_message_reaches_the_receiver_as_it_came(nats_server: NatsServer) -> None:
    async with taking(settings_for(nats_server), Topic("squall-events", "events")) as taken:
        async with publisher(nats_server) as client:
            for payload in (b"", b"\x00\xff", b"x" * 500_000):
                await client.publish("squall-events", payload)
            await client.publish("another", b"not asked for")
            await client.flush()
        await taken.wait_for(3)
        assert taken.deliveries == [
            Delivery("events", "squall-events", payload) for payload in (b"", b"\x00\xff", b"x" * 500_000)
        ]
        assert taken.source.connected


async def test_a_wildcard_keeps_the_subject_of_each_message(nats_server: NatsServer) -> None:
    topics = Topic("events.>", "events"), Topic("reports.*.done", "reports")
    async with taking(settings_for(nats_server), *topics) as taken, publisher(nats_server) as client:
        for subject in (
            "events.enforcer",
            "events.a.b.c",
            "reports.flow.done",
            "reports.flow.begun",
            "events",
        ):
            await client.publish(subject, subject.encode())
        await client.flush()
        await taken.wait_for(3)
        await taken.source.stop_taking()
    assert sorted((delivery.topic, delivery.subject) for delivery in taken.deliveries) == [
        ("events", "events.a.b.c"),
        ("events", "events.enforcer"),
        ("reports", "reports.flow.done"),
    ]


async def test_replicas_in_one_queue_group_share_the_messages(nats_server: NatsServer) -> None:
    settings = settings_for(nats_server)
    sent = [b"%d" % number for number in range(1000)]
    async with taking(settings, "activities") as one, taking(settings, "activities") as other:
        async with publisher(nats_server) as client:
            for payload in sent:
                await client.publish("activities", payload)
            await client.flush()
        await until(lambda: len(one.deliveries) + len(other.deliveries) >= len(sent), what="all of them")
        await one.source.stop_taking()
        await other.source.stop_taking()
    assert sorted(one.payloads + other.payloads) == sorted(sent)
    assert one.deliveries
    assert other.deliveries


async def test_another_queue_group_gets_every_message_too(nats_server: NatsServer) -> None:
    one = taking(settings_for(nats_server), "activities")
    other = taking(settings_for(nats_server, queue_group="other"), "activities")
    async with one as first, other as second, publisher(nats_server) as client:
        await client.publish("activities", b"for both")
        await first.wait_for(1)
        await second.wait_for(1)


async def test_a_header_keeps_all_its_values(nats_server: NatsServer) -> None:
    block = b"NATS/1.0\r\nTrace: one\r\nTrace: two\r\nName: \xc3\xa9\r\n\r\n"
    async with taking(settings_for(nats_server), "activities") as taken:
        await asyncio.to_thread(publish_raw, nats_server.port, hpub("activities", block, b"payload"))
        await taken.wait_for(1)
    assert taken.deliveries == [Delivery("activities", "activities", b"payload", "", block)]
    assert parse_headers(block) == {"Trace": ["one", "two"], "Name": "é"}


async def test_a_header_block_without_a_usable_header_is_kept_too(nats_server: NatsServer) -> None:
    block = b"NATS/1.0\r\n\xff: x\r\n\r\n"
    async with taking(settings_for(nats_server), "activities") as taken:
        await asyncio.to_thread(publish_raw, nats_server.port, hpub("activities", block, b""))
        await taken.wait_for(1)
    assert taken.deliveries[0].headers == block


async def test_a_publisher_that_asks_for_an_acknowledgement_gets_those_three_bytes(
    nats_server: NatsServer,
) -> None:
    async with taking(settings_for(nats_server), "activities") as taken, publisher(nats_server) as client:
        answer = asyncio.create_task(
            client.request("activities", b"please", timeout=PATIENCE), name="request"
        )
        await taken.wait_for(1)
        assert not answer.done()
        await taken.source.acknowledge(taken.deliveries[0].reply)
        message = await answer
        assert (message.data, message.headers) == (b"ack", None)
        assert (taken.source.acknowledged, taken.source.unacknowledged) == (1, 0)


async def test_an_acknowledgement_that_cannot_be_sent_is_counted_and_logged_once(
    nats_server: NatsServer,
) -> None:
    async with taking(settings_for(nats_server), "activities") as taken:
        for _ in range(3):
            await taken.source.acknowledge("no subject")
        assert (taken.source.acknowledged, taken.source.unacknowledged) == (0, 3)
        assert taken.lines("cannot send acknowledgements") == [{"reason": "invalid subject"}]
        await taken.source.acknowledge("a.subject")
        assert taken.lines("acknowledgements are sent again") == [{"unsent": 3}]
        nats_server.stop()
        await until(lambda: not taken.source.connected, what="noticing that the server is gone")
        for _ in range(300_000):  # more than may wait for a reconnect
            await taken.source.acknowledge("a.subject")
            if taken.source.unacknowledged > 5:
                break
        assert taken.source.unacknowledged == 6
        assert taken.lines("cannot send acknowledgements")[1:] == [
            {"reason": "outbound buffer limit exceeded"}
        ]


async def test_a_taker_that_raises_ends_the_source(nats_server: NatsServer) -> None:
    async with taking(settings_for(nats_server), "activities") as taken:

        def fail(_: Delivery) -> None:
            raise ZeroDivisionError("a bug")

        taken.before_receiving = fail
        await asyncio.to_thread(publish_raw, nats_server.port, b"PUB activities 1\r\nx\r\n")
        with pytest.raises(SourceError, match="ZeroDivisionError: a bug"):
            await asyncio.wait_for(taken.source.wait_closed(), PATIENCE)


async def test_a_subject_that_is_not_utf_8_is_taken_all_the_same(nats_server: NatsServer) -> None:
    async with taking(settings_for(nats_server), Topic("events.>", "events")) as taken:
        await asyncio.to_thread(publish_raw, nats_server.port, b"PUB events.\xff 1\r\nx\r\n")
        await taken.wait_for(1)
        assert [delivery.subject for delivery in taken.deliveries] == ["events.\ufffd"]


async def test_to_stop_taking_hands_on_what_had_arrived_and_takes_nothing_new(
    nats_server: NatsServer,
) -> None:
    sent = [b"%d" % number for number in range(5000)]
    commands = [b"PUB activities %d\r\n%s\r\n" % (len(payload), payload) for payload in sent]
    async with taking(settings_for(nats_server), "activities", "reports") as taken:
        # Not in a thread: the loop stands still, so the server has them all and this process has read none.
        publish_raw(nats_server.port, *commands)
        assert taken.payloads == []
        await taken.source.stop_taking()
        assert taken.payloads == sent
        await asyncio.to_thread(publish_raw, nats_server.port, b"PUB activities 8\r\ntoo late\r\n")
        assert not taken.source.connected
        await taken.source.acknowledge("still.possible")
        assert taken.source.acknowledged == 1
    assert taken.payloads == sent


async def test_nothing_is_lost_between_the_last_message_and_the_end_of_a_subscription(
    nats_server: NatsServer,
) -> None:
    # Replicas of one queue group come and go while a publisher goes on: what one leaves, another takes.
    settings = settings_for(nats_server)
    sent = 0
    ended: list[Taking] = []
    async with taking(settings, "activities") as last:
        for _ in range(10):
            async with taking(settings, "activities") as taken:
                burst = [b"PUB activities 1\r\nx\r\n"] * 2000
                publishing = asyncio.create_task(
                    asyncio.to_thread(publish_raw, nats_server.port, *burst), name="publish"
                )
                sent += len(burst)
                await taken.wait_for(100)
                await taken.source.stop_taking()
                ended.append(taken)
                await publishing
        await until(
            lambda: len(last.deliveries) + sum(len(taken.deliveries) for taken in ended) >= sent,
            what="each of them",
        )


async def test_a_receiver_that_raises_ends_the_source(nats_server: NatsServer) -> None:
    def broken(_: Delivery) -> None:
        raise ValueError("a bug")

    async with taking(settings_for(nats_server), "activities") as taken:
        taken.before_receiving = broken
        async with publisher(nats_server) as client:
            await client.publish("activities", b"x")
            await client.flush()
        with pytest.raises(SourceError, match="ValueError: a bug"):
            await asyncio.wait_for(taken.source.wait_closed(), PATIENCE)


async def test_a_source_that_is_closed_says_so_without_an_error(nats_server: NatsServer) -> None:
    async with taking(settings_for(nats_server), "activities") as taken:
        ended = asyncio.create_task(taken.source.wait_closed(), name="wait_closed")
        await taken.source.close()
        await taken.source.close()
        await asyncio.wait_for(ended, PATIENCE)
    assert taken.events() == ["connected to NATS", "closed the connection to NATS"]
