"""The careful msgpack reader."""

from __future__ import annotations

import math
import struct

import msgpack
import pytest
from building import Ext, Raw, Text, Time, pack, pack_ext, time_bytes
from hypothesis import example, given
from hypothesis import strategies as st
from judging import exactly, not_plain
from strategies import integers, odd_maps, plain_values

from nats_fluent import plain
from nats_fluent.errors import Undecodable
from nats_fluent.walk import Walker


def walked(data):
    return Walker(data, "content").value()


def refused(data, method="value"):
    with pytest.raises(Undecodable) as caught:
        getattr(Walker(data, "content"), method)()
    assert caught.value.stage == "content"
    return caught.value.reason


# Whole values


@given(plain_values)
def test_what_msgpack_packs_is_read_as_msgpack_does(value):
    for data in (msgpack.packb(value), pack(value)):
        walker = Walker(data, "content")
        assert exactly(walker.value(), msgpack.unpackb(data))
        assert walker.position == len(data)
        assert walker.replaced == 0


@given(st.floats(width=32))
def test_single_floats(number):
    found = walked(b"\xca" + struct.pack(">f", number))
    assert exactly(found, number) or found in ("NaN", "Infinity", "-Infinity")
    assert (type(found) is float) is math.isfinite(number)


@given(st.binary(max_size=80) | odd_maps.map(pack))
def test_any_bytes_are_plain_or_undecodable(data):
    walker = Walker(data, "content")
    try:
        found = walker.value()
    except Undecodable:
        assert refused(data).isprintable()
    else:
        assert not_plain(found) == []
    assert walker.position <= len(data)


@given(odd_maps.map(pack))
def test_what_is_cut_short_is_named(data):
    try:
        walked(data)
    except Undecodable:
        return
    for end in range(len(data)):
        reason = refused(data[:end])
        assert reason.startswith("cut short: ")
        assert reason.endswith(f" of {end}")


@given(integers)
def test_every_form_of_an_integer(number):
    forms = [">b", ">h", ">i", ">q"], [">B", ">H", ">I", ">Q"]
    for lead, codes in ((0xD0, forms[0]), (0xCC, forms[1])):
        for at, form in enumerate(codes):
            try:
                data = bytes([lead + at]) + struct.pack(form, number)
            except struct.error:
                continue
            assert walked(data) == number


@pytest.mark.parametrize("size", [0, 1, 31, 32, 255, 256, 65_535, 65_536])
def test_every_form_of_a_string_and_of_bytes(size):
    raw = b"x" * size
    for lead, form in ((0xD9, ">B"), (0xDA, ">H"), (0xDB, ">I")):
        if size < 256 ** struct.calcsize(form):
            assert walked(bytes([lead]) + struct.pack(form, size) + raw) == raw.decode()
            assert walked(bytes([lead - 0x15]) + struct.pack(form, size) + raw) == plain.base64(raw)
            # An extension has its type in between.
            found = walked(bytes([lead - 0x12]) + struct.pack(form, size) + b"\x05" + raw)
            assert found == {"Tag": 5, "Data": plain.base64(raw), "Value": None}


@pytest.mark.parametrize("size", [0, 1, 15, 16, 65_535, 65_536])
def test_every_form_of_a_list_and_of_a_map(size):
    for fixed, lead, width, item, empty in (
        (0x90, 0xDC, 2, b"\xc0", []),
        (0x90, 0xDD, 4, b"\xc0", []),
        (0x80, 0xDE, 2, b"\xa1a\xc0", {}),
        (0x80, 0xDF, 4, b"\xa1a\xc0", {}),
    ):
        if size < 256**width:
            whole = [None] * size if empty == [] else ({"a": None} if size else {})
            assert walked(bytes([lead]) + size.to_bytes(width, "big") + item * size) == whole
            if size < 16:
                assert walked(bytes([fixed | size]) + item * size) == whole


@pytest.mark.parametrize(
    ("value", "found"),
    [
        (math.nan, "NaN"),
        (math.inf, "Infinity"),
        (-math.inf, "-Infinity"),
        (Raw(b"\xca\x7f\x80\x00\x00"), "Infinity"),
        (Raw(b"\xca\x3f\x80\x00\x00"), 1.0),
        (Raw(b"\xcb\x7f\xf8\x00\x00\x00\x00\x00\x01"), "NaN"),
        (Time(1, 5), "1970-01-01T00:00:01.000000005Z"),
        (Time(2**33), "2242-03-16T12:56:32Z"),
        (Time(2**34), "2514-05-30T01:53:04Z"),
        (Ext(7, b"abc"), {"Tag": 7, "Data": "YWJj", "Value": None}),
        (Ext(-2, b"a" * 16), {"Tag": 254, "Data": plain.base64(b"a" * 16), "Value": None}),
        (True, True),
        (None, None),
    ],
)
def test_what_json_has_not(value, found):
    assert exactly(walked(pack({"a": [value, 1]})), {"a": [found, 1]})


@given(st.binary(max_size=30))
@example(b"\xed\xa0\x80")  # a surrogate
@example(b"a\xff\xfeb")
@example(b"\xe2\x82")
@example(b"\xf4\x90\x80\x80")  # beyond U+10FFFF
def test_each_byte_that_is_not_utf_8_is_one_replacement(raw):
    walker = Walker(pack([Text(raw), {Text(raw): 1}]), "content")
    text, holds = walker.value()
    assert list(holds) == [text]
    escaped = raw.decode("utf-8", "surrogateescape")
    assert len(text) == len(escaped)
    assert walker.replaced == 2 * sum("\ud800" <= character <= "\udfff" for character in escaped)
    assert text.isascii() or text.encode()


@pytest.mark.parametrize(
    ("key", "found"),
    [
        (b"\xa1a", "a"),
        (b"\xc4\x01a", "a"),
        (b"\xc0", ""),
        (b"\x07", "7"),
        (b"\xff", "-1"),
        (b"\xcf" + b"\xff" * 8, "18446744073709551615"),
        (b"\xc2", "false"),
        (b"\xc3", "true"),
        (b"\xcb\x3f\xf8\x00\x00\x00\x00\x00\x00", "1.5"),
        (b"\xcb\x7f\xf0\x00\x00\x00\x00\x00\x00", "Infinity"),
    ],
)
def test_keys(key, found):
    assert walked(b"\x81" + key + b"\x01") == {found: 1}


@pytest.mark.parametrize(
    ("key", "name"),
    [
        (b"\x80", "a map"),
        (b"\xde\x00\x00", "a map"),
        (b"\x90", "an array"),
        (b"\xdc\x00\x00", "an array"),
        (pack_ext(-1, b"abcd"), "an extension"),
        (b"\xc7\x00\x05", "an extension"),
    ],
)
def test_keys_that_nobody_can_name(key, name):
    data = b"\x81" + key + b"\x01"
    assert refused(data) == f"a map key of type {name}, at byte 1 of {len(data)}"


def test_the_last_of_two_equal_keys_counts():
    assert walked(b"\x82\xa1a\x01\xa1a\x02") == {"a": 2}


def test_trailing_bytes_are_left():
    walker = Walker(b"\x01\x02\xc1", "content")
    assert (walker.value(), walker.value(), walker.position) == (1, 2, 2)


@pytest.mark.parametrize(
    "data", [b"\xc1", b"\x91\xc1", b"\x81\xa1a\xc1", b"\x81\xc1\x01"], ids=lambda data: data.hex()
)
def test_the_reserved_byte(data):
    at = data.index(b"\xc1")
    assert refused(data) == f"the reserved byte 0xc1, at byte {at} of {len(data)}"


@pytest.mark.parametrize("size", [0, 3, 5])
def test_a_time_of_another_length(size):
    data = b"\x91" + pack_ext(-1, b"x" * size)
    assert refused(data) == f"a time of {size} bytes; 4, 8 or 12 are known, at byte 1 of {len(data)}"


@pytest.mark.parametrize("open_", [b"\x91", b"\x81\xa1a"])
def test_900_levels(open_):
    assert walked(open_ * plain.MAX_DEPTH + b"\x01")
    at = len(open_) * plain.MAX_DEPTH
    data = open_ * (plain.MAX_DEPTH + 1) + b"\x01"
    assert refused(data) == f"nested deeper than 700 levels, at byte {at} of {len(data)}"


def test_levels_that_were_left_do_not_count():
    assert walked(pack([[[]]] * 1000)) == [[[]]] * 1000


# What an envelope and an event are read with


@pytest.mark.parametrize(
    ("data", "size"), [(b"\x80", 0), (b"\x81\x01\x02", 1), (b"\xde\x00\x01\x01\x02", 1), (b"\xdf\0\0\0\0", 0)]
)
def test_the_size_of_a_map(data, size):
    assert Walker(data, "content").map_size() == size


OF_A_TYPE = {
    "nil": b"\xc0",
    "false": b"\xc2",
    "true": b"\xc3",
    "an integer": b"\x01",
    "a string": b"\xd9\x01a",
    "bytes": b"\xc4\x01a",
    "a float": b"\xcb\x3f\xf8\x00\x00\x00\x00\x00\x00",
    "an extension": b"\xd4\x05a",
    "a map": b"\x80",
    "an array": b"\x90",
    "the reserved byte 0xc1": b"\xc1",
}


def wrong(method, takes):
    return [(method, name) for name in OF_A_TYPE if name not in takes]


@pytest.mark.parametrize(
    ("method", "name"),
    [
        *wrong("map_size", {"a map"}),
        *wrong("raw", {"nil", "a string", "bytes"}),
        *wrong("text", {"nil", "a string", "bytes"}),
        *wrong("integer", {"nil", "an integer", "the reserved byte 0xc1"}),
        *wrong("time", {"nil", "a string", "bytes", "an extension"}),
    ],
)
def test_another_type_is_named(method, name):
    data = OF_A_TYPE[name]
    expected = {
        "map_size": "a map is",
        "raw": "bytes are",
        "text": "bytes are",
        "integer": "an integer is",
        "time": "a time is",
    }[method]
    assert refused(data, method) == f"{name} where {expected} expected, at byte 0 of {len(data)}"


@pytest.mark.parametrize(
    ("data", "name"),
    [
        (b"\xff", "an integer"),
        (b"\xcc\x01", "an integer"),
        (b"\xd0\x01", "an integer"),
        (b"\xa1a", "a string"),
        (b"\xca\0\0\0\0", "a float"),
        (b"\xc7\0\5", "an extension"),
        (b"\xdc\0\0", "an array"),
    ],
)
def test_another_type_is_named_in_each_of_its_forms(data, name):
    assert refused(data, "map_size").startswith(f"{name} where a map is expected")


@pytest.mark.parametrize(
    ("data", "found"),
    [(b"\xc0", None), (b"\xa0", b""), (b"\xa1\xff", b"\xff"), (b"\xd9\x01a", b"a"), (b"\xc4\x01a", b"a")],
)
def test_bytes(data, found):
    assert Walker(data, "content").raw() == found


@pytest.mark.parametrize(
    ("data", "found", "replaced"), [(b"\xc0", "", 0), (b"\xa1\xff", "\ufffd", 1), (b"\xc4\x01a", "a", 0)]
)
def test_text(data, found, replaced):
    walker = Walker(data, "content")
    assert walker.text() == found
    assert walker.replaced == replaced


@pytest.mark.parametrize(
    ("data", "found"),
    [(b"\xc0", 0), (b"\x07", 7), (b"\xcf" + b"\xff" * 8, 2**64 - 1), (pack(3.0), 3), (pack(-1e3), -1000)],
)
def test_integers(data, found):
    assert exactly(Walker(data, "content").integer(), found)


def test_nil_is_read_where_it_is():
    walker = Walker(b"\xc0\x01", "content")
    assert [walker.nil(), walker.nil(), walker.position] == [True, False, 1]
    assert not Walker(b"", "content").nil()


@given(st.integers(-(2**63), 2**63 - 1), st.integers(0, 10**9 - 1))
def test_times(seconds, ns):
    time = Time(seconds, ns)
    raw = time_bytes(time)
    for data in (pack(time), pack(time, ext=False), pack(raw), b"\xc7" + bytes([len(raw)]) + b"\xff" + raw):
        assert Walker(data, "content").time() == (seconds, ns)


def test_no_time():
    assert Walker(b"\xc0", "content").time() is None


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (pack("2019"[:3]), "a time of 3 bytes; 4, 8 or 12 are known"),
        (pack(b""), "a time of 0 bytes; 4, 8 or 12 are known"),
        (pack_ext(5, b"abcd"), "an extension of type 5 where a time is expected"),
    ],
)
def test_what_is_no_time(data, reason):
    assert refused(data, "time") == f"{reason}, at byte 0 of {len(data)}"


@pytest.mark.parametrize(
    "data",
    [
        b"\xdd\xff\xff\xff\xff",
        b"\xdf\xff\xff\xff\xff",
        b"\xdb\xff\xff\xff\xff",
        b"\xc6\xff\xff\xff\xff",
        b"\xc9\xff\xff\xff\xff\xff",
        b"\x9f\xc0",
        b"\x82\xa1a\x01",
    ],
)
def test_no_length_is_believed_beyond_the_bytes_that_are_there(data):
    assert refused(data)
