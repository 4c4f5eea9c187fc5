"""The content of a publication: events and objects, in every form that Go takes and some that it does not."""

from __future__ import annotations

import contextlib
import json

import pytest
from building import (
    EVENT_TIME,
    JSON,
    MSGPACK,
    Ext,
    Text,
    Time,
    bare,
    envelope,
    event,
    go_json,
    head,
    pack,
    pack_text,
    publication,
)
from decoding import SMALL, agrees_spliced, both, careful, fast, only_careful, refused, spliced, with_event
from hypothesis import example, given, settings
from hypothesis import strategies as st
from judging import exactly, not_plain, vectors
from programs import missing
from strategies import mutated, plain_maps, publications

from nats_fluent import compiled, plain
from nats_fluent.envelope import careful_envelope, fast_envelope, published_to
from nats_fluent.errors import Undecodable

VECTORS = [vector.payload for vector in vectors().values() if len(vector.payload) < 5000]


# The builder of these tests


@pytest.mark.parametrize("stack", ["2021", "2024"])
def test_the_builder_writes_what_the_libraries_write(stack):
    vector = vectors()[f"{stack}/good/event_enforcer_update"]
    found = careful_envelope(vector.payload)
    tracking = {"trackingData": {} if stack == "2024" else None}
    assert envelope(found.data, found.topic, **tracking) == vector.payload
    content = vector.go["content"]
    entity = {
        name: Time(*divmod(plain.parse_rfc3339(value), 10**9)) if name.endswith("Time") and value else value
        for name, value in content["entity"].items()
    }
    time = Time(*divmod(plain.parse_rfc3339(content["timestamp"]), 10**9))
    assert publication(entity, time=time, operation=content["type"]) == envelope(found.data)


# The form of the libraries


@given(plain_maps)
@settings(max_examples=50)
def test_events_and_objects_come_back(value):
    for encoding, time in ((MSGPACK, EVENT_TIME), (JSON, "2019-06-12T21:38:02.268588Z")):
        found = careful(publication(value, encoding=encoding, time=time))
        assert exactly(found.value["entity"], value)
        assert (found.event, found.identity, found.operation) == (True, "enforcer", "update")
        assert found.timestamp == found.value["timestamp"] == "2019-06-12T21:38:02.268588Z"
        assert found.time_ns == 1560375482268588000
        if "entity" not in value:
            found = careful(bare(value, "activities", encoding=encoding))
            assert exactly(found.value, value)
            assert (found.event, found.identity, found.operation) == (False, "", "")
            assert (found.timestamp, found.time_ns) == (None, None)


@settings(max_examples=100)
@given(publications())
@example(publication({"a": b"x", "b": Text(b"\xff")}))
@example(publication({"a": EVENT_TIME}, ext=False))
def test_where_the_fast_reader_has_an_answer_it_is_the_careful_one_s(payload):
    agree(payload)


@settings(max_examples=150)
@given(mutated(st.sampled_from(VECTORS)) | mutated(publications()))
def test_nor_do_they_differ_when_it_is_broken(payload):
    agree(payload)


def agree(payload):
    expected, found = result(careful, payload), result(fast, payload)
    if spliced(payload) is not None:
        agrees_spliced(payload, expected)
    if isinstance(found, plain.NotFast):
        return
    assert fast_envelope(payload) == careful_envelope(payload)
    if isinstance(found, Undecodable):
        assert str(found) == str(expected)
    elif not_plain(found.value) == []:  # what no encoder takes goes to the careful one
        assert exactly(found.value, expected.value)
        assert found == expected


def result(reader, payload):
    """The content, or why there is none."""
    try:
        return reader(payload)
    except (Undecodable, plain.NotFast) as error:
        return error


@settings(max_examples=100)
@given(mutated(publications()))
def test_what_the_careful_reader_gives_is_plain(payload):
    found = result(careful, payload)
    assert isinstance(found, Undecodable) or not_plain(found.value) == []


@given(st.binary(max_size=100))
def test_any_bytes_are_a_publication_or_undecodable(payload):
    with contextlib.suppress(Undecodable):
        careful(payload)
    with contextlib.suppress(Undecodable, plain.NotFast):
        fast(payload)
    assert isinstance(published_to(payload), str)


def test_an_event():
    found = both(publication(SMALL))
    assert found.value == {
        "encoding": MSGPACK,
        "entity": SMALL,
        "identity": "enforcer",
        "timestamp": "2019-06-12T21:38:02.268588Z",
        "type": "update",
    }
    assert found.replaced == 0


def test_an_event_in_json():
    found = both(publication(SMALL, encoding=JSON, time="2019-06-12T14:38:02.268588-07:00"))
    assert found.value["entity"] == SMALL
    assert found.timestamp == "2019-06-12T14:38:02.268588-07:00"
    assert found.time_ns == 1560375482268588000


def json_event(**fields):
    whole = json.loads(event(SMALL, encoding=JSON, time="2019-06-12T21:38:02Z")) | fields
    return envelope(
        json.dumps({name: value for name, value in whole.items() if value is not ...}).encode(), encoding=JSON
    )


@pytest.mark.parametrize(
    "fields",
    [
        {"identity": ...},
        {"identity": None},
        {"type": ...},
        {"type": None},
        {"identity": ..., "type": ...},
        {"timestamp": ...},
        {"timestamp": None},
        {"entity": None},
        {"entity": ""},
        {"entity": [SMALL]},
        {"encoding": ...},
        {"more": [1]},
    ],
)
def test_an_event_in_json_with_an_odd_head(fields):
    both(json_event(**fields))


@pytest.mark.parametrize("name", ["identity", "type", "timestamp"])
def test_the_head_of_an_event_in_json_that_is_no_text(name):
    for value in (7, 1.5, True, [], {}):
        payload = json_event(**{name: value})
        assert f"the event's {name} is " in refused(payload)
        assert spliced(payload) is None
    if name == "timestamp":
        assert "'soon' is not RFC 3339" in refused(json_event(timestamp="soon"))
        assert spliced(json_event(timestamp="soon")) is None


@pytest.mark.parametrize("entity", [SMALL, {}, {"ID": 5, "namespace": None, "inside": {"namespace": "/b"}}])
@pytest.mark.parametrize("order", [1, -1])
def test_an_event_in_json_goes_out_without_a_look_at_its_values(entity, order):
    if compiled.splice is None:
        missing("splice")
    whole = json.loads(event(entity, encoding=JSON, time="2019-06-12T21:38:02.5Z"))
    payload = envelope(json.dumps(dict([*whole.items()][::order])).encode(), encoding=JSON)
    found = careful(payload)
    assert found.event
    assert spliced(payload) is not None
    agrees_spliced(payload, found)


@pytest.mark.parametrize("encoding", [JSON, MSGPACK])
def test_an_event_without_time_or_entity(encoding):
    found = both(publication(None, time=None, encoding=encoding))
    assert (found.event, found.timestamp, found.time_ns) == (True, None, None)
    assert found.value["entity"] is found.value["timestamp"] is None


def test_a_json_event_in_a_msgpack_publication():
    """The libraries lose the entity there; what a publisher of its own makes of it is read."""
    assert both(with_event(encoding=JSON, entity=None)).value["entity"] is None
    assert both(with_event(encoding=JSON, entity=go_json(SMALL))).value["entity"] == SMALL
    assert both(with_event(encoding="", entity=go_json(SMALL))).value["entity"] == SMALL
    assert refused(with_event(encoding=JSON, entity=b"{")).startswith("entity: not JSON: ")


def test_an_entity_of_no_bytes():
    assert both(with_event(entity=b"")).value["entity"] == ""


def test_an_entity_that_is_no_map():
    assert both(with_event(entity=pack(5))).value["entity"] == 5


def test_an_event_with_its_keys_in_another_order():
    data = head(0x80, 0xDE, 5) + b"".join(
        pack_text(name.encode()) + pack(value)
        for name, value in (
            ("type", "update"),
            ("timestamp", EVENT_TIME),
            ("identity", "enforcer"),
            ("entity", pack(SMALL)),
            ("encoding", MSGPACK),
        )
    )
    found = only_careful(envelope(data))
    assert found == both(publication(SMALL))


@pytest.mark.parametrize("left", ["encoding", "identity", "type", "timestamp"])
def test_an_event_that_lacks_a_field(left):
    entity = go_json(SMALL) if left == "encoding" else pack(SMALL)
    found = only_careful(with_event(**{left: ..., "entity": entity}))
    assert found.event
    assert left not in found.value
    assert found.value["entity"] == SMALL
    assert (found.identity, found.operation) == (
        "" if left == "identity" else "enforcer",
        "" if left == "type" else "update",
    )


def test_an_event_with_a_field_more():
    found = only_careful(with_event(more=[1, EVENT_TIME]))
    assert found.value["more"] == [1, "2019-06-12T21:38:02.268588Z"]


def test_text_that_is_not_utf_8_is_counted_in_event_and_entity():
    found = only_careful(with_event(identity=Text(b"\xff"), entity=pack({"a": Text(b"\xfe\xfe")})))
    assert (found.identity, found.value["entity"], found.replaced) == ("\ufffd", {"a": "\ufffd\ufffd"}, 3)
    found = only_careful(with_event(encoding=JSON, entity=b'{"a":"\xff"}'))
    assert (found.value["entity"], found.replaced) == ({"a": "\ufffd"}, 1)
    found = only_careful(envelope(b'{"a":"\xff"}', encoding=JSON))
    assert (found.value, found.replaced) == ({"a": "\ufffd"}, 1)


def test_without_extensions():
    """Bytes and times as bare strings, as a codec without WriteExt writes them."""
    found = only_careful(publication({"a": "b" * 40, "c": 1}, ext=False))
    assert found.timestamp == "2019-06-12T21:38:02.268588Z"
    assert found.value["entity"] == {"a": "b" * 40, "c": 1}


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"entity": SMALL}, "content: a map where bytes are expected"),
        ({"entity": 5}, "content: an integer where bytes are expected"),
        ({"identity": 5}, "content: an integer where bytes are expected"),
        ({"type": []}, "content: an array where bytes are expected"),
        ({"encoding": True}, "content: true where bytes are expected"),
        ({"timestamp": "2019-06-12T21:38:02Z"}, "content: a time of 20 bytes; 4, 8 or 12 are known"),
        ({"timestamp": 1560375482}, "content: an integer where a time is expected"),
        ({"timestamp": Ext(5, b"abcd")}, "content: an extension of type 5 where a time is expected"),
        ({"timestamp": Ext(-1, b"abc")}, "content: a time of 3 bytes; 4, 8 or 12 are known"),
        ({"entity": pack(SMALL)[:-1]}, "entity: cut short: "),
        ({"entity": b"\xc1"}, "entity: the reserved byte 0xc1, at byte 0 of 1"),
    ],
)
def test_an_event_that_is_broken(fields, reason):
    assert refused(with_event(**fields)).startswith(reason)


def test_bytes_for_strings_and_the_other_way_round():
    found = only_careful(with_event(identity=b"enforcer", entity=Text(pack(SMALL)), type=None))
    assert (found.identity, found.operation, found.value["entity"]) == ("enforcer", "", SMALL)


# What is an event


@pytest.mark.parametrize("encoding", [JSON, MSGPACK])
def test_an_object_with_an_entity_alone_is_no_event(encoding):
    assert not both(bare({"entity": "a", "b": 1}, "activities", encoding=encoding)).event


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"identity": 5}, "content: the event's identity is an integer, not a string"),
        ({"type": True}, "content: the event's type is a boolean, not a string"),
        ({"timestamp": 1.5}, "content: the event's timestamp is a float, not a string"),
        ({"timestamp": {}}, "content: the event's timestamp is a map, not a string"),
        ({"timestamp": []}, "content: the event's timestamp is an array, not a string"),
        ({"timestamp": "today"}, "content: the event's timestamp 'today' is not RFC 3339"),
        ({"timestamp": ""}, "content: the event's timestamp '' is not RFC 3339"),
    ],
)
def test_a_json_event_that_is_broken(fields, reason):
    whole = {"entity": {}, "identity": "enforcer", "type": "update", "timestamp": None} | fields
    assert refused(envelope(go_json(whole), encoding=JSON)) == reason


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("5", "an integer"),
        ('"a"', "a string"),
        ("[]", "an array"),
        ("true", "a boolean"),
        ("0.5", "a float"),
        ("null", "nothing"),
    ],
)
def test_content_that_is_no_map(text, name):
    expected = f"content: {name} where an event or an object is expected"
    assert refused(envelope(text.encode(), encoding=JSON)) == expected
    assert refused(envelope(pack(json.loads(text)))) == expected
    if name != "nothing":
        assert refused(b'{"data":%s}' % text.encode()) == expected
