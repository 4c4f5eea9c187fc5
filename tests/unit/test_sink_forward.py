"""How the Forward sink sends, and sends again, with a scripted stream and a clock that stands still."""

from __future__ import annotations

import asyncio
import threading

import forward_server
import msgpack
import pytest
from forward_server import until
from logged import captured
from scripted import ONE, Rig, chunk, idle

from nats_fluent.addresses import FluentUrl
from nats_fluent.delivery import Outcome
from nats_fluent.errors import LocalProtocolError, ServerUnavailable, SettingsError
from nats_fluent.options import Secret
from nats_fluent.sections import FluentSettings
from nats_fluent.sink import ForwardSink, StdoutSink, open_sink
from nats_fluent.sink.forward import BACKOFF_FIRST

KEY = "the shared key"


# -- sending


async def test_a_chunk_is_settled_when_it_is_acknowledged():
    rig = Rig()
    async with rig.running():
        rig.sink.submit(chunk("a", records=3))
        assert (rig.sink.pending, rig.sink.pending_chunks) == (3, 1)
        await idle()
        assert rig.settled == [("a", Outcome.DELIVERED)]
        assert rig.shipper.frames[0].records == [{"n": 0}, {"n": 1}, {"n": 2}]
        assert (rig.sink.pending, rig.sink.pending_chunks, rig.sink.unsettled()) == (0, 0, [])
        assert rig.stats.connected
        assert rig.stats.server == "forward://one:24224"
        assert (rig.stats.connections, rig.stats.chunks_sent, rig.stats.chunks_resent) == (1, 1, 0)
        assert (rig.stats.chunks_acknowledged, rig.stats.records_acknowledged) == (1, 3)
        assert rig.stats.bytes_sent > len(chunk("a", records=3).entries)


async def test_chunks_submitted_before_the_run_are_sent_in_order():
    rig = Rig()
    await rig.submit("a", "b", "c")
    async with rig.running():
        assert rig.delivered() == ["a", "b", "c"]


async def test_no_more_chunks_are_unacknowledged_than_the_window_allows():
    rig = Rig(window=2)
    rig.shipper.answer = forward_server.silence
    async with rig.running():
        await rig.submit("a", "b", "c", "d")
        assert rig.shipper.chunk_ids() == ["a", "b"]
        rig.streams[0].answer([msgpack.packb({"ack": "b"})])
        await idle()
        assert rig.shipper.chunk_ids() == ["a", "b", "c"]
        assert rig.delivered() == ["b"]
        assert rig.sink.pending_chunks == 3


@pytest.mark.parametrize(
    ("settings", "mode"),
    [({}, "packed"), ({"mode": "forward"}, "forward"), ({"compress": "gzip"}, "compressed")],
)
async def test_the_settings_choose_how_chunks_are_sent(settings, mode):
    rig = Rig(**settings)
    async with rig.running():
        await rig.submit("a")
        await until(lambda: rig.settled)  # gzip works in a thread
        assert [frame.mode for frame in rig.shipper.frames] == [mode]


async def test_an_unknown_acknowledgement_is_counted_and_settles_nothing():
    rig = Rig()
    rig.shipper.answer = forward_server.unknown
    async with rig.running():
        await rig.submit("a")
        assert rig.delivered() == ["a"]
        assert rig.stats.unknown_acks == 2
        assert rig.stats.failures == 0


# -- sending again


@pytest.mark.parametrize("failing", [forward_server.close, forward_server.nack, forward_server.garbage])
async def test_what_is_not_acknowledged_is_sent_again_first_and_in_order(failing):
    rig = Rig(window=2)
    rig.shipper.first = [forward_server.silence, failing]
    async with rig.running():
        await rig.submit("a", "b", "c")
        assert rig.shipper.chunk_ids() == ["a", "b"]
        await rig.clock.advance(BACKOFF_FIRST)
        assert rig.shipper.chunk_ids() == ["a", "b", "a", "b", "c"]
        assert rig.delivered() == ["a", "b", "c"]
        assert (rig.stats.chunks_resent, rig.stats.failures, rig.stats.connections) == (2, 1, 2)


async def test_an_acknowledgement_before_the_loss_is_not_sent_again():
    rig = Rig()
    rig.shipper.first = [forward_server.ack, forward_server.close]
    async with rig.running():
        await rig.submit("a", "b", "c")
        await rig.clock.advance(BACKOFF_FIRST)
        assert rig.shipper.chunk_ids() == ["a", "b", "b", "c"]
        assert rig.delivered() == ["a", "b", "c"]


async def test_a_second_loss_keeps_the_order():
    rig = Rig(window=2)
    rig.shipper.first = [forward_server.silence, forward_server.silence, forward_server.close]
    async with rig.running():
        await rig.submit("a", "b", "c")
        rig.streams[0].incoming.put_nowait(b"")
        await idle()
        await rig.clock.advance(BACKOFF_FIRST)
        await rig.clock.advance(2 * BACKOFF_FIRST)
        assert rig.shipper.chunk_ids()[:2] == ["a", "b"]
        assert rig.delivered() == ["a", "b", "c"]
        assert rig.stats.chunks_resent == rig.stats.chunks_sent - 3


async def test_an_overdue_acknowledgement_ends_the_connection():
    rig = Rig(ack_timeout=30.0)
    rig.shipper.first = [forward_server.silence]
    with captured() as logs:
        async with rig.running():
            await rig.clock.advance(29)  # sent in the middle of a watch
            await rig.submit("a")
            await rig.clock.advance(29.9)
            assert len(rig.streams) == 1
            await rig.clock.advance(0.2)
            await rig.clock.advance(BACKOFF_FIRST)
            assert rig.delivered() == ["a"]
            assert len(rig.streams) == 2
    assert logs[1]["reason"] == "no acknowledgement within 30 s; is the server's input paused?"


async def test_an_idle_connection_is_not_overdue():
    rig = Rig(ack_timeout=30.0)
    async with rig.running():
        await rig.submit("a")
        for _ in range(20):
            await rig.clock.advance(29)
        assert rig.stats.failures == 0


async def test_the_network_fails_in_a_read():
    rig = Rig()
    async with rig.running():
        rig.streams[0].incoming.put_nowait(ServerUnavailable("lost the connection: reset"))
        await idle()
        await rig.clock.advance(BACKOFF_FIRST)
        await rig.submit("a")
        assert rig.delivered() == ["a"]


async def test_a_server_that_takes_one_message_a_connection_gets_one():
    rig = Rig(shared_key=Secret(KEY))
    rig.shipper.shared_key, rig.shipper.keepalive = KEY, False
    async with rig.running():
        await rig.submit("a", "b", "c")
        assert rig.delivered() == ["a", "b", "c"]
        assert rig.stats.connections >= 3
        assert rig.stats.failures == 0
        assert rig.clock.sleeping  # the watch only
        assert rig.stats.connected


# -- the end


async def test_what_is_not_settled_is_there_when_the_run_ends():
    rig = Rig(window=2)
    rig.shipper.answer = forward_server.silence
    async with rig.running():
        await rig.submit("a", "b", "c")
    assert [one.id for one in rig.sink.unsettled()] == ["a", "b", "c"]
    assert rig.sink.pending == 3
    assert rig.settled == []


async def test_a_run_that_ends_while_a_chunk_is_compressed_keeps_it():
    rig = Rig(compress="gzip")
    compressing, go_on = threading.Event(), threading.Event()

    def compress(_chunk):
        compressing.set()
        go_on.wait()

    rig.sink._encode = compress
    try:
        async with rig.running():
            rig.sink.submit(chunk("a"))
            await asyncio.to_thread(compressing.wait)
    finally:
        go_on.set()
    assert [one.id for one in rig.sink.unsettled()] == ["a"]


async def test_an_error_of_the_callback_ends_the_run():
    rig = Rig()
    rig.sink._on_settled = lambda *_: 1 / 0
    async with rig.running() as task:
        await rig.submit("a")
        with pytest.raises(ExceptionGroup) as raised:
            await task
    assert raised.group_contains(ZeroDivisionError)


async def test_a_bug_ends_the_run():
    rig = Rig()
    rig.shipper.answer = forward_server.silence
    async with rig.running() as task:
        await rig.submit("a", "a")
        with pytest.raises(LocalProtocolError):
            await task


# -- which sink


def test_the_settings_choose_the_sink():
    def settled(*_):
        raise AssertionError

    assert isinstance(open_sink(FluentSettings(url=(ONE,)), settled), ForwardSink)
    assert isinstance(open_sink(FluentSettings(url=(FluentUrl("stdout"),)), settled), StdoutSink)


def test_certificates_are_tried_before_the_run(tmp_path):
    url = FluentUrl("forward+tls", "one", 24224)
    with pytest.raises(SettingsError, match=r"^fluent\.ca_file: no certificates in "):
        open_sink(FluentSettings(url=(ONE, url), ca_file=tmp_path / "absent.pem"), lambda *_: None)
