"""Where the compiled part has an answer, the careful readers have the same, whatever is asked for or watched."""

from __future__ import annotations

import json
from unittest import mock

import msgpack
from building import EVENT_TIME, JSON, MSGPACK, Raw, Time, envelope, pack
from decoding import keys
from judging import exactly

from nats_fluent import compiled, plain, publication
from nats_fluent.envelope import ACK_ASKED, careful_envelope
from nats_fluent.errors import Undecodable
from nats_fluent.walk import Walker

NAMES = ("ID", "namespace", "a", "")
ASKED = (
    ((), ()),
    (NAMES, ()),
    ((("a", (("a", ("a", "b")), "b")), "b", ("entity", NAMES)), ("name",)),
    ((*NAMES, "identity", "type", "timestamp", ("entity", NAMES)), ("password", "x" * 255, "b", "")),
)
"""Names, and keys to look out for."""
VALUE = {
    "ID": "1",
    "namespace": -129,
    "a": {"b": 1.5, "a": {"a": "\u20ac", "b": 2**40}},
    "b": [None, True, "x" * 40, {"name": []}, 2**64 - 1],
}
MORE = {
    "t": [Time(0), Time(5, 1), Time(2**34, 10**9 - 1)],
    "x": b"bytes" * 60,
    "f": Raw(b"\xca\x3f\x80\x00\x00"),
}
EVENT = {"encoding": MSGPACK, "identity": "i", "timestamp": EVENT_TIME, "type": "t"}
TIMES = ("2019-06-12T21:38:02.268588Z", "2000-02-29T00:00:00Z", "2261-12-31T23:59:59.1234567890Z")


def seeds():
    for asked in range(len(ASKED)):
        for value in ({}, VALUE, VALUE | MORE, {"a": [VALUE] * 40}):
            yield bytes([asked << 2]) + pack(value)
            yield bytes([asked << 2 | 1]) + envelope(pack(EVENT | {"entity": pack(value)}), responseMode=1)
            yield bytes([asked << 2 | 1]) + envelope(pack(value), partition=1, trackingName="a")
        for value in ({}, VALUE, {"entity": VALUE, "identity": "i", "type": "t", "timestamp": TIMES[0]}):
            for style in ({"separators": (",", ":")}, {"indent": 1, "ensure_ascii": False}):
                text = json.dumps(value, **style).encode()
                yield bytes([asked << 2 | 2]) + text
                yield bytes([asked << 2 | 1]) + envelope(text, encoding=JSON)
    for text in TIMES:
        yield b"\x03" + text.encode()


def check(data: bytes) -> None:
    kind = data[0] & 3 if data else 0
    names, watched = ASKED[(data[0] >> 2) % len(ASKED)] if data else ASKED[0]
    if compiled.splice is not None:
        (_msgpack, _publication, _json, _time)[kind](data[1:], names, watched)


def _msgpack(data, names, watched):
    made = compiled.splice(data, names, compiled.watch(watched))
    if made is not None:
        value = Walker(data, "map").value()
        assert exactly(msgpack.unpackb(made[0]), value)
        _is_asked(made[1], value, names, watched)


def _publication(data, names, watched):
    made = compiled.splice_publication(data, (names, names, names), compiled.watch(watched))
    if made is None:
        return
    ack_asked, packed, found, identity, operation, text, time_ns = made
    around = careful_envelope(data)
    assert ack_asked is (around.response_mode == ACK_ASKED)
    try:
        careful = publication.careful_content(around)
    except Undecodable:  # an event in JSON whose identity, say, is a number
        assert identity is None
        careful = None
    value = plain.careful_json(around.data, "JSON", whole=True)[0] if careful is None else careful.value
    assert exactly(msgpack.unpackb(packed), value)
    if identity is None:
        assert around.encoding != MSGPACK or not careful.event
        assert (operation, text, time_ns) == (None, None, None)
        _is_asked(found, value, names, watched)
    else:
        assert careful.event
        assert careful.replaced == 0
        assert (identity, operation, text) == (careful.identity, careful.operation, careful.timestamp)
        assert time_ns == careful.time_ns
        _is_asked(found, careful.about, names, watched)


def _json(data, names, watched):
    made = compiled.splice_json(data, names, compiled.watch(watched))
    if made is not None:
        value, replaced = plain.careful_json(data, "JSON", whole=True)
        assert replaced == 0
        assert made[0] == msgpack.packb(value)
        _is_asked(made[1], value, names, watched)


def _time(data, _names, _watched):
    text = data.decode("utf-8", "surrogateescape")
    found = compiled.time_ns(text)
    if found is not None:
        with mock.patch.object(compiled, "time_ns", None):
            assert plain.parse_rfc3339(text) == found


def _is_asked(found, value, names, watched):
    """Whether what was found of a map is what was asked for, and nothing was overlooked."""
    assert exactly(found, _asked(value, names))
    assert keys(value).isdisjoint(watched)


def _asked(value, names):
    found = {}
    for each in names:
        name, inside = each if isinstance(each, tuple) else (each, None)
        if inside is None and type(value.get(name)) in (str, int, float):
            found[name] = value[name]
        elif inside is not None and name in value:
            found[name] = _asked(value[name], inside)
    return found
