"""The durable consumer on a real server: made, bound to, refused, changed, deleted by others, and never by us."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from programs import PATIENCE, NatsServer, started
from streams import DURABLE, STREAM, StreamServer, operating, pulling
from taking import until

from nats_fluent.delivery import Outcome
from nats_fluent.errors import SourceError
from nats_fluent.sections import JetStreamSettings
from nats_fluent.source import jetstream
from nats_fluent.source.api import Api, NotYet
from nats_fluent.source.consumer import Floor
from nats_fluent.topics import Topic

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from streams import StreamTaking

    from nats_fluent.delivery import Delivery

WAITING = "waiting for JetStream"
TAKING = "taking from JetStream"
ENDED = "JetStream ended a pull; looking at the consumer"
DENIES = "NATS denies what JetStream needs: this user may not publish there"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[StreamServer]:
    with started(StreamServer(tmp_path)) as one:
        yield one


def deliver(delivery: Delivery) -> None:
    delivery.settled(Outcome.DELIVERED)


async def refused(taken: StreamTaking) -> str:
    with pytest.raises(SourceError) as caught:
        await asyncio.wait_for(taken.source.wait_closed(), PATIENCE)
    return str(caught.value)


async def test_a_missing_consumer_is_made(server: StreamServer) -> None:
    async with operating(server) as ops:
        await ops.make("events.>", "other")
        async with pulling(server, "events.>", "other", "nowhere", ack_wait=7.0, max_ack_pending=99):
            config = (await ops.consumer())["config"]
        assert config["filter_subjects"] == ["events.>", "other"]
        assert (config["ack_policy"], config["deliver_policy"], config["max_deliver"]) == (
            "explicit",
            "all",
            -1,
        )
        assert (config["ack_wait"], config["max_ack_pending"]) == (7 * 10**9, 99)
        assert await ops.consumer(), "and it is there when the source is gone"


@pytest.mark.parametrize("create", ["bind", "create", "reconcile"])
async def test_one_that_is_as_wanted_is_taken_as_it_is(server: StreamServer, create: str) -> None:
    async with operating(server) as ops:
        await ops.make()
        before = await ops.make_consumer(description="mine")
        await ops.publish("events.a", b"x")
        async with pulling(server, create=create) as taken:
            await taken.wait_for(1)
        after = await ops.consumer()
        assert (after["created"], after["config"]) == (before["created"], before["config"])


@pytest.mark.parametrize("create", ["bind", "create"])
async def test_one_that_differs_is_shown_and_refused(server: StreamServer, create: str) -> None:
    async with operating(server) as ops:
        await ops.make()
        before = await ops.make_consumer(max_ack_pending=1000, filter_subject="events.a")
        async with pulling(server, subscribed=False, create=create) as taken:
            assert await refused(taken) == (
                "JetStream: the consumer EVENTS.nats-fluent differs: max_ack_pending is 1000, wanted 20000; "
                "filter_subjects is events.a, wanted all. "
                "Set NATS_FLUENT_JETSTREAM_CREATE=reconcile to change it, or set "
                "NATS_FLUENT_JETSTREAM_MAX_ACK_PENDING=1000 NATS_FLUENT_JETSTREAM_FILTER_SUBJECTS=events.a "
                "to take it as it is."
            )
        assert (await ops.consumer())["config"] == before["config"]
        async with pulling(server, create=create, max_ack_pending=1000, filter_subjects=("events.a",)):
            pass


async def test_one_that_differs_is_changed_where_that_is_wished(server: StreamServer) -> None:
    async with operating(server) as ops:
        await ops.make()
        before = await ops.make_consumer(
            max_ack_pending=10, description="mine", filter_subject="events.a", max_deliver=5
        )
        await ops.publish("events.b", b"x")
        async with pulling(server, create="reconcile", ack_wait=11.0, before=deliver) as taken:
            await taken.wait_for(1)
            info = await ops.settled(1)
        assert taken.lines(TAKING)[0]["done"] == (
            "changed: ack_wait is 30s, wanted 11s; max_ack_pending is 10, wanted 20000; "
            "max_deliver is 5, wanted -1; filter_subjects is events.a, wanted all"
        )
        assert info["created"] == before["created"]
        config = info["config"]
        assert (config["ack_wait"], config["max_ack_pending"], config["max_deliver"]) == (
            11 * 10**9,
            20_000,
            -1,
        )
        assert (config["filter_subject"], config["description"]) == ("events.>", "mine")


@pytest.mark.parametrize(
    ("config", "why"),
    [({"ack_policy": "none"}, "its ack_policy is none"), ({"deliver_subject": "push"}, "it pushes messages")],
)
async def test_one_that_cannot_be_used_is_refused_whatever_is_wished(
    server: StreamServer, config: dict, why: str
) -> None:
    async with operating(server) as ops:
        await ops.make()
        await ops.make_consumer(**config)
        async with pulling(server, subscribed=False, create="reconcile") as taken:
            problem = await refused(taken)
        assert why in problem
        assert "NATS_FLUENT_JETSTREAM_DURABLE" in problem


async def test_a_consumer_to_bind_to_must_be_there(server: StreamServer) -> None:
    async with operating(server) as ops:
        await ops.make()
        async with pulling(server, subscribed=False, create="bind") as taken:
            assert await refused(taken) == (
                "JetStream: the stream EVENTS has no consumer nats-fluent, or has it no more. "
                "Create it, or set NATS_FLUENT_JETSTREAM_CREATE=create."
            )


async def test_a_stream_without_any_of_the_subjects_is_refused(server: StreamServer) -> None:
    async with operating(server) as ops:
        await ops.make()
        async with pulling(server, "activities", subscribed=False) as taken:
            assert "has none of the subjects activities; it has events.>" in await refused(taken)


async def test_what_the_server_does_not_make_is_said_in_its_words(server: StreamServer) -> None:
    async with operating(server) as ops:
        await ops.make(max_consumers=1)
        await ops.make_consumer()
        async with pulling(server, durable="another", subscribed=False) as taken:
            assert await refused(taken) == (
                "JetStream: cannot create the consumer EVENTS.another: maximum consumers limit reached"
            )


async def test_when_another_member_makes_the_consumer_first_it_is_looked_at_again(
    server: StreamServer,
) -> None:
    async with operating(server) as ops:
        await ops.make()
        api = Api(ops.client, JetStreamSettings(stream=STREAM), [Topic("events.>", "events")])
        compare = api.compare

        async def late() -> tuple:
            seen = await compare()
            await ops.make_consumer(max_ack_pending=1)
            return seen

        api.compare = late
        with pytest.raises(NotYet, match="another member made the consumer"):
            await api.have(Floor())


async def test_a_stream_that_is_not_there_is_waited_for(server: StreamServer) -> None:
    async with pulling(server, subscribed=False) as taken, operating(server) as ops:
        await taken.wait_log(WAITING)
        assert not taken.source.connected
        await ops.make()
        await asyncio.wait_for(taken.source.wait_subscribed(), PATIENCE)
        await ops.publish("events.a", b"x")
        await taken.wait_for(1)
        assert taken.lines(WAITING) == [
            {"reason": "the stream EVENTS is not there; it is not made by this program"}
        ]


async def test_a_server_without_jetstream_is_waited_for(tmp_path: Path) -> None:
    plain = NatsServer(tmp_path)
    with started(plain):
        async with pulling(plain, subscribed=False) as taken:
            await taken.wait_log(WAITING)
            plain.stop()
            enabled = StreamServer(tmp_path, port=plain.port)
            with started(enabled):
                async with operating(enabled) as ops:
                    await ops.make()
                await asyncio.wait_for(taken.source.wait_subscribed(), 30)
        assert taken.lines(WAITING)[0] == {
            "reason": "JetStream is not enabled for this account, or has no leader"
        }


async def test_a_user_that_may_not_is_told_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nats_fluent.source.api.TIMEOUT", 0.3)
    config = (
        'authorization { users: [{user: me, password: pw, permissions: {publish: {deny: "$JS.API.>"}}}] }\n'
    )
    with started(StreamServer(tmp_path, config + "no_auth_user: me")) as server:
        async with pulling(server, subscribed=False) as taken:
            await taken.wait_log(WAITING)
            await taken.wait_log(DENIES)  # which the server may say later than that
            assert taken.lines(DENIES) == [{"subject": "$js.api.stream.info.events"}]
            assert taken.lines(WAITING) == [{"reason": "JetStream: no answer in time"}]


async def test_a_domain(tmp_path: Path) -> None:
    config = f'jetstream {{ store_dir: "{tmp_path / "store"}", domain: hub }}'
    with started(NatsServer(tmp_path, config)) as server:
        async with operating(server) as ops:
            await ops.make()
            await ops.publish("events.a", b"x")
            async with pulling(server, domain="hub", before=deliver) as taken:
                await taken.wait_for(1)
                await ops.settled(1)
        assert (taken.deliveries[0].stream, taken.deliveries[0].sequence) == (STREAM, 1)


# Deleted by others


@pytest.mark.parametrize("create", ["create", "reconcile"])
async def test_one_that_is_deleted_is_made_again_where_it_was(
    server: StreamServer, create: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jetstream, "FLOOR_EVERY", 0.05)
    async with operating(server) as ops:
        await ops.make()
        async with pulling(server, create=create) as taken:
            await ops.publish("events.a", *(b"%d" % number for number in range(100)))
            await taken.wait_for(100)
            for delivery in taken.deliveries[:60]:
                deliver(delivery)
            await until(lambda: taken.source._floor._sequence == 60, what="the floor")
            await ops.ask(f"CONSUMER.DELETE.{STREAM}.{DURABLE}")
            await taken.wait_log(ENDED)
            await ops.publish("events.a", b"after")
            await taken.wait_for(101)
            for delivery in taken.deliveries[60:]:
                deliver(delivery)
            info = await ops.settled(101)
        assert (info["config"]["deliver_policy"], info["config"]["opt_start_seq"]) == (
            "by_start_sequence",
            61,
        )
        assert taken.numbers == list(range(1, 102)), "each once"
        assert taken.lines(ENDED) == [{"reason": "409 Consumer Deleted"}]
        assert [line.get("done") for line in taken.lines(TAKING)] == ["made", "made"]
        async with pulling(server, create=create):
            pass  # and where it began is no difference


async def test_one_that_is_deleted_is_gone_for_who_may_only_bind(server: StreamServer) -> None:
    async with operating(server) as ops:
        await ops.make()
        await ops.make_consumer()
        async with pulling(server, create="bind") as taken:
            await until(lambda: taken.source._inboxes, what="a pull")
            await ops.ask(f"CONSUMER.DELETE.{STREAM}.{DURABLE}")
            assert "has no consumer nats-fluent, or has it no more" in await refused(taken)


async def test_a_stream_that_is_made_again_is_taken_from_its_beginning(
    server: StreamServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jetstream, "FLOOR_EVERY", 0.05)
    async with operating(server) as ops:
        await ops.make()
        async with pulling(server, before=deliver) as taken:
            await ops.publish("events.a", *(b"old %d" % number for number in range(10)))
            await until(lambda: taken.source._floor._sequence == 10, what="the floor")
            await ops.ask(f"STREAM.DELETE.{STREAM}")
            await taken.wait_log(WAITING)
            assert not taken.source.connected
            await ops.make()
            await ops.publish("events.a", *(b"new %d" % number for number in range(20)))
            await taken.wait_for(30)
            await ops.settled(20)
        assert taken.payloads[10:] == [b"new %d" % number for number in range(20)]
        assert taken.numbers[10:] == list(range(1, 21))


async def test_one_that_is_deleted_from_a_work_queue_is_made_again(server: StreamServer) -> None:
    async with operating(server) as ops:
        await ops.make(retention="workqueue")
        async with pulling(server, before=deliver) as taken:
            await ops.publish("events.a", b"1", b"2")
            await taken.wait_for(2)
            await ops.settled(2)
            await ops.ask(f"CONSUMER.DELETE.{STREAM}.{DURABLE}")
            await taken.wait_log(ENDED)
            await ops.publish("events.a", b"3")
            await taken.wait_for(3)
            await ops.settled(3)
        assert taken.payloads == [b"1", b"2", b"3"]


async def test_limits_that_a_consumer_gets_meanwhile_are_kept_to(server: StreamServer) -> None:
    async with operating(server) as ops:
        await ops.make()
        await ops.make_consumer()
        async with pulling(server, before=deliver) as taken:
            await ops.make_consumer(max_batch=5, max_expires=2 * 10**9, max_bytes=10_000)
            await ops.publish("events.a", *(b"%d" % number for number in range(1500)))
            await taken.wait_for(1500)
            await ops.settled(1500)
        assert taken.numbers == list(range(1, 1501))
