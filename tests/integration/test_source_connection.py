"""How the connection to a real nats-server begins, is refused, is lost, comes back and ends."""

from __future__ import annotations

import asyncio
import contextlib
import json
import urllib.request
from typing import TYPE_CHECKING

import pytest
from listening import listening
from programs import PATIENCE, NatsServer, free_port, started
from taking import (
    Taking,
    publish_raw,
    publisher,
    settings_for,
    taking,
    until,
)

from nats_fluent.errors import SourceError
from nats_fluent.options import Secret
from nats_fluent.sections import NatsSettings
from nats_fluent.source import connect
from nats_fluent.source.client import Client
from nats_fluent.source.connect import connect_once
from nats_fluent.topics import Topic

if TYPE_CHECKING:
    from pathlib import Path

REFUSED = "cannot connect to NATS; trying again"
LOST = "lost the connection to NATS"
CLOSED = "the server closed the connection and did not say why; its log does"
VIOLATION = "Authorization Violation: the server refused the user or the password"


@pytest.fixture(autouse=True)
def quick_reconnects(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connect, "RECONNECT_WAIT", 0.05)
    monkeypatch.setattr(connect, "RECONNECT_JITTER", 0.0)


def read_json(url: str) -> dict:
    with urllib.request.urlopen(url) as response:
        return json.load(response)


async def publish(server: NatsServer, subject: str, payload: bytes, **options: object) -> None:
    async with publisher(server, **options) as client:
        await client.publish(subject, payload)
        await client.flush()


async def taken_again(taken: Taking, server: NatsServer) -> None:
    """Publish until one comes: with pings of a short pace, a busy machine may cost the connection once more."""
    deadline = asyncio.get_running_loop().time() + PATIENCE
    while b"x" not in taken.payloads:
        assert asyncio.get_running_loop().time() < deadline, "nothing is taken again"
        await publish(server, "activities", b"x")
        await asyncio.sleep(0.05)


async def silent(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
    """Accept a connection and say nothing until the other side ends it."""
    await reader.read()


def reasons(taken: Taking) -> list[str]:
    """Why it was refused; a server that refuses may close before it could be read why."""
    return [line["reason"] for line in taken.lines(REFUSED)]


async def test_a_server_that_is_down_is_waited_for(tmp_path: Path) -> None:
    server = NatsServer(tmp_path)
    async with taking(settings_for(server), "activities", subscribed=False) as taken:
        await taken.wait_log(REFUSED)
        await until(lambda: taken.source.attempts >= 4, what="several attempts")
        assert not taken.source.connected
        with started(server):
            await asyncio.wait_for(taken.source.wait_subscribed(), PATIENCE)
            assert taken.source.connected
            await publish(server, "activities", b"at last")
            await taken.wait_for(1)
            address = f"127.0.0.1:{server.port}"
            assert taken.lines(REFUSED) == [{"server": address, "reason": "Connection refused"}]
            assert taken.lines("connected to NATS") == [
                {"server": address, "version": "2.15.1", "tls": False}
            ]


async def test_a_server_that_starts_again_is_found_again(tmp_path: Path) -> None:
    server = NatsServer(tmp_path)
    with started(server):
        async with taking(settings_for(server), "activities", Topic("events.>", "events")) as taken:
            for round_number in range(2):
                server.stop()
                await until(lambda: not taken.source.connected, what="noticing that it is gone")
                await taken.wait_log(REFUSED, round_number + 1)
                server.start()
                await until(lambda: taken.source.connected, what="being connected again")
                await publish(server, "activities", b"%d" % round_number)
                await publish(server, "events.a", b"%d" % round_number)
                await taken.wait_for(2 * (round_number + 1))
            assert [(delivery.subject, delivery.payload) for delivery in taken.deliveries] == [
                ("activities", b"0"),
                ("events.a", b"0"),
                ("activities", b"1"),
                ("events.a", b"1"),
            ]
            assert taken.events() == ["connected to NATS", *[LOST, REFUSED, "connected to NATS"] * 2]
            assert {line["reason"] for line in taken.lines(LOST)} == {CLOSED}


async def test_a_server_that_does_not_answer_is_given_up(tmp_path: Path) -> None:
    server = NatsServer(tmp_path)
    settings = settings_for(server, connect_timeout=0.5)
    silence = contextlib.AsyncExitStack()
    await silence.enter_async_context(listening(silent, server.port))
    async with silence, taking(settings, "activities", subscribed=False) as taken:
        await taken.wait_log(REFUSED)
        assert taken.lines(REFUSED)[0]["reason"] == "no answer in time"
        await silence.aclose()
        with started(server):
            await asyncio.wait_for(taken.source.wait_subscribed(), PATIENCE)


async def test_a_server_that_stops_answering_is_left(tmp_path: Path) -> None:
    one, other = (tmp_path / name for name in ("one", "other"))
    one.mkdir()
    other.mkdir()
    frozen = NatsServer(one)
    with started(frozen):
        settings = settings_for(frozen, ping_interval=0.2, connect_timeout=0.3)
        async with taking(settings, "activities") as taken:
            frozen.process.send_signal(19)  # SIGSTOP
            try:
                await taken.wait_log(LOST)
                assert not taken.source.connected
            finally:
                frozen.process.send_signal(18)  # SIGCONT
            await taken_again(taken, frozen)


async def test_a_user_with_the_right_password_is_let_in(tmp_path: Path) -> None:
    with started(NatsServer(tmp_path, "authorization { user: me, password: right }")) as server:
        settings = settings_for(server, user="me", password=Secret("right"))
        async with taking(settings, "activities") as taken:
            await publish(server, "activities", b"x", user="me", password="right")
            await taken.wait_for(1)
            assert "right" not in repr(taken.logged)


async def test_a_wrong_password_is_said_once_and_tried_again_until_it_is_right(tmp_path: Path) -> None:
    password = tmp_path / "password"
    password.write_text("wr0ng")
    with started(NatsServer(tmp_path, "authorization { user: me, password: right }")) as server:
        settings = settings_for(server, user="me", password=Secret(file=password))
        async with taking(settings, "activities", subscribed=False) as taken:
            await taken.wait_log(REFUSED)
            await until(lambda: taken.source.attempts >= 4, what="several attempts")
            assert reasons(taken) in ([VIOLATION], [CLOSED], [CLOSED, VIOLATION])
            password.unlink()
            await until(
                lambda: reasons(taken)[-1].startswith(f"cannot sign in: {password}: cannot be read"),
                what="the new reason",
            )
            password.write_text("right\n")
            await asyncio.wait_for(taken.source.wait_subscribed(), PATIENCE)
            assert taken.lines(LOST) == []
            assert "wr0ng" not in repr(taken.logged)


async def test_a_password_that_changes_on_the_server_does_not_end_the_source(tmp_path: Path) -> None:
    password = tmp_path / "password"
    password.write_text("first")
    server = NatsServer(tmp_path, "authorization { user: me, password: first }")
    with started(server):
        settings = settings_for(server, user="me", password=Secret(file=password))
        async with taking(settings, "activities") as taken:
            conf = tmp_path / "nats-server.conf"
            conf.write_text(conf.read_text().replace("password: first", "password: second"))
            server.process.send_signal(1)  # SIGHUP: reload, which ends the connections of changed users
            await taken.wait_log(LOST)
            await taken.wait_log(REFUSED)
            password.write_text("second")
            await until(lambda: taken.source.connected, what="being connected again")
            await publish(server, "activities", b"x", user="me", password="second")
            await taken.wait_for(1)


async def test_a_subject_that_is_denied_is_named_and_the_others_go_on(tmp_path: Path) -> None:
    config = """
    authorization { users: [
        {user: me, password: pass, permissions: {subscribe: {deny: "Secret.>"}, publish: {deny: ">"}}},
        {user: all, password: pass}
    ] }"""
    with started(NatsServer(tmp_path, config)) as server:
        settings = settings_for(server, user="me", password=Secret("pass"))
        async with taking(settings, "activities", Topic("Secret.>", "secret"), "reports") as taken:
            for subject in ("activities", "Secret.a", "reports"):
                await publish(server, subject, b"x", user="all", password="pass")
            await taken.wait_for(2)
            assert sorted(delivery.topic for delivery in taken.deliveries) == ["activities", "reports"]
            assert taken.lines("NATS denies a subscription") == [{"subject": "Secret.>"}]
            for number in range(3):
                await taken.source.acknowledge(f"_INBOX.{number}")
            denial = "NATS denies acknowledgements: it does not let this user publish"
            await until(lambda: taken.source.unacknowledged == 3, what="the denied acknowledgements")
            assert len(taken.lines(denial)) == 1
            assert taken.source.acknowledged == 0
            assert taken.source.connected


async def test_a_complaint_of_the_server_does_not_end_the_source(tmp_path: Path) -> None:
    with started(NatsServer(tmp_path, "max_subscriptions: 1")) as server:
        async with taking(settings_for(server), "activities", "one.too.many") as taken:
            await taken.wait_log("NATS reports an error")
            publish_raw(server.port, b"PUB activities 1\r\nx\r\n")
            await taken.wait_for(1)
            address = f"127.0.0.1:{server.port}"
            assert taken.lines("NATS reports an error") == [
                {"server": address, "reason": "maximum subscriptions exceeded"}
            ]
            assert taken.source.connected


async def test_what_no_attempt_can_mend_ends_the_source(
    nats_server: NatsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with taking(settings_for(nats_server), "activities") as taken:
        client = taken.source._connection.client
        monkeypatch.setattr(client, "_select_next_server", lambda: 1 / 0)
        await taken.source.reconnect()
        with pytest.raises(SourceError, match="ZeroDivisionError"):
            await asyncio.wait_for(taken.source.wait_closed(), PATIENCE)
        assert not taken.source.connected


async def test_a_flush_covers_what_was_published_before_it(tmp_path: Path) -> None:
    # nats-py's own does not: without our _send_ping the server has only part of these by then.
    monitor = free_port()
    with started(NatsServer(tmp_path, f'http: "127.0.0.1:{monitor}"')) as server:
        client = Client(NatsSettings(), fatal=pytest.fail)
        await client.connect([server.url])
        for _ in range(20_000):
            await client.publish("activities", b"x")
        await client.flush()
        statistics = await asyncio.to_thread(read_json, f"http://127.0.0.1:{monitor}/varz")
        assert statistics["in_msgs"] == 20_000
        await client.close()


async def test_a_flush_that_was_given_up_does_not_end_the_reading(nats_server: NatsServer) -> None:
    async with taking(settings_for(nats_server), "activities") as taken:
        client = taken.source._connection.client
        for _ in range(3):
            flush = asyncio.create_task(client.flush(), name="flush")
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            flush.cancel()
        await publish(nats_server, "activities", b"x")
        await taken.wait_for(1)
        assert LOST not in taken.events()


async def test_a_read_loop_that_dies_is_a_lost_connection(nats_server: NatsServer) -> None:
    async with taking(settings_for(nats_server), "activities") as taken:
        client = taken.source._connection.client

        async def broken(_: bytes) -> None:
            del client._ps.parse
            raise ValueError("a bug")

        client._ps.parse = broken
        publish_raw(nats_server.port, b"PUB activities 4\r\nlost\r\n")
        await taken.wait_log(LOST)
        await until(lambda: taken.source.connected, what="being connected again")
        await publish(nats_server, "activities", b"x")
        await taken.wait_for(1)
        assert taken.payloads == [b"x"]


async def test_to_acknowledge_on_a_connection_that_is_gone_raises_nothing(nats_server: NatsServer) -> None:
    async with taking(settings_for(nats_server, ping_interval=0.2), "activities") as taken:
        client = taken.source._connection.client
        client._flusher_task.cancel()  # as after a write that failed
        client._reading_task.cancel()  # as if it had not noticed yet
        client._transport._io_writer.transport.abort()
        await asyncio.sleep(0.05)
        assert client.is_connected
        await taken.source.acknowledge("activities")
        await taken.wait_log("connected to NATS", 2)
        await taken_again(taken, nats_server)


async def test_a_source_can_be_closed_while_it_tries_to_connect(tmp_path: Path) -> None:
    async with taking(settings_for(NatsServer(tmp_path)), "activities", subscribed=False) as taken:
        await taken.wait_log(REFUSED)
        await asyncio.wait_for(taken.source.stop_taking(), PATIENCE)
        await asyncio.wait_for(taken.source.close(), PATIENCE)
        await taken.source.wait_closed()


async def test_a_source_whose_server_is_gone_can_stop_and_close(tmp_path: Path) -> None:
    server = NatsServer(tmp_path)
    with started(server):
        async with taking(settings_for(server), "activities") as taken:
            await publish(server, "activities", b"x")
            await taken.wait_for(1)
            server.stop()
            await until(lambda: not taken.source.connected, what="noticing that it is gone")
            await asyncio.wait_for(taken.source.stop_taking(), PATIENCE)
            server.start()
            await taken.wait_log("connected to NATS", 2)
            await publish(server, "activities", b"not subscribed any more")
            await asyncio.wait_for(taken.source.close(), PATIENCE)
            assert taken.payloads == [b"x"]


async def test_to_reach_a_server_once(nats_server: NatsServer) -> None:
    reached = await connect_once(settings_for(nats_server), PATIENCE)
    assert reached == (f"127.0.0.1:{nats_server.port}", "2.15.1", False, {}, None)


async def test_the_second_server_is_tried_when_the_first_is_down(nats_server: NatsServer) -> None:
    settings = settings_for(nats_server, servers=(f"nats://127.0.0.1:{free_port()}", nats_server.url))
    assert (await connect_once(settings, PATIENCE)).server == f"127.0.0.1:{nats_server.port}"


async def test_why_no_server_can_be_reached(tmp_path: Path) -> None:
    config = "authorization { user: me, password: right }"
    with started(NatsServer(tmp_path, config)) as server:
        down = free_port()
        settings = settings_for(
            server, servers=(f"nats://127.0.0.1:{down}", server.url), user="me", password=Secret("wr0ng")
        )
        with pytest.raises(SourceError) as caught:
            await connect_once(settings, PATIENCE)
    both = f"NATS cannot be reached: 127.0.0.1:{down}: Connection refused; 127.0.0.1:{server.port}: "
    assert str(caught.value) in (both + VIOLATION, both + CLOSED)


async def test_a_deadline_ends_the_attempt(tmp_path: Path) -> None:
    server = NatsServer(tmp_path)
    async with listening(silent, server.port):
        with pytest.raises(SourceError, match=r"no answer within 0\.2 s"):
            await asyncio.wait_for(connect_once(settings_for(server), 0.2), PATIENCE)
