"""Whatever is sent to the HTTP endpoint, it answers as it should or closes, goes on, and takes no more memory."""

from __future__ import annotations

import asyncio
import contextlib
import re

from programs import PATIENCE, free_port

from nats_fluent import http_endpoint
from nats_fluent.facts import Facts, NatsFacts, ShipperFacts
from nats_fluent.log import Log

FINE = Facts(
    nats=NatsFacts(connected=True, subscribed=True, server="nats:4222"),
    shipper=ShipperFacts(connected=True, server="forward://shipper:24224"),
)
STATUS = re.compile(rb"HTTP/1\.[01] (\d{3}) ")
ANSWERS = {
    b"100",
    b"200",
    b"202",
    b"400",
    b"403",
    b"404",
    b"405",
    b"408",
    b"413",
    b"414",
    b"417",
    b"431",
    b"501",
    b"503",
}
LIVE = b"GET /livez HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
QUIET = 0.02
"""Seconds after which no more is expected."""


def seeds():
    for path in http_endpoint.PATHS:
        for method in ("GET", "POST", "HEAD", "OPTIONS"):
            yield f"{method} {path} HTTP/1.1\r\nHost: a\r\n\r\n".encode()
    yield b"GET /../../etc/passwd HTTP/1.1\r\nHost: a\r\n\r\n"
    yield b"GET /%2e%2e/%2e%2e/etc/passwd HTTP/1.0\r\n\r\n"
    yield b"POST /drain HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999\r\n\r\nx"
    yield b"POST /livez HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nffffffff\r\nx"
    yield b"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: x\r\n\r\n"
    yield b"GET /metrics HTTP/1.1\r\nHost: a\r\nAccept: " + b"a" * 3_900 + b"\r\n\r\n"
    yield b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
    yield b"\x16\x03\x01\x02\x00\x01\x00"


class _Served:
    """One endpoint for all inputs."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self.drained = 0
        self.port = free_port()
        self.endpoint = http_endpoint.Endpoint(
            f"127.0.0.1:{self.port}",
            lambda: FINE,
            drain=self._drain,
            log=Log(lambda *_: None),
        )
        self.loop.run_until_complete(self.endpoint.start())

    def _drain(self) -> None:
        self.drained += 1

    async def talk(self, data: bytes, patience: float = QUIET) -> bytes:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        said = b""
        try:
            with contextlib.suppress(ConnectionError, TimeoutError):
                writer.write(data)
                while part := await asyncio.wait_for(reader.read(1 << 16), patience):
                    said += part
        finally:
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()
        return said


served: list[_Served] = []


def check(data: bytes) -> None:
    if not served:
        served.append(_Served())
    here = served[0]
    said = here.loop.run_until_complete(here.talk(data))
    # What came before this was seen to by then, however quiet it was.
    live = here.loop.run_until_complete(here.talk(LIVE, PATIENCE))
    assert live.startswith(b"HTTP/1.1 200")
    assert set(STATUS.findall(said)) <= ANSWERS, STATUS.findall(said)
    assert b"root:" not in said
    assert b"Traceback" not in said
    if here.drained:
        assert b"POST" in data
        here.drained = 0


def close() -> None:
    """End what `check` began."""
    while served:
        here = served.pop()
        here.loop.run_until_complete(here.endpoint.close())
        here.loop.close()
