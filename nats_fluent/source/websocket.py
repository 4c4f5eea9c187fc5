"""The NATS protocol over a websocket, in place of nats-py's own transport.

That one gives the time to connect to aiohttp as the time to close, and leaves aiohttp's own limits on the rest: 30 s
for the socket, 5 minutes for the answer. It takes a frame for a line, though a server puts several lines into one, and
leaves its session open when a login fails.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any, cast

import aiohttp
from nats import errors
from nats.aio.transport import Transport

from nats_fluent.source.parser import MAX_MESSAGE

if TYPE_CHECKING:
    import ssl
    from urllib.parse import ParseResult

CLOSE_WITHIN = 1.0
"""Seconds for the farewell of a server that may be gone."""

MAX_FRAME = MAX_MESSAGE + (64 << 20)
"""Bytes of a frame. nats-server puts all that waits for a client into one: 64 MB (its `max_pending`), and the message
that went over that."""

_CRLF = b"\r\n"


class WebSocketTransport(Transport):
    """One websocket; used once."""

    def __init__(self) -> None:
        self._session: aiohttp.ClientSession | None = None
        self._ws: aiohttp.ClientWebSocketResponse | None = None
        self._closing: asyncio.Task[None] | None = None
        self._unread = b""
        self._unsent: list[bytes] = []

    @property
    def carrier(self) -> asyncio.Transport | None:
        """What the bytes leave by; None while there is no websocket."""
        writer = self._ws._writer if self._ws is not None else None  # noqa: SLF001 - aiohttp has no public way
        return writer.transport if writer is not None else None

    async def connect(self, uri: ParseResult, buffer_size: int, connect_timeout: float) -> None:  # noqa: ARG002 - nats-py's own
        """Open the websocket, without TLS.

        Raises:
            OSError: nobody is there.
            TimeoutError: nobody answered within `connect_timeout` seconds.
            errors.Error: what answers is no websocket.
        """
        await self._open(uri.geturl(), None, connect_timeout)

    async def connect_tls(
        self,
        uri: str | ParseResult,
        ssl_context: ssl.SSLContext,
        buffer_size: int,  # noqa: ARG002 - nats-py's own
        connect_timeout: float,
    ) -> None:
        """Open the websocket with TLS; nothing when it is open, as nats-py asks again once it has read INFO.

        Raises:
            errors.Error, OSError, TimeoutError: as `connect`; ssl.SSLError is an OSError.
        """
        if self._ws is None:
            await self._open(uri if isinstance(uri, str) else uri.geturl(), ssl_context, connect_timeout)

    async def _open(self, url: str, context: ssl.SSLContext | None, within: float) -> None:
        self._session = session = aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar())
        try:
            async with asyncio.timeout(within):
                self._ws = await session.ws_connect(
                    url,
                    ssl=context or True,
                    timeout=aiohttp.ClientWSTimeout(ws_close=CLOSE_WITHIN),
                    max_msg_size=MAX_FRAME,
                )
        except BaseException as error:
            self._session = None
            await session.close()
            raise _plain(error) from error

    def write(self, payload: bytes) -> None:
        """Take bytes, to be sent by `drain`."""
        self._unsent.append(payload)

    def writelines(self, payload: list[bytes]) -> None:
        """Take bytes, to be sent by `drain`."""
        self._unsent += payload

    async def drain(self) -> None:
        """Send what was taken, as one frame; wait while too much has not left.

        Raises:
            OSError: the websocket is closed.
        """
        data = b"".join(self._unsent)
        self._unsent.clear()
        if data:
            if self._ws is None:
                raise ConnectionResetError
            await self._ws.send_bytes(data)

    async def read(self, buffer_size: int) -> bytes:  # noqa: ARG002 - nats-py's own
        """Return what came, a frame at a time; nothing at the end.

        Raises:
            OSError: the connection was lost.
        """
        if self._unread:
            data, self._unread = self._unread, b""
            return data
        return await self._receive()

    async def readline(self) -> bytes:
        """Return one line; what came with it is for the next read.

        Raises:
            OSError: the connection was lost.
        """
        while _CRLF not in self._unread:
            data = await self._receive()
            if not data and self.at_eof():
                return b""
            self._unread += data
            if len(self._unread) > MAX_FRAME:
                raise errors.ProtocolError
        line, end, self._unread = self._unread.partition(_CRLF)
        return line + end

    async def _receive(self) -> bytes:
        if self._ws is None:
            raise ConnectionResetError
        message = await self._ws.receive()
        if message.type is aiohttp.WSMsgType.BINARY:
            return cast("bytes", message.data)
        if isinstance(message.data, aiohttp.WebSocketError):
            raise errors.Error(f"websocket: {message.data}") from message.data
        if message.type is aiohttp.WSMsgType.ERROR:
            raise ConnectionResetError from message.data
        if not self._ws.closed:  # text, which no NATS server sends
            raise errors.ProtocolError
        return b""

    def at_eof(self) -> bool:
        """Whether nothing more will come."""
        return not self._unread and (self._ws is None or self._ws.closed)

    def abort(self) -> None:
        """Give the connection up at once, whatever has not left."""
        if self.carrier is not None:
            self.carrier.abort()

    def close(self) -> None:
        """Begin to close; `wait_closed` waits for the end of it."""
        if self._closing is None:
            self._closing = asyncio.create_task(self._close(), name="websocket-close")

    async def wait_closed(self) -> None:
        """Return once it is closed. Takes no longer than CLOSE_WITHIN, and never raises."""
        if self._closing is not None:
            await asyncio.shield(self._closing)

    async def _close(self) -> None:
        with contextlib.suppress(OSError, aiohttp.ClientError, TimeoutError, RuntimeError):
            async with asyncio.timeout(CLOSE_WITHIN):
                if self._ws is not None:
                    await self._ws.close()
        self.abort()
        if self._session is not None:
            await self._session.close()

    def __bool__(self) -> bool:
        """Whether it can be used, and no other has to be made."""
        return self._closing is None


def _plain(error: BaseException) -> BaseException:
    """Return what aiohttp's error is about."""
    found: Any = error
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        found = error.certificate_error
    elif isinstance(error, aiohttp.ClientConnectorError):
        found = error.os_error
    elif isinstance(error, aiohttp.WSServerHandshakeError):
        found = errors.Error(f"no websocket is there: HTTP status {error.status}")
    elif isinstance(error, aiohttp.ClientResponseError):
        found = errors.Error("no websocket is there: what answers is not HTTP")
    elif isinstance(error, aiohttp.ClientError) and not isinstance(error, OSError):
        found = ConnectionResetError()
    return cast("BaseException", found)
