"""The HTTP endpoint and clients that mean it harm, on a real socket."""

from __future__ import annotations

import asyncio
import contextlib

import pytest
from fuzz import engine, http_requests
from fuzz.http_requests import FINE, LIVE
from logged import capturing_log
from programs import PATIENCE, free_port

from nats_fluent import http_endpoint, visitors
from nats_fluent.log import Log

BIG = b"GET /livez HTTP/1.1\r\nHost: a\r\nX: " + b"a" * 9_000 + b"\r\n\r\n"
MANY = b"GET /livez HTTP/1.1\r\n" + b"".join(b"H%d: a\r\n" % each for each in range(200)) + b"\r\n"
LARGE = b"POST /drain HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n" + b"x" * 100_000


@pytest.fixture
async def port():
    port = free_port()
    endpoint = http_endpoint.Endpoint(f"127.0.0.1:{port}", lambda: FINE, drain=lambda: None, log=Log())
    await endpoint.start()
    yield port
    await endpoint.close()


@contextlib.asynccontextmanager
async def connected(port):
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        async with asyncio.timeout(PATIENCE):
            yield reader, writer
    finally:
        writer.transport.abort()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()


async def ended(reader):
    """Return what came until the other end closed the connection, or cut it."""
    said = b""
    with contextlib.suppress(ConnectionError):
        while part := await reader.read(1000):
            said += part
    return said


async def ask(port, request):
    async with connected(port) as (reader, writer):
        writer.write(request)
        return await ended(reader)


async def test_a_bug_costs_one_answer_and_is_logged():
    def broken():
        raise ZeroDivisionError("a bug")

    log, logged = capturing_log()
    port = free_port()
    endpoint = http_endpoint.Endpoint(f"127.0.0.1:{port}", broken, drain=lambda: None, log=log)
    await endpoint.start()
    try:
        assert (await ask(port, LIVE)).startswith(b"HTTP/1.1 500 ")
        assert (await ask(port, LIVE.replace(b"/livez", b"/"))).startswith(b"HTTP/1.1 200 ")
    finally:
        await endpoint.close()
    (line,) = [each for each in logged if each["log_level"] == "error"]
    assert (line["event"], line["path"]) == ("answering a request failed", "/livez")
    assert isinstance(line["exc_info"], ZeroDivisionError)


async def is_live(port):
    return (await ask(port, LIVE)).startswith(b"HTTP/1.1 200 ")


async def test_idle_clients_in_any_number_keep_nobody_out(port):
    async with contextlib.AsyncExitStack() as stack:
        idle = [await stack.enter_async_context(connected(port)) for _ in range(3 * visitors.MOST)]
        assert await is_live(port)
        for reader, _ in idle[: -visitors.MOST]:
            assert await ended(reader) == b""


async def test_a_client_that_sends_its_request_byte_by_byte_is_dropped(port, monkeypatch):
    monkeypatch.setattr(visitors, "WITHIN", 0.2)
    async with connected(port) as (reader, writer):
        ending = asyncio.create_task(ended(reader))
        for byte in b"GET /" + b"a" * 4_000:
            with contextlib.suppress(ConnectionError):
                writer.write(bytes([byte]))
            await asyncio.wait([ending], timeout=0.01)
            if ending.done():
                break
        assert await ending == b""
    monkeypatch.undo()
    assert await is_live(port)


async def test_so_is_one_that_keeps_an_answered_connection(port, monkeypatch):
    async with connected(port) as (reader, writer):
        writer.write(LIVE.replace(b"Connection: close\r\n", b""))
        assert (await reader.readline()).startswith(b"HTTP/1.1 200 ")
        monkeypatch.setattr(visitors, "WITHIN", 0.2)  # from the next answer on
        writer.write(LIVE.replace(b"Connection: close\r\n", b""))
        assert b"HTTP/1.1 200 " in await ended(reader)


@pytest.mark.parametrize(("request_", "answer"), [(BIG, b"400"), (MANY, b"400"), (LARGE, b"202")])
async def test_large_headers_and_bodies_are_not_read(port, request_, answer):
    async with connected(port) as (reader, writer):
        writer.write(request_)
        assert (await reader.readline()).split()[1] == answer
    assert await is_live(port)


@pytest.mark.parametrize(
    "path", ["/../../etc/passwd", "/%2e%2e/etc/passwd", "//etc/passwd", "/status.html", "/."]
)
@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE", "OPTIONS"])
async def test_no_path_leads_to_a_file(port, method, path):
    request = f"{method} {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n".encode()
    assert (await ask(port, request)).split()[1] in (b"404", b"405")


def test_what_a_fuzzer_found_is_answered():
    try:
        for data in engine.begin(http_requests, "http_requests"):
            http_requests.check(data)
    finally:
        http_requests.close()
