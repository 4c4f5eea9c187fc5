"""The wire: NATS payload -> envelope -> content, which is an event with its object, or a bare object.

The envelope is a msgpack map written by the Go library bahamut; before 15 April 2019 it was a JSON object with its
data inline. Its `data` is encoded on its own, as msgpack or JSON, and in a msgpack event so is the entity. What is
called JSON here is whatever does not say exactly ``application/msgpack``: so reads Go.

Like `nats_fluent.plain`, each step has a fast reader that knows the one form which the Go libraries write, and a
careful one that knows the rest. What the fast one gives may hold integers beyond 64 bits, or be deeper than an
encoder goes: where it cannot be encoded, the careful one decides. For all else they give the same.
"""

from __future__ import annotations

from typing import Annotated, Any

import msgspec

from nats_fluent import plain
from nats_fluent.errors import Undecodable
from nats_fluent.walk import Walker

MSGPACK = "application/msgpack"
JSON = "application/json"
ACK_ASKED = 1
"""The response mode of a publisher that waits for the three bytes `ack` (bahamut, NATSOptPublishRequireAck)."""

_INT32 = 2**31


class Envelope(msgspec.Struct, frozen=True, gc=False):
    """What is around the data.

    Attributes:
        topic: where the publisher sent it; empty when it did not say.
        encoding: of the data: ``application/msgpack``, or anything else for JSON.
        data: the encoded content; None where there is none.
        response_mode: ACK_ASKED, 2 for a publication as reply, else 0.
        value: the content, already decoded, of an envelope that is JSON itself.
        replaced: characters of it that were not Unicode.
    """

    topic: str
    encoding: str
    data: bytes | None
    response_mode: int
    value: Any = None
    replaced: int = 0


class Content(msgspec.Struct, frozen=True, gc=False):
    """What was published.

    Attributes:
        value: the event with its entity decoded in place, or the bare object: plain values.
        event: whether it is an event.
        identity: of the event's entity; empty for a bare object.
        operation: the event's type: create, update, delete, error; empty for a bare object.
        timestamp: the event's own time as RFC 3339, None when it has none.
        time_ns: the same in nanoseconds since 1970.
        replaced: bytes that were not UTF-8 and are U+FFFD now.
    """

    value: dict[str, Any]
    event: bool
    identity: str
    operation: str
    timestamp: str | None
    time_ns: int | None
    replaced: int = 0


class _Envelope(msgspec.Struct, gc=False):
    data: bytes = b""
    encoding: str = ""
    partition: Annotated[int, msgspec.Meta(ge=-_INT32, lt=_INT32)] = 0
    responseMode: int = 0  # noqa: N815 - the name on the wire
    topic: str = ""
    trackingData: dict[str, str] | None = None  # noqa: N815
    trackingName: str = ""  # noqa: N815


class Event(msgspec.Struct, gc=False, forbid_unknown_fields=True):
    """An event in msgpack. Each field is required: what is absent is not taken for present and empty."""

    encoding: str
    entity: bytes | None
    identity: str
    timestamp: msgspec.msgpack.Ext | None
    type: str


_read_envelope = msgspec.msgpack.Decoder(_Envelope).decode
read_event = msgspec.msgpack.Decoder(Event).decode
EVENT_HEAD = b"\x85\xa8encoding"
"""A map of five whose first key is `encoding`: how the Go libraries begin an event, and no object of theirs."""


def fast_envelope(payload: bytes) -> Envelope:
    """Read the form that the Go libraries write since April 2019; NotFast for any other."""
    if len(payload) > plain.MAX_VALUES:
        return _large_envelope(payload)
    try:
        read = _read_envelope(payload)
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError):
        raise plain.NotFast from None
    if not read.data:
        raise plain.NotFast
    return Envelope(read.topic, read.encoding, read.data, read.responseMode)


def _large_envelope(payload: bytes) -> Envelope:
    """Read it without what is not wanted: tracking data could be any number of strings."""
    try:
        envelope = careful_envelope(payload)
    except Undecodable:
        raise plain.NotFast from None
    if not envelope.data:
        raise plain.NotFast
    return envelope


def fast_content(envelope: Envelope) -> Content:
    """Decode content in the form that the Go libraries write; NotFast for any other."""
    data = envelope.data
    if data is None:
        raise plain.NotFast
    if envelope.encoding != MSGPACK:
        return _content(plain.fast_json(data), 0)
    if not data.startswith(EVENT_HEAD):
        value = plain.fast_msgpack(data)
        if isinstance(value, dict) and _is_event(value):
            raise plain.NotFast
        return _content(value, 0)
    try:
        event = read_event(data)
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError):
        raise plain.NotFast from None
    entity: Any = event.entity
    if entity:
        entity = plain.fast_msgpack(entity) if event.encoding == MSGPACK else plain.fast_json(entity)
    elif entity is not None:
        entity = ""
    text = time_ns = None
    when = event.timestamp
    if when is not None:
        stamp: bytes = when.data  # type: ignore[assignment] # a decoder gives bytes
        if when.code != plain.TIMESTAMP or len(stamp) not in (4, 8, 12):
            raise plain.NotFast
        seconds, ns = plain.timestamp(stamp)
        text, time_ns = plain.rfc3339(seconds, ns), seconds * 1_000_000_000 + ns
    value = {
        "encoding": event.encoding,
        "entity": entity,
        "identity": event.identity,
        "timestamp": text,
        "type": event.type,
    }
    return Content(
        value, event=True, identity=event.identity, operation=event.type, timestamp=text, time_ns=time_ns
    )


def careful_envelope(payload: bytes) -> Envelope:
    """Read any form that Go's codec takes, but for a struct written as an array, which no library writes."""
    if payload[:1] == b"{":
        return _json_envelope(payload)
    walker = Walker(payload, "publication")
    if payload[:1] == b"\xc0":
        return Envelope("", "", None, 0)
    topic = encoding = ""
    data: bytes | None = None
    response_mode = 0
    for _ in range(walker.map_size()):
        key = walker.key()
        at = walker.position
        match key:
            case "data":
                data = walker.raw()
            case "encoding":
                encoding = walker.text()
            case "topic":
                topic = walker.text()
            case "responseMode":
                response_mode = walker.integer()
            case "partition":
                partition = walker.integer()
                if not -_INT32 <= partition < _INT32:
                    raise walker.error(f"partition {partition} is beyond 32 bits", at)
            case "trackingData":
                _tracking_data(walker)
            case "trackingName":
                walker.text()
            case _:
                walker.value()
    return Envelope(topic, encoding, data, response_mode)


def published_to(payload: bytes) -> str:
    """Return the subject that the publication says it was published to; empty when it does not."""
    try:
        return careful_envelope(payload).topic
    except Undecodable:
        return ""


def asks_for_ack(payload: bytes) -> bool:
    """Whether the publisher waits for an answer, without a look at the content, which may be of any size."""
    if payload[:1] == b"{":
        return False  # from before April 2019, when no publisher could ask
    try:
        return careful_envelope(payload).response_mode == ACK_ASKED
    except Undecodable:
        return False


def _tracking_data(walker: Walker) -> None:
    """Hold it to what Go takes: nil, or a map of strings. Nothing of it goes into a record."""
    if walker.nil():
        return
    for _ in range(walker.map_size()):
        walker.key()
        walker.text()


def _json_envelope(payload: bytes) -> Envelope:
    value, replaced = plain.careful_json(payload, "publication")
    data, topic = value.get("data"), value.get("topic")
    if data is None:
        raise Undecodable("publication", "a JSON object without data")
    mode = value.get("responseMode")
    return Envelope(
        topic if isinstance(topic, str) else "",
        JSON,
        None,
        mode if isinstance(mode, int) else 0,
        value=data,
        replaced=replaced,
    )


def careful_content(envelope: Envelope) -> Content:
    """Decode content in any form that Go's codec takes."""
    if envelope.value is not None:
        return _content(envelope.value, envelope.replaced)
    data = envelope.data
    if not data:
        raise Undecodable("content", "the publication holds no data")
    if envelope.encoding != MSGPACK:
        try:
            value, replaced = plain.careful_json(data, "content")
        except Undecodable as error:
            if envelope.encoding == JSON:
                raise
            raise Undecodable(
                "content", f"encoding {envelope.encoding[:40]!r} is read as JSON; {error.reason}"
            ) from None
        return _content(value, replaced)
    return _msgpack_content(data)


def _msgpack_content(data: bytes) -> Content:
    walker = Walker(data, "content")
    value = walker.value()
    if not isinstance(value, dict):
        raise Undecodable("content", f"{_named(value)} where an event or an object is expected")
    if not _is_event(value):
        return _content(value, walker.replaced)
    walker = Walker(data, "content")
    event: dict[str, Any] = {}
    encoding, entity, text, time_ns = "", None, None, None
    for _ in range(walker.map_size()):
        key = walker.key()
        match key:
            case "encoding":
                event[key] = encoding = walker.text()
            case "entity":
                entity = walker.raw()
                event[key] = None
            case "timestamp":
                found = walker.time()
                text = plain.rfc3339(*found) if found else None
                time_ns = found[0] * 1_000_000_000 + found[1] if found else None
                event[key] = text
            case "identity" | "type":
                event[key] = walker.text()
            case _:
                event[key] = walker.value()
    replaced = walker.replaced
    if entity is not None:
        event["entity"], more = _entity(entity, encoding)
        replaced += more
    return Content(
        event,
        event=True,
        identity=event.get("identity", ""),
        operation=event.get("type", ""),
        timestamp=text,
        time_ns=time_ns,
        replaced=replaced,
    )


def _entity(entity: bytes, encoding: str) -> tuple[Any, int]:
    if not entity:
        return "", 0
    if encoding == MSGPACK:
        walker = Walker(entity, "entity")
        return walker.value(), walker.replaced
    return plain.careful_json(entity, "entity")


def _is_event(value: dict[str, Any]) -> bool:
    """Whether a map is an event: it has an entity, which no object of the platform has, and one other mark."""
    return "entity" in value and ("identity" in value or "type" in value)


def _content(value: Any, replaced: int) -> Content:  # noqa: ANN401 - any plain value
    """Make the content of a value that needs no more decoding."""
    if not isinstance(value, dict):
        raise Undecodable("content", f"{_named(value)} where an event or an object is expected")
    if not _is_event(value):
        return Content(
            value, event=False, identity="", operation="", timestamp=None, time_ns=None, replaced=replaced
        )
    for key in ("identity", "type", "timestamp"):
        if not isinstance(value.get(key), str | None):
            raise Undecodable("content", f"the event's {key} is {_named(value[key])}, not a string")
    timestamp = value.get("timestamp")
    time_ns = None if timestamp is None else plain.parse_rfc3339(timestamp)
    if timestamp is not None and time_ns is None:
        raise Undecodable("content", f"the event's timestamp {timestamp[:40]!r} is not RFC 3339")
    return Content(
        value,
        event=True,
        identity=value.get("identity") or "",
        operation=value.get("type") or "",
        timestamp=timestamp,
        time_ns=time_ns,
        replaced=replaced,
    )


def _named(value: object) -> str:
    names = {
        str: "a string",
        bool: "a boolean",
        int: "an integer",
        float: "a float",
        list: "an array",
        dict: "a map",
    }
    return names.get(type(value), "nothing")
