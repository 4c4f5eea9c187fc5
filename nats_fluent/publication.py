"""The wire: NATS payload -> envelope -> content, which is an event with its object, or a bare object.

The envelope is a msgpack map written by the Go library bahamut; before 15 April 2019 it was a JSON object with its
data inline. Its `data` is encoded on its own, as msgpack or JSON, and in a msgpack event so is the entity. What is
called JSON here is whatever does not say exactly ``application/msgpack``: so reads Go.

Like `nats_fluent.plain`, each step has a fast reader that knows the one form which the Go libraries write, and a
careful one that knows the rest. What the fast one gives may hold integers beyond 64 bits, or be deeper than an
encoder goes: where it cannot be encoded, the careful one decides. For all else they give the same.

Most content goes out nearly as it came. `spliced` makes its plain msgpack in one pass over the publication's bytes, in
C (``_splice.c`` and those beside it), without a Python object for each value; it is there where the package was built
with a C compiler, and has an answer for what is common only. Where it has one, the careful reader has the same.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from nats_fluent import compiled, plain
from nats_fluent.envelope import JSON, MSGPACK, Envelope
from nats_fluent.errors import Undecodable
from nats_fluent.walk import Walker

if TYPE_CHECKING:
    from collections.abc import Mapping


class Content(msgspec.Struct, frozen=True, gc=False):
    """What was published.

    Attributes:
        value: the event with its entity decoded in place, or the bare object: plain values; nothing where it is
            `packed`.
        about: the object's own fields: the event's entity, or the bare object; of what is `packed` those that were
            asked for and hold a string or a number.
        event: whether it is an event.
        identity: of the event's entity; empty for a bare object.
        operation: the event's type: create, update, delete, error; empty for a bare object.
        timestamp: the event's own time as RFC 3339, None when it has none.
        time_ns: the same in nanoseconds since 1970.
        replaced: bytes that were not UTF-8 and are U+FFFD now.
        packed: the value as plain msgpack, where it is spliced; else nothing.
        ack_asked: whether the publisher waits for an answer, where it is spliced; else the envelope says so.
    """

    value: dict[str, Any]
    about: dict[str, Any]
    event: bool
    identity: str
    operation: str
    timestamp: str | None
    time_ns: int | None
    replaced: int = 0
    packed: bytes = b""
    ack_asked: bool = False


class Event(msgspec.Struct, gc=False, forbid_unknown_fields=True):
    """An event in msgpack. Each field is required: what is absent is not taken for present and empty."""

    encoding: str
    entity: bytes | None
    identity: str
    timestamp: msgspec.msgpack.Ext | None
    type: str


read_event = msgspec.msgpack.Decoder(Event).decode
EVENT_HEAD = b"\x85\xa8encoding"
"""A map of five whose first key is `encoding`: how the Go libraries begin an event, and no object of theirs."""
_NO_VALUE: dict[str, Any] = {}
_OF_HEAD = ("identity", "type", "timestamp")
"""The fields of an event, besides its entity, that a record is made of."""


class Asked(NamedTuple):
    """The names of the fields of `Content.about`.

    Attributes:
        of_event: of the entity of an event in msgpack.
        of_object: of any other object in msgpack.
        of_json: of an object or an event in JSON.
    """

    of_event: compiled.Names
    of_object: compiled.Names
    of_json: compiled.Names


def asked(of_event: tuple[str, ...], of_object: tuple[str, ...]) -> Asked:
    """Return what `spliced` takes of the names that it is to find: of an event's entity, and of a bare object."""
    return Asked(of_event, of_object, (*of_object, *_OF_HEAD, ("entity", of_event)))


def watch(names: tuple[str, ...]) -> bytes:
    """Return what `spliced` takes of keys that it is to look out for, of up to 255 bytes of UTF-8 each."""
    return b"" if compiled.watch is None else compiled.watch(names)


def spliced(payload: bytes, names: Asked, watched: bytes = b"") -> Content | None:
    """Make the plain msgpack of a publication's content without a look at its values.

    Args:
        payload: the bytes of the publication.
        names: what `asked` made.
        watched: what `watch` made of keys, at any depth of the object, whose values are to be looked at.

    Returns:
        None where the envelope or the values are to be looked at.
    """
    splice = compiled.splice_publication
    if splice is None or len(payload) > plain.MAX_VALUES:
        return None
    found = splice(payload, names, watched)
    if found is None:
        return None
    ack_asked, packed, about, identity, operation, text, time_ns = found
    if identity is None or operation is None:
        return _object_or_json(packed, about, ack_asked)
    return Content(_NO_VALUE, about, True, identity, operation, text, time_ns, 0, packed, ack_asked)


def _object_or_json(packed: bytes, about: compiled.Fields, ack_asked: bool) -> Content | None:  # noqa: FBT001
    """Tell an event in JSON from what has no entity."""
    entity = about.get("entity")
    if type(entity) is not dict:  # as it would be, if there were one
        return Content(_NO_VALUE, about, False, "", "", None, None, 0, packed, ack_asked)
    identity, operation, text = map(about.get, _OF_HEAD)
    if type(identity) is not str or type(operation) is not str or type(text) is not str:
        return None  # rare, and no event or a broken one
    time_ns = plain.parse_rfc3339(text)
    if time_ns is None:
        return None
    return Content(_NO_VALUE, entity, True, identity, operation, text, time_ns, 0, packed, ack_asked)


def fast_content(envelope: Envelope) -> Content:
    """Decode content in the form that the Go libraries write; NotFast for any other."""
    data = envelope.data
    if data is None:
        raise plain.NotFast
    if envelope.encoding != MSGPACK:
        return _content(plain.fast_json(data), 0)
    if not data.startswith(EVENT_HEAD):
        value = plain.fast_msgpack(data)
        if isinstance(value, dict) and is_event(value):
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
    text, time_ns = _event_time(event.timestamp)
    value = {
        "encoding": event.encoding,
        "entity": entity,
        "identity": event.identity,
        "timestamp": text,
        "type": event.type,
    }
    return Content(
        value,
        entity if type(entity) is dict else {},
        event=True,
        identity=event.identity,
        operation=event.type,
        timestamp=text,
        time_ns=time_ns,
    )


def _event_time(when: msgspec.msgpack.Ext | None) -> tuple[str | None, int | None]:
    """Return the time of an event as text and in nanoseconds."""
    if when is None:
        return None, None
    stamp: bytes = when.data  # type: ignore[assignment] # a decoder gives bytes
    if when.code != plain.TIMESTAMP or len(stamp) not in (4, 8, 12):
        raise plain.NotFast
    seconds, ns = plain.timestamp(stamp)
    return plain.rfc3339(seconds, ns), seconds * 1_000_000_000 + ns


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
    if not is_event(value):
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
    about = event.get("entity")
    return Content(
        event,
        about if isinstance(about, dict) else {},
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


def is_event(value: Mapping[str, Any]) -> bool:
    """Whether a map is an event: it has an entity, which no object of the platform has, and one other mark."""
    return "entity" in value and ("identity" in value or "type" in value)


def _content(value: Any, replaced: int) -> Content:  # noqa: ANN401 - any plain value
    """Make the content of a value that needs no more decoding."""
    if not isinstance(value, dict):
        raise Undecodable("content", f"{_named(value)} where an event or an object is expected")
    if not is_event(value):
        return Content(
            value,
            value,
            event=False,
            identity="",
            operation="",
            timestamp=None,
            time_ns=None,
            replaced=replaced,
        )
    for key in ("identity", "type", "timestamp"):
        if not isinstance(value.get(key), str | None):
            raise Undecodable("content", f"the event's {key} is {_named(value[key])}, not a string")
    timestamp = value.get("timestamp")
    time_ns = None if timestamp is None else plain.parse_rfc3339(timestamp)
    if timestamp is not None and time_ns is None:
        raise Undecodable("content", f"the event's timestamp {timestamp[:40]!r} is not RFC 3339")
    about = value["entity"]
    return Content(
        value,
        about if isinstance(about, dict) else {},
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
