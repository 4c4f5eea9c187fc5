"""A source over a websocket: all that it does over TCP, by what nats-py does not have."""

from __future__ import annotations

import asyncio
import base64
import hashlib
from typing import TYPE_CHECKING

import pytest
from listening import listening
from programs import PATIENCE, NatsServer, free_port, started
from taking import Certificates, publish_raw, publisher, settings_for, taking, until

from nats_fluent.sections import NatsSettings
from nats_fluent.source import connect, websocket
from nats_fluent.source.connect import connect_once

if TYPE_CHECKING:
    from pathlib import Path

LOST = "lost the connection to NATS"
BURST = 20_000


@pytest.fixture(autouse=True)
def quick_reconnects(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connect, "RECONNECT_WAIT", 0.05)
    monkeypatch.setattr(connect, "RECONNECT_JITTER", 0.0)


class WebsocketServer(NatsServer):
    """A nats-server with a websocket, with TLS where there are certificates."""

    def __init__(self, directory: Path, certificates: Certificates | None = None, config: str = "") -> None:
        self.websocket = free_port()
        self.scheme = "ws" if certificates is None else "wss"
        tls = "no_tls: true"
        if certificates is not None:
            tls = f'tls {{ cert_file: "{certificates.server_file}", key_file: "{certificates.server_file}" }}'
        super().__init__(directory, f'{config}\nwebsocket {{ listen: "127.0.0.1:{self.websocket}"\n {tls} }}')

    def settings(self, **changes: object) -> NatsSettings:
        return settings_for(self, servers=(f"{self.scheme}://127.0.0.1:{self.websocket}",), **changes)


@pytest.mark.parametrize("secured", [False, True])
async def test_a_burst_arrives_whole_and_in_order(tmp_path: Path, *, secured: bool) -> None:
    certificates = Certificates(tmp_path) if secured else None
    changes = {"ca_file": certificates.ca_file} if certificates else {}
    with started(WebsocketServer(tmp_path, certificates)) as server:
        async with taking(server.settings(**changes), "activities") as taken:
            assert taken.lines("connected to NATS")[0]["tls"] is secured
            # Long ones between short ones, so that frames end within messages.
            payloads = [b"%d" % n + b"x" * (n % 7 * 300) for n in range(BURST)]
            commands = [b"PUB activities %d\r\n%s\r\n" % (len(each), each) for each in payloads]
            await asyncio.to_thread(publish_raw, server.port, *commands)
            await taken.wait_for(BURST)
            assert taken.payloads == payloads
            assert LOST not in taken.events()


async def test_a_message_as_large_as_the_server_takes(tmp_path: Path) -> None:
    with started(WebsocketServer(tmp_path, config="max_payload: 8MB")) as server:
        async with taking(server.settings(), "activities") as taken:
            payload = bytes(range(256)) * (8_000_000 // 256)
            await asyncio.to_thread(publish_raw, server.port, b"PUB activities 8000000\r\n%s\r\n" % payload)
            await taken.wait_for(1)
            assert taken.payloads == [payload]


async def test_acknowledgements_leave_by_it(tmp_path: Path) -> None:
    with started(WebsocketServer(tmp_path)) as server:
        async with taking(server.settings(), "activities") as taken, publisher(server) as client:
            answers = [
                asyncio.create_task(client.request("activities", b"x", timeout=PATIENCE)) for _ in range(50)
            ]
            await taken.wait_for(50)
            for delivery in list(taken.deliveries):
                await taken.source.acknowledge(delivery.reply)
            assert {answer.data for answer in await asyncio.gather(*answers)} == {b"ack"}


async def test_a_server_that_starts_again_is_found_again(tmp_path: Path) -> None:
    server = WebsocketServer(tmp_path)
    with started(server):
        async with taking(server.settings(), "activities") as taken:
            for count in (1, 2):
                server.stop()
                await until(lambda: not taken.source.connected, what="noticing that it is gone")
                server.start()
                await until(lambda: taken.source.connected, what="being connected again")
                publish_raw(server.port, b"PUB activities 1\r\nx\r\n")
                await taken.wait_for(count)
            assert taken.lines(LOST)[0]["reason"].startswith("the server closed the connection")


async def test_a_server_that_stops_answering_is_left(tmp_path: Path) -> None:
    frozen = WebsocketServer(tmp_path)
    with started(frozen):
        settings = frozen.settings(ping_interval=0.2, connect_timeout=0.3)
        async with taking(settings, "activities") as taken:
            frozen.process.send_signal(19)  # SIGSTOP
            try:
                await taken.wait_log(LOST)
                await taken.wait_log("cannot connect to NATS; trying again")
                assert taken.lines("cannot connect to NATS; trying again")[0]["reason"] == "no answer in time"
            finally:
                frozen.process.send_signal(18)  # SIGCONT
            await until(lambda: taken.source.connected, what="being connected again")


async def test_to_give_a_connection_up_and_make_another(tmp_path: Path) -> None:
    with started(WebsocketServer(tmp_path)) as server:
        async with taking(server.settings(), "activities") as taken:
            await taken.source.reconnect()
            await taken.wait_log("connected to NATS", 2)
            publish_raw(server.port, b"PUB activities 1\r\nx\r\n")
            await taken.wait_for(1)


async def test_what_comes_until_it_stops_is_taken(tmp_path: Path) -> None:
    with started(WebsocketServer(tmp_path)) as server:
        async with taking(server.settings(), "activities") as taken:
            await asyncio.to_thread(publish_raw, server.port, b"PUB activities 1\r\nx\r\n" * 5000)
            await asyncio.wait_for(taken.source.stop_taking(), PATIENCE)
            assert len(taken.deliveries) == 5000


async def test_what_is_no_nats_server() -> None:
    async def web(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        await writer.drain()
        writer.close()
        await writer.wait_closed()

    gone = []
    async with listening(web) as port:
        with pytest.raises(connect.SourceError):
            await connect_once(NatsSettings(servers=(f"ws://127.0.0.1:{port}",)), 10, failed=gone.append)
    assert gone == [(f"127.0.0.1:{port}", "connect", "no websocket is there: HTTP status 404")]


async def test_a_frame_has_a_limit_before_its_first_byte_comes() -> None:
    async def web(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        request = await reader.readuntil(b"\r\n\r\n")
        key = request.lower().partition(b"sec-websocket-key: ")[2].partition(b"\r\n")[0]
        key = request[request.lower().index(key) :][: len(key)]
        accept = base64.b64encode(hashlib.sha1(key + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest())
        writer.write(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n")
        writer.write(b"Sec-WebSocket-Accept: " + accept + b"\r\n\r\n")
        writer.write(b"\x82\x7f" + (websocket.MAX_FRAME + 1).to_bytes(8, "big"))
        await reader.read()

    async with listening(web) as port:
        with pytest.raises(connect.SourceError, match="exceeds limit"):
            await connect_once(NatsSettings(servers=(f"ws://127.0.0.1:{port}",)), 10)


async def test_lines_are_lines_however_they_are_framed() -> None:
    transport = websocket.WebSocketTransport()
    frames = [b"INFO {", b"}\r\nPONG\r\nMSG a 1 1\r\nx", b"\r\n"]

    async def receive() -> bytes:
        return frames.pop(0)

    transport._receive = receive
    assert [await transport.readline(), await transport.readline()] == [b"INFO {}\r\n", b"PONG\r\n"]
    assert [await transport.read(0), await transport.read(0)] == [b"MSG a 1 1\r\nx", b"\r\n"]
