"""A TCP server of a test, that leaves nothing open behind it."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@contextlib.asynccontextmanager
async def listening(serve: Serve, port: int = 0) -> AsyncIterator[int]:
    """Serve each connection to a port of 127.0.0.1 until the block ends; gives the port.

    Until Python 3.12 a server that is closed waits for no connection. What is then still open is found by the garbage
    collector in whatever test runs next, which fails of it.
    """
    serving: set[asyncio.Task[None]] = set()

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            with contextlib.suppress(OSError):
                await serve(reader, writer)
        finally:
            writer.transport.abort()

    def came(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(handle(reader, writer), name="serve")
        serving.add(task)

    server = await asyncio.start_server(came, "127.0.0.1", port)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        await settled()
        for task in serving:
            task.cancel()
        await asyncio.gather(*serving, return_exceptions=True)
        await server.wait_closed()


async def settled() -> None:
    """Let a connection be handed over that was taken in the same turn of the loop in which its server was closed."""
    for _ in range(10):
        await asyncio.sleep(0)
