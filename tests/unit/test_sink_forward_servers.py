"""Which server the Forward sink uses and when, how it opens a connection, and what it says of it."""

from __future__ import annotations

import asyncio
import json
import random

import forward_server
import pytest
from forward_server import until
from hypothesis import given
from hypothesis import strategies as st
from logged import captured
from scripted import ONE, TWO, Rig, Upper, chunk, idle

from nats_fluent.options import Secret
from nats_fluent.sink.forward import BACKOFF_FIRST, BACKOFF_MAX, STUCK_AFTER, backoff

KEY = "the shared key"
PASSWORD = "the password"


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
        # 0.1 + 0.2 + ... + 3.2 s, then each 5 s, at most and by chance half of that
        assert 60 < len(rig.dialled) < 200
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
    with captured() as logs:
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
    with captured() as logs:
        async with rig.running():
            await until(lambda: logs)
    assert logs[0]["reason"] == "cannot connect: no connection within 0 s"


async def test_a_handshake_that_does_not_come_is_given_up():
    rig = Rig(connect_timeout=0.01, shared_key=Secret(KEY))
    with captured() as logs:
        async with rig.running():
            await until(lambda: logs)
    assert logs[0]["reason"] == (
        "connected, but waiting for HELO in vain within 0.01 s; "
        "has the server a shared key too, or is its input paused?"
    )


# -- what is logged


async def test_each_change_is_logged_once():
    rig = Rig()
    with captured() as logs:
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
    with captured() as logs:
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
    with captured() as logs:
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
    with captured() as logs:
        async with rig.running():
            await rig.submit("a")
            for _ in range(5):
                await rig.clock.advance(BACKOFF_MAX)
    (refused,) = logs
    assert (refused["log_level"], refused["event"]) == ("error", "refused by the log shipper")
    assert "username/password mismatch" in refused["reason"]
    assert KEY not in json.dumps(logs)
    assert PASSWORD not in json.dumps(logs)
