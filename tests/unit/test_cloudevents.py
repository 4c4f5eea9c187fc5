"""CloudEvents, in the modes of the NATS binding."""

from __future__ import annotations

import json

import pytest

from nats_fluent import plain
from nats_fluent.cloudevents import claimed
from nats_fluent.errors import Undecodable
from nats_fluent.formats import BUILT_IN

READER = BUILT_IN["cloudevents"]
EVENT = {"specversion": "1.0", "id": "A-1", "source": "/shop/eu", "type": "com.example.order.placed"}
HEADERS = {f"ce-{name}": value for name, value in EVENT.items()}
TIME = {"time": "2018-04-05T17:31:00Z"}
TIME_NS = 1_522_949_460_000_000_000


def read(payload, headers=None):
    careful = READER.careful(payload, headers or {}, "s")
    assert READER.fast(payload, headers or {}, "s") == careful
    return careful


def structured(**more):
    return json.dumps(EVENT | more).encode()


def refused(payload, headers=None):
    with pytest.raises(Undecodable) as caught:
        READER.careful(payload, headers or {}, "s")
    return str(caught.value)


@pytest.mark.parametrize("headers", [{}, {"Content-Type": "application/cloudevents+json; charset=utf-8"}])
def test_structured(headers):
    found = read(structured(**TIME, subject="7", data={"a": 1}), headers)
    assert found.content == {**EVENT, **TIME, "subject": "7", "data": {"a": 1}}
    assert (found.identity, found.key, found.time_ns) == (EVENT["type"], "/shop/eu/7", TIME_NS)
    assert (found.operation, found.namespace) == ("", "")


def test_structured_as_the_header_says_though_there_are_attributes():
    assert read(structured(), HEADERS | {"content-type": "application/cloudevents"}).content == EVENT


def test_data_of_bytes_stays_as_it_is():
    assert read(structured(data_base64="AAE=")).content == {**EVENT, "data_base64": "AAE="}


@pytest.mark.parametrize(
    ("more", "key"),
    [
        ({}, "/shop/eu"),
        ({"subject": None}, "/shop/eu"),
        ({"subject": 7}, "/shop/eu"),
        ({"subject": "a b"}, "/shop/eu/a b"),
        ({"subject": "7", "partitionkey": "p"}, "p"),
        ({"subject": "7", "partitionkey": ""}, "/shop/eu/7"),
    ],
)
def test_the_key(more, key):
    assert read(structured(**more)).key == key


@pytest.mark.parametrize("time", [None, 7, "", "yesterday"])
def test_an_event_without_a_time(time):
    assert read(structured(time=time)).time_ns is None


@pytest.mark.parametrize(
    ("content_type", "payload", "data"),
    [
        ({"ce-datacontenttype": "application/json"}, b'{"a":1}', {"data": {"a": 1}}),
        ({"content-type": "application/json; charset=utf-8"}, b'{"a":1}', {"data": {"a": 1}}),
        ({"Content-Type": "application/vnd.x+json"}, b"7", {"data": 7}),
        ({"ce-datacontenttype": "text/plain", "content-type": "application/json"}, b"7", {"data": "7"}),
        ({"content-type": "text/xml"}, b"<a/>", {"data": "<a/>"}),
        ({}, b"7", {"data": "7"}),
        ({}, b"\xff", {"data_base64": "/w=="}),
        ({"content-type": "application/json"}, b"", {}),
    ],
)
def test_binary(content_type, payload, data):
    kind = {"datacontenttype": next(iter(content_type.values()))} if content_type else {}
    found = read(payload, HEADERS | {"CE-Time": TIME["time"], "other": "x"} | content_type)
    assert found.content == {**EVENT, **TIME, **kind, **data}
    assert (found.identity, found.key, found.time_ns) == (EVENT["type"], "/shop/eu", TIME_NS)


@pytest.mark.parametrize(
    ("header", "value"),
    [
        # The example of the binding, section 3.1.3.2.
        ("Euro%20%E2%82%AC%20%F0%9F%98%80", "Euro € 😀"),
        ("%e2%82%ac", "€"),
        ('"a \\"b\\" c"', 'a "b" c'),
        ('"', '"'),
        ("100%", "100%"),
        (["one", "two"], "one"),
    ],
)
def test_header_values_are_unescaped(header, value):
    assert read(b"", HEADERS | {"ce-subject": header}).content["subject"] == value


def test_bytes_replaced_in_the_data_are_counted():
    headers = HEADERS | {"content-type": "application/json"}
    with pytest.raises(plain.NotFast):
        READER.fast(b'"\xff"', headers, "s")
    assert READER.careful(b'"\xff"', headers, "s").replaced == 1


def test_what_is_none():
    assert refused(b"[]") == "CloudEvent: no JSON object"
    assert refused(b"x") == "payload: not JSON: Expecting value at character 0 of 1"
    for name in EVENT:
        assert refused(json.dumps(EVENT | {name: ""}).encode()) == f"CloudEvent: no {name}"
        assert refused(json.dumps(EVENT | {name: 1}).encode()) == f"CloudEvent: no {name}"
    del (few := dict(HEADERS))["ce-type"]
    assert refused(b"", few) == "CloudEvent: no type"
    # "%C0%A0" is to be rejected: an overlong encoding of a space.
    problem = "CloudEvent: the header ce-subject is not UTF-8 under its percent encoding"
    assert refused(b"", HEADERS | {"ce-subject": "%C0%A0"}) == problem
    assert refused(b"{", HEADERS | {"content-type": "a/json"}).startswith("payload: not JSON")


def test_headers_that_say_so():
    assert claimed({"Ce-SpecVersion": "1.0"})
    assert claimed({"content-type": "Application/CloudEvents+json"})
    assert claimed({"content-type": ["application/cloudevents"]})
    assert not claimed({"content-type": "application/json", "ce-id": "1"})
