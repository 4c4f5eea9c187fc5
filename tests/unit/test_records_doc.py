"""docs/records.md says what records look like: held to those of the samples, and of what the Go libraries wrote."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import NamedTuple

import msgpack
import pytest
from pages import TOP, blocks

from nats_fluent import on
from nats_fluent.delivery import Delivery
from nats_fluent.loader import handlers_of
from nats_fluent.record import FORWARD_LEVELS, Recorder
from nats_fluent.recorders import recorder_of
from nats_fluent.samples import KINDS, sample
from nats_fluent.sections import RecordSettings
from nats_fluent.settings import load
from nats_fluent.transforms import Transforming

PAGE = TOP / "docs" / "records.md"
VECTORS = Path(__file__).parents[1] / "vectors"
NOW = 1_767_225_600_123_456_789  # 2026-01-01T00:00:00.123456789Z
TYPES = {"text": str, "integer": int, "boolean": bool, "map": dict, "any; of a publication a map": dict}
BROKEN = b"not a publication"


class Row(NamedTuple):
    type: str
    there: str


def rows():
    table = PAGE.read_text("utf-8").partition("<!-- fields")[2].partition("<!-- end of fields")[0]
    cells = [line.strip("| ").split(" | ") for line in table.splitlines() if line.startswith("| `")]
    return {name.strip("`"): Row(type_, there) for name, type_, there, _ in cells}


def published(content):
    data = msgpack.packb(content)
    return msgpack.packb({"data": data, "encoding": "application/msgpack", "topic": "t", "trackingData": {}})


def record_of(payload, topic="squall-events", *, max_bytes=900_000, tag="aporeto.{topic}", **message):
    recorder = Recorder(RecordSettings(max_bytes=max_bytes, tag=tag), "example", levels=FORWARD_LEVELS)
    made = recorder.record(Delivery(topic, topic, payload, **message), NOW)
    return made, msgpack.unpackb(made.packed)


def handled(function, **message):
    """What a handler makes of an event: the fields of each record."""
    recorder = Recorder(RecordSettings(), "example", levels=FORWARD_LEVELS)
    handlers = handlers_of([("my.py", on.default(function))])
    delivery = Delivery("squall-events", "squall-events", sample(0, NOW).payload, **message)
    first = Transforming(recorder, handlers, levels=FORWARD_LEVELS).record(delivery, NOW)
    return first, [
        msgpack.unpackb(each.packed)
        for each in (first, *(first.transformed.more if first.transformed else ()))
        if not first.filtered
    ]


def failing(_):
    raise KeyError("name")


def records():
    """One of each sample, of each good vector, and of what is special."""
    for number in range(len(KINDS)):
        made = sample(number, NOW)
        yield record_of(made.payload, made.topic)
    for path in sorted(VECTORS.glob("*/good/*.bin")):
        about = json.loads(path.with_suffix(".json").read_text("utf-8"))
        yield record_of(path.read_bytes(), about["subject"])
    payload = sample(0, NOW).payload
    yield record_of(payload, headers=b"NATS/1.0\r\nA: 1\r\nB: 2\r\nB: 3\r\n\r\n")
    yield record_of(payload, stream="EVENTS", sequence=7, deliveries=2)
    made, (record,) = handled(failing)
    yield made, record
    yield record_of(BROKEN)
    yield record_of(published({"text": "x" * 900}), max_bytes=900)


def test_the_fields_are_those_of_the_page():
    page, seen = rows(), set()
    for made, record in records():
        seen |= record.keys()
        for name, value in record.items():
            assert type(value) is TYPES[page[name].type], name
        there = {
            "always": True,
            "when undecodable": bool(made.error),
            "unless undecodable": not made.error,
            "from JetStream": record["id"] == "EVENTS-7",
        }
        for name, row in page.items():
            if name == "truncated":
                assert not (name in record and not made.error)
            elif row.there in there:
                assert (name in record) is there[row.there], name
    assert seen == page.keys()


def test_a_handler_makes_records_as_the_page_says():
    place = {"stream": "EVENTS", "sequence": 7, "deliveries": 1}
    _, several = handled(lambda _: [{"a": 1}, {"a": 2}], **place)
    assert [record["id"] for record in several] == ["EVENTS-7-0", "EVENTS-7-1"]
    assert not any("content" in record for record in several)
    first, none = handled(lambda _: None)
    assert first.filtered
    assert none == []


def test_other_formats_have_other_defaults():
    settings = load(flags={"topics": "orders.>", "record_format": "json"}, environ={}, file=None).settings
    recorder = recorder_of(settings, "example", levels=FORWARD_LEVELS)
    taken = {"stream": "ORDERS", "sequence": 7, "deliveries": 1, "time_ns": 1_700_000_000 * 10**9}
    for message, when in (({}, "2026-01-01T00:00:00.123456789Z"), (taken, "2023-11-14T22:13:20Z")):
        made = recorder.record(Delivery("orders", "orders.eu", b"[1, 2]", **message), NOW)
        record = msgpack.unpackb(made.packed)
        assert (record["content"], record["key"], record["timestamp"]) == ([1, 2], "orders.eu", when)
        assert not record.keys() & {"identity", "operation", "namespace"}


def test_headers_are_text_or_lists():
    headers = next(record["headers"] for _, record in records() if "headers" in record)
    assert headers == {"A": "1", "B": ["2", "3"]}


def test_the_undecodable_one_is_what_is_shown():
    made, record = record_of(BROKEN)
    assert made.tag == "aporeto.undecodable"
    assert record == json.loads(blocks(PAGE, "json")[0].text)


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("a", "a"),
        (None, None),
        (True, True),
        (2**64 - 1, 2**64 - 1),
        (-(2**63), -(2**63)),
        (0.5, 0.5),
        (msgpack.Timestamp(5, 6), "1970-01-01T00:00:05.000000006Z"),
        (b"xx", "eHg="),
        ({1: 2}, {"1": 2}),
        ({True: 2}, {"true": 2}),
        (math.nan, "NaN"),
        (math.inf, "Infinity"),
        (-math.inf, "-Infinity"),
    ],
)
def test_a_value_is_as_the_page_says(value, shown):
    _, record = record_of(published({"value": value}))
    assert record["content"] == {"value": shown}


def test_values_of_json_are_as_the_page_says():
    data = b'{"long": 18446744073709551616, "text": "\xff"}'
    envelope = {"data": data, "encoding": "application/json", "topic": "t", "trackingData": {}}
    made, record = record_of(msgpack.packb(envelope))
    assert record["content"] == {"long": float(2**64), "text": "\N{REPLACEMENT CHARACTER}"}
    assert made.replaced == 1


def test_what_is_too_deep_is_text():
    deep = []
    for _ in range(FORWARD_LEVELS + 5):
        deep = [deep]
    _, record = record_of(published({"deep": deep}))
    value, levels = record["content"]["deep"], 1
    while isinstance(value, list):
        value, levels = value[0], levels + 1
    assert levels == FORWARD_LEVELS == 60
    assert json.loads(value)


def test_tags_without_identity_and_operation():
    made, _ = record_of(published({"a": 1}), "a topic", tag="{topic}.{identity}.{operation}")
    assert made.tag == "a topic.unknown.none"
    made, _ = record_of(published({"a": 1}), "events/../x y", tag="{subject}")
    assert made.tag == "events_.._x_y"
