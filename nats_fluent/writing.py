"""Publications as the platform's Go libraries write them: envelope, event and object, in msgpack or JSON.

Map keys are sorted bytewise, integers take the smallest signed form, bytes and times are what msgpack has for them: as
of bahamut, elemental and the ugorji codec in 2024.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from datetime import datetime
from typing import Any

import msgpack

from nats_fluent import plain
from nats_fluent.envelope import ACK_ASKED, JSON, MSGPACK

_ESCAPED = str.maketrans(
    {"<": r"\u003c", ">": r"\u003e", "&": r"\u0026", "\u2028": r"\u2028", "\u2029": r"\u2029"}
)
_SIGNED = ((b"\xd1", ">h", 2**15), (b"\xd2", ">i", 2**31), (b"\xd3", ">q", 2**63))
_UNSIGNED = 2**7
"""From here on the smallest form is one without a sign, which Go takes for its unsigned types only."""
_NS = 1_000_000_000


def envelope(data: bytes, topic: str, *, encoding: str = MSGPACK, ask_ack: bool = False) -> bytes:
    """Return what is sent to NATS.

    Args:
        data: the encoded content.
        topic: the subject that it is published to.
        encoding: of the content.
        ask_ack: whether the publisher waits for an answer.
    """
    fields: dict[str, Any] = {"data": data, "encoding": encoding, "topic": topic, "trackingData": {}}
    return pack(fields | ({"responseMode": ACK_ASKED} if ask_ack else {}))


def event(
    identity: str, operation: str, entity: object, timestamp: object, *, encoding: str = MSGPACK
) -> bytes:
    """Return an event; in msgpack its entity is encoded on its own.

    Args:
        identity: what the entity is.
        operation: what was done to it.
        entity: a mapping; None for none.
        timestamp: a time with a zone, or RFC 3339; None for Go's zero time.
        encoding: of both.

    Raises:
        TypeError: a value has no form in the encoding.
        ValueError: the timestamp is not RFC 3339, or a time has no zone.
    """
    inner = pack(entity) if encoding == MSGPACK and entity is not None else entity
    when = _time(timestamp) if timestamp is not None else None
    fields = {
        "encoding": encoding,
        "entity": inner,
        "identity": identity,
        "timestamp": when,
        "type": operation,
    }
    return encode(fields, encoding)


def encode(value: object, encoding: str) -> bytes:
    """Encode any value as Go does; errors as of `event`."""
    return pack(value) if encoding == MSGPACK else go_json(value)


def pack(value: object) -> bytes:
    """Return msgpack; errors as of `event`."""
    out = bytearray()
    _write(value, out)
    return bytes(out)


def _write(value: object, out: bytearray) -> None:
    match value:
        case bool():
            out += msgpack.packb(value)
        case int() if value >= _UNSIGNED:
            out += next(
                (lead + struct.pack(form, value) for lead, form, beyond in _SIGNED if value < beyond), b""
            ) or msgpack.packb(value)
        case datetime():
            out += msgpack.packb(_time(value))
        case Mapping():
            out += msgpack.Packer().pack_map_header(len(value))
            for key in sorted(value, key=_bytewise):
                out += msgpack.packb(key)
                _write(value[key], out)
        case list() | tuple():
            out += msgpack.Packer().pack_array_header(len(value))
            for item in value:
                _write(item, out)
        case _:
            out += msgpack.packb(value)


def _bytewise(key: object) -> bytes:
    if not isinstance(key, str):
        raise TypeError(f"a key of type {type(key).__name__}; the keys of what is published are text")
    return key.encode()


def _time(value: object) -> msgpack.Timestamp:
    if isinstance(value, msgpack.Timestamp):
        return value
    if isinstance(value, datetime):
        if value.tzinfo is None:
            raise ValueError(f"a time without a zone: {value.isoformat()}")
        value = value.isoformat()
    time_ns = plain.parse_rfc3339(value) if isinstance(value, str) else None
    if time_ns is None:
        raise ValueError(f"not a time: {value!r}; write it as 2026-01-02T03:04:05Z")
    return msgpack.Timestamp(*divmod(time_ns, _NS))


def go_json(value: object) -> bytes:
    """Return JSON; errors as of `event`."""
    text = json.dumps(_sorted(value), ensure_ascii=False, separators=(",", ":"))
    return text.translate(_ESCAPED).encode()


def _sorted(value: Any) -> Any:  # noqa: ANN401 - any value that has a form
    match value:
        case Mapping():
            return {key: _sorted(value[key]) for key in sorted(value, key=_bytewise)}
        case list() | tuple():
            return [_sorted(item) for item in value]
        case datetime() | msgpack.Timestamp():
            when = _time(value)
            return plain.rfc3339(when.seconds, when.nanoseconds)
        case bytes():
            return plain.base64(value)
    return value


__all__ = ["JSON", "MSGPACK", "encode", "envelope", "event", "go_json", "pack"]
