from __future__ import annotations

import gzip

import msgpack
import pytest
from fluent.sender import EventTime, FluentSender
from hypothesis import given
from hypothesis import strategies as st

from nats_fluent.delivery import Chunk
from nats_fluent.forward import codec

TIMES = st.integers(codec.MIN_SECONDS * 10**9, codec.MAX_SECONDS * 10**9 + 999_999_999)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)
RECORDS = st.dictionaries(st.text(), VALUES, max_size=5)
ENTRIES = st.lists(st.tuples(TIMES, RECORDS), max_size=20)
TAGS = st.text(min_size=1, max_size=300)


def chunk_of(entries, tag="aporeto.events"):
    packed = b"".join(codec.entry(time_ns, msgpack.packb(record)) for time_ns, record in entries)
    return Chunk(id="q83vEjRWeJCrze8SNFZ4kA==", tag=tag, entries=packed, count=len(entries))


def frame_of(buffers):
    """What a server reads of a frame: exactly one object."""
    return msgpack.unpackb(b"".join(buffers), strict_map_key=False)


def peer_entry(time_ns, record):
    return [EventTime.from_unix_nano(time_ns), record]


@given(TIMES)
def test_an_event_time_is_what_fluent_logger_sends(time_ns):
    assert codec.event_time(time_ns) == msgpack.packb(EventTime.from_unix_nano(time_ns))


@pytest.mark.parametrize(
    ("time_ns", "seconds", "nanoseconds"),
    [
        (-1, 1, 0),
        (0, 1, 0),
        (999_999_999, 1, 0),
        (1_000_000_000, 1, 0),
        (1_000_000_001, 1, 1),
        (1560375482268588123, 1560375482, 268588123),
        ((2**32 - 3) * 10**9 + 999_999_999, 2**32 - 3, 999_999_999),
        ((2**32 - 2) * 10**9, 2**32 - 3, 999_999_999),
        (10**30, 2**32 - 3, 999_999_999),
    ],
)
def test_a_time_that_cannot_be_sent_becomes_the_nearest_that_can(time_ns, seconds, nanoseconds):
    expected = b"\xd7\x00" + seconds.to_bytes(4, "big") + nanoseconds.to_bytes(4, "big")
    assert codec.event_time(time_ns) == expected
    assert codec.entry(time_ns, b"\x80") == b"\x92" + expected + b"\x80"


@given(TIMES, RECORDS)
def test_an_entry_is_a_pair_of_time_and_record(time_ns, record):
    assert msgpack.unpackb(codec.entry(time_ns, msgpack.packb(record))) == peer_entry(time_ns, record)


@given(ENTRIES)
def test_entries_are_read_back_as_they_were(entries):
    assert list(codec.read_entries(chunk_of(entries).entries)) == entries


@given(TIMES, RECORDS, TAGS)
def test_message_mode_is_what_fluent_logger_sends(time_ns, record, tag):
    sender = FluentSender(tag, nanosecond_precision=True)
    theirs = sender._make_packet("", EventTime.from_unix_nano(time_ns), record)
    assert codec.message(tag, time_ns, msgpack.packb(record)) == theirs


def test_message_mode_asks_for_an_acknowledgement():
    frame = codec.message("a.b", 2 * 10**9, b"\x80", chunk_id="abc")
    assert msgpack.unpackb(frame) == ["a.b", EventTime(2, 0), {}, {"chunk": "abc"}]


@given(ENTRIES, TAGS)
def test_forward_mode_is_an_array_of_entries(entries, tag):
    chunk = chunk_of(entries, tag)
    assert frame_of(codec.forward(chunk)) == [
        tag,
        [peer_entry(*entry) for entry in entries],
        {"chunk": chunk.id, "size": len(entries)},
    ]


@given(ENTRIES, TAGS)
def test_packed_forward_mode_is_a_bin_of_entries(entries, tag):
    chunk = chunk_of(entries, tag)
    options = {"chunk": chunk.id, "size": len(entries)}
    assert frame_of(codec.packed_forward(chunk)) == [tag, chunk.entries, options]


@given(ENTRIES, TAGS)
def test_compressed_packed_forward_mode_is_a_gzipped_bin_of_entries(entries, tag):
    chunk = chunk_of(entries, tag)
    frame = frame_of(codec.compressed_packed_forward(chunk))
    assert gzip.decompress(frame[1]) == chunk.entries
    assert frame[0] == tag
    assert frame[2] == {"chunk": chunk.id, "size": len(entries), "compressed": "gzip"}


@pytest.mark.parametrize("encode", [codec.packed_forward, codec.forward])
def test_the_entries_are_not_copied(encode):
    chunk = chunk_of([(10**9, {"a": 1})])
    assert any(buffer is chunk.entries for buffer in encode(chunk))


def test_a_chunk_of_more_than_sixteen_bits_keeps_its_length():
    chunk = chunk_of([(10**9, {"a": "x" * 70})] * 70_000)
    assert len(frame_of(codec.forward(chunk))[1]) == 70_000
    assert frame_of(codec.packed_forward(chunk))[1] == chunk.entries


@pytest.mark.parametrize(
    ("mode", "compress", "encode"),
    [
        ("packed", "off", codec.packed_forward),
        ("packed", "gzip", codec.compressed_packed_forward),
        ("forward", "off", codec.forward),
    ],
)
def test_the_encoder_is_named_by_mode_and_compression(mode, compress, encode):
    assert codec.encoder(mode, compress) is encode


@given(st.integers(0, 2**63 - 1))
def test_the_time_of_the_first_entry_is_read_without_the_rest(time_ns):
    entries = codec.entry(time_ns, msgpack.packb({"a": 1})) + codec.entry(7 * 10**9, msgpack.packb({}))
    first, _ = next(codec.read_entries(entries))
    assert codec.first_second(entries) == pytest.approx(first / 10**9)


@pytest.mark.parametrize("entries", [b"", b"\x92", b"1234567890"])
def test_what_is_too_short_for_an_entry_has_no_time(entries):
    assert codec.first_second(entries) is None
