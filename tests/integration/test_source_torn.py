"""A connection that ends within a message, as its last bytes are read."""

from __future__ import annotations

from forward_server import until
from listening import listening

from nats_fluent.sections import NatsSettings
from nats_fluent.source import connect
from nats_fluent.source.core import CoreSource
from nats_fluent.topics import Topic

INFO = b'INFO {"server_id": "x", "version": "2.10", "max_payload": 1048576}\r\n'


async def test_the_part_of_a_message_is_no_part_of_what_the_next_connection_brings(monkeypatch):
    """The read is woken by the part in the same turn of the loop in which the connection is given up."""
    monkeypatch.setattr(connect, "RECONNECT_WAIT", 0.01)
    monkeypatch.setattr(connect, "RECONNECT_JITTER", 0.0)
    connections = 0

    async def serve(reader, writer):
        nonlocal connections
        connections += 1
        first = connections == 1
        writer.write(INFO)
        while line := await reader.readline():
            if line.startswith(b"PING"):
                writer.write(b"PONG\r\n")
            elif line.startswith(b"SUB") and not first:
                writer.write(b"MSG a 1 5\r\nhello\r\nMSG a 1 5\r\nworld\r\n")

    taken = []
    async with listening(serve) as port:
        settings = NatsSettings(servers=(f"nats://127.0.0.1:{port}",))
        source = CoreSource(settings, [Topic("a", "a")], receive=taken.extend)
        await source.start()
        try:
            await source.wait_subscribed()
            source.link.client._transport._io_reader.feed_data(b"MSG a 1 30\r\na part of it")
            await source.reconnect()
            await until(lambda: len(taken) >= 2)
        finally:
            await source.close()
    assert ([each.payload for each in taken], connections) == ([b"hello", b"world"], 2)
