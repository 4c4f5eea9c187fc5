"""The end of a source of a stream, without a server."""

from __future__ import annotations

import asyncio

import pytest
from scripted import idle

from nats_fluent.sections import JetStreamSettings, NatsSettings
from nats_fluent.source import jetstream
from nats_fluent.source.client import Client
from nats_fluent.source.connect import Connection
from nats_fluent.source.jetstream import JetStreamSource
from nats_fluent.topics import Topic


async def test_a_server_that_reads_nothing_does_not_keep_it_from_its_end(monkeypatch):
    """What is to be given back may be more than the buffers of the connection take, as with 1,000,000 messages."""
    monkeypatch.setattr(jetstream, "CLOSE_WITHIN", 0.01)
    monkeypatch.setattr(Connection, "connected", property(lambda _: True))
    taken = []
    source = JetStreamSource(
        NatsSettings(),
        (Topic("a", "a"),),
        jetstream=JetStreamSettings(stream="e"),
        receive=taken.extend,
        room=lambda: 1 << 20,
    )
    source._connection._closing = True  # there is none to be closed
    sending = asyncio.Event()

    async def send(_commands, *, backlog):  # noqa: ARG001
        sending.set()
        await asyncio.get_running_loop().create_future()

    monkeypatch.setattr(source._connection.client, "send", send)
    inbox = jetstream._Inbox("_INBOX.x")
    source._taken([(inbox, "a", f"$JS.ACK.e.c.1.1.1.{10**18}.0", b"x", None)])
    await asyncio.wait_for(source.close(), 15)
    assert sending.is_set()
    assert (len(taken), source.returned, source.unsettled) == (1, 1, 0)


async def test_whoever_waits_for_a_server_that_reads_nothing_can_be_cancelled():
    """nats-py keeps the cancellation to itself, and its caller would write on and wait again."""
    client = Client(NatsSettings(), fatal=pytest.fail)
    client._flush_queue, client._flush_timeout = asyncio.Queue(), None  # as connect() makes them
    client._status = Client.CONNECTED
    client._flusher_task = asyncio.create_task(asyncio.sleep(3600))
    sending = asyncio.create_task(client.send(b"PING\r\n", backlog=0))
    await idle()
    assert client._flush_queue.qsize() == 2  # to be sent, and to wait for that
    sending.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(sending, 15)
    client._flusher_task.cancel()
