"""Who may be connected to the HTTP endpoint, and for how long: any number of slow clients keeps nobody else out."""

from __future__ import annotations

import asyncio
import contextlib
from typing import cast

MOST = 64
"""Connections at once. A kubelet, a Prometheus and some browsers have a few."""

WITHIN = 30.0
"""Seconds in which a client must have sent a whole request, and have read the answer to the one before."""


class Visitors:
    """The connections, of which the one that has been of no use for longest gives way to a new one.

    Attributes:
        closing: whether none is to stay.
    """

    def __init__(self) -> None:
        # In the order in which they last were of use.
        self._waiting: dict[asyncio.BaseTransport, asyncio.TimerHandle] = {}
        self._served: set[asyncio.BaseTransport] = set()
        self._all_gone = asyncio.Event()
        self.closing = False

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
        if not len(self):
            self._all_gone.set()

    async def close(self, within: float) -> None:
        """End all; an answer that is on its way may arrive within so many seconds."""
        self.closing = True
        for transport in list(self._waiting):
            transport.close()
        if len(self):
            self._all_gone.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(within):
                    await self._all_gone.wait()
        for transport in [*self._waiting, *self._served]:
            _drop(transport)


def _drop(transport: asyncio.BaseTransport) -> None:
    cast("asyncio.Transport", transport).abort()
