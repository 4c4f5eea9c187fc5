"""A publication in one pass over its bytes: its envelope, and the event or the object in it."""

from __future__ import annotations

import itertools

import ormsgpack
import pytest
from building import EVENT_TIME, JSON, MSGPACK, Ext, Raw, Text, Time, envelope, pack
from decoding import with_fields
from programs import missing

from nats_fluent import plain
from nats_fluent.compiled import splice_publication, watch

NAMES = ("ID", "namespace", "date")


@pytest.fixture(scope="module", autouse=True)
def _built():
    if splice_publication is None:
        missing("splice")


def splice_event(data, names, watched=b""):
    """What is made of an event, besides whether its publisher waits; None where that is nothing."""
    found = splice_publication(envelope(data), (names, (), ()), watched)
    assert found is None or found[3] is not None
    return found and found[1:]


# Envelopes


def test_each_field_of_an_envelope_is_there_once():
    values = {"data": pack({"ID": "1"}), "topic": "t", "responseMode": 1}
    for size in range(4):
        for there in itertools.product(values, repeat=size):
            payload = bytes([0x80 + size]) + b"".join(pack(name) + pack(values[name]) for name in there)
            read = splice_publication(
                payload.replace(pack(values["data"]), b'\xc4\x08{"ID":1}'), ((),) * 3, b""
            )
            assert (read is not None) == ("data" in there and len({*there}) == size), there


@pytest.mark.parametrize(
    ("fields", "asked"),
    [
        ({}, False),
        ({"responseMode": 0}, False),
        ({"responseMode": 1}, True),
        ({"responseMode": 2}, False),
        ({"responseMode": Raw(b"\xcc\x01")}, True),
        ({"responseMode": Raw(b"\xce\x01\x00\x00\x01")}, False),
        ({"partition": 2**31 - 1}, False),
        ({"partition": Raw(b"\xce\x7f\xff\xff\xff")}, False),
        ({"partition": Raw(b"\xd0\x7f")}, False),
        ({"responseMode": Raw(b"\xd1\x00\x01")}, True),
        ({"responseMode": Raw(b"\xd0\x81")}, False),
        ({"responseMode": -1, "partition": -100}, False),
        ({"partition": -(2**31)}, False),
        ({"partition": Raw(b"\xcd\x00\x00")}, False),
        ({"topic": "", "trackingName": "é" * 300, "trackingData": {"é": "é"}}, False),
        ({"topic": ..., "trackingData": None}, False),
        ({"trackingData": {str(each): "x" for each in range(20)}}, False),
    ],
)
def test_what_it_takes_of_envelopes(fields, asked):
    (first, *_) = splice_publication(with_fields(**fields), ((), (), ()), b"")
    assert first is asked


@pytest.mark.parametrize(
    "fields",
    [
        {"data": ...},
        {"data": b""},
        {"data": None},
        {"data": "text"},
        {"data": Raw(b"\xc6\xff\xff\xff\xff")},
        {"encoding": None},
        {"encoding": b"application/msgpack"},
        {"encoding": "application/msgpack "},
        {"more": 1},
        {"partition": 2**31},
        {"partition": -(2**31) - 1},
        {"partition": 2**32},
        {"partition": 1.0},
        {"responseMode": None},
        {"responseMode": Raw(b"\xcf" + bytes(7) + b"\x01")},
        {"topic": None},
        {"topic": Text(b"\xff")},
        {"trackingData": []},
        {"trackingData": {"a": 1}},
        {"trackingData": Raw(b"\x81\xc0\xa0")},
        {"trackingData": Raw(b"\xde\x00")},
        {"trackingName": None},
    ],
)
def test_what_is_left_of_envelopes_to_the_other_readers(fields):
    assert splice_publication(with_fields(), ((), (), ()), b"") is not None
    assert splice_publication(with_fields(**fields), ((), (), ()), b"") is None


@pytest.mark.parametrize(
    "payload", [b"", b"ack", b"\xc0", b"\x80", b"{}", b"\xdf\xff\xff\xff\xff", b"\x81\x01"]
)
def test_what_is_no_envelope(payload):
    assert splice_publication(payload, ((), (), ()), b"") is None


def test_each_prefix_of_a_publication_is_left_alone():
    payload = with_fields(partition=70_000, responseMode=1, trackingData={"a": "b"}, trackingName="c")
    read = [
        size
        for size in range(len(payload) + 2)
        if splice_publication((payload + b"\xc0")[:size], ((),) * 3, b"")
    ]
    assert read == [len(payload)]


def test_what_is_found_is_of_what_it_holds():
    value = {"ID": "1", "namespace": "/a", "date": "2019", "entity": {"ID": "2"}}
    names = (("ID",), ("namespace",), ("date", ("entity", ("ID",))))
    entity = pack({name: value[name] for name in ("ID", "namespace")})
    of_event = with_fields(data=event_of(value))
    of_object = with_fields(data=entity)
    of_json = with_fields(data=b'{"date":"2019","entity":{"ID":"2"}}', encoding=JSON)
    assert splice_publication(of_event, names, b"")[2] == {"ID": "1"}
    assert splice_publication(of_object, names, b"")[1:] == (
        entity,
        {"namespace": "/a"},
        None,
        None,
        None,
        None,
    )
    _, packed, found, *rest = splice_publication(of_json, names, b"")
    assert ormsgpack.unpackb(packed) == {"date": "2019", "entity": {"ID": "2"}}
    assert (found, rest) == ({"date": "2019", "entity": {"ID": "2"}}, [None] * 4)
    assert splice_publication(with_fields(data=pack(value)), names, b"") is None  # it may be an event


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        (b"\x80",),
        (b"\x80", ((), (), ())),
        ("x", ((), (), ()), b""),
        (b"\x80", (), b""),
        (b"\x80", ((), ()), b""),
        (b"\x80", ((), (), []), b""),
        (b"\x80", [(), (), ()], b""),
        (b"\x80", ((), (), ()), ""),
    ],
)
def test_what_it_wants(arguments):
    with pytest.raises(TypeError, match="splice: "):
        splice_publication(*arguments)


def test_it_wants_what_watch_made_and_names_as_the_others():
    with pytest.raises(ValueError, match="not what watch made"):
        splice_publication(b"", ((), (), ()), b"x")
    with pytest.raises(ValueError, match="longer than 63 bytes"):
        splice_publication(with_fields(), (("x" * 64,), (), ()), b"")


# Events


def event_of(value=None, **fields):
    whole = {
        "encoding": MSGPACK,
        "entity": pack(value or {"ID": "1"}),
        "identity": "enforcer",
        "timestamp": EVENT_TIME,
        "type": "update",
    } | fields
    return pack({name: value for name, value in whole.items() if value is not ...})


def test_an_event_goes_out_with_its_entity_in_place():
    packed, about, *rest = splice_event(event_of({"ID": "1", "at": Time(0), "n": b"x"}), NAMES)
    assert ormsgpack.unpackb(packed) == {
        "encoding": MSGPACK,
        "entity": {"ID": "1", "at": "1970-01-01T00:00:00Z", "n": "eA=="},
        "identity": "enforcer",
        "timestamp": "2019-06-12T21:38:02.268588Z",
        "type": "update",
    }
    assert about == {"ID": "1"}
    assert rest == ["enforcer", "update", "2019-06-12T21:38:02.268588Z", 1_560_375_482_268_588_000]


@pytest.mark.parametrize(
    "timestamp", [Time(0), Time(5, 1), Time(-1), Time(9_223_372_035, 10**9 - 1), Time(-9_223_372_035)]
)
def test_its_time_in_every_form(timestamp):
    *_, text, time_ns = splice_event(event_of(timestamp=timestamp), ())
    assert (text, time_ns) == (plain.rfc3339(*timestamp), timestamp.seconds * 10**9 + timestamp.ns)


@pytest.mark.parametrize("size", [100, 1000, 100_000])
def test_its_entity_in_every_form(size):
    packed, *_ = splice_event(event_of({"ID": "x" * size}), ())
    assert ormsgpack.unpackb(packed)["entity"] == {"ID": "x" * size}


def test_an_event_without_a_time():
    packed, _, identity, operation, text, *_ = splice_event(
        event_of(timestamp=None, identity="", type="é"), ()
    )
    assert (identity, operation, text) == ("", "é", None)
    assert ormsgpack.unpackb(packed)["timestamp"] is None


def test_its_fields_in_any_order_behind_the_encoding():
    fields = {"encoding": MSGPACK, "type": "t", "timestamp": EVENT_TIME, "identity": "i", "entity": pack({})}
    packed, _, identity, operation, *_ = splice_event(pack(fields), ())
    assert ormsgpack.unpackb(packed) == fields | {"timestamp": "2019-06-12T21:38:02.268588Z", "entity": {}}
    assert (identity, operation) == ("i", "t")


@pytest.mark.parametrize(
    "data",
    [
        b"\x85\xa8encoding",
        event_of(type=...),
        event_of(type=..., other="x"),
        event_of(more="x"),
        event_of(encoding="application/json"),
        event_of(encoding=1),
        event_of(entity=None),
        event_of(entity=""),
        event_of(entity=b""),
        event_of(entity=pack([])),
        event_of(entity=pack({}) + b"\xc0"),
        event_of(entity=pack({"a": float("nan")})),
        event_of(entity=Raw(b"\xc6\xff\xff\xff\xff")),
        event_of(identity=None),
        event_of(identity=Text(b"\xff")),
        event_of(type=7),
        event_of(timestamp="2019-06-12T21:38:02Z"),
        event_of(timestamp=Ext(-1, b"12345")),
        event_of(timestamp=Ext(5, b"1234")),
        event_of(timestamp=Time(-62_135_596_801)),
        event_of(timestamp=Time(-62_135_596_800)),
        event_of(timestamp=Time(9_223_372_036)),
        event_of(timestamp=Time(-9_223_372_036)),
        event_of(timestamp=Raw(b"\xc7\xff\xff")),
        event_of() + b"\xc0",
        b"\x85" + 5 * (pack("type") + pack("x")),
    ],
)
def test_what_is_left_of_events_to_the_other_readers(data):
    assert splice_event(data, NAMES) is None


def test_each_field_of_an_event_is_there_once():
    names = ("encoding", "entity", "identity", "timestamp", "type")
    values = dict(zip(names, (MSGPACK, pack({}), "i", None, "t"), strict=True))
    for there in itertools.product(names[:1], *[names] * 4):
        data = b"\x85" + b"".join(pack(name) + pack(values[name]) for name in there)
        assert (splice_event(data, ()) is not None) == (len({*there}) == 5), there


def test_each_prefix_of_an_event_is_left_alone():
    data = event_of({"ID": "abc", "a": [1, 2.5, b"bytes", Time(1, 5)]})
    assert not [size for size in range(len(data)) if splice_event(data[:size], NAMES) is not None]


def test_an_event_is_watched_in_its_entity():
    data = event_of({"ID": "1", "a": [{"token": "x"}]})
    assert splice_event(data, NAMES, watch(("token",))) is None
    assert splice_event(data, NAMES, watch(("password",))) == splice_event(data, NAMES)


@pytest.mark.parametrize("data", [{"entity": None}, {"a": 1, "entity": b"x"}])
def test_an_entity_may_have_an_entity(data):
    assert splice_event(event_of(data), NAMES) is not None
