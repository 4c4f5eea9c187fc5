"""One connection to the HTTP endpoint, without a socket: what is read when, what is answered, and what is refused."""

from __future__ import annotations

import asyncio
import re

import pytest

from nats_fluent.http_connection import HEAD, HEADERS, Answer, HttpConnection, plain
from nats_fluent.visitors import Visitors

GET = b"GET /a HTTP/1.1\r\nHost: x\r\n\r\n"
STATUS = re.compile(rb"HTTP/1\.1 (\d{3}) ")


class Wire(asyncio.Transport):
    """What a connection does to its socket. It takes what is written while `takes`."""

    def __init__(self) -> None:
        super().__init__()
        self.written = b""
        self.reading = self.takes = True
        self.ended = self.closed = self.aborted = False
        self.limits: list[int] = []
        self.protocol: HttpConnection | None = None

    def get_extra_info(self, name, default=None):
        return {"peername": ("127.0.0.1", 7)}.get(name, default)

    def set_write_buffer_limits(self, high=None, low=None):  # noqa: ARG002
        self.limits.append(high)

    def write(self, data):
        self.written += data
        if not self.takes:
            self.protocol.pause_writing()

    def write_eof(self):
        assert not self.ended
        self.ended = True

    def pause_reading(self):
        self.reading = False

    def resume_reading(self):
        self.reading = True

    def is_closing(self):
        return self.closed or self.aborted

    def close(self):
        self.closed = True

    def abort(self):
        self.aborted = True

    def statuses(self):
        return [int(status) for status in STATUS.findall(self.written)]


class Visit:
    """A connection whose requests are answered with their path, each when `answer` is set."""

    def __init__(self) -> None:
        self.visitors, self.wire = Visitors(), Wire()
        self.asked = []
        self.answer = asyncio.Event()
        self.answer.set()
        self.connection = self.wire.protocol = HttpConnection(self.serve, self.visitors)
        self.connection.connection_made(self.wire)

    async def serve(self, request):
        self.asked.append(request)
        await self.answer.wait()
        if request.path == "/bug":
            raise ZeroDivisionError
        return Answer(200, request.path.encode(), {"Content-Type": "text/plain"})

    async def send(self, *parts):
        for part in parts:
            if not self.wire.is_closing():
                self.connection.data_received(part)
            await turns()
        return self.wire


async def turns():
    """Let what can be done be done."""
    for _ in range(10):
        await asyncio.sleep(0)


@pytest.fixture
async def visit():
    visit = Visit()
    yield visit
    visit.connection.connection_lost(None)
    assert len(visit.visitors) == 0


async def test_a_request_is_answered_with_its_length_and_the_date(visit):
    wire = await visit.send(GET)
    head, _, body = wire.written.partition(b"\r\n\r\n")
    assert body == b"/a"
    assert head.startswith(b"HTTP/1.1 200 OK\r\n")
    assert b"\r\nContent-Length: 2" in head
    assert b"\r\nContent-Type: text/plain" in head
    assert re.search(rb"\r\nDate: \w{3}, \d\d \w{3} \d{4} \d\d:\d\d:\d\d GMT", head)
    assert (wire.limits, wire.closed, wire.reading) == ([0], False, True)
    (request,) = visit.asked
    assert (request.method, request.path, request.remote) == ("GET", "/a", "127.0.0.1")


async def test_byte_by_byte(visit):
    wire = await visit.send(*(bytes([byte]) for byte in GET))
    assert wire.statuses() == [200]


async def test_head_has_the_length_and_no_body(visit):
    wire = await visit.send(GET.replace(b"GET", b"HEAD") + GET)
    assert wire.statuses() == [200, 200]
    assert b"Content-Length: 2" in wire.written
    assert wire.written.count(b"\r\n\r\n/a") == 1


async def test_headers_are_found_in_lower_case_and_several_are_one(visit):
    await visit.send(b"GET / HTTP/1.1\r\nHost: x\r\nACCEPT: a\r\nAccept: b\r\nX: \xe9\r\n\r\n")
    assert visit.asked[0].headers == {"host": "x", "accept": "a, b", "x": "\u00e9"}


@pytest.mark.parametrize(
    ("target", "path"),
    [
        (b"/a?b=/c", "/a"),
        (b"http://x:80/a?b", "/a"),
        (b"http://x", ""),
        (b"http://[/a", "/a"),
        (b"*", ""),
        (b"a", ""),
        (b"//a/b", "//a/b"),
        (b"/%61", "/%61"),
    ],
)
async def test_the_path_is_taken_as_it_is(visit, target, path):
    await visit.send(b"GET %s HTTP/1.1\r\nHost: x\r\n\r\n" % target)
    assert [request.path for request in visit.asked] == [path]


async def test_requests_at_once_are_answered_one_by_one_and_nothing_is_read_meanwhile(visit):
    visit.answer.clear()
    wire = await visit.send(GET + GET.replace(b"/a", b"/b"))
    assert [request.path for request in visit.asked] == ["/a"]
    assert not wire.reading
    visit.answer.set()
    await turns()
    assert [request.path for request in visit.asked] == ["/a", "/b"]
    assert wire.statuses() == [200, 200]
    assert wire.reading


async def test_a_client_that_does_not_read_is_asked_for_nothing_more(visit):
    visit.wire.takes = False
    wire = await visit.send(GET + GET)
    assert (wire.statuses(), wire.reading, len(visit.asked)) == ([200], False, 1)
    visit.wire.takes = True
    visit.connection.resume_writing()
    await turns()
    assert (wire.statuses(), wire.reading) == ([200, 200], True)


@pytest.mark.parametrize(
    "request_",
    [
        b"GET /a HTTP/1.0\r\n\r\n",
        b"GET /a HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
    ],
)
async def test_a_client_that_wants_one_answer_gets_one(visit, request_):
    wire = await visit.send(request_)
    assert (wire.statuses(), wire.closed) == ([200], True)
    assert b"\r\nConnection: close\r\n" in wire.written


@pytest.mark.parametrize(
    "body",
    [
        [b"Content-Length: 300000\r\n\r\n", b"x" * 300_000],
        [b"Transfer-Encoding: chunked\r\n\r\n", b"3\r\nabc\r\n", b"0\r\n\r\n"],
    ],
)
async def test_a_body_is_thrown_away(visit, body):
    head, *rest = body
    wire = await visit.send(b"POST /a HTTP/1.1\r\nHost: x\r\n" + head)
    assert wire.statuses() == []
    await visit.send(*rest, GET)
    assert wire.statuses() == [200, 200]


async def test_a_client_that_asks_before_it_sends_a_body_may(visit):
    wire = await visit.send(
        b"POST /a HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\n", b"x"
    )
    assert wire.statuses() == [100, 200]


@pytest.mark.parametrize(
    "asks", [b"GET /a HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n", b"CONNECT a:1 HTTP/1.1\r\n"]
)
async def test_no_other_protocol_is_spoken(visit, asks):
    wire = await visit.send(asks + b"Host: x\r\n\r\n")
    assert b"Upgrade" not in wire.written
    assert visit.asked


BIG = b"GET /a HTTP/1.1\r\nHost: x\r\nX: " + b"a" * HEAD
MANY = b"GET /a HTTP/1.1\r\n" + b"".join(b"H%d: a\r\n" % each for each in range(HEADERS + 1))


@pytest.mark.parametrize(
    "junk",
    [
        b"\x16\x03\x01\x02\x00\x01\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\n",
        b"GET /a HTTP/1.1\r\n\r\n",  # no Host
        b"GET /a HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        BIG,
        BIG + b"\r\n\r\n",
        MANY + b"Host: x\r\n\r\n",
        b"GET /" + b"a" * HEAD + b" HTTP/1.1\r\nHost: x\r\n\r\n",
        b"POST /a HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nno\r\n",
    ],
)
async def test_what_is_no_request_is_refused_and_the_rest_of_it_not_kept(visit, junk):
    wire = await visit.send(junk, b"more", GET)
    assert wire.statuses() == [400]
    assert wire.written.endswith(b"\r\n\r\n400: Bad Request")
    assert b"Connection: close" in wire.written
    assert (wire.ended, wire.reading, visit.asked) == (True, True, [])
    assert visit.connection.eof_received() is False


async def test_junk_after_a_request_costs_no_answer(visit):
    wire = await visit.send(GET + b"junk\r\n\r\n")
    assert wire.statuses() == [200, 400]


async def test_a_refused_client_that_reads_late_is_refused_once(visit):
    visit.wire.takes = False
    wire = await visit.send(b"junk\r\n\r\n")
    visit.connection.resume_writing()
    assert (wire.statuses(), wire.reading) == ([400], True)


async def test_a_client_that_says_that_this_is_all_gets_its_answer(visit):
    visit.answer.clear()
    wire = await visit.send(GET)
    assert visit.connection.eof_received() is True
    assert not wire.closed
    visit.answer.set()
    await turns()
    assert (wire.statuses(), wire.closed) == ([200], True)


@pytest.mark.parametrize(("sent", "said"), [(b"", []), (b"GET /a", [400]), (GET, [200])])
async def test_a_client_that_goes_is_not_kept(visit, sent, said):
    wire = await visit.send(sent)
    assert visit.connection.eof_received() is False
    assert wire.statuses() == said


async def test_a_client_that_is_gone_is_not_answered(visit):
    visit.answer.clear()
    await visit.send(GET)
    visit.connection.connection_lost(None)
    visit.answer.set()
    await turns()
    assert visit.wire.written == b""


async def test_a_connection_that_cannot_be_answered_is_cut(visit):
    wire = await visit.send(GET.replace(b"/a", b"/bug"))
    assert (wire.aborted, wire.written) == (True, b"")
    assert isinstance(visit.connection._answering.exception(), ZeroDivisionError)


async def test_at_the_end_an_answer_is_the_last(visit):
    visit.answer.clear()
    await visit.send(GET)
    ending = asyncio.create_task(visit.visitors.close(60))
    await turns()
    assert not visit.wire.closed
    visit.answer.set()
    await turns()
    assert (visit.wire.statuses(), visit.wire.closed) == ([200], True)
    visit.connection.connection_lost(None)
    await asyncio.wait_for(ending, 10)


def test_an_answer_of_a_status_alone():
    assert plain(405, Allow="GET") == Answer(
        405, b"405: Method Not Allowed", {"Content-Type": "text/plain; charset=utf-8", "Allow": "GET"}
    )
