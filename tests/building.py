"""Publications as the Go libraries write them, written here a second time and sharing no code with the package.

Map keys are sorted bytewise, integers take the smallest signed form, a `Time` is the timestamp extension in its
smallest form, `Text` is a string of raw bytes. With ``ext=False`` it is what Go's codec writes without WriteExt:
bytes as str, never str8, and times as their bare bytes.
"""

from __future__ import annotations

import json
import struct
from operator import itemgetter
from typing import Any, NamedTuple

MSGPACK = "application/msgpack"
JSON = "application/json"


class Time(NamedTuple):
    """Seconds since 1970 and nanoseconds."""

    seconds: int
    ns: int = 0


EVENT_TIME = Time(1560375482, 268588000)
"""2019-06-12T21:38:02.268588Z"""


class Text(bytes):
    """The bytes of a string, which need not be UTF-8."""


class Raw(bytes):
    """Msgpack as it is."""


class Ext(NamedTuple):
    """An extension of any type."""

    code: int
    data: bytes


def pack(value: Any, *, ext: bool = True) -> bytes:  # noqa: C901, PLR0911 - a branch for each type
    """Msgpack as Go's codec writes it."""
    match value:
        case Raw():
            return bytes(value)
        case None:
            return b"\xc0"
        case bool():
            return b"\xc3" if value else b"\xc2"
        case int():
            return pack_int(value)
        case float():
            return b"\xcb" + struct.pack(">d", value)
        case str():
            return pack_text(value.encode(), ext=ext)
        case Text():
            return pack_text(value, ext=ext)
        case bytes():
            return _sized(b"\xc4\xc5\xc6", value) if ext else pack_text(value, ext=False)
        case Time():
            raw = time_bytes(value)
            return pack_ext(-1, raw) if ext else pack_text(raw, ext=False)
        case Ext():
            return pack_ext(*value)
        case list():
            return head(0x90, 0xDC, len(value)) + b"".join(pack(item, ext=ext) for item in value)
        case dict():
            items = sorted(((pack_key(key), item) for key, item in value.items()), key=itemgetter(0))
            packed = (pack_text(key, ext=ext) + pack(item, ext=ext) for key, item in items)
            return head(0x80, 0xDE, len(value)) + b"".join(packed)
    raise TypeError(type(value))


def pack_key(key: str | bytes) -> bytes:
    return key if isinstance(key, bytes) else key.encode()


def pack_int(value: int) -> bytes:
    if -32 <= value <= 127:
        return struct.pack(">b", value)
    for code, form, bits in (
        (b"\xd0", ">b", 7),
        (b"\xd1", ">h", 15),
        (b"\xd2", ">i", 31),
        (b"\xd3", ">q", 63),
    ):
        if -(2**bits) <= value < 2**bits:
            return code + struct.pack(form, value)
    return b"\xcf" + struct.pack(">Q", value)


def pack_text(raw: bytes, *, ext: bool = True) -> bytes:
    if len(raw) < 32:
        return bytes([0xA0 | len(raw)]) + raw
    return _sized(b"\xd9\xda\xdb", raw, smallest=0 if ext else 1)


def pack_ext(code: int, data: bytes) -> bytes:
    fixed = {1: b"\xd4", 2: b"\xd5", 4: b"\xd6", 8: b"\xd7", 16: b"\xd8"}.get(len(data))
    lead = fixed or b"\xc7" + bytes([len(data)])
    return lead + struct.pack(">b", code) + data


def time_bytes(time: Time) -> bytes:
    if 0 <= time.seconds < 2**34:
        if not time.ns and time.seconds < 2**32:
            return struct.pack(">I", time.seconds)
        return struct.pack(">Q", time.ns << 34 | time.seconds)
    return struct.pack(">Iq", time.ns, time.seconds)


def head(fixed: int, lead: int, size: int) -> bytes:
    """The head of an array (0x90, 0xDC) or a map (0x80, 0xDE)."""
    if size < 16:
        return bytes([fixed | size])
    return struct.pack(">BH", lead, size) if size < 2**16 else struct.pack(">BI", lead + 1, size)


def _sized(leads: bytes, raw: bytes, *, smallest: int = 0) -> bytes:
    for at, form, bits in ((0, ">BB", 8), (1, ">BH", 16), (2, ">BI", 32)):
        if at >= smallest and len(raw) < 2**bits:
            return struct.pack(form, leads[at], len(raw)) + raw
    raise ValueError(len(raw))


def go_json(value: Any) -> bytes:
    """JSON as Go's codec writes it: compact, keys sorted, text as it is but for < > & and U+2028 and U+2029."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text.encode()


def envelope(
    data: bytes | None, topic: str = "squall-events", *, encoding: str = MSGPACK, **more: Any
) -> bytes:
    """What is sent to NATS; what is empty is left out, but for the tracking data (newest libraries)."""
    fields = {"data": data, "encoding": encoding, "topic": topic, "trackingData": {}} | more
    return pack({name: value for name, value in fields.items() if value or value == {}})


def event(
    entity: Any,
    identity: str = "enforcer",
    operation: str = "update",
    time: Time | str | None = EVENT_TIME,
    *,
    encoding: str = MSGPACK,
    ext: bool = True,
) -> bytes:
    """An event, in msgpack or JSON all the way down."""
    fields = {"encoding": encoding, "identity": identity, "timestamp": time, "type": operation}
    if encoding == JSON:
        return go_json(fields | {"entity": entity})
    inner = None if entity is None else pack(entity, ext=ext)
    return pack(fields | {"entity": inner}, ext=ext)


def publication(entity: Any, topic: str = "squall-events", **more: Any) -> bytes:
    """An event in its envelope; `more` is for the event."""
    encoding = more.get("encoding", MSGPACK)
    return envelope(event(entity, **more), topic, encoding=encoding)


def bare(value: Any, topic: str, *, encoding: str = MSGPACK, **more: Any) -> bytes:
    """An object sent without an event around it."""
    return envelope(pack(value) if encoding == MSGPACK else go_json(value), topic, encoding=encoding, **more)
