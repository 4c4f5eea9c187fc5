"""Plain values: both readers of each format, and times."""

from __future__ import annotations

import base64
import contextlib
import itertools
import json
import math
import struct
from datetime import UTC, datetime, timedelta, timezone

import msgpack
import pytest
from building import Ext, Text, Time, go_json, pack, pack_ext, time_bytes
from decoding import without_the_compiled_part
from hypothesis import example, given
from hypothesis import strategies as st
from judging import exactly, not_plain
from programs import missing
from strategies import integers, mutated, nested, odd_maps, plain_maps, plain_values, scalars, texts

from nats_fluent import plain
from nats_fluent.compiled import time_ns
from nats_fluent.errors import Undecodable
from nats_fluent.walk import Walker

MIN_SECONDS = int(datetime(1, 1, 1, tzinfo=UTC).timestamp())
MAX_SECONDS = int(datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC).timestamp())
in_datetime = st.integers(MIN_SECONDS, MAX_SECONDS)
nanoseconds = st.integers(0, 10**9 - 1) | st.sampled_from([0, 1, 10, 500_000_000, 268_588_000, 999_999_999])


def careful_msgpack(data):
    return Walker(data, "content").value()


def careful_json(text):
    data = text if isinstance(text, bytes) else text.encode()
    return list(plain.careful_json(data, "content"))


def refused(text):
    with pytest.raises(Undecodable) as caught:
        careful_json(text)
    assert caught.value.stage == "content"
    return caught.value.reason


# msgpack, the fast reader


def fast_msgpack(data: bytes) -> object:
    """What the fast reader and the fast encoder make of it together: it is plain only then."""
    return msgpack.unpackb(plain.fast_pack(plain.fast_msgpack(data)))


@given(plain_values)
def test_plain_msgpack_comes_back_from_both_readers(value):
    for data in (pack(value), msgpack.packb(value)):
        assert exactly(careful_msgpack(data), value)
        with contextlib.suppress(plain.NotFast):  # a double may begin as NaN does
            assert exactly(fast_msgpack(data), value)


@given(odd_maps)
@example({"a": math.nan, "b": b"\xcb\x00"})
@example({"a": Ext(-1, b"\xff" * 12)})
@example({"a": Ext(-1, b"")})
@example({"a": b"\xca\xff"})
@example({"a": -0.0, "b": 1.5, "c": 1e308})
def test_where_fast_msgpack_has_an_answer_it_is_the_careful_one_s(value):
    data = pack(value)
    try:
        found = fast_msgpack(data)
    except plain.NotFast:
        return
    assert exactly(found, careful_msgpack(data))
    assert not_plain(found) == []


@given(mutated(plain_maps.map(pack)))
def test_fast_and_careful_agree_on_broken_msgpack(data):
    try:
        found = fast_msgpack(data)
    except plain.NotFast:
        return
    assert exactly(found, careful_msgpack(data))


@pytest.mark.parametrize(
    ("value", "found"),
    [
        (b"", ""),
        (b"\x00\xff", "AP8="),
        (b"x" * 300, base64.b64encode(b"x" * 300).decode()),
        (b"x" * 70_000, base64.b64encode(b"x" * 70_000).decode()),
        (Time(1560375482, 268588000), "2019-06-12T21:38:02.268588Z"),
        (Time(0), "1970-01-01T00:00:00Z"),
        (Time(-1, 999_999_999), "1969-12-31T23:59:59.999999999Z"),
        (Ext(7, b"abc"), {"Tag": 7, "Data": "YWJj", "Value": None}),
        (Ext(-2, b"a"), {"Tag": 254, "Data": "YQ==", "Value": None}),
    ],
)
def test_what_json_has_not(value, found):
    data = pack({"a": value, "b": [value]})
    assert fast_msgpack(data) == careful_msgpack(data) == {"a": found, "b": [found]}


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xc1",
        b"\x81\xa1",
        pack({"a": math.nan}),
        pack({"a": -math.inf}),
        b"\x91\xca\x7f\xc0\x00\x00",
        b"\x91\xca\xff\x80\x00\x00",
        pack(Text(b"\xff")),
        b"\x81\x01\x01",
        b"\x81\xc0\x01",
        pack_ext(-1, b"abc"),
        b"\x91" * 2000,
    ],
)
def test_what_the_fast_reader_leaves_to_the_careful_one(data):
    with pytest.raises(plain.NotFast):
        fast_msgpack(data)


def test_bytes_far_down_are_left_to_the_careful_reader():
    data = b"\x91" * 990 + b"\xc4\x01a"
    with pytest.raises(plain.NotFast):
        fast_msgpack(data)


# JSON


@given(plain_values)
def test_plain_json_comes_back_from_both_readers(value):
    data = go_json(value)
    assert exactly(plain.fast_json(data), value)
    assert exactly(careful_json(data), [value, 0])


@given(nested(scalars | st.integers(), keys=texts), st.booleans())
def test_json_is_read_as_the_json_module_does_but_for_long_integers(value, ascii_):
    text = json.dumps(value, ensure_ascii=ascii_, indent=1)
    found, replaced = careful_json(text)
    expected = json.loads(text, parse_int=lambda digits: capped(int(digits)))
    assert exactly(found, expected)
    assert replaced == 0
    assert not_plain(found) == []


def capped(number):
    return number if -(2**63) <= number < 2**64 else float(number)


@given(mutated(plain_maps.map(go_json)) | st.binary(max_size=30))
@example(b'{"a":-0}')
@example(b'{"a":1E5,"a":0.10}')
@example(b'"\\ud83d\\ude00"')
def test_fast_and_careful_agree_on_broken_json(data):
    try:
        found = plain.fast_json(data)
    except plain.NotFast:
        return
    careful, replaced = careful_json(data)
    assert replaced == 0
    if not_plain(found) == []:  # an integer beyond 64 bits is a float to the careful one alone
        assert exactly(found, careful)


@given(st.binary(max_size=60))
def test_the_careful_json_reader_gives_plain_values_or_its_error(data):
    try:
        found, _ = careful_json(data)
    except Undecodable:
        return
    assert not_plain(found) == []


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("9223372036854775807", 2**63 - 1),
        ("18446744073709551615", 2**64 - 1),
        ("18446744073709551616", 1.8446744073709552e19),
        ("-9223372036854775808", -(2**63)),
        ("-9223372036854775809", -9.223372036854775808e18),
        ("1" * 100, float("1" * 100)),
        ("-0", 0),
        ("0.5e1 rest is ignored", 5.0),
        (" \t\r\n7", 7),
        ('"a\x00\x01\n"', "a\x00\x01\n"),
        ('{"a":1,"a":2}', {"a": 2}),
        ('[null,true,{"a":[]}]', [None, True, {"a": []}]),
    ],
)
def test_json_values(text, found):
    assert exactly(careful_json(text), [found, 0])


@pytest.mark.parametrize(
    ("data", "found", "replaced"),
    [
        (b'"\xff\xfe"', "\ufffd\ufffd", 2),
        (b'"\xe2\x82"', "\ufffd\ufffd", 2),
        (b'{"\xff":["\xff",{"a":"\xff"}],"b":1}', {"\ufffd": ["\ufffd", {"a": "\ufffd"}], "b": 1}, 3),
        (b'["\\ud800"]', ["\ufffd"], 1),
        (b'"\\ud83d\\ude00 \xf0\x9f\x98\x80"', "\U0001f600 \U0001f600", 0),
        ('"\ufffd"'.encode(), "\ufffd", 0),
    ],
)
def test_what_is_not_unicode_is_replaced_and_counted(data, found, replaced):
    assert careful_json(data) == [found, replaced]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "not JSON: Expecting value at character 0 of 0"),
        ("  {", "not JSON: Expecting property name enclosed in double quotes at character 1 of 1"),
        ("NaN", "not JSON: NaN is not a number in JSON"),
        ("[-Infinity]", "not JSON: -Infinity is not a number in JSON"),
        ("1e999", "not JSON: 1e999 is beyond a double"),
        ("9" * 400, f"not JSON: {'9' * 40} is beyond a double"),
        ("+1", "not JSON: Expecting value at character 0 of 2"),
        ("[01]", "not JSON: Expecting ',' delimiter at character 2 of 4"),
        ("\ufeff{}", "not JSON: Expecting value at character 0 of 3"),
        ("[1,x]", "not JSON: Expecting value at character 3 of 5"),
    ],
)
def test_what_is_not_json(text, reason):
    assert refused(text) == reason
    if text.isdigit():  # only as an integer, which no encoder takes
        assert plain.fast_json(text.encode()) == int(text)
        return
    with pytest.raises(plain.NotFast):
        plain.fast_json(text.encode())


@pytest.mark.parametrize("opening", ["[", '{"a":'])
def test_json_has_900_levels(opening):
    closing = {"[": "]", '{"a":': "}"}[opening]

    def nested_in(levels):
        return opening * levels + "1" + closing * levels

    value, _ = careful_json(nested_in(plain.MAX_DEPTH))
    assert json.dumps(value, separators=(",", ":")) == nested_in(plain.MAX_DEPTH)
    assert refused(nested_in(plain.MAX_DEPTH + 1)) == "JSON nested deeper than 700 levels"
    assert refused(nested_in(100_000)) == "JSON nested deeper than 700 levels"
    with pytest.raises(plain.NotFast):
        plain.fast_json(nested_in(100_000).encode())


# Times


@given(in_datetime, nanoseconds)
@example(MIN_SECONDS, 0)
@example(MAX_SECONDS, 999_999_999)
@example(951_782_400, 1)  # 29 February 2000
def test_a_time_comes_back(seconds, ns):
    text = plain.rfc3339(seconds, ns)
    assert plain.parse_rfc3339(text) == seconds * 10**9 + ns
    expected = (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=seconds)).isoformat()[:19]
    assert text.startswith(expected)
    assert text[19:] == (f".{ns:09d}".rstrip("0") if ns else "") + "Z"


@given(in_datetime)
def test_years_are_counted_alike_on_both_ways(seconds):
    """400 years are 146,097 days, whatever the years."""
    era = 146_097 * 86_400
    near, far = plain.rfc3339(seconds, 0), plain.rfc3339(seconds + 25 * era, 0)
    assert far[-16:] == near[-16:]
    assert int(far[:-16]) == int(near[:-16]) + 10_000
    before = plain.rfc3339(seconds - 25 * era, 0)
    assert before[-16:] == near[-16:]
    assert int(before[:-16]) == int(near[:-16]) - 10_000


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (MAX_SECONDS + 1, "10000-01-01T00:00:00Z"),
        (MIN_SECONDS - 1, "0000-12-31T23:59:59Z"),
        (MIN_SECONDS - 366 * 86_400, "0000-01-01T00:00:00Z"),
        (MIN_SECONDS - 366 * 86_400 - 1, "-0001-12-31T23:59:59Z"),
        (2**63 - 1, "292277026596-12-04T15:30:07Z"),
        (-(2**63), "-292277022657-01-27T08:29:52Z"),
    ],
)
def test_years_that_datetime_has_not(seconds, text):
    assert plain.rfc3339(seconds, 0) == text


@given(
    st.datetimes(min_value=datetime(2, 1, 1), max_value=datetime(9998, 1, 1)),  # noqa: DTZ001 - made aware below
    st.integers(-23 * 60 - 59, 23 * 60 + 59),
)
def test_a_zone_is_taken_into_account(naive, minutes):
    zone = timezone(timedelta(minutes=minutes))
    aware = naive.replace(tzinfo=zone)
    since = aware - datetime(1970, 1, 1, tzinfo=UTC)
    assert plain.parse_rfc3339(aware.isoformat()) == since // timedelta(microseconds=1) * 1000


@pytest.mark.parametrize(
    ("text", "ns"),
    [
        ("2019-06-12T21:38:02Z", 1_560_375_482_000_000_000),
        ("2019-06-12t21:38:02z", 1_560_375_482_000_000_000),
        ("2019-06-12T14:38:02.268588123-07:00", 1_560_375_482_268_588_123),
        ("2019-06-12T21:38:02,5Z", 1_560_375_482_500_000_000),
        ("2019-06-12T21:38:02.1234567899999Z", 1_560_375_482_123_456_789),
        ("1969-12-31T23:59:59.5Z", -500_000_000),
        ("0001-01-01T00:00:00Z", MIN_SECONDS * 10**9),
        ("", None),
        ("yesterday", None),
        ("2019-06-12", None),
        ("2019-06-12 21:38:02Z", None),
        ("2019-06-12T21:38:02", None),
        ("2019-06-12T21:38:02.Z", None),
        ("2019-06-12T21:38:02Z ", None),
        ("2019-06-12T21:38:02Z\n", None),
        ("2019-13-12T21:38:02Z", None),
        ("2019-02-29T21:38:02Z", None),
        ("2019-06-12T24:38:02Z", None),
        ("0000-06-12T21:38:02Z", None),
        ("10000-01-01T00:00:00Z", None),
        ("٢٠١٩-06-12T21:38:02Z", None),
    ],
)
def test_rfc_3339(text, ns):
    assert plain.parse_rfc3339(text) == ns
    with without_the_compiled_part():
        assert plain.parse_rfc3339(text) == ns


times = st.one_of(
    st.builds(plain.rfc3339, in_datetime | st.integers(-(2**31), 2**34), nanoseconds),
    st.from_regex(
        r"(19[67]|20[0-9]|22[56])[0-9]-[0-2][0-9]-[0-3][0-9]T[0-2][0-9]:[0-6][0-9]:[0-6][0-9](\.[0-9]*)?Z",
        fullmatch=True,
    ),
    st.text(st.sampled_from("0123456789-+T:.,Zz"), max_size=30),
)


@given(times)
@example("2000-02-29T00:00:00Z")
@example("2100-02-29T00:00:00Z")
@example("2261-12-31T23:59:59.999999999999Z")
def test_a_time_is_read_alike_with_and_without_the_compiled_part(text):
    found = plain.parse_rfc3339(text)
    with without_the_compiled_part():
        assert plain.parse_rfc3339(text) == found


def test_each_day_is_read_alike():
    """And those that a month has not are none."""
    for year, month, day in itertools.product(range(1970, 2262), range(1, 13), range(28, 33)):
        text = f"{year}-{month:02}-{day}T12:30:45.5Z"
        try:
            seconds = int(datetime(year, month, day, 12, 30, 45, tzinfo=UTC).timestamp())
        except ValueError:
            assert plain.parse_rfc3339(text) is None
        else:
            assert plain.parse_rfc3339(text) == seconds * 10**9 + 500_000_000


def test_what_the_compiled_part_has_of_times():
    if time_ns is None:
        missing("splice")
    assert time_ns("1970-01-01T00:00:00Z") == 0
    assert time_ns("2261-12-31T23:59:59.999999999Z") == 9_214_646_399_999_999_999
    for text in (
        "2262-01-01T00:00:00Z",
        "1969-12-31T23:59:59Z",
        "2019-06-12T21:38:02+00:00",
        "2019-06-12T21:38:02Zé",
    ):
        assert time_ns(text) is None
    with pytest.raises(TypeError, match="a text is wanted"):
        time_ns(b"2019-06-12T21:38:02Z")


@given(st.text(st.sampled_from("0123456789-+T:.,Zz"), max_size=30))
def test_any_text_is_a_time_or_not(text):
    found = plain.parse_rfc3339(text)
    assert found is None or isinstance(found, int)


@given(in_datetime | st.integers(-(2**63), 2**63 - 1), nanoseconds)
def test_the_bytes_of_a_time(seconds, ns):
    assert plain.timestamp(time_bytes(Time(seconds, ns))) == (seconds, ns)
    assert plain.extension(-1, time_bytes(Time(seconds, ns))) == plain.rfc3339(seconds, ns)


def test_nanoseconds_beyond_a_second_are_carried():
    both = struct.pack(">Q", 1_073_741_823 << 34 | 10)
    assert plain.timestamp(both) == (11, 73_741_823)
    assert plain.extension(-1, both) == "1970-01-01T00:00:11.073741823Z"
    assert plain.timestamp(struct.pack(">Iq", 4_000_000_001, -5)) == (-1, 1)


@pytest.mark.parametrize("size", [0, 1, 3, 5, 7, 9, 11, 13, 16])
def test_a_time_of_another_length(size):
    with pytest.raises(ValueError, match=f"a time of {size} bytes; 4, 8 or 12 are known"):
        plain.extension(-1, b"\x00" * size)


# Smaller parts


@given(st.binary())
def test_base64(data):
    assert base64.b64decode(plain.base64(data), validate=True) == data


@given(integers)
def test_an_extension_that_is_no_time_keeps_type_and_bytes(number):
    data = struct.pack(">q", number % 2**63)
    for code in {number % 128, -2 - number % 127}:
        found = plain.extension(code, data)
        assert found == {"Tag": code % 256, "Data": base64.b64encode(data).decode(), "Value": None}
