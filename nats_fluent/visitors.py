"""Who may be connected to the HTTP endpoint, and for how long: any number of slow clients keeps nobody else out.

aiohttp, whose own limits hold within one request, waits for the next for ever and counts no connections.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from collections.abc import Callable

MOST = 64
"""Connections at once. A kubelet, a Prometheus and some browsers have a few."""

WITHIN = 30.0
"""Seconds in which a client must have sent a whole request, and have read the answer to the one before."""


class Visitors:
    """The connections, of which the one that has been of no use for longest gives way to a new one.

    Args:
        serve: makes what serves one connection.
    """

    def __init__(self, serve: Callable[[], asyncio.Protocol]) -> None:
        self._serve = serve
        # In the order in which they last were of use.
        self._waiting: dict[asyncio.BaseTransport, asyncio.TimerHandle] = {}
        self._served: set[asyncio.BaseTransport] = set()

    def __call__(self) -> asyncio.Protocol:
        """Make what a server wants for a new connection."""
        return _Visitor(self._serve(), self)

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self._waiting) + len(self._served)

    def came(self, transport: asyncio.BaseTransport) -> None:
        """Let a connection in; where there are too many, another goes, or this one."""
        if len(self) >= MOST:
            goes = next(iter(self._waiting), transport)
            self.went(goes)  # or the next would take its place, too, before it is closed
            _drop(goes)
        if not transport.is_closing():
            self.waits(transport)

    def asks(self, transport: asyncio.BaseTransport) -> None:
        """Note that a request is there, and is served."""
        if (timer := self._waiting.pop(transport, None)) is not None:
            timer.cancel()
            self._served.add(transport)

    def waits(self, transport: asyncio.BaseTransport) -> None:
        """Note that it is the client's turn."""
        self._served.discard(transport)
        loop = asyncio.get_running_loop()
        self._waiting[transport] = loop.call_later(WITHIN, _drop, transport)

    def went(self, transport: asyncio.BaseTransport) -> None:
        """Forget a connection."""
        self.asks(transport)
        self._served.discard(transport)


def _drop(transport: asyncio.BaseTransport) -> None:
    cast("asyncio.Transport", transport).abort()


class _Visitor(asyncio.Protocol):
    """Hands on what happens to a connection, and tells when it begins and ends."""

    def __init__(self, serves: asyncio.Protocol, visitors: Visitors) -> None:
        self._serves = serves
        self._visitors = visitors
        self._transport: asyncio.BaseTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        self._visitors.came(transport)
        self._serves.connection_made(transport)

    def data_received(self, data: bytes) -> None:
        self._serves.data_received(data)

    def connection_lost(self, exc: Exception | None) -> None:
        self._visitors.went(cast("asyncio.BaseTransport", self._transport))
        self._serves.connection_lost(exc)

    def eof_received(self) -> bool | None:
        return self._serves.eof_received()

    def pause_writing(self) -> None:
        self._serves.pause_writing()

    def resume_writing(self) -> None:
        self._serves.resume_writing()
