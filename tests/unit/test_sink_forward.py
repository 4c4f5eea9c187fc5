"""The decisions of the Forward sink, with a scripted stream and a clock that stands still."""

from __future__ import annotations

import asyncio
import contextlib
import json
import random

import forward_server
import msgpack
import pytest
from forward_server import CLOSE, Peer, Shipper, until
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from nats_fluent.delivery import Chunk, Outcome
from nats_fluent.errors import LocalProtocolError, ServerUnavailable, SettingsError
from nats_fluent.forward.codec import entry
from nats_fluent.options import FluentUrl, Secret
from nats_fluent.settings import FluentSettings
from nats_fluent.sink import ForwardSink, StdoutSink, open_sink
from nats_fluent.sink.forward import BACKOFF_FIRST, BACKOFF_MAX, STUCK_AFTER, backoff

ONE = FluentUrl("forward", "one", 24224)
TWO = FluentUrl("forward", "two", 24224)
KEY = "the shared key"
PASSWORD = "the password"


def chunk(name, *, records=1):
    entries = b"".join(entry(10**18 + n, msgpack.packb({"n": n})) for n in range(records))
    return Chunk(id=name, tag="t", entries=entries, count=records)


class Clock:
    """Seconds that pass when a test says so."""

    def __init__(self):
        self.now = 1000.0
        self.sleeping = []

    def __call__(self):
        return self.now

    async def sleep(self, seconds):
        waiter = asyncio.get_running_loop().create_future()
        self.sleeping.append((self.now + seconds, waiter))
        await waiter

    async def advance(self, seconds):
        self.now += seconds
        for due, waiter in self.sleeping:
            if due <= self.now and not waiter.done():
                waiter.set_result(None)
        self.sleeping = [(due, waiter) for due, waiter in self.sleeping if not waiter.done()]
        await idle()


async def idle():
    """Let every task run until it waits."""
    for _ in range(60):
        await asyncio.sleep(0)


class ScriptedStream:
    def __init__(self, shipper):
        self.peer = Peer(shipper)
        self.incoming = asyncio.Queue()
        self.closed = False
        self.answer(self.peer.opened())

    def answer(self, answers):
        for answer in answers:
            self.incoming.put_nowait(b"" if answer == CLOSE else answer)

    async def read(self):
        data = await self.incoming.get()
        if isinstance(data, Exception):
            raise data
        return data

    def write(self, buffers):
        self.answer(self.peer.receive(b"".join(buffers)))

    async def drain(self):
        await asyncio.sleep(0)

    async def close(self):
        self.closed = True


class Upper(random.Random):
    """Always the longest wait."""

    def uniform(self, _low, high):
        return high


class Rig:
    """A sink, its servers, and what came of it."""

    def __init__(self, *, urls=(ONE,), **settings):
        self.clock = Clock()
        self.shippers = {url: Shipper() for url in urls}
        self.down = set()
        self.dialled = []
        self.streams = []
        self.settled = []
        self.sink = ForwardSink(
            FluentSettings(url=urls, **({"ack_timeout": 30.0, "connect_timeout": 5.0} | settings)),
            on_settled=lambda chunk, outcome: self.settled.append((chunk.id, outcome)),
            rng=Upper(1),
            dial=self.dial,
            clock=self.clock,
            sleep=self.clock.sleep,
        )

    @property
    def shipper(self):
        return self.shippers[ONE]

    @property
    def stats(self):
        return self.sink.stats

    async def dial(self, url, _settings):
        self.dialled.append(url)
        if url in self.down:
            raise ServerUnavailable("cannot connect: refused")
        self.streams.append(ScriptedStream(self.shippers[url]))
        return self.streams[-1]

    @contextlib.asynccontextmanager
    async def running(self):
        task = asyncio.create_task(self.sink.run())
        await idle()
        try:
            yield task
        finally:
            task.cancel()
            await asyncio.wait([task])
            assert all(stream.closed for stream in self.streams)
            assert not self.stats.connected

    async def submit(self, *names):
        for name in names:
            self.sink.submit(chunk(name))
        await idle()

    def delivered(self):
        assert all(outcome is Outcome.DELIVERED for _, outcome in self.settled)
        return [name for name, _ in self.settled]


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
    with capture_logs() as logs:
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


# -- which server, and when


async def test_the_next_server_is_tried_at_once_and_kept():
    rig = Rig(urls=(ONE, TWO))
    rig.down = {ONE}
    async with rig.running():
        await rig.submit("a")
        assert rig.dialled == [ONE, TWO]
        rig.down = set()
        await rig.submit("b")
        assert rig.shippers[TWO].chunk_ids() == ["a", "b"]
        assert rig.stats.server == str(TWO)


async def test_unacknowledged_chunks_go_to_another_server_with_the_same_id():
    rig = Rig(urls=(ONE, TWO))
    rig.shipper.answer = forward_server.close
    async with rig.running():
        await rig.submit("a")
        assert rig.shippers[ONE].chunk_ids() == ["a"]
        assert rig.shippers[TWO].chunk_ids() == ["a"]
        assert rig.delivered() == ["a"]


async def test_after_all_servers_failed_the_wait_doubles_up_to_its_limit():
    rig = Rig(urls=(ONE, TWO))
    rig.down = {ONE, TWO}
    async with rig.running():
        waits = []
        for _ in range(12):
            ((due, _),) = rig.clock.sleeping
            waits.append(due - rig.clock.now)
            await rig.clock.advance(waits[-1])
        expected = [min(BACKOFF_MAX, BACKOFF_FIRST * 2**n) for n in range(12)]
        assert waits == pytest.approx(expected)
        assert rig.dialled == [ONE, TWO] * 13


async def test_a_server_that_takes_connections_and_answers_nothing_is_not_asked_in_a_hurry():
    """As a Fluent Bit whose input is paused."""
    rig = Rig(ack_timeout=1.0)
    rig.shipper.answer = forward_server.close
    async with rig.running():
        await rig.submit("a")
        for _ in range(300):
            await rig.clock.advance(1.0)
        # 0.1 + 0.2 + ... + 25.6 s, then each 30 s
        assert 10 < len(rig.dialled) < 25
        rig.shipper.answer = forward_server.ack
        await rig.clock.advance(BACKOFF_MAX)
        assert rig.delivered() == ["a"]
        before = len(rig.dialled)
        rig.streams[-1].incoming.put_nowait(b"")
        await idle()
        await rig.clock.advance(BACKOFF_FIRST)
        assert len(rig.dialled) == before + 1


@given(st.integers(1, 10**6), st.integers())
def test_the_wait_is_between_nothing_and_its_limit(rounds, seed):
    limit = min(BACKOFF_MAX, BACKOFF_FIRST * 2 ** min(rounds - 1, 40))
    assert 0 <= backoff(rounds, random.Random(seed)) <= limit


# -- opening


async def test_the_handshake_shows_user_and_password():
    rig = Rig(shared_key=Secret(KEY), user="me", password=Secret(PASSWORD), hostname="us")
    rig.shipper.shared_key, rig.shipper.users = KEY, {"me": PASSWORD}
    async with rig.running():
        await rig.submit("a")
        assert rig.delivered() == ["a"]
        _, host, salt, *_ = rig.shipper.pings[0]
        assert host == "us"
        assert salt == Upper(1).randbytes(16).hex()


async def test_each_connection_has_a_salt_of_its_own_and_this_hosts_name():
    rig = Rig(shared_key=Secret(KEY))
    rig.shipper.shared_key = KEY
    rig.shipper.first = [forward_server.close]
    async with rig.running():
        await rig.submit("a")
        await rig.clock.advance(BACKOFF_FIRST)
        assert rig.delivered() == ["a"]
        assert rig.shipper.pings[0][2] != rig.shipper.pings[1][2]
        assert rig.shipper.pings[0][1]


async def test_a_secret_that_cannot_be_read_now_can_be_later(tmp_path):
    file = tmp_path / "key"
    rig = Rig(shared_key=Secret(file=file))
    rig.shipper.shared_key = KEY
    with capture_logs() as logs:
        async with rig.running():
            await rig.submit("a")
            assert rig.dialled == []
            file.write_text(KEY)
            await rig.clock.advance(BACKOFF_FIRST)
            assert rig.delivered() == ["a"]
    assert logs[0]["event"] == "cannot reach the log shipper"
    assert str(file) in logs[0]["reason"]


async def test_a_connection_that_does_not_come_is_given_up():
    rig = Rig(connect_timeout=0.0)
    rig.dial = rig.sink._dial = lambda *_: asyncio.Event().wait()
    with capture_logs() as logs:
        async with rig.running():
            await until(lambda: logs)
    assert logs[0]["reason"] == "cannot connect: no connection within 0 s"


async def test_a_handshake_that_does_not_come_is_given_up():
    rig = Rig(connect_timeout=0.01, shared_key=Secret(KEY))
    with capture_logs() as logs:
        async with rig.running():
            await until(lambda: logs)
    assert logs[0]["reason"] == (
        "connected, but waiting for HELO in vain within 0.01 s; "
        "has the server a shared key too, or is its input paused?"
    )


# -- what is logged


async def test_each_change_is_logged_once():
    rig = Rig()
    with capture_logs() as logs:
        async with rig.running():
            await rig.submit("a", "b")
            rig.down = {ONE}
            rig.streams[0].incoming.put_nowait(b"")
            await idle()
            await rig.submit("c")
            for _ in range(10):
                await rig.clock.advance(BACKOFF_MAX)
            rig.down = set()
            await rig.clock.advance(BACKOFF_MAX)
            await rig.submit("d")
    assert [(entry["log_level"], entry["event"]) for entry in logs] == [
        ("info", "connected to the log shipper"),
        ("warning", "lost the log shipper"),
        ("info", "connected to the log shipper"),
    ]
    assert logs[1]["reason"] == "the server closed the connection"
    assert logs[1]["server"] == str(ONE)
    assert logs[2]["failures"] == 11


async def test_a_paused_server_is_not_logged_as_connected_before_it_acknowledges():
    rig = Rig(ack_timeout=1.0)
    with capture_logs() as logs:
        async with rig.running():
            await rig.submit("a")
            rig.shipper.answer = forward_server.silence
            await rig.submit("b")
            for _ in range(60):
                await rig.clock.advance(1.0)
                assert not rig.stats.connected
            rig.shipper.answer = forward_server.ack
            for _ in range(60):
                await rig.clock.advance(1.0)
            assert rig.stats.connected
    events = [entry["event"] for entry in logs if "again and again" not in entry["event"]]
    assert events == ["connected to the log shipper", "lost the log shipper", "connected to the log shipper"]


async def test_a_chunk_that_ends_every_connection_is_named_once():
    rig = Rig()
    rig.shipper.answer = forward_server.close
    with capture_logs() as logs:
        async with rig.running():
            await rig.submit("a")
            for _ in range(3 * STUCK_AFTER):
                await rig.clock.advance(BACKOFF_MAX)
    (stuck,) = [entry for entry in logs if "again and again" in entry["event"]]
    assert stuck["chunk"] == "a"
    assert stuck["times"] == STUCK_AFTER
    assert stuck["bytes"] == len(chunk("a").entries)
    assert "Buffer_Max_Size" in stuck["hint"]


async def test_a_refusal_is_an_error_and_shows_no_secret():
    rig = Rig(shared_key=Secret(KEY), user="me", password=Secret("wrong " + PASSWORD))
    rig.shipper.shared_key, rig.shipper.users = KEY, {"me": PASSWORD}
    with capture_logs() as logs:
        async with rig.running():
            await rig.submit("a")
            for _ in range(5):
                await rig.clock.advance(BACKOFF_MAX)
    (refused,) = logs
    assert (refused["log_level"], refused["event"]) == ("error", "refused by the log shipper")
    assert "username/password mismatch" in refused["reason"]
    assert KEY not in json.dumps(logs)
    assert PASSWORD not in json.dumps(logs)


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
    async with rig.running():
        rig.sink.submit(chunk("a", records=50_000))
        await idle()
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
