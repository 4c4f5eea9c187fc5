"""Messages of a real stream are not lost by any way in which NATS goes away."""

from __future__ import annotations

import asyncio
import signal
from typing import TYPE_CHECKING

import pytest
from programs import PATIENCE, started
from streams import DURABLE, STREAM, StreamServer, deliver, operating, payloads, pulling
from taking import until

from nats_fluent.errors import SourceError
from nats_fluent.source import connect

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


async def test_a_server_that_is_killed_loses_nothing(tmp_path: Path) -> None:
    server = StreamServer(tmp_path)
    with started(server):
        async with operating(server) as ops:
            await ops.make()
            await ops.publish("events.a", *payloads(1000))
        # Short, because the server forgets the acknowledgements of its last moments.
        async with pulling(server, ack_wait=2.0) as taken:
            await taken.wait_for(1000)
            for delivery in taken.deliveries[:300]:
                deliver(delivery)
            async with operating(server) as ops:
                await ops.until(
                    lambda info: info["ack_floor"]["stream_seq"] >= 300, what="some are acknowledged"
                )
            server.kill()
            await taken.wait_log(LOST)
            for delivery in taken.deliveries[300:600]:
                deliver(delivery)  # kept until there is somebody to tell
            server.start()
            async with operating(server) as ops:
                await taken.wait_log("connected to NATS", 2)
                for delivery in taken.deliveries[600:]:
                    deliver(delivery)
                await ops.publish("events.a", b"after")
                await taken.wait_for(1001)
                deliver(taken.deliveries[1000])
                await ops.settled(1001)
        assert taken.numbers == list(range(1, 1002)), "what came again was known"


async def test_a_message_that_comes_again_while_it_is_held_is_not_handed_on_twice(tmp_path: Path) -> None:
    server = StreamServer(tmp_path)
    with started(server):
        async with operating(server) as ops:
            await ops.make()
            await ops.publish("events.a", *payloads(20))
            async with pulling(server, ack_wait=1.0) as taken:
                taken.source._unsettled.due = lambda _: []  # as if what says that it is at work were lost
                await taken.wait_for(20)
                await ops.until(lambda info: info["num_redelivered"] == 20, what="all are delivered again")
                for delivery in taken.deliveries:
                    deliver(delivery)
                await ops.settled(20)
            assert taken.numbers == list(range(1, 21))


async def test_a_server_in_lame_duck_mode_is_left_and_found_again(tmp_path: Path) -> None:
    server = StreamServer(tmp_path, 'lame_duck_duration: "30s"\nlame_duck_grace_period: "50ms"')
    with started(server):
        async with operating(server) as ops:
            await ops.make()
            await ops.publish("events.a", *payloads(100))
        async with pulling(server) as taken:
            await taken.wait_for(100)
            server.process.send_signal(signal.SIGUSR2)
            await taken.wait_log(LOST)
            server.process.wait(PATIENCE)
            for delivery in taken.deliveries:
                deliver(delivery)
            server.start()
            async with operating(server) as ops:
                await ops.settled(100)
        assert taken.numbers == list(range(1, 101))


async def test_a_connection_that_is_cut_is_pulled_on_again(server: StreamServer) -> None:
    async with operating(server) as ops:
        await ops.make()
        async with pulling(server, before=deliver) as taken:
            for number in range(1, 4):
                await ops.publish("events.a", b"x")
                await taken.wait_for(number)
                # Else the acknowledgement may be lost with the connection, and is given again after ack_wait.
                await ops.settled(number)
                taken.source._connection.client._transport._io_writer.transport.abort()
                await taken.wait_log("connected to NATS", number + 1)
            await ops.publish("events.a", b"x")
            await taken.wait_for(4)
            await ops.settled(4)
            await ops.until(
                lambda info: info["num_waiting"] == 1, what="the pulls of lost connections are gone"
            )
        assert taken.numbers == [1, 2, 3, 4]


async def test_pulls_that_fall_silent_are_given_up(
    server: StreamServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nats_fluent.source.pull.HEARTBEAT", 0.1)
    async with operating(server) as ops:
        await ops.make()
        async with pulling(server, before=deliver) as taken:
            await until(lambda: taken.source._inboxes, what="a pull")
            # As when the leader of the consumer is lost: the server knows nothing of the pull, nor says so.
            (inbox,) = taken.source._inboxes.values()
            await taken.source._connection.client._send_unsubscribe(inbox.subscription._id)
            await taken.wait_log("JetStream ended a pull; looking at the consumer")
            await ops.publish("events.a", b"x")
            await taken.wait_for(1)
            await ops.settled(1)
        # More than one where the machine was so busy that a heartbeat of this pace was late as well.
        reasons = [line["reason"] for line in taken.lines("JetStream ended a pull; looking at the consumer")]
        assert set(reasons) == {"no heartbeat"}


async def test_acknowledgements_that_wait_too_long_are_counted(server: StreamServer) -> None:
    async with operating(server) as ops:
        await ops.make()
        async with pulling(server, max_ack_pending=10) as taken:
            taken.source._outgoing.most = 3
            await ops.publish("events.a", *payloads(10))
            await taken.wait_for(10)
            for delivery in taken.deliveries:
                deliver(delivery)
            assert taken.source.unsent == 7
            taken.source._outgoing.most = 100
        assert (await ops.consumer())["config"]["durable_name"] == DURABLE


async def test_a_stream_that_is_purged_goes_on(server: StreamServer) -> None:
    async with operating(server) as ops:
        await ops.make()
        async with pulling(server) as taken:
            await ops.publish("events.a", *payloads(10))
            await taken.wait_for(10)
            await ops.ask(f"STREAM.PURGE.{STREAM}")
            for delivery in taken.deliveries:
                deliver(delivery)
            taken.before_receiving = deliver
            await ops.publish("events.a", b"after")
            await taken.wait_for(11)
            await ops.settled(11)
        assert taken.numbers == list(range(1, 12))


async def test_a_receiver_that_raises_ends_the_source(server: StreamServer) -> None:
    def broken(_: Delivery) -> None:
        raise ValueError("a bug")

    async with operating(server) as ops:
        await ops.make()
        async with pulling(server, before=broken) as taken:
            await ops.publish("events.a", b"x")
            with pytest.raises(SourceError, match="a bug"):
                await asyncio.wait_for(taken.source.wait_closed(), PATIENCE)
