"""Times, as text and as bytes, with and without the compiled part; and what else is an extension or bytes."""

from __future__ import annotations

import base64
import itertools
import struct
from datetime import UTC, datetime, timedelta, timezone

import pytest
from building import Time, time_bytes
from decoding import without_the_compiled_part
from hypothesis import example, given
from hypothesis import strategies as st
from programs import missing
from strategies import integers

from nats_fluent import plain
from nats_fluent.compiled import time_ns

MIN_SECONDS = int(datetime(1, 1, 1, tzinfo=UTC).timestamp())
MAX_SECONDS = int(datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC).timestamp())
in_datetime = st.integers(MIN_SECONDS, MAX_SECONDS)
nanoseconds = st.integers(0, 10**9 - 1) | st.sampled_from([0, 1, 10, 500_000_000, 268_588_000, 999_999_999])


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


@pytest.mark.parametrize("text", ["2019-06-12T21:38:02Z", "2019-06-12T21:38:02.26Z"])
def test_a_time_with_another_character_anywhere_or_without_one(text):
    for place, other in itertools.product(range(len(text)), ("", *"0:-T.Z/x ")):
        changed = text[:place] + other + text[place + 1 :]
        found = plain.parse_rfc3339(changed)
        with without_the_compiled_part():
            assert plain.parse_rfc3339(changed) == found, changed
