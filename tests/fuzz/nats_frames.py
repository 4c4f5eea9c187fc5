"""Whatever a NATS server sends, and wherever the reads end, the same messages come of it, or a ProtocolError."""

from __future__ import annotations

from nats.errors import ProtocolError

from nats_fluent.source import parser

SIZES = (1, 2, 3, 7, 64, 1000)


class Told:
    """Stands where the client is, and writes down what it is told."""

    def __init__(self) -> None:
        self.stats = {"in_msgs": 0, "in_bytes": 0}
        self.told: list[object] = []

    async def _process_msg(self, sid, subject, reply, data, headers) -> None:
        self.told.append((sid, subject, reply, data, headers))

    async def _process_ping(self) -> None:
        self.told.append("PING")

    async def _process_pong(self) -> None:
        self.told.append("PONG")

    async def _process_info(self, info) -> None:
        self.told.append(repr(info))

    async def _process_err(self, text) -> None:
        self.told.append(text)


def seeds():
    lines = (
        b"MSG a.b 1 5\r\nhello\r\n",
        b"MSG a 7 _INBOX.x 0\r\n\r\n",
        b"HMSG a 1 r 18 20\r\nNATS/1.0\r\na: b\r\n\r\nhi\r\n",
        b"PING\r\n",
        b"PONG\r\n",
        b"+OK\r\n",
        b"-ERR 'Authorization Violation'\r\n",
        b'INFO {"server_id":"x","connect_urls":["a:1"]}\r\n',
    )
    for size in range(len(SIZES)):
        yield bytes([size]) + b"".join(lines)
        yield from (bytes([size]) + line for line in lines)
    yield b"\x00MSG a 1 " + b"9" * 4_000 + b"\r\n"
    yield b"\x00HMSG a 1 20 2\r\nNATS\r\n"
    yield b"\x00MSG\ta 1 5\r\nMSG a\r\n"
    yield b"\x00INFO " + b"[" * 4_000 + b"\r\n"


def check(data: bytes) -> None:
    size = SIZES[data[0] % len(SIZES)] if data else 1
    found = taken(data[1:], 1 << 20)
    assert found == taken(data[1:], size)
    compiled, parser.frames = parser.frames, None
    try:
        assert found == taken(data[1:], 1 << 20)
    finally:
        parser.frames = compiled


def taken(data: bytes, size: int) -> tuple[list[object], bool]:
    """Return what is taken from the bytes, read so many at a time, and whether it ended in an error."""
    client = Told()
    reader = parser.FrameParser(client, client.told.extend)
    reader.marks[1] = "mark"

    async def feed() -> bool:
        for at in range(0, len(data), size):
            try:
                await reader.parse(data[at : at + size])
            except ProtocolError:
                return True
        assert sum(map(len, reader._pieces)) + len(reader.buf) <= len(data)
        return False

    # What it awaits never waits, so that no loop is needed.
    try:
        feed_all = feed()
        feed_all.send(None)
    except StopIteration as ended:
        return client.told, ended.value
    raise AssertionError("it waits")
