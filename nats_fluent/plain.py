"""msgpack and JSON -> plain values: what every JSON reader takes, as the Go side prints them.

A plain value is a string of valid Unicode, a boolean, None, an integer of 64 bits, a finite float, a list, or a
dict with string keys. Bytes become base64, times RFC 3339 with all their digits, NaN and the infinities the
strings ``NaN``, ``Infinity`` and ``-Infinity``, and each byte that is not UTF-8 one U+FFFD, as Go prints it.

Each format has two readers. The fast one is a C or Rust library with a few checks around it, and refuses what it
cannot turn into plain values; the careful one (msgpack: `nats_fluent.walk`) takes all that Go's codec takes and
says where and why it stops. Where the fast one has an answer, the careful one has the same.
"""

from __future__ import annotations

import json
import math
import re
import struct
from base64 import b64encode
from datetime import UTC, datetime
from functools import lru_cache
from itertools import islice
from typing import Any, NoReturn

import msgspec
import ormsgpack

from nats_fluent import compiled
from nats_fluent.errors import Undecodable

MAX_DEPTH = 700
"""Containers inside containers. Go's codec stops at 1,024, but CPython's json and msgspec read and write no more than
1,000 less what is on the stack around them, so a record as deep as Go allows is one that its readers cannot read."""

MAX_VALUES = 250_000
"""Values in one payload, the keys of maps included. Each is a Python object, and an empty map takes one byte on the
wire and 72 in memory. A record of the usual 900 kB that has more would need all of them shorter than 4 characters."""

FAST_DEPTH = 60
"""What the fast readers give is not deeper, so that no record is that Fluent Bit cannot read (see `record`)."""

INT_MIN, INT_MAX = -(2**63), 2**64 - 1
"""What msgpack and Go's decoder hold as an integer; JSON numbers beyond become floats, as in Go."""

TIMESTAMP = -1
"""The msgpack extension type of a time."""
_TOO_DEEP = f"JSON nested deeper than {MAX_DEPTH} levels"
_NOT_OPENING = bytes({*range(256)} - {*range(0x81, 0x90), *range(0x91, 0xA0), *range(0xDC, 0xE0)})
"""Every byte but those that open a map or an array which is not empty. There are no fewer of these than levels; more,
where they are part of a text or a number. Leaving the others out is the fastest count: 0.5 us in 930 bytes."""
_SMALL = bytes(
    {*range(256)} - {*range(0x80, 0xA0), *range(0xC7, 0xCA), *range(0xD4, 0xD9), *range(0xDC, 0xE0)}
)
"""Every byte but those that open a map, an array or an extension: what takes much more memory than bytes."""
_VALUE = re.compile(rb'"(?s:[^"\\]|\\.)*+"?|[\[{]|[^\s,:\[\]{}"]+')
"""The beginning of a value in JSON, or of a key; a string whole, also one without an end."""
_ESCAPED = re.compile("[\ud800-\udfff]")
_DAY = 86_400
_DAYS_TO_EPOCH = 719_468
"""Days from 0000-03-01 to 1970-01-01, in the proleptic Gregorian calendar."""
_DATETIME_RANGE = (-62_135_596_800, 253_402_300_799)
"""Years 1 to 9999 in seconds since 1970: what `datetime` holds."""
_NS = 1_000_000_000
_SECONDS = 2**34 - 1
"""The bits of the seconds in a msgpack timestamp of 8 bytes; the nanoseconds stand above them."""
_UINT64 = struct.Struct(">Q").unpack
_MILLIS = ("Z", *(f".{millis:03d}".rstrip("0") + "Z" for millis in range(1, 1000)))
"""How a time ends that has milliseconds and no more, as the platform's database keeps them."""


def flatten(value: Any, levels: int) -> Any:  # noqa: ANN401 - any plain value
    """Return the value with what stands deeper than `levels` as its JSON text.

    Args:
        value: plain, no deeper than MAX_DEPTH.
        levels: containers in containers that are kept; an empty one is no level.
    """
    if not isinstance(value, dict | list) or not value:
        return value
    if levels <= 0:
        return msgspec.json.encode(value).decode()
    if isinstance(value, dict):
        return {key: flatten(item, levels - 1) for key, item in value.items()}
    return [flatten(item, levels - 1) for item in value]


class NotFast(Exception):  # noqa: N818 - a turning, not an error
    """The fast reader has no answer; the careful one decides."""


def fast_msgpack(data: bytes) -> Any:  # noqa: ANN401 - plain, or what fast_pack makes plain
    """Read one msgpack value, its times as text; it may hold bytes and floats that are not finite.

    Raises:
        NotFast: it is broken, not UTF-8, has keys that are not strings, is deeper than FAST_DEPTH, or may hold more
            than MAX_VALUES.
    """
    large = len(data) > MAX_VALUES
    if large and len(data.translate(None, _SMALL)) > MAX_VALUES:
        raise NotFast
    try:
        value = ormsgpack.unpackb(data, ext_hook=extension)
    except ValueError:
        raise NotFast from None
    if len(data.translate(None, _NOT_OPENING)) > FAST_DEPTH and deeper(value, FAST_DEPTH):
        raise NotFast
    if large and _many(value):
        raise NotFast
    return value


def _many(value: object) -> bool:
    """Whether it holds more than MAX_VALUES."""
    count, level = 1, [value]
    while level:
        inside: list[object] = []
        for holds in level:
            if not isinstance(holds, dict | list):
                continue
            items = holds.values() if isinstance(holds, dict) else holds
            count += len(holds) if items is holds else 2 * len(holds)
            if count > MAX_VALUES:
                return True
            inside += items
        level = inside
    return False


def _marks(data: bytes) -> int:
    """Count what separates and opens values in JSON, also within strings: no fewer than there are values but one."""
    return sum(map(data.count, (b",", b":", b"[", b"{"))) if len(data) > MAX_VALUES else 0


def deeper(value: object, levels: int) -> bool:
    """Whether containers stand in each other in more levels than that."""
    level = [value]
    for _ in range(levels + 1):
        level = [
            inside
            for holds in level
            if isinstance(holds, dict | list)
            for inside in (holds.values() if isinstance(holds, dict) else holds)
        ]
        if not level:
            return False
    return True


def fast_pack(value: dict[str, Any]) -> bytes:
    """Encode what the fast readers gave, bytes as base64.

    Raises:
        NotFast: it holds a float that is not finite, or an integer beyond 64 bits.
    """
    try:
        packed = ormsgpack.packb(value)
    except TypeError:
        raise NotFast from None
    # 0xc4 to 0xc6 begin bytes, 0xca and 0xcb a float. They may as well be part of a number or of a letter: then the
    # slower way is taken for nothing, with the same result. Looked for in what goes out, where times are text by now,
    # whose bytes could be anything. (`in` with an integer is a memchr: 0.13 us for all five in 930 bytes.)
    if 0xC4 in packed or 0xC5 in packed or 0xC6 in packed:
        packed = ormsgpack.packb(msgspec.to_builtins(value))
    if (0xCB in packed or 0xCA in packed) and (
        b"\xcb\x7f" in packed or b"\xcb\xff" in packed or b"\xca\x7f" in packed or b"\xca\xff" in packed
    ):
        raise NotFast  # a NaN or an infinity begins so: all bits of the exponent are set, with either sign
    return packed


def fast_json(data: bytes) -> Any:  # noqa: ANN401 - any plain value
    """Read one JSON text; integers may be longer than 64 bits, which no encoder takes.

    Raises:
        NotFast: it is broken, deeper than FAST_DEPTH, may hold more than MAX_VALUES, or this reader is stricter than
            Go's.
    """
    if _marks(data) >= MAX_VALUES:
        raise NotFast
    try:
        value = msgspec.json.decode(data)
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError):
        raise NotFast from None
    if data.count(b"{") + data.count(b"[") > FAST_DEPTH and deeper(value, FAST_DEPTH):
        raise NotFast
    return value


def careful_json(data: bytes, stage: str, *, whole: bool = False) -> tuple[Any, int]:
    """Read the first JSON value of a text as Go's codec does; what follows it is ignored, or refused for the `whole`.

    Raw control characters in strings are taken. NaN, ``+1``, leading zeros and a byte order mark are not JSON and
    are refused; of these, Go's codec takes leading zeros, which no publisher of a Go library writes.

    Returns:
        The plain value, and how many characters were replaced by U+FFFD.

    Raises:
        Undecodable: it is not JSON, nested deeper than MAX_DEPTH, or holds more than MAX_VALUES.
    """
    if _marks(data) >= MAX_VALUES and next(islice(_VALUE.finditer(data), MAX_VALUES, None), None):
        raise Undecodable(stage, f"JSON of more than {MAX_VALUES} values")
    text = data.decode("utf-8", "surrogateescape").lstrip(" \t\r\n")
    replaced = [0]
    try:
        value, end = _JSON.raw_decode(text)
    except RecursionError:
        raise Undecodable(stage, _TOO_DEEP) from None
    except json.JSONDecodeError as error:
        raise Undecodable(stage, f"not JSON: {error.msg} at character {error.pos} of {len(text)}") from None
    except ValueError as error:
        raise Undecodable(stage, f"not JSON: {error}") from None
    if whole and text[end:].strip(" \t\r\n"):
        raise Undecodable(stage, f"not JSON: more after the value, at character {end} of {len(text)}")
    if isinstance(value, str):
        return whole_text(value, replaced), replaced[0]
    _make_whole(value, replaced, stage)
    return value, replaced[0]


def _make_whole(value: Any, replaced: list[int], stage: str) -> None:  # noqa: ANN401 - any JSON value
    """Replace, in place, what is not Unicode in a value that json read, and hold its depth; without recursion."""
    level: list[Any] = [value]
    for _ in range(MAX_DEPTH):
        inside: list[Any] = []
        for holds in level:
            if isinstance(holds, dict):
                for key in [key for key in holds if _ESCAPED.search(key)]:
                    holds[whole_text(key, replaced)] = holds.pop(key)
                items: Any = list(holds.items())
            elif isinstance(holds, list):
                items = enumerate(holds)
            else:
                continue
            for place, item in items:
                if isinstance(item, str):
                    holds[place] = whole_text(item, replaced)
                elif isinstance(item, dict | list):
                    inside.append(item)
        if not inside:
            return
        level = inside
    raise Undecodable(stage, _TOO_DEEP)


def whole_text(text: str, replaced: list[int]) -> str:
    """Put U+FFFD for each lone surrogate, which is how a byte that is not UTF-8 was read; count them."""
    whole, count = _ESCAPED.subn("\ufffd", text)
    replaced[0] += count
    return whole


def _json_int(digits: str) -> int | float:
    if len(digits) <= len("-9223372036854775808"):
        number = int(digits)
        if INT_MIN <= number <= INT_MAX:
            return number
    return _json_float(digits)


def _json_float(digits: str) -> float:
    number = float(digits)
    if math.isinf(number):
        raise ValueError(f"{digits[:40]} is beyond a double")
    return number


def _json_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a number in JSON")


_JSON = json.JSONDecoder(
    strict=False, parse_int=_json_int, parse_float=_json_float, parse_constant=_json_constant
)


def base64(data: bytes) -> str:
    """Return the bytes in base64, standard alphabet with padding, as Go's encoding/json prints them."""
    return b64encode(data).decode("ascii")


def extension(code: int, data: bytes) -> str | dict[str, Any]:
    """Return what Go prints for a msgpack extension: a time, or its codec's RawExt for any other type.

    Raises:
        ValueError: a time of another length than 4, 8 or 12 bytes.
    """
    if code == TIMESTAMP:
        if len(data) == 8:  # nearly all; as `timestamp` and `rfc3339`, without the calls
            both: int = _UINT64(data)[0]
            ns = both >> 34
            if ns < _NS:
                if ns % 1_000_000:
                    return "%s.%sZ" % (_seconds_text(both & _SECONDS), ("%09d" % ns).rstrip("0"))  # noqa: UP031
                return _seconds_text(both & _SECONDS) + _MILLIS[ns // 1_000_000]
        return rfc3339(*timestamp(data))
    return {"Tag": code & 0xFF, "Data": base64(data), "Value": None}


def timestamp(data: bytes) -> tuple[int, int]:
    """Read the bytes of a msgpack timestamp: seconds since 1970 and nanoseconds below 1e9.

    Nanoseconds of 1e9 and more are carried into the seconds, as Go's time.Unix does.

    Raises:
        ValueError: not 4, 8 or 12 bytes.
    """
    size = len(data)
    if size == 8:
        both: int = _UINT64(data)[0]
        seconds, ns = both & _SECONDS, both >> 34
    elif size == 4:
        seconds, ns = int.from_bytes(data, "big"), 0
    elif size == 12:
        seconds, ns = int.from_bytes(data[4:], "big", signed=True), int.from_bytes(data[:4], "big")
    else:
        raise ValueError(f"a time of {size} bytes; 4, 8 or 12 are known")
    if ns >= _NS:
        return seconds + ns // _NS, ns % _NS
    return seconds, ns


def rfc3339(seconds: int, ns: int) -> str:
    """Write a time in UTC as Go's RFC3339Nano: the fraction without trailing zeros, none when it is zero."""
    if ns % 1_000_000:
        return "%s.%sZ" % (_seconds_text(seconds), ("%09d" % ns).rstrip("0"))  # noqa: UP031 - faster than an f-string
    return _seconds_text(seconds) + _MILLIS[ns // 1_000_000]


@lru_cache(maxsize=4096)
def _seconds_text(seconds: int) -> str:
    if _DATETIME_RANGE[0] <= seconds <= _DATETIME_RANGE[1]:
        return datetime.fromtimestamp(seconds, UTC).isoformat()[:19]
    # H. Hinnant, "chrono-Compatible Low-Level Date Algorithms", civil_from_days: years of any size, from March.
    days, rest = divmod(seconds, _DAY)
    era, day_of_era = divmod(days + _DAYS_TO_EPOCH, 146_097)
    year_of_era = (day_of_era - day_of_era // 1460 + day_of_era // 36_524 - day_of_era // 146_096) // 365
    day_of_year = day_of_era - (365 * year_of_era + year_of_era // 4 - year_of_era // 100)
    month_from_march = (5 * day_of_year + 2) // 153
    day = day_of_year - (153 * month_from_march + 2) // 5 + 1
    month = (month_from_march + 2) % 12 + 1
    year = year_of_era + era * 400 + (month <= 2)
    sign = "-" if year < 0 else ""
    hours, rest = divmod(rest, 3600)
    return f"{sign}{abs(year):04d}-{month:02d}-{day:02d}T{hours:02d}:{rest // 60:02d}:{rest % 60:02d}"


_SECONDS_TEXT = re.compile(r"\d{4}-\d{2}-\d{2}[Tt]\d{2}:\d{2}:\d{2}", re.ASCII)
_SECONDS_SIZE = len("2019-06-12T21:38:02")
_RFC3339 = re.compile(r"(.{19})(?:[.,](\d+))?(?:([Zz])|([+-])(\d{2}):(\d{2}))", re.ASCII)


def parse_rfc3339(text: str) -> int | None:
    """Return the nanoseconds since 1970 of an RFC 3339 time; digits past the ninth are cut off.

    None where it is not such a time. Years 1 to 9999 only.
    """
    time_ns = compiled.time_ns
    if time_ns is not None and (found := time_ns(text)) is not None:
        return found
    if text[-1:] == "Z" and len(text) > _SECONDS_SIZE:  # as Go and most others write it
        fraction = text[_SECONDS_SIZE + 1 : -1]
        if text[_SECONDS_SIZE] == "." and fraction.isdecimal() and fraction.isascii():
            seconds = _text_seconds(text[:_SECONDS_SIZE])
            return None if seconds is None else seconds * _NS + int(fraction[:9].ljust(9, "0"))
    match = _RFC3339.fullmatch(text)
    if match is None:
        return None
    base, fraction, _, sign, hours, minutes = match.groups()
    seconds = _text_seconds(base)
    if seconds is None:
        return None
    if sign:
        offset = int(hours) * 3600 + int(minutes) * 60
        seconds += -offset if sign == "+" else offset
    return seconds * _NS + (int(fraction[:9].ljust(9, "0")) if fraction else 0)


@lru_cache(maxsize=4096)
def _text_seconds(text: str) -> int | None:
    """Return the seconds since 1970 of a time without fraction and zone; None where it is none."""
    if _SECONDS_TEXT.fullmatch(text) is None:
        return None
    try:
        return int(datetime.fromisoformat(text.upper()).replace(tzinfo=UTC).timestamp())
    except ValueError:
        return None
