"""Records of what cannot be decoded, is too large, or is for the careful reader alone; and of anything."""

from __future__ import annotations

import base64
import json
import math

import msgpack
import pytest
from building import JSON, Text, envelope, event, publication
from decoding import with_fields
from hypothesis import given, settings
from hypothesis import strategies as st
from judging import exactly, vectors
from recording import NOW, NOW_TEXT, recorded
from strategies import mutated, publications

from nats_fluent import plain
from nats_fluent.record import HEAD_BYTES, MOST_JSON


def json_of(made):
    """The record as Fluent Bit writes it: what is not ASCII as it is, DEL as an escape."""
    text = json.dumps(msgpack.unpackb(made.packed), ensure_ascii=False, separators=(",", ":"))
    return text.replace("\x7f", "\\u007f").encode()


# What cannot be decoded


def test_an_undecodable_record():
    made, fields = recorded(b"\x00junk", "events", subject="events.a", headers=b"NATS/1.0\r\na: b\r\n\r\n")
    error = "publication: an integer where a map is expected, at byte 0 of 5"
    assert fields == {
        "topic": "events",
        "subject": "events.a",
        "key": "events",
        "timestamp": NOW_TEXT,
        "id": "run-1",
        "error": error,
        "size": 5,
        "payload": base64.b64encode(b"\x00junk").decode(),
    }
    assert (made.tag, made.time_ns, made.error) == ("aporeto.undecodable", NOW, error)


def test_an_undecodable_record_over_the_limit_is_cut():
    payload = b"\xc1" * 1000
    made, fields = recorded(payload, max_bytes=4096 + 100)
    assert fields["truncated"] is True
    assert fields["size"] == 1000
    shown = base64.b64decode(fields["payload"])
    assert payload.startswith(shown)
    assert len(shown) == (100 - len("squall-events")) // 4 * 3
    assert len(made.packed) <= 4096 + 100


@pytest.mark.parametrize("max_bytes", [1, 4096, 5000, 20_000, 900_000])
@pytest.mark.parametrize("payload", [b"\xc1" * 100_000, publication({"a": "x" * 100_000}), b"{" * 100_000])
@pytest.mark.parametrize("subject", ["s", "s" * 2000, "é" * 1000])
def test_no_record_is_over_the_limit(max_bytes, payload, subject):
    made, fields = recorded(payload, "t", subject=subject, max_bytes=max_bytes)
    assert len(made.packed) <= max(max_bytes, 4096 + len(subject.encode()))
    if made.error:
        assert base64.b64decode(fields["payload"]) == payload[: len(base64.b64decode(fields["payload"]))]


def test_a_record_over_the_limit_keeps_its_head():
    payload = publication({"a": "x" * 200_000})
    _, whole = recorded(payload)
    size = len(json_of(recorded(payload)[0]))
    made, fields = recorded(payload, max_bytes=size - 1)
    reason = f"the record takes {size} bytes as JSON, over the limit of {size - 1} (record.max_bytes)"
    assert made.error == reason
    assert (fields["error"], fields["size"], fields["truncated"]) == (made.error, len(payload), True)
    assert base64.b64decode(fields["payload"]) == payload[:HEAD_BYTES]
    assert recorded(payload, max_bytes=size)[1] == whole


@pytest.mark.parametrize(
    "content",
    [
        {"a": "\x01" * 2000},
        {"a": "\x7f" * 2000},
        {"a": '"\\\n' * 2000},
        {"a": [False] * 2000},
        {"a": Text(b"\xff\x01" * 2000)},
    ],
)
def test_the_limit_holds_for_what_outputs_make_of_it(content):
    """They write JSON, which can take up to six times as many bytes, and Kafka refuses what is too large."""
    made, _ = recorded(publication(content))
    size = len(json_of(made))
    assert len(made.packed) < size < len(made.packed) * MOST_JSON
    made, fields = recorded(publication(content), max_bytes=size - 1)
    assert f"takes {size} bytes as JSON, over the limit of {size - 1} (" in made.error
    assert base64.b64decode(fields["payload"])
    assert not recorded(publication(content), max_bytes=size)[0].error


@given(publications())
def test_no_record_is_larger_as_json_than_its_limit(payload):
    made, _ = recorded(payload, max_bytes=5000)
    # Writers differ by a byte a float (1e-7, 1e-07). Kafka's own limit is a tenth above the default of this one.
    assert made.error or len(json_of(made)) <= 5500


def test_odd_content_over_the_limit_is_cut_as_well():
    made, fields = recorded(publication({"a": Text(b"\xff" * 9000)}), max_bytes=8000)
    assert "over the limit" in made.error
    assert fields["truncated"]


# Who waits for an answer


@pytest.mark.parametrize(
    ("payload", "asked", "decodable"),
    [
        (with_fields(responseMode=1), True, True),
        (with_fields(responseMode=2), False, True),
        (with_fields(responseMode=0), False, True),
        (with_fields(responseMode=1, data=b"\xc1"), True, False),
        (with_fields(responseMode=1, data=event({"a": Text(b"\xff")})), True, True),
        (with_fields(responseMode=1, data=event({"a": "x" * 10_000})), True, False),
        (with_fields(responseMode=1.0), True, True),
        (with_fields(responseMode=True), False, False),
        (with_fields(responseMode=1, topic=5), False, False),
        (b'{"data":{"a":1},"responseMode":1}', True, True),
        (b"junk", False, False),
    ],
)
def test_whether_the_publisher_asked_for_an_answer(payload, asked, decodable):
    made, _ = recorded(payload, max_bytes=9000)
    assert (made.ack_asked, made.error == "") == (asked, decodable)


# What only the careful reader takes


def test_what_was_replaced_is_counted():
    made, fields = recorded(publication({"a": Text(b"x\xff\xff")}))
    assert made.replaced == 2
    assert fields["content"]["entity"] == {"a": "x\ufffd\ufffd"}


def test_numbers_that_are_none():
    _, fields = recorded(publication({"a": math.nan, "b": [math.inf, -math.inf]}))
    assert fields["content"]["entity"] == {"a": "NaN", "b": ["Infinity", "-Infinity"]}


def test_integers_beyond_64_bits_are_floats():
    data = b'{"a":18446744073709551616,"b":-9223372036854775809,"c":18446744073709551615}'
    _, fields = recorded(envelope(data, encoding=JSON))
    assert exactly(fields["content"], {"a": 2.0**64, "b": -(2.0**63), "c": 2**64 - 1})


@pytest.mark.parametrize("levels", [200, 254, 255, 256, 500, 511, 512, plain.MAX_DEPTH - 1])
@pytest.mark.parametrize("encoding", [JSON, "application/msgpack"])
def test_depth(levels, encoding):
    value = "bottom"
    for _ in range(levels):
        value = [value]
    if encoding == JSON:
        data = b'{"a":' + b"[" * levels + b'"bottom"' + b"]" * levels + b"}"
    else:
        data = b"\x81\xa1a" + b"\x91" * levels + b"\xa6bottom"
    made, fields = recorded(envelope(data, encoding=encoding))
    assert made.error == ""
    assert exactly(fields["content"], {"a": value})
    json.dumps(fields)


def test_one_level_too_many():
    data = b"\x81\xa1a" + b"\x91" * plain.MAX_DEPTH + b"\xc0"
    assert recorded(envelope(data))[0].error.startswith("content: nested deeper than 700 levels")


# Anything


@settings(max_examples=100)
@given(
    st.binary(max_size=100)
    | publications()
    | mutated(publications())
    | mutated(
        st.sampled_from([vector.payload for vector in vectors().values() if len(vector.payload) < 5000])
    ),
    st.sampled_from(["squall-events", "activities", "t"]),
    st.sampled_from(["aporeto.{topic}", "{identity}.{operation}.{subject}"]),
)
def test_any_payload_becomes_a_record(payload, topic, tag):
    made, fields = recorded(payload, topic, tag=tag)
    assert fields["topic"] == fields["subject"] == topic
    assert fields["key"]
    assert fields["id"] == "run-1"
    assert made.tag
    assert made.time_ns >= 0
    assert ("content" in fields) is (made.error == "")
    assert json.loads(json.dumps(fields)) == fields
    if made.error:
        assert base64.b64decode(fields["payload"]) == payload
