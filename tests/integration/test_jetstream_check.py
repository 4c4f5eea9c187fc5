"""`nats-fluent check --connect` with a stream: what is there, how it differs, and that nothing is changed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from programs import PATIENCE, NatsServer, started
from streams import STREAM, StreamServer, operating

from nats_fluent import check
from nats_fluent.sections import JetStreamSettings, NatsSettings
from nats_fluent.settings import Settings
from nats_fluent.topics import Topic

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def server(tmp_path: Path) -> Iterator[StreamServer]:
    with started(StreamServer(tmp_path)) as one:
        yield one


async def seen(server: NatsServer, **jetstream: object) -> tuple[bool, str]:
    settings = Settings(
        nats=NatsSettings(servers=(server.url,)),
        topics=(Topic("events.>", "events"),),
        jetstream=JetStreamSettings(**({"stream": STREAM} | jetstream)),
    )
    *nats, attempt, _ = await check.try_servers(settings, timeout=PATIENCE)
    assert [each.step for each in nats] == ["resolve", "connect", "TLS", "login"]
    assert all(each.ok for each in nats)
    assert attempt.server == "JetStream EVENTS.nats-fluent"
    return attempt.ok, attempt.detail


async def test_what_is_there(server: StreamServer) -> None:
    missing = "the stream EVENTS is not there; it is not made by this program"
    assert await seen(server) == (False, missing)
    async with operating(server) as ops:
        await ops.make()
        absent = "the stream is there; the consumer nats-fluent is not there"
        assert await seen(server) == (True, f"{absent}, and will be made")
        assert await seen(server, create="bind") == (False, absent)
        await ops.make_consumer()
        await ops.publish("events.a", b"1", b"2")
        assert await seen(server) == (True, "2 messages to deliver, 0 unacknowledged")


async def test_how_it_differs(server: StreamServer) -> None:
    async with operating(server) as ops:
        await ops.make()
        before = await ops.make_consumer(max_ack_pending=5)
        ok, detail = await seen(server)
        assert not ok
        assert (
            "differs: max_ack_pending is 5, wanted 20000. Set NATS_FLUENT_JETSTREAM_CREATE=reconcile"
            in detail
        )
        assert await seen(server, create="reconcile") == (
            True,
            "0 messages to deliver, 0 unacknowledged; will be changed: max_ack_pending is 5, wanted 20000",
        )
        assert (await ops.consumer())["config"] == before["config"]


async def test_without_jetstream(nats_server: NatsServer) -> None:
    assert await seen(nats_server) == (
        False,
        "JetStream is not enabled for this account, or has no leader",
    )


async def test_a_user_that_may_not_look(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nats_fluent.source.api.TIMEOUT", 0.3)
    config = (
        'authorization { users: [{user: me, password: pw, permissions: {publish: {deny: "$JS.API.>"}}}] }\n'
    )
    with started(StreamServer(tmp_path, config + "no_auth_user: me")) as server:
        assert await seen(server) == (False, "JetStream: no answer in time")
