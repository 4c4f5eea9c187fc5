"""Whatever is published becomes a record that every reader takes, or one of its bytes; nothing else comes of it."""

from __future__ import annotations

import json
import re

import msgpack
import msgspec
from building import JSON, MSGPACK, envelope, pack
from judging import exactly, not_plain, vectors

from fuzz.engine import MAX_LEN
from nats_fluent import compiled, plain, publication, record, sections
from nats_fluent.delivery import Delivery
from nats_fluent.envelope import ACK_ASKED, careful_envelope, fast_envelope
from nats_fluent.errors import Undecodable
from nats_fluent.forward.codec import event_time

NOW = 1_700_000_000_123_456_789
LIMIT = 6_000
"""Few, so that records are over it."""
TAG = re.compile(r"t\.[A-Za-z0-9_.:@$-]+")
FORMS = ("payload", "msgpack", "JSON", "entity", "JSON entity", "headers")


def seeds():
    for vector in vectors().values():
        if len(vector.payload) < MAX_LEN:
            yield b"\x00" + vector.payload
            for form, encoding in ((1, MSGPACK), (2, JSON)):
                try:
                    data = careful_envelope(vector.payload).data or b""
                except Undecodable:
                    continue
                if (data[:1] == b"{") is (encoding == JSON):
                    yield bytes([form]) + data
    yield b"\x05NATS/1.0\r\na: b\r\na: c\r\n\r\n"


def delivery(data: bytes) -> Delivery:
    """What the first byte chooses around the others."""
    form, inside = FORMS[data[0] % len(FORMS)] if data else "payload", data[1:]
    headers = None
    match form:
        case "payload":
            payload = inside
        case "msgpack" | "JSON":
            payload = envelope(inside, encoding=MSGPACK if form == "msgpack" else JSON)
        case "headers":
            payload, headers = envelope(pack({"ID": "1"})), inside
        case _:
            encoding = MSGPACK if form == "entity" else JSON
            whole = {"encoding": encoding, "entity": inside, "identity": "i", "timestamp": None, "type": "t"}
            payload = envelope(pack(whole))
    return Delivery("topic", "a.subject", payload, headers=headers)


def check(data: bytes) -> None:
    given = delivery(data)
    for levels in (record.FORWARD_LEVELS, None):
        settings = sections.RecordSettings(tag="t.{topic}.{identity}.{operation}", max_bytes=LIMIT)
        _is_fit(record.Recorder(settings, "run", levels=levels).record(given, NOW), levels)
    _agree(given.payload)
    _agree_json(data[1:])


def _is_fit(made: record.Record, levels: int | None) -> None:
    assert "this program failed" not in made.error, made.error
    assert len(made.packed) <= LIMIT
    assert TAG.fullmatch(made.tag) or made.tag == "t.undecodable", made.tag
    assert len(event_time(made.time_ns)) == 10
    read = msgpack.unpackb(made.packed)
    assert not not_plain(read)
    assert exactly(msgspec.msgpack.decode(made.packed), read)
    if levels is not None:
        assert not plain.deeper(read.get("content"), levels)
    # Two writers of JSON that share nothing, and both their readers.
    ours = msgspec.json.encode(read)
    assert len(ours) <= LIMIT
    assert exactly(msgspec.json.decode(ours), read)
    assert exactly(json.loads(json.dumps(read, allow_nan=False).encode("utf-8")), read)


def _agree(payload: bytes) -> None:
    """Where the fast readers have an answer, the careful ones have the same."""
    try:
        careful = publication.careful_content(careful_envelope(payload))
    except Undecodable:
        careful = None
    for read in (_spliced, _fast):
        try:
            content, value = read(payload)
        except plain.NotFast:
            continue
        except Undecodable:
            assert careful is None
            continue
        assert careful is not None
        assert exactly(value, careful.value)
        for name in ("event", "identity", "operation", "timestamp", "time_ns", "replaced"):
            assert getattr(content, name) == getattr(careful, name), name
        if content.packed:
            assert content.ack_asked == (careful_envelope(payload).response_mode == ACK_ASKED)
        for name in record.ASKED.of_event if content.event else record.ASKED.of_object:
            assert _text(content.about.get(name)) == _text(careful.about.get(name)), name


def _agree_json(data: bytes) -> None:
    """Where the compiled part has plain msgpack of JSON, it is what the careful reader has, to the byte."""
    names = ("", "ID", "namespace")
    made = compiled.splice_json and compiled.splice_json(data, (*names, ("entity", names)), b"")
    if made is not None:
        packed, found = made
        value, replaced = plain.careful_json(data, "JSON", whole=True)
        assert packed == msgpack.packb(value)
        assert replaced == 0
        inside = {"entity": _scalars(value["entity"], names)} if "entity" in value else {}
        assert exactly(found, _scalars(value, names) | inside)


def _scalars(value: dict[str, object], names: tuple[str, ...]) -> dict[str, object]:
    return {name: value[name] for name in names if type(value.get(name)) in (str, int, float)}


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None


def _spliced(payload: bytes) -> tuple[publication.Content, object]:
    content = publication.spliced(payload, record.ASKED)
    if content is None:
        raise plain.NotFast
    return content, msgpack.unpackb(content.packed)


def _fast(payload: bytes) -> tuple[publication.Content, object]:
    content = publication.fast_content(fast_envelope(payload))
    return content, msgpack.unpackb(plain.fast_pack({"content": content.value}))["content"]
