"""The envelope of a publication, in every form that Go takes and some that it does not."""

from __future__ import annotations

import pytest
from building import EVENT_TIME, JSON, MSGPACK, Raw, Text, envelope, event, go_json, pack
from decoding import SMALL, both, careful, only_careful, refused, with_fields

from nats_fluent import plain
from nats_fluent.envelope import Envelope, careful_envelope, fast_envelope, published_to
from nats_fluent.publication import fast_content


@pytest.mark.parametrize("encoding", ["text/plain", "", "Application/MsgPack", "application/xml"])
def test_any_other_encoding_is_json(encoding):
    payload = envelope(go_json(SMALL), encoding=encoding)
    assert both(payload).value == SMALL
    expected = (
        f"content: encoding {encoding!r} is read as JSON; not JSON: Expecting value at character 0 of 5"
    )
    assert refused(envelope(b"hello", encoding=encoding)) == expected


def test_json_that_is_broken():
    assert refused(envelope(b"{", encoding=JSON)).startswith("content: not JSON: ")
    assert refused(envelope(pack(SMALL), encoding=JSON)).startswith("content: not JSON: ")


@pytest.mark.parametrize("data", [..., None, b""])
def test_a_publication_without_data(data):
    assert refused(with_fields(data=data)) == "content: the publication holds no data"


def test_the_envelope_of_the_libraries():
    payload = with_fields(
        responseMode=1, partition=-(2**31), trackingData={"a": "b"}, trackingName="name", topic="é"
    )
    assert fast_envelope(payload) == careful_envelope(payload)
    assert careful_envelope(payload) == Envelope("é", MSGPACK, event(SMALL), 1)


@pytest.mark.parametrize(
    "fields",
    [
        {"topic": None},
        {"topic": b"squall-events"},
        {"topic": Text(b"\xff")},
        {"encoding": b"application/msgpack"},
        {"data": Text(event(SMALL))},
        {"partition": 3.0},
        {"partition": None},
        {"responseMode": 1.0},
        {"responseMode": None},
        {"trackingData": {"a": None}},
        {"trackingName": None},
        {"trackingData": Raw(b"\x81\xc0\xa0")},
    ],
)
def test_what_the_careful_reader_takes(fields):
    assert only_careful(with_fields(**fields)).value["entity"] == SMALL


@pytest.mark.parametrize(
    "fields", [{"more": [{}, EVENT_TIME]}, {"trackingData": None}, {"partition": 2**31 - 1}]
)
def test_what_both_readers_take(fields):
    assert both(with_fields(**fields)).value["entity"] == SMALL


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"partition": 2**31}, "partition 2147483648 is beyond 32 bits"),
        ({"partition": -(2**31) - 1}, "partition -2147483649 is beyond 32 bits"),
        ({"partition": 2.5}, "a float where an integer is expected"),
        ({"partition": "1"}, "a string where an integer is expected"),
        ({"responseMode": True}, "true where an integer is expected"),
        ({"topic": 5}, "an integer where bytes are expected"),
        ({"data": []}, "an array where bytes are expected"),
        ({"data": SMALL}, "a map where bytes are expected"),
        ({"encoding": 1}, "an integer where bytes are expected"),
        ({"trackingData": "a"}, "a string where a map is expected"),
        ({"trackingData": {"a": 1}}, "an integer where bytes are expected"),
        ({"trackingName": {}}, "a map where bytes are expected"),
        ({"more": Raw(b"\xc1")}, "the reserved byte 0xc1"),
    ],
)
def test_an_envelope_that_is_broken(fields, reason):
    assert refused(with_fields(**fields)).startswith(f"publication: {reason}, at byte ")


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        (b"", "publication: cut short: 1 bytes announced, 0 left, at byte 0 of 0"),
        (b"ack", "publication: an integer where a map is expected, at byte 0 of 3"),
        (b"\xc0", "content: the publication holds no data"),
        (b"\x80", "content: the publication holds no data"),
        (b"\x93\xc4\x01a\xa0\x00", "publication: an array where a map is expected, at byte 0 of 6"),
        (b"[1]", "publication: an integer where a map is expected, at byte 0 of 3"),
    ],
)
def test_what_is_no_publication(payload, reason):
    assert refused(payload) == reason


def test_keys_that_come_twice_and_what_comes_after_it():
    twice = b"\x83\xa5topic\xa1a" + with_fields(topic=..., encoding=...)[1:] + b"\xa8encoding" + pack(MSGPACK)
    assert careful_envelope(twice) == fast_envelope(twice)
    after = with_fields() + b"\xc1"
    assert careful(after) == careful(with_fields())


@pytest.mark.parametrize("mode", [-1, 0, 1, 2, 3])
def test_response_modes(mode):
    payload = with_fields(responseMode=mode)
    assert fast_envelope(payload).response_mode == careful_envelope(payload).response_mode == mode


# Before April 2019


def test_a_publication_in_json():
    found = only_careful(b'{"data":{"entity":{"ID":"1"},"identity":"enforcer","type":"delete"},"topic":"t"}')
    assert found.value == {"entity": {"ID": "1"}, "identity": "enforcer", "type": "delete"}
    assert (found.event, found.identity, found.operation, found.time_ns) == (True, "enforcer", "delete", None)


@pytest.mark.parametrize(
    ("payload", "expected"),
    [
        (b'{"data":{"a":1},"topic":"t"}', Envelope("t", JSON, None, 0, value={"a": 1})),
        (b'{"data":{"a":1}}', Envelope("", JSON, None, 0, value={"a": 1})),
        (b'{"data":{"a":1},"topic":5,"responseMode":1}', Envelope("", JSON, None, 1, value={"a": 1})),
        (b'{"data":0,"responseMode":"1"}', Envelope("", JSON, None, 0, value=0)),
        (b'{"data":"\xff"}', Envelope("", JSON, None, 0, value="\ufffd", replaced=1)),
    ],
)
def test_an_envelope_in_json(payload, expected):
    assert careful_envelope(payload) == expected
    with pytest.raises(plain.NotFast):
        fast_envelope(payload)


def test_a_publication_in_json_counts_what_it_replaced():
    assert careful(b'{"data":{"a":"\xff\xff"}}').replaced == 2


@pytest.mark.parametrize("payload", [b"{}", b'{"topic":"a"}', b'{"data":null}'])
def test_a_publication_in_json_without_data(payload):
    assert refused(payload) == "publication: a JSON object without data"


def test_a_publication_in_json_that_is_cut_short():
    assert refused(b'{"data":{"a":').startswith("publication: not JSON: ")


def test_an_envelope_without_anything_is_not_for_the_fast_reader():
    with pytest.raises(plain.NotFast):
        fast_content(Envelope("", JSON, None, 0, value={"a": 1}))


# Where it went


@pytest.mark.parametrize(
    ("payload", "subject"),
    [
        (with_fields(), "squall-events"),
        (with_fields(data=b"\xc1"), "squall-events"),
        (with_fields(topic=...), ""),
        (b'{"data":1,"topic":"t"}', "t"),
        (b"hello", ""),
        (b"", ""),
    ],
)
def test_the_subject_that_a_publication_names(payload, subject):
    assert published_to(payload) == subject
