"""What lies between a client and a server and keeps all that the client sends."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Self

from programs import free_port


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

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        self.cut()
        await self._server.wait_closed()

    def cut(self) -> None:
        """End the connections there are."""
        for writer in self._ends:
            writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self._ends.add(writer)
        with contextlib.suppress(OSError):
            there, back = await asyncio.open_connection("127.0.0.1", self.target)
            self._ends.add(back)
            async with asyncio.TaskGroup() as group:
                group.create_task(self._pass(reader, back, keep=True))
                group.create_task(self._pass(there, writer, keep=False))

    async def _pass(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, *, keep: bool) -> None:
        with contextlib.suppress(OSError):
            while data := await source.read(65_536):
                if keep:
                    self.heard += data
                sink.write(data)
                await sink.drain()
        sink.close()
