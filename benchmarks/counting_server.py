"""A Forward server that counts and acknowledges, for a machine without Fluent Bit."""

from __future__ import annotations

import asyncio
import sys

import msgpack
import uvloop


async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    unpacker = msgpack.Unpacker(max_buffer_size=1 << 30, ext_hook=lambda _code, data: data)
    while data := await reader.read(1 << 20):
        unpacker.feed(data)
        for frame in unpacker:
            options = frame[-1] if isinstance(frame[-1], dict) else {}
            if "chunk" in options:
                writer.write(msgpack.packb({"ack": options["chunk"]}))
    writer.close()


async def main() -> None:
    server = await asyncio.start_server(serve, "127.0.0.1", int(sys.argv[1]))
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(main())
