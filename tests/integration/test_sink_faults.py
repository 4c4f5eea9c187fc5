"""The Forward sink on real sockets, with a server that misbehaves."""

from __future__ import annotations

import asyncio
import socket

import forward_server
import msgpack
import pytest
from fluent.sender import EventTime, FluentSender
from forward_server import ForwardServer, Peer, Shipper, until
from sending import LOOPS, TIME_NS, chunk_of, numbered, run_on, sending

from nats_fluent.addresses import FluentUrl
from nats_fluent.errors import ServerUnavailable
from nats_fluent.forward import codec
from nats_fluent.options import Secret
from nats_fluent.sections import FluentSettings
from nats_fluent.sink.stream import dial


@pytest.fixture(params=LOOPS)
def run(request):
    """Run a coroutine on each event loop."""
    return lambda main: run_on(request.param, main)


def settings_for(*servers, **changes):
    urls = tuple(FluentUrl("forward", "127.0.0.1", server.port) for server in servers)
    return FluentSettings(url=urls, **changes)


def assert_delivered(shipper, chunks):
    """Each chunk came, whole, with its id; the first time each came is in order."""
    ids = [chunk.id for chunk in chunks]
    assert list(dict.fromkeys(shipper.chunk_ids())) == ids
    by_id = {frame.chunk_id: frame for frame in shipper.frames}
    for chunk in chunks:
        assert [tuple(entry) for entry in by_id[chunk.id].entries] == list(codec.read_entries(chunk.entries))


@pytest.mark.parametrize(
    ("first", "failures", "ack_timeout"),
    [
        ([forward_server.late(0.05)], 0, 30.0),
        ([forward_server.unknown], 0, 30.0),
        ([forward_server.silence], 1, 0.3),
        ([forward_server.close], 1, 30.0),
        ([forward_server.nack], 1, 30.0),
        ([forward_server.garbage], 1, 30.0),
        ([forward_server.late(0.5)], 1, 0.3),
        ([forward_server.ack, forward_server.garbage, forward_server.close, forward_server.silence], 3, 0.3),
    ],
    ids=["late", "unknown", "silent", "close", "nack", "garbage", "too late", "one after the other"],
)
@pytest.mark.parametrize("window", [1, 8])
def test_a_server_that_misbehaves_gets_every_chunk(run, first, failures, ack_timeout, window):
    async def main():
        shipper = Shipper(first=list(first))
        chunks = numbered(20)
        async with ForwardServer(shipper) as server:
            settings = settings_for(server, window=window, ack_timeout=ack_timeout)
            async with sending(settings) as client:
                await client.deliver(*chunks)
                # With a window, one connection can end with several of them.
                assert client.sink.stats.failures >= min(failures, 1 if window > 1 else failures)
                # What is late on a busy machine is taken for silence.
                assert client.sink.stats.failures <= failures or ack_timeout < 1
        assert_delivered(shipper, chunks)
        assert sorted(client.settled) == sorted(chunk.id for chunk in chunks)

    run(main())


@pytest.mark.parametrize("cut", [(1,), (60, 70_000, 1_200_000), (500_000,) * 4])
@pytest.mark.parametrize("mode", ["packed", "forward"])
def test_a_connection_that_is_reset_inside_a_chunk(run, cut, mode):
    async def main():
        chunks = numbered(8, each=500, padding=900)
        server = ForwardServer(cut=cut)
        async with server, sending(settings_for(server, mode=mode)) as client:
            await client.deliver(*chunks)
            assert client.sink.stats.failures == len(cut)
        assert_delivered(server.shipper, chunks)

    run(main())


def test_a_server_that_goes_and_comes_back(run):
    async def main():
        server = ForwardServer()
        chunks = numbered(30)
        async with server, sending(settings_for(server)) as client:
            await client.deliver(*chunks[:10])
            await server.stop()
            for chunk in chunks[10:]:
                client.sink.submit(chunk)
            await until(lambda: client.sink.stats.failures > 1, what="a failed attempt to connect")
            assert not client.sink.stats.connected
            await server.start()
            await client.deliver()
            assert client.sink.stats.connected
        assert_delivered(server.shipper, chunks)
        assert client.events() == [
            "connected to the log shipper",
            "lost the log shipper",
            "connected to the log shipper",
        ]

    run(main())


def test_what_one_server_did_not_acknowledge_goes_to_the_other(run):
    async def main():
        mute = ForwardServer(Shipper(answer=forward_server.silence))
        good = ForwardServer()
        chunks = numbered(5)
        async with mute, good, sending(settings_for(mute, good, ack_timeout=0.5)) as client:
            await client.deliver(*chunks)
        # Some of them more than once where the machine is so busy that the other one is late as well.
        asked = list(dict.fromkeys(mute.shipper.chunk_ids()))
        assert asked == [chunk.id for chunk in chunks][: len(asked)] != []
        assert_delivered(good.shipper, chunks)

    run(main())


def test_a_server_that_takes_the_connection_and_reads_nothing(run):
    """The write buffers fill; the acknowledgement is overdue; closing does not wait for what cannot leave."""

    async def main():
        good = ForwardServer()
        chunks = numbered(20, each=500, padding=900)
        with socket.create_server(("127.0.0.1", 0)) as deaf:
            deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8192)
            url = FluentUrl("forward", "127.0.0.1", deaf.getsockname()[1])
            async with good:
                settings = FluentSettings(url=(url, *settings_for(good).url), ack_timeout=0.5, window=20)
                async with sending(settings) as client:
                    await client.deliver(*chunks)
                    # More of them where the machine is so busy that the other one is late as well.
                    assert client.sink.stats.failures >= 1
        assert_delivered(good.shipper, chunks)

    run(main())


def test_nobody_listens(run):
    async def main():
        nobody = ForwardServer()
        async with sending(settings_for(nobody)) as client:
            client.sink.submit(chunk_of({"a": 1}))
            await until(lambda: client.logged, what="a line in the log")
            (line,) = client.logged
            assert line["event"] == "cannot reach the log shipper"
            assert "cannot connect: " in line["reason"]
            assert line["server"] == f"forward://127.0.0.1:{nobody.port}"
        assert client.sink.pending == 1
        assert len(client.sink.unsettled()) == 1

    run(main())


@pytest.mark.parametrize(
    "url",
    [
        FluentUrl("forward", "no-such-host.invalid", 24224),
        FluentUrl("forward", "." * 3, 24224),
        FluentUrl("forward", "x" * 70, 24224),
        FluentUrl("unix", path="/nonexistent/socket"),
        FluentUrl("unix", path="/" + "x" * 200),
    ],
    ids=str,
)
def test_an_address_that_leads_nowhere(run, url):
    async def main():
        async with sending(FluentSettings(url=(url,))) as client:
            await until(lambda: client.logged, what="a line in the log")
            assert client.events() == ["cannot reach the log shipper"]

    run(main())


def test_a_server_without_tls_is_not_spoken_to_in_the_clear(run):
    async def main():
        async with ForwardServer() as server:
            url = FluentUrl("forward+tls", "127.0.0.1", server.port)
            async with sending(FluentSettings(url=(url,), connect_timeout=0.3)) as client:
                client.sink.submit(chunk_of({"a": 1}))
                await until(lambda: client.logged, what="a line in the log")
                assert client.events() == ["cannot reach the log shipper"]
        assert server.shipper.frames == []

    run(main())


def test_the_salt_and_the_digests_are_taken_by_the_test_server(run):
    async def main():
        shipper = Shipper(shared_key="key", users={"me": "secret"}, first=[forward_server.close])
        async with ForwardServer(shipper) as server:
            known = {"shared_key": Secret("key"), "user": "me", "password": Secret("secret")}
            async with sending(settings_for(server, **known)) as client:
                await client.deliver(*numbered(3))
        assert shipper.pings[0][2] != shipper.pings[1][2]

    run(main())


def test_a_write_to_what_is_closed_says_that_the_connection_is_lost(run):
    """uvloop raises RuntimeError there, asyncio nothing at all."""

    async def main():
        async with ForwardServer() as server:
            settings = settings_for(server)
            stream = await dial(settings.url[0], settings)
            await stream.close()
            with pytest.raises(ServerUnavailable, match="lost the connection"):
                stream.write([b"x"])

    run(main())


def test_a_run_that_ends_leaves_no_connection_open(run):
    async def main():
        async with ForwardServer(Shipper(answer=forward_server.silence)) as server:
            async with sending(settings_for(server, ack_timeout=60.0)) as client:
                for chunk in numbered(20):
                    client.sink.submit(chunk)
                await until(lambda: server.shipper.frames, what="a chunk came")
            await until(lambda: not server._writers, what="the connection is closed")
        assert client.sink.pending_chunks == len(client.sink.unsettled()) == 20

    run(main())


async def test_fluent_logger_and_message_mode_say_the_same():
    record = {"text": "\u00e9", "number": 5, "nested": {"list": [1, None, True, 0.5]}}
    async with ForwardServer() as server:
        sender = FluentSender("a.b", host="127.0.0.1", port=server.port, forward_packet_error=False)
        sent = await asyncio.to_thread(sender.emit_with_time, "", EventTime.from_unix_nano(TIME_NS), record)
        assert sent
        await until(lambda: server.shipper.frames, what="a message of fluent-logger")
        await asyncio.to_thread(sender.close)
        (theirs,) = server.shipper.frames
    ours_shipper = Shipper()
    Peer(ours_shipper).receive(codec.message("a.b", TIME_NS, msgpack.packb(record)))
    assert ours_shipper.frames == [theirs]
    assert theirs.mode == "message"
    assert theirs.entries == [[TIME_NS, record]]
