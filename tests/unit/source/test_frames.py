"""The compiled reader of message frames, beside the one in Python."""

from __future__ import annotations

import asyncio
import sys

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from nats.errors import ProtocolError
from programs import missing

from nats_fluent.source import parser
from nats_fluent.source.parser import FrameParser

frames = parser.frames


@pytest.fixture(autouse=True)
def compiled():
    if frames is None:
        missing("frames")


class Told:
    """Stands where the client does, and writes down what it is told."""

    def __init__(self):
        self.told = []
        self.stats = {"in_msgs": 0, "in_bytes": 0}

    async def _process_msg(self, *message):
        self.told.append(message)

    async def _process_ping(self):
        self.told.append("PING")

    async def _process_pong(self):
        self.told.append("PONG")

    async def _process_info(self, info):
        self.told.append(repr(info))

    async def _process_err(self, text):
        self.told.append(text)


def read(reader, data):
    """Return what comes of the bytes, and whether it ends in an error."""
    client = Told()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(parser, "frames", reader)
        fed = FrameParser(client, client.told.extend)
        fed.marks |= {1: "one", 22: "two"}
        try:
            asyncio.run(fed.parse(data))
        except ProtocolError:
            return client.told, "error"
        return client.told, (fed._held, fed._wanted, client.stats)


spaces = st.sampled_from([b" "] * 20 + [b"  ", b"\t", b"\x0b", b"", b"\r", b" \x01"])
words = st.sampled_from([b"a", b"a.b.c", b"$JS.ACK.S.c.1.2.3.4.5", b"\xc3\xa9", b"\xff", b"*"])
sids = st.sampled_from([b"1"] * 8 + [b"22", b"3", b"01", b"-1", b"1_0", b"9" * 18, b"9" * 19, b"x"])
sizes = st.integers(0, 12).map(lambda size: b"%d" % size)
kinds = st.sampled_from([b"MSG"] * 6 + [b"HMSG"] * 4 + [b"msg", b"MS", b"MSGG", b"PING"])


@st.composite
def pieces(draw):
    fields = [draw(kinds), draw(words), draw(sids)]
    fields += draw(st.lists(words, max_size=1) | st.lists(words, max_size=2))
    fields += draw(st.lists(sizes, min_size=1, max_size=2))
    line = b"".join(part for field in fields for part in (field, draw(spaces)))
    line = line if draw(st.integers(0, 9)) == 0 else line.rstrip()
    size = int(fields[-1]) + draw(st.sampled_from([0] * 8 + [-1, 1, 2]))
    return line + b"\r\n" + draw(st.binary(min_size=max(size, 0), max_size=max(size, 0))) + b"\r\n"


@given(st.lists(pieces() | st.sampled_from([b"PING\r\n", b"PONG\r\n", b"+OK\r\n"]), max_size=5).map(b"".join))
@example(b"MSG a 1 3\r\nabc\r\nMSG a 1 r 3\r\nabc\r\nHMSG a 1 2 3\r\nabc\r\nHMSG a 22 r 0 1\r\nx\r\n")
@example(b"HMSG a 1 3 2\r\nabc\r\n")
def test_it_comes_to_what_python_makes_of_it(data):
    assert read(frames, data) == read(None, data)


@given(st.binary(max_size=40) | st.binary(max_size=30).map(lambda junk: b"MSG a 1 " + junk))
def test_junk_comes_to_what_python_makes_of_it(data):
    assert read(frames, data) == read(None, data)


WHOLE = b"MSG a.b 1 3\r\nabc\r\nMSG a.b 1 r 0\r\n\r\nHMSG a 22 r 2 3\r\nabc\r\n"


def test_it_reads_all_that_is_whole_and_stops_where_something_is_not():
    starts = (0, 18, WHOLE.index(b"HMSG"), len(WHOLE))
    for size in range(len(WHOLE) + 1):
        messages = []
        assert frames(WHOLE[:size], 0, {1: "one", 22: "two"}, messages) == max(
            at for at in starts if at <= size
        )
    assert messages == [
        ("one", "a.b", "", b"abc", None),
        ("one", "a.b", "r", b"", None),
        ("two", "a", "r", b"c", b"ab"),
    ]


@pytest.mark.parametrize(
    "line",
    [
        b"PING",
        b"MSG a 3 0",
        b"MSG a 1",
        b"MSG a b c 1 0",
        b"MSG a 1 r r 0",
        b"MSG a 1 :\r\n0123456789",
        b"HMSG a 1 0",
        b"HMSG a 1 r 1 0",
        b"MSG  a 1 0",
        b"MSG a\t1 0",
        b" MSG a 1 0",
        b"MSG a 1 0 ",
        b"MSG a +1 0",
        b"MSG a 1 0x0",
        b"MSG a 1 " + b"0" * 19,
        b"MSG " + b"a" * 8192 + b" 1 0",
    ],
)
def test_what_it_leaves_to_python(line):
    messages = []
    assert frames(b"+OK\r\n" + line + b"\r\n\r\n", 5, {1: "one"}, messages) == 5
    assert messages == []


@pytest.mark.parametrize(("more", "error"), [(0, False), (1, True)])
def test_a_message_is_as_large_as_python_takes_it(more, error):
    size = parser.MAX_MESSAGE + more
    data = b"MSG a 1 %d\r\n%b\r\n" % (size, bytes(size))
    messages = []
    assert frames(data, 0, {1: "one"}, messages) == (0 if error else len(data))
    assert [len(payload) for _, _, _, payload, _ in messages] == ([] if error else [size])


def test_each_message_has_its_own_subject():
    """That of the message before is taken again where it is the same."""
    subjects = ["a", "b", "a", "a.b", "a.c", "a.b", "a.b", "a.b.c", "a", "\xe9", "a"]
    messages = []
    frames("".join(f"MSG {subject} 1 0\r\n\r\n" for subject in subjects).encode(), 0, {1: "one"}, messages)
    assert [subject for _, subject, _, _, _ in messages] == subjects


def test_it_begins_at_the_index():
    messages = []
    assert frames(WHOLE, 18, {1: "one"}, messages) == WHOLE.index(b"HMSG")
    assert messages == [("one", "a.b", "r", b"", None)]


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ((), TypeError),
        ((b"", 0, {}), TypeError),
        (("", 0, {}, []), TypeError),
        ((bytearray(b""), 0, {}, []), TypeError),
        ((b"", "0", {}, []), TypeError),
        ((b"", 0, [], []), TypeError),
        ((b"", 0, {}, ()), TypeError),
        ((b"", 1, {}, []), IndexError),
        ((b"", -1, {}, []), IndexError),
        ((b"", 2**64, {}, []), OverflowError),
    ],
)
def test_other_arguments_are_refused(arguments, error):
    with pytest.raises(error):
        frames(*arguments)


def test_nothing_is_kept():
    mark, data = object(), WHOLE * 3
    before = sys.getrefcount(mark), sys.getrefcount(data), sys.getrefcount(None)
    for _ in range(1000):
        frames(data, 0, {1: mark, 22: mark}, [])
    after = sys.getrefcount(mark), sys.getrefcount(data), sys.getrefcount(None)
    assert after[:2] == before[:2]
    assert abs(after[2] - before[2]) < 500  # others take and leave it, too
