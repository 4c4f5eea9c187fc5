"""The parser of message frames: whole, byte by byte, with junk, and beside nats-py's own."""

from __future__ import annotations

import asyncio
import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st
from nats.errors import ProtocolError
from nats.protocol.parser import Parser
from programs import missing

from nats_fluent.source import parser
from nats_fluent.source.parser import MAX_LINE, FrameParser


@pytest.fixture(params=["compiled", "Python"], scope="module", autouse=True)
def reader(request):
    """With the compiled reader of frames, and without it."""
    if request.param == "compiled":
        if parser.frames is None:
            missing("frames")
        yield
    else:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(parser, "frames", None)
            yield


class Recording:
    """Stands where the client does, and writes down what the parser asks of it."""

    def __init__(self) -> None:
        self.seen: list[tuple] = []
        self.stats = {"in_msgs": 0, "in_bytes": 0}

    async def _process_msg(self, sid, subject, reply, data, headers) -> None:
        self.seen.append(("message", sid, bytes(subject), bytes(reply), data, headers))

    async def _process_ping(self) -> None:
        self.seen.append(("ping",))

    async def _process_pong(self) -> None:
        self.seen.append(("pong",))

    async def _process_info(self, info) -> None:
        self.seen.append(("info", info))

    async def _process_err(self, text) -> None:
        self.seen.append(("error", text))


def fed(parser_class, *reads: bytes) -> list[tuple]:
    client = Recording()
    fed = parser_class(client, *([client.seen.append] if parser_class is FrameParser else []))

    async def feed() -> None:
        for read in reads:
            await fed.parse(read)

    asyncio.run(feed())
    return client.seen


def marked(messages: list[tuple]) -> list[tuple]:
    """Return the messages without their marks."""
    assert messages
    assert {mark for mark, *_ in messages} == {"mark"}
    return [message[1:] for message in messages]


def taken(*reads: bytes) -> tuple[list[tuple], Recording]:
    client = Recording()
    seen: list[tuple] = []
    fed = FrameParser(client, lambda messages: seen.extend(marked(messages)))
    fed.marks[7] = "mark"

    async def feed() -> None:
        for read in reads:
            await fed.parse(read)

    asyncio.run(feed())
    return seen, client


HEADERS = b"NATS/1.0\r\nA: 1\r\nA: 2\r\n\r\n"
WITH_HEADERS = b"HMSG events.x 7 %d %d\r\n%sbody\r\n" % (len(HEADERS), len(HEADERS) + 4, HEADERS)
STREAM = (
    b'INFO {"server_id":"x"}\r\n+OK\r\nPING\r\nMSG events.a 7 5\r\nhe\r\no\r\nMSG events.b 7 _INBOX.1 0\r\n\r\n'
    + WITH_HEADERS
    + b"-ERR 'Authorization Violation'\r\nMSG  odd\t9  3\r\nabc\r\nPONG\r\n"
)
TAKEN = [
    ("events.a", "", b"he\r\no", None),
    ("events.b", "_INBOX.1", b"", None),
    ("events.x", "", b"body", HEADERS),
]


def test_a_stream_read_whole():
    seen, client = taken(STREAM)
    assert seen == TAKEN
    assert client.seen == [
        ("info", {"server_id": "x"}),
        ("ping",),
        ("error", "'authorization violation'"),
        ("message", 9, b"odd", b"", b"abc", None),
        ("pong",),
    ]
    assert client.stats == {"in_msgs": 3, "in_bytes": 9}


def test_a_stream_read_byte_by_byte():
    seen, client = taken(*(STREAM[at : at + 1] for at in range(len(STREAM))))
    assert seen == TAKEN
    assert [what for what, *_ in client.seen] == ["info", "ping", "error", "message", "pong"]


@given(cuts=st.lists(st.integers(0, len(STREAM)), max_size=8).map(sorted))
def test_wherever_the_reads_end_it_comes_to_what_nats_py_makes_of_it(cuts):
    places = [0, *cuts, len(STREAM)]
    reads = [STREAM[one:other] for one, other in itertools.pairwise(places)]
    assert fed(FrameParser, *reads) == fed(Parser, STREAM)


subjects = st.text("abc.*>_-", min_size=1, max_size=12).map(str.encode)


@st.composite
def frames(draw) -> bytes:
    subject, sid = draw(subjects), draw(st.integers(0, 99))
    reply = draw(st.none() | subjects)
    payload, headers = draw(st.binary(max_size=40)), draw(st.booleans())
    block = b"NATS/1.0\r\nB: %d\r\n\r\n" % sid if headers else b""
    sizes = b"%d %d" % (len(block), len(block + payload)) if headers else b"%d" % len(payload)
    line = [b"HMSG" if headers else b"MSG", subject, b"%d" % sid, *([reply] if reply else []), sizes]
    return b" ".join(line) + b"\r\n" + block + payload + b"\r\n"


@given(messages=st.lists(frames(), max_size=6), size=st.integers(1, 64))
def test_any_messages_in_reads_of_any_size_come_to_what_nats_py_makes_of_them(messages, size):
    stream = b"".join(messages)
    reads = [stream[at : at + size] for at in range(0, len(stream), size)]
    assert fed(FrameParser, *reads) == fed(Parser, stream)


@pytest.mark.parametrize(
    "junk",
    [
        b"MSG\r\n",
        b"MSG events 7\r\n",
        b"MSG events 7 a b 5\r\n",
        b"MSG events 7 -1\r\n",
        b"MSG events 7 1_0\r\n",
        b"MSG events x 1\r\n",
        b"HMSG events 7 5\r\n",
        b"HMSG events 7 x 5\r\n",
        b"HMSG events 7 -2 5\r\n",
        b"MSG events 7 " + b"9" * 5_000 + b"\r\n",
        b"MSG events 7 68157441\r\n",
        b"HMSG events 7 20 2\r\nNATS\r\n",
        b"MSG\tevents 7 5\r\nhello\r\n",
        b"INFO no JSON\r\n",
        b"INFO " + b"[" * 5_000 + b"\r\n",
        b"-ERR '\xff'\r\n",
        b"x" * 5_000 + b"\r\n",
        b"HELLO\r\n",
        b"x" * (MAX_LINE + 1),
    ],
)
def test_what_no_server_sends_is_a_protocol_error(junk):
    with pytest.raises(ProtocolError):
        taken(junk)


@given(st.binary(max_size=60))
def test_junk_is_a_protocol_error_or_waits_for_more(junk):
    try:
        taken(junk)
    except ProtocolError:
        return


def test_another_connection_begins_with_nothing_left_of_the_last():
    client = Recording()
    seen: list[tuple] = []
    fed = FrameParser(client, lambda messages: seen.extend(marked(messages)))
    fed.marks[7] = "mark"

    async def feed() -> None:
        await fed.parse(b"MSG events 7 100\r\nfirst part")
        fed.reset()
        await fed.parse(b"MSG events 7 2\r\nok\r\n")

    asyncio.run(feed())
    assert seen == [("events", "", b"ok", None)]


def test_a_large_payload_is_put_together_once_it_is_there():
    payload = b"x" * 1_000_000
    stream = b"MSG events 7 %d\r\n%s\r\n" % (len(payload), payload)
    seen, _ = taken(*(stream[at : at + 1000] for at in range(0, len(stream), 1000)))
    assert seen == [("events", "", payload, None)]


def test_messages_are_handed_on_by_the_read_and_before_what_comes_behind_them():
    client = Recording()
    fed = FrameParser(client, client.seen.append)
    fed.marks |= {7: "seven", 8: "eight"}
    first, second = (
        b"MSG a 7 1\r\nx\r\nMSG b 8 r 1\r\ny\r\n",
        b"MSG c 9 1\r\nz\r\nMSG a 7 0\r\n\r\nPING\r\nMSG a 8 0\r\n\r\n",
    )
    asyncio.run(fed.parse(first + second))
    assert client.seen == [
        [("seven", "a", "", b"x", None), ("eight", "b", "r", b"y", None)],
        ("message", 9, b"c", b"", b"z", None),
        [("seven", "a", "", b"", None)],
        ("ping",),
        [("eight", "a", "", b"", None)],
    ]


def test_what_came_before_a_protocol_error_is_handed_on():
    client = Recording()
    fed = FrameParser(client, client.seen.append)
    fed.marks[7] = "mark"
    with pytest.raises(ProtocolError):
        asyncio.run(fed.parse(b"MSG a 7 1\r\nx\r\nHELLO\r\n"))
    assert client.seen == [[("mark", "a", "", b"x", None)]]
