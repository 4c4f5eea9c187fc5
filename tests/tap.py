"""What lies between a client and a server and keeps all that the client sends."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Self

from listening import listening
from programs import free_port

if TYPE_CHECKING:
    from collections.abc import Callable


class Tap:
    """Listens on `port`, hands on to a loopback port, and keeps what the client says in `heard`.

    Args:
        target: the server's port; may be set anew for connections to come.
    """

    def __init__(self, target: int) -> None:
        self.port = free_port()
        self.target = target
        self.heard = b""
        self.connections = 0
        self._ends: set[asyncio.StreamWriter] = set()
        self._open = contextlib.AsyncExitStack()

    async def __aenter__(self) -> Self:
        await self._open.enter_async_context(listening(self._serve, self.port))
        return self

    async def __aexit__(self, *_: object) -> None:
        self.cut()
        await self._open.aclose()

    def cut(self) -> None:
        """End the connections there are."""
        for writer in self._ends:
            writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self._ends.add(writer)
        await between(reader, writer, self.target, opened=self._ends.add, up=self._hear)

    def _hear(self, data: bytes) -> bytes:
        self.heard += data
        return data


async def between(
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    target: int,
    *,
    opened: Callable[[asyncio.StreamWriter], None] = lambda _: None,
    up: Callable[[bytes], bytes] = lambda data: data,
    down: Callable[[bytes], bytes] = lambda data: data,
) -> None:
    """Pass on what a client says to a loopback port, and the answers, until both have ended.

    Args:
        target: the server's port.
        opened: gets the writer to the server.
        up: makes of what the client says what the server gets.
        down: the same, the other way.
    """
    with contextlib.suppress(OSError):
        there, back = await asyncio.open_connection("127.0.0.1", target)
        opened(back)
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(_pass(reader, back, up))
                group.create_task(_pass(there, writer, down))
        finally:
            back.transport.abort()


async def _pass(
    source: asyncio.StreamReader, sink: asyncio.StreamWriter, change: Callable[[bytes], bytes]
) -> None:
    with contextlib.suppress(OSError):
        while data := await source.read(65_536):
            sink.write(change(data))
            await sink.drain()
    sink.close()
