"""One connection to the HTTP endpoint, read by h11: one request at a time, of which no body is kept.

While a request is answered, and until its answer has left, nothing more is read: a client that sends much, or reads
nothing, costs a request and an answer.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from email.utils import formatdate
from http import HTTPStatus
from typing import TYPE_CHECKING, NamedTuple, cast

import h11

if TYPE_CHECKING:
    from nats_fluent.visitors import Visitors

HEAD = 8192
"""Bytes of a request's line and headers, at most."""

HEADERS = 128
"""How many headers."""

_VERSIONS = (b"1.0", b"1.1")


class Request(NamedTuple):
    """What a client asks for.

    Attributes:
        method: ``GET``, ...
        path: without the query.
        headers: their names in lower case.
        remote: the client's address.
    """

    method: str
    path: str
    headers: Mapping[str, str]
    remote: str = ""


class Answer(NamedTuple):
    """What it is told. It has a length and a date besides its headers."""

    status: int
    body: bytes
    headers: dict[str, str]


Serve = Callable[[Request], Awaitable[Answer]]


def plain(status: int, **headers: str) -> Answer:
    """Return an answer of which the status says it all."""
    text = f"{status}: {HTTPStatus(status).phrase}"
    return Answer(status, text.encode(), {"Content-Type": "text/plain; charset=utf-8"} | headers)


class HttpConnection(asyncio.Protocol):
    """Reads requests, has them answered, and tells the visitors whose turn it is.

    Args:
        serve: answers a request.
        visitors: says how long the client may take.
    """

    def __init__(self, serve: Serve, visitors: Visitors) -> None:
        self._serve = serve
        self._visitors = visitors
        self._http = h11.Connection(h11.SERVER, max_incomplete_event_size=HEAD)
        self._request: Request | None = None
        self._answering: asyncio.Task[None] | None = None
        self._written = True
        self._refused = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        self._transport = cast("asyncio.Transport", transport)
        self._transport.set_write_buffer_limits(0)  # `pause_writing` tells of an answer that has not left
        self._visitors.came(transport)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's own
        """End, and with it what is not answered."""
        self._visitors.went(self._transport)
        if self._answering is not None:
            self._answering.cancel()

    def pause_writing(self) -> None:
        """Wait for the client to read."""
        self._written = False

    def resume_writing(self) -> None:
        """Go on with what it has sent meanwhile."""
        self._written = True
        self._go_on()

    def data_received(self, data: bytes) -> None:
        """Take what came; after a request that was refused, throw it away."""
        if not self._refused:
            self._http.receive_data(data)
            self._go_on()

    def eof_received(self) -> bool:
        """Answer what was asked before the client said that this is all."""
        if not self._refused:
            self._http.receive_data(b"")
            self._go_on()
        return self._answering is not None

    def _go_on(self) -> None:
        """Take events until one is to be answered, or more has to come."""
        if self._refused:
            return
        try:
            while self._answering is None and self._written and not self._transport.is_closing():
                event = self._http.next_event()
                if event is h11.NEED_DATA or event is h11.PAUSED:
                    break
                self._take(event)
        except h11.RemoteProtocolError:
            self._refuse()
        if self._refused or (self._answering is None and self._written):
            self._transport.resume_reading()
        else:
            self._transport.pause_reading()

    def _take(self, event: object) -> None:
        match event:
            case h11.Request():
                self._request = self._read(event)
                if self._http.they_are_waiting_for_100_continue:
                    self._send(h11.InformationalResponse(status_code=100, headers=[]))
            case h11.EndOfMessage():
                assert self._request is not None
                self._visitors.asks(self._transport)
                self._answering = asyncio.create_task(self._answer(self._request), name="http-answer")
            case h11.ConnectionClosed():
                self._transport.close()
            # A part of a body, too, which no request here has a use for, is an event.

    def _read(self, event: h11.Request) -> Request:
        # h11's own limit is for what is not whole yet; a head that came in one piece is. And it takes any version.
        size = len(event.target) + sum(len(name) + len(value) for name, value in event.headers)
        if size > HEAD or len(event.headers) > HEADERS or event.http_version not in _VERSIONS:
            raise h11.RemoteProtocolError("not here")
        headers: dict[str, str] = {}
        for raw, value in event.headers:
            name, text = raw.decode("ascii"), value.decode("latin-1")
            headers[name] = f"{headers[name]}, {text}" if name in headers else text
        target = event.target.decode("ascii")
        if not target.startswith("/"):  # a proxy's form: http://host/path
            _, slash, rest = target.partition("://")[2].partition("/")
            target = slash + rest
        remote = self._transport.get_extra_info("peername")
        path = target.partition("?")[0]
        return Request(event.method.decode("ascii"), path, headers, remote[0] if remote else "")

    async def _answer(self, request: Request) -> None:
        try:
            answer = await self._serve(request)
            self._answering = None
            self._tell(answer, body=request.method != "HEAD")
            if self._http.our_state is h11.MUST_CLOSE or self._visitors.closing:
                self._transport.close()
            else:
                self._http.start_next_cycle()
                self._visitors.waits(self._transport)
                self._go_on()
        except BaseException:
            self._transport.abort()
            raise

    def _refuse(self) -> None:
        """Say that this was no request, and take no other."""
        self._refused = True
        if self._http.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            self._tell(plain(400, Connection="close"))
        # To close while bytes of it are unread could cost the client the answer.
        self._transport.write_eof()

    def _tell(self, answer: Answer, *, body: bool = True) -> None:
        more = {"Content-Length": str(len(answer.body)), "Date": formatdate(usegmt=True)}
        reason = HTTPStatus(answer.status).phrase
        self._send(
            h11.Response(
                status_code=answer.status, headers=list((answer.headers | more).items()), reason=reason
            ),
            *([h11.Data(data=answer.body)] if body else []),
            h11.EndOfMessage(),
        )

    def _send(self, *events: h11.Event) -> None:
        self._transport.write(b"".join(self._http.send(event) or b"" for event in events))
