"""A Forward server for tests, which keeps what it got and misbehaves as told.

`Shipper` and `Peer` have no I/O: unit tests talk to them through a scripted stream. `ForwardServer` puts
them on a real socket. The protocol is written here a second time, from its specification, and shares no code
with the package.
"""

from __future__ import annotations

import asyncio
import gzip
import hashlib
import os
import struct
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self

import msgpack
import pytest
from listening import settled
from programs import PATIENCE, free_port

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable


@dataclass
class Frame:
    """One message, decoded: `entries` are [time in ns, record]."""

    tag: str
    entries: list[list[Any]]
    options: dict[str, Any]
    mode: str

    @property
    def chunk_id(self) -> str | None:
        return self.options.get("chunk")

    @property
    def records(self) -> list[dict[str, Any]]:
        return [record for _, record in self.entries]


@dataclass(frozen=True)
class Wait:
    """An answer: say nothing for so many seconds."""

    seconds: float


CLOSE = "close"
Answer = bytes | str | Wait
"""What to do: send these bytes, CLOSE, or Wait."""


def ack(frame: Frame) -> list[Answer]:
    """Acknowledge, where an acknowledgement is asked for."""
    return [msgpack.packb({"ack": frame.chunk_id})] if frame.chunk_id else []


def silence(_frame: Frame) -> list[Answer]:
    """Take it and say nothing, as a Fluent Bit whose input is paused."""
    return []


def close(_frame: Frame) -> list[Answer]:
    """Take it and close the connection, unacknowledged."""
    return [CLOSE]


def nack(_frame: Frame) -> list[Answer]:
    """Refuse it, as Vector does."""
    return [b"\x80"]


def garbage(_frame: Frame) -> list[Answer]:
    """Answer what is no msgpack."""
    return [b"\xc1\xc1\xc1"]


def unknown(frame: Frame) -> list[Answer]:
    """Acknowledge another chunk first, and this one twice."""
    return [msgpack.packb({"ack": "nobody's"}), *ack(frame), *ack(frame)]


def late(seconds: float) -> Callable[[Frame], list[Answer]]:
    """Acknowledge after so many seconds."""
    return lambda frame: [Wait(seconds), *ack(frame)]


@dataclass
class Shipper:
    """What one server knows, over all of its connections.

    `answer` decides on each frame; `first` are functions that answer the first frames in its place.
    """

    answer: Callable[[Frame], list[Answer]] = ack
    first: list[Callable[[Frame], list[Answer]]] = field(default_factory=list)
    shared_key: str | None = None
    users: dict[str, str] = field(default_factory=dict)
    hostname: str = "shipper"
    keepalive: bool = True
    frames: list[Frame] = field(default_factory=list)
    connections: int = 0
    pings: list[list[Any]] = field(default_factory=list)

    def chunk_ids(self) -> list[str | None]:
        return [frame.chunk_id for frame in self.frames]

    def records(self) -> list[dict[str, Any]]:
        return [record for frame in self.frames for record in frame.records]


class Peer:
    """One connection, as the server sees it."""

    def __init__(self, shipper: Shipper) -> None:
        self.shipper = shipper
        self.trusted = shipper.shared_key is None
        self.nonce = os.urandom(16)
        self.auth = os.urandom(16) if shipper.users else b""
        self.unpacker = msgpack.Unpacker(ext_hook=_time, max_buffer_size=1 << 28, strict_map_key=False)
        shipper.connections += 1

    def opened(self) -> list[Answer]:
        if self.trusted:
            return []
        options = {"nonce": self.nonce, "auth": self.auth, "keepalive": self.shipper.keepalive}
        return [msgpack.packb(["HELO", options])]

    def receive(self, data: bytes) -> list[Answer]:
        self.unpacker.feed(data)
        answers: list[Answer] = []
        for message in self.unpacker:
            answers += self._frame(message) if self.trusted else self._ping(message)
        return answers

    def _frame(self, message: list[Any]) -> list[Answer]:
        if not isinstance(message, list):
            return [CLOSE]
        frame = read_frame(message)
        self.shipper.frames.append(frame)
        answer = self.shipper.first.pop(0) if self.shipper.first else self.shipper.answer
        return answer(frame) if self.shipper.keepalive else [*answer(frame), CLOSE]

    def _ping(self, message: list[Any]) -> list[Answer]:
        self.shipper.pings.append(message)
        kind, client, salt, digest, user, password = message
        assert kind == "PING"
        key, salt, host = self.shipper.shared_key.encode(), salt.encode(), self.shipper.hostname.encode()
        reason = ""
        if digest != _sha512(salt, client.encode(), self.nonce, key):
            reason = "shared_key mismatch"
        elif self.auth and password != _sha512(
            self.auth, user.encode(), self.shipper.users.get(user, "").encode()
        ):
            reason = "username/password mismatch"
        if reason:
            return [msgpack.packb(["PONG", False, reason, "", ""]), CLOSE]
        self.trusted = True
        return [
            msgpack.packb(["PONG", True, "", self.shipper.hostname, _sha512(salt, host, self.nonce, key)])
        ]


def read_frame(message: list[Any]) -> Frame:
    """Read a message of any mode."""
    tag, second, *rest = message
    if isinstance(second, bytes):
        options = rest[0] if rest else {}
        packed = gzip.decompress(second) if options.get("compressed") == "gzip" else second
        unpacker = msgpack.Unpacker(ext_hook=_time, max_buffer_size=1 << 28, strict_map_key=False)
        unpacker.feed(packed)
        mode = "compressed" if "compressed" in options else "packed"
        frame = Frame(tag, list(unpacker), options, mode)
    elif isinstance(second, list):
        frame = Frame(tag, second, rest[0] if rest else {}, "forward")
    else:
        frame = Frame(tag, [[second, rest[0]]], rest[1] if len(rest) > 1 else {}, "message")
    assert frame.options.get("size", len(frame.entries)) == len(frame.entries)
    return frame


def _time(code: int, data: bytes) -> int:
    assert code == 0
    seconds, nanoseconds = struct.unpack(">II", data)
    return seconds * 10**9 + nanoseconds


def _sha512(*parts: bytes) -> str:
    return hashlib.sha512(b"".join(parts)).hexdigest()


async def until(ready: Callable[[], object], *, within: float = PATIENCE, what: str = "") -> None:
    """Let the loop run until `ready` is true; fail with `what` after `within` seconds."""
    deadline = asyncio.get_running_loop().time() + within
    while not ready():
        if asyncio.get_running_loop().time() > deadline:
            pytest.fail(f"not within {within} s: {what}")
        await asyncio.sleep(0.001)


class ForwardServer:
    """A `Shipper` on a loopback port, until the block ends; it can stop and start again in between.

    `cut`: for each connection in turn, after how many bytes it is reset. `tls`: what it speaks TLS with, if it does.
    """

    def __init__(
        self, shipper: Shipper | None = None, *, cut: tuple[int, ...] = (), tls: ssl.SSLContext | None = None
    ) -> None:
        self.shipper = shipper or Shipper()
        self.port = free_port()
        self.cut = list(cut)
        self.tls = tls
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port, ssl=self.tls)

    async def stop(self) -> None:
        """Close the port and reset every connection."""
        assert self._server is not None
        self._server.close()
        await settled()
        for writer in self._writers:
            writer.transport.abort()
        await self._server.wait_closed()
        await until(lambda: not self._writers, what="every connection is closed")

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        left = self.cut.pop(0) if self.cut else None
        peer = Peer(self.shipper)
        try:
            answers = peer.opened()
            while await self._answer(answers, writer):
                data = await reader.read(65536 if left is None else max(1, min(left, 65536)))
                if left is not None:
                    left -= len(data)
                if not data or left == 0:
                    break
                answers = peer.receive(data)
        except OSError:
            pass  # the client has gone
        finally:
            writer.transport.abort()
            self._writers.discard(writer)

    async def _answer(self, answers: list[Answer], writer: asyncio.StreamWriter) -> bool:
        for answer in answers:
            match answer:
                case bytes():
                    writer.write(answer)
                    await writer.drain()
                case Wait(seconds):
                    await asyncio.sleep(seconds)
                case _:
                    writer.close()
                    await writer.wait_closed()
                    return False
        return True
