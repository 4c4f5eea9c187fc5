"""Plain values: both readers of each format."""

from __future__ import annotations

import base64
import contextlib
import json
import math

import msgpack
import pytest
from building import Ext, Text, Time, go_json, pack, pack_ext
from hypothesis import example, given
from hypothesis import strategies as st
from judging import exactly, not_plain
from strategies import mutated, nested, odd_maps, plain_maps, plain_values, scalars, texts

from nats_fluent import plain
from nats_fluent.errors import Undecodable
from nats_fluent.walk import Walker


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
