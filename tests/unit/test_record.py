"""The record of a publication: every field."""

from __future__ import annotations

import base64
import re

import msgpack
import pytest
from building import EVENT_TIME, JSON, Time, bare, publication
from decoding import with_event
from hypothesis import given
from hypothesis import strategies as st
from judging import not_plain, vectors
from recording import ENFORCER, EVENT_NS, EVENT_TEXT, NOW, NOW_TEXT, fields_of, recorded, recorder

from nats_fluent import plain
from nats_fluent.delivery import Delivery
from nats_fluent.record import FORWARD_LEVELS, OBJECT_IDENTITIES, Recorder, parse_headers, undecodable_tag
from nats_fluent.sections import RecordSettings

# Events


@pytest.mark.parametrize("encoding", [JSON, "application/msgpack"])
def test_an_event(encoding):
    time = EVENT_TEXT if encoding == JSON else EVENT_TIME
    made, fields = recorded(publication(ENFORCER, encoding=encoding, time=time))
    assert fields == {
        "topic": "squall-events",
        "subject": "squall-events",
        "identity": "enforcer",
        "operation": "update",
        "namespace": "/apomux",
        "key": "enforcer/5d01",
        "timestamp": EVENT_TEXT,
        "id": "run-1",
        "content": {
            "encoding": encoding,
            "entity": ENFORCER,
            "identity": "enforcer",
            "timestamp": EVENT_TEXT,
            "type": "update",
        },
    }
    assert list(fields)[-1] == "content"
    assert (made.tag, made.time_ns, made.error, made.replaced) == ("aporeto.squall-events", EVENT_NS, "", 0)
    assert not made.ack_asked


def test_an_error_event():
    error = {"code": 500, "data": None, "description": "no", "subject": "s", "title": "t", "trace": ""}
    made, fields = recorded(publication(error, identity="", operation="error"))
    assert "identity" not in fields
    assert "namespace" not in fields
    assert (fields["operation"], fields["key"]) == ("error", "squall-events")
    assert fields["content"]["entity"] == error
    assert made.tag == "aporeto.squall-events"


@pytest.mark.parametrize("entity", [None, {}, {"ID": ""}, {"ID": 5, "namespace": ["/a"]}])
def test_an_event_of_something_without_a_name(entity):
    fields = fields_of(publication(entity))
    assert fields["key"] == "enforcer"
    assert "namespace" not in fields


def test_an_event_of_something_in_a_namespace():
    assert fields_of(publication({"namespace": "/a"}))["key"] == "enforcer//a"


def test_an_event_without_a_type():
    fields = fields_of(publication(ENFORCER, operation=""))
    assert "operation" not in fields
    assert fields["content"]["type"] == ""


def test_the_subject_is_the_message_s_own():
    fields = fields_of(publication(ENFORCER), "events", subject="events.enforcer")
    assert (fields["topic"], fields["subject"]) == ("events", "events.enforcer")


def test_an_event_whose_type_is_not_known():
    assert fields_of(with_event(type="exploded"))["operation"] == "exploded"


# Bare objects


OBJECTS = {
    "activities": (
        {"ID": "1", "targetID": "t", "namespace": "/a", "operation": "update", "date": EVENT_TIME},
        {"identity": "activity", "operation": "update", "namespace": "/a", "key": "activity/t"},
    ),
    "external-flowreports": (
        {"sourceID": "s", "namespace": "/a", "timestamp": EVENT_TIME, "value": 3},
        {"identity": "flowreport", "namespace": "/a", "key": "flowreport/s"},
    ),
    "external-auditreports": (
        {
            "processingUnitID": "p",
            "processingUnitNamespace": "/a",
            "enforcerID": "e",
            "timestamp": EVENT_TIME,
        },
        {"identity": "auditreport", "namespace": "/a", "key": "auditreport/p"},
    ),
    "external-fileaccessreports": (
        {"enforcerID": "e", "enforcerNamespace": "/e", "timestamp": EVENT_TIME},
        {"identity": "fileaccessreport", "namespace": "/e", "key": "fileaccessreport/e"},
    ),
    "external-eventlogs": (
        {"ID": "l", "date": EVENT_TIME, "targetID": "", "operation": ""},
        {"identity": "eventlog", "key": "eventlog/l"},
    ),
    "something-else": (
        {"namespace": "/b", "timestamp": EVENT_TIME},
        {"namespace": "/b", "key": "something-else//b"},
    ),
}


def test_there_is_one_of_each_kind():
    assert set(OBJECTS) - OBJECT_IDENTITIES.keys() == {"something-else"}


@pytest.mark.parametrize("topic", OBJECTS)
def test_an_object(topic):
    value, expected = OBJECTS[topic]
    made, fields = recorded(bare(value, topic), topic)
    content = {name: EVENT_TEXT if isinstance(held, Time) else held for name, held in value.items()}
    common = {"topic": topic, "subject": topic, "timestamp": EVENT_TEXT, "id": "run-1", "content": content}
    assert fields == common | expected
    assert made.time_ns == EVENT_NS
    assert made.tag == f"aporeto.{topic}"


def test_an_object_whose_fields_are_of_other_types():
    value = {"operation": 5, "targetID": 6, "namespace": None, "date": 7, "timestamp": []}
    made, fields = recorded(bare(value, "activities"), "activities")
    assert fields["key"] == "activity"
    assert not fields.keys() & {"operation", "namespace"}
    assert (made.time_ns, fields["timestamp"]) == (NOW, NOW_TEXT)


@pytest.mark.parametrize("stack", ["2018", "2019", "2021", "2024"])
@pytest.mark.parametrize("name", ["activity", "auditreport", "eventlog", "fileaccessreport", "flowreport"])
def test_the_objects_of_the_libraries(stack, name):
    vector = vectors().get(f"{stack}/good/{name}")
    if vector is None:  # of the oldest, some were not recorded
        assert stack in ("2018", "2019")
        return
    _, fields = recorded(vector.payload, vector.go["subject"])
    assert fields["identity"] == name
    assert fields["key"].startswith(name)
    assert fields["content"] == vector.go["content"]


# Times


@pytest.mark.parametrize(
    "time", [None, Time(-62_135_596_800), Time(-62_135_596_800, 1), Time(-1, 999_999_999)]
)
def test_a_time_that_nobody_set_is_that_of_receipt(time):
    made, fields = recorded(publication(ENFORCER, time=time))
    assert (made.time_ns, fields["timestamp"]) == (NOW, NOW_TEXT)
    assert fields["content"]["timestamp"] == (None if time is None else plain.rfc3339(*time))


@pytest.mark.parametrize(
    ("time", "text", "ns"),
    [
        (Time(0), "1970-01-01T00:00:00Z", 0),
        (Time(0, 1), "1970-01-01T00:00:00.000000001Z", 1),
        (Time(2**32), "2106-02-07T06:28:16Z", 2**32 * 10**9),
        (Time(2**34), "2514-05-30T01:53:04Z", 2**34 * 10**9),
        (Time(253_402_300_800, 5), "10000-01-01T00:00:00.000000005Z", 253_402_300_800 * 10**9 + 5),
    ],
)
def test_any_time_since_1970_is_kept(time, text, ns):
    made, fields = recorded(publication(ENFORCER, time=time))
    assert (made.time_ns, fields["timestamp"]) == (ns, text)


def test_a_zone_is_kept_in_the_text():
    time = "2019-06-12T14:38:02.268588-07:00"
    made, fields = recorded(bare({"date": time}, "activities", encoding=JSON), "activities")
    assert (made.time_ns, fields["timestamp"]) == (EVENT_NS, time)


@pytest.mark.parametrize("date", ["0001-01-01T00:00:00Z", "yesterday", ""])
def test_an_object_without_a_time_has_that_of_receipt(date):
    made, fields = recorded(bare({"date": date}, "activities", encoding=JSON), "activities")
    assert (made.time_ns, fields["timestamp"], fields["content"]) == (NOW, NOW_TEXT, {"date": date})


# Tags


@pytest.mark.parametrize(
    ("template", "tag"),
    [
        ("aporeto.{topic}", "aporeto.events"),
        ("{topic}", "events"),
        ("fixed", "fixed"),
        ("a.{topic}.{subject}", "a.events.events.one"),
        ("{identity}.{operation}", "enforcer.update"),
    ],
)
def test_tags(template, tag):
    by = recorder(tag=template)
    for _ in range(2):
        made, _ = recorded(publication(ENFORCER), "events", subject="events.one", by=by)
        assert made.tag == tag


def test_a_tag_without_identity_and_operation():
    made, _ = recorded(bare({"a": 1}, "other"), "other", tag="{identity}.{operation}")
    assert made.tag == "unknown.none"


def test_the_tags_of_several_topics():
    by = recorder()
    tags = [recorded(publication(ENFORCER), topic, by=by)[0].tag for topic in ("a", "b", "a")]
    assert tags == ["aporeto.a", "aporeto.b", "aporeto.a"]


@pytest.mark.parametrize(
    ("template", "tag"),
    [
        ("aporeto.{topic}", "aporeto.undecodable"),
        ("{topic}", "undecodable"),
        ("fixed", "fixed.undecodable"),
        ("a.{identity}.{topic}", "a.undecodable"),
    ],
)
def test_the_tag_of_what_cannot_be_decoded(template, tag):
    assert undecodable_tag(template) == tag
    assert recorded(b"junk", tag=template)[0].tag == tag


# Ids


def test_ids_are_unique_and_say_which_run_made_them():
    by = recorder()
    payloads = [publication(ENFORCER), b"junk", bare({}, "a"), publication({"a": float("nan")})] * 3
    ids = [fields_of(payload, by=by)["id"] for payload in payloads]
    assert ids == [f"run-{n}" for n in range(1, 13)]


# Headers


def test_a_record_without_headers_has_no_such_field():
    assert "headers" not in fields_of(publication(ENFORCER))
    assert fields_of(publication(ENFORCER), headers=b"NATS/1.0\r\n\r\n")["headers"] == {}


def test_headers():
    block = b"NATS/1.0\r\na: 1\r\nb: x\r\na: 2\r\nB:y\r\na:3\r\n\r\n"
    assert fields_of(publication(ENFORCER), headers=block)["headers"] == {
        "a": ["1", "2", "3"],
        "b": "x",
        "B": "y",
    }


@pytest.mark.parametrize(
    ("block", "found"),
    [
        (b"", {}),
        (b"NATS/1.0", {}),
        (b"NATS/1.0 503\r\n\r\n", {}),
        (b"NATS/1.0\r\nno colon\r\n: no name\r\na:\r\n", {"a": ""}),
        (b"NATS/1.0\r\n a : b:c \r\n", {"a": "b:c"}),
        (b"NATS/1.0\r\n\xff: \xfe\xfe\r\n", {"\ufffd": "\ufffd\ufffd"}),
        (b"NATS/1.0\r\na: b\nc: d\r\n", {"a": "b\nc: d"}),
        ("NATS/1.0\r\né: ü\r\n".encode(), {"é": "ü"}),
    ],
)
def test_odd_headers(block, found):
    assert parse_headers(block) == found


@given(st.binary(max_size=60) | st.lists(st.sampled_from([b"a", b":", b"\r\n", b" ", b"\xff"])).map(b"".join))
def test_any_header_block_is_read(block):
    found = parse_headers(b"NATS/1.0\r\n" + block)
    assert not_plain(found) == []
    lines = sum(1 for values in found.values() for _ in ([values] if isinstance(values, str) else values))
    assert lines <= block.count(b":")


@pytest.mark.parametrize("name", ["activity_deep100", "activity_deep500"])
def test_content_deeper_than_the_log_shipper_reads_goes_out_as_text(name):
    delivery = Delivery("activities", "activities", vectors()[f"2024/good/{name}"].payload)
    whole = msgpack.unpackb(Recorder(RecordSettings(), "run", levels=None).record(delivery, NOW).packed)
    flat = msgpack.unpackb(
        Recorder(RecordSettings(), "run", levels=FORWARD_LEVELS).record(delivery, NOW).packed
    )
    assert not plain.deeper(flat["content"], FORWARD_LEVELS)
    assert flat == whole | {"content": plain.flatten(whole["content"], FORWARD_LEVELS)}
    assert flat["content"] != whole["content"]


# From a stream


@pytest.mark.parametrize("payload", [publication({"ID": "1"}), b"junk"])
def test_a_record_from_a_stream_says_where_it_stands_and_keeps_its_id(payload):
    maker = Recorder(RecordSettings(), "run", levels=None)
    fields = []
    for deliveries in (1, 2):
        place = {"stream": "EVENTS", "sequence": 7, "deliveries": deliveries}
        fields.append(msgpack.unpackb(maker.record(Delivery("t", "t.s", payload, **place), NOW).packed))
        assert {name: fields[-1][name] for name in place} == place
    assert [one["id"] for one in fields] == ["EVENTS-7", "EVENTS-7"]


def test_what_records_begin_with_is_kept_within_bounds():
    maker = recorder(tag="{identity}")
    for number in range(3000):
        made = maker.record(Delivery("t", "t", publication(ENFORCER, identity=str(number))), NOW)
        assert (made.identity, made.tag) == (str(number), str(number))
    assert 0 < len(maker._heads) <= 1024
    made = maker.record(Delivery("t", "t", publication(ENFORCER, identity="x" * 2000)), NOW)
    assert made.identity == "x" * 2000
    assert all(len(identity) < 2000 for _, _, identity, _ in maker._heads)


# Bugs


def test_a_bug_costs_the_content_of_one_record(monkeypatch, bugs_are_records):
    def wrong(*_arguments):
        raise TypeError("something that was published")

    payload = publication(ENFORCER)
    monkeypatch.setattr("nats_fluent.publication.spliced", wrong)
    with pytest.raises(TypeError):
        recorded(payload)
    monkeypatch.setattr(Recorder, "_failed", bugs_are_records)
    made, fields = recorded(payload)
    assert re.fullmatch(r"this program failed: TypeError \(test_record\.py:\d+\)", made.error)
    assert (made.tag, fields["error"]) == ("aporeto.undecodable", made.error)
    assert base64.b64decode(fields["payload"]) == payload
