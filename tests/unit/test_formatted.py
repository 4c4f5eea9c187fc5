"""The record of a message that is no publication: every field, filters, redaction, limits."""

from __future__ import annotations

import json

import msgpack
import pytest
from building import pack, publication
from decoding import without_the_compiled_part
from hypothesis import given
from hypothesis import strategies as st
from judging import exactly, not_plain
from recording import ENFORCER, NOW, NOW_TEXT
from strategies import json_objects, mutated, odd_maps, plain_values, publications

from nats_fluent import plain
from nats_fluent.delivery import Delivery
from nats_fluent.options import Secret
from nats_fluent.record import FORWARD_LEVELS, Recorder
from nats_fluent.recorders import in_format, recorder_of
from nats_fluent.sections import RecordSettings, RedactSettings
from nats_fluent.settings import Settings
from nats_fluent.topics import Match, Topic

ORDER = {"id": 7, "order": {"kind": "book", "at": 1_700_000_001.5, "shop": "/eu/de"}, "password": "secret"}
ORDER_PLACES = {
    "time": "order.at",
    "key": "id",
    "identity": "order.kind",
    "operation": "subject:3",
    "namespace": "order.shop",
}


def topic_of(format="json", **keys):  # noqa: A002 - as the setting
    return Topic("orders.>", "orders", format=format, **keys)


def made_by(
    topic,
    payload,
    *,
    subject="orders.eu.created",
    headers=None,
    levels=None,
    redact="off",
    place=None,
    **changes,
):
    settings = Settings(
        topics=(topic,),
        record=RecordSettings(**changes),
        redact=RedactSettings(action=redact, key=Secret("0123456789abcdef")),
    )
    maker = recorder_of(settings, "run", levels=levels)
    made = maker.record(Delivery("orders", subject, payload, headers=headers, **(place or {})), NOW)
    if made.filtered:
        return made, None
    fields = msgpack.unpackb(made.packed)
    assert not_plain(fields) == []
    return made, fields


def fields_of(*args, **kwargs):
    return made_by(*args, **kwargs)[1]


def packed_as(name, value):
    return json.dumps(value).encode() if name == "json" else msgpack.packb(value)


@pytest.mark.parametrize("name", ["json", "msgpack"])
def test_a_message_of_which_nothing_else_is_said(name):
    made, fields = made_by(topic_of(name), packed_as(name, ORDER))
    assert fields == {
        "topic": "orders",
        "subject": "orders.eu.created",
        "key": "orders.eu.created",
        "timestamp": NOW_TEXT,
        "id": "run-1",
        "content": ORDER,
    }
    assert list(fields)[-1] == "content"
    assert (made.tag, made.time_ns, made.error) == ("aporeto.orders", NOW, "")
    assert (made.identity, made.operation, made.ack_asked, made.replaced) == ("", "", False, 0)


@pytest.mark.parametrize("name", ["json", "msgpack"])
def test_a_message_of_which_all_is_said(name):
    topic = topic_of(name, **ORDER_PLACES)
    tag = "{topic}.{subject}.{identity}.{operation}"
    made, fields = made_by(topic, packed_as(name, ORDER), headers=b"NATS/1.0\r\nA: b\r\n\r\n", tag=tag)
    assert fields == {
        "topic": "orders",
        "subject": "orders.eu.created",
        "identity": "book",
        "operation": "created",
        "namespace": "/eu/de",
        "key": "7",
        "timestamp": "2023-11-14T22:13:21.5Z",
        "id": "run-1",
        "headers": {"A": "b"},
        "content": ORDER,
    }
    assert made.tag == "orders.orders.eu.created.book.created"
    assert made.time_ns == 1_700_000_001_500_000_000
    assert (made.identity, made.operation) == ("book", "created")


def test_fields_of_msgpack_that_goes_out_as_it_came():
    order = {"id": "7", "kind": "book", "more": {"a": [1, 2.5, None]}}
    topic = topic_of("msgpack", key="id", identity="kind", operation="subject:3")
    fields = fields_of(topic, msgpack.packb(order))
    assert (fields["key"], fields["identity"], fields["operation"]) == ("7", "book", "created")
    assert fields["content"] == order


@pytest.mark.parametrize("form", ["json", "msgpack"])
@pytest.mark.parametrize("name", ["x" * 64, "deep.er", "list.1", "many.1", ".".join("abcdefghi")])
def test_fields_that_are_looked_for(name, form):
    content = {"deep": {"er": "7"}, "list": ["6", "7"], "many": {"1": "7"}, "x" * 64: "7"}
    content |= {"a": {"b": {"c": {"d": {"e": {"f": {"g": {"h": {"i": "7"}}}}}}}}}
    assert fields_of(topic_of(form, key=name), packed_as(form, content))["key"] == "7"


@pytest.mark.parametrize("form", ["json", "msgpack", "auto"])
def test_a_place_in_what_is_no_map(form):
    for other in (None, 7, "", [], {}, {"er": None}, {"er": []}):
        payload = packed_as("json" if form == "auto" else form, {"deep": other, "id": "8"})
        fields = fields_of(topic_of(form, identity="deep.er", key="id"), payload)
        assert (fields["key"], "identity" in fields) == ("8", False)


def test_what_is_not_there_is_as_if_nothing_was_said():
    fields = fields_of(topic_of(**ORDER_PLACES), b"[1]", subject="orders")
    assert fields == {
        "topic": "orders",
        "subject": "orders",
        "key": "orders",
        "timestamp": NOW_TEXT,
        "id": "run-1",
        "content": [1],
    }


def test_a_message_of_a_stream_has_the_time_at_which_the_stream_took_it():
    place = {"stream": "S", "sequence": 5, "deliveries": 2, "time_ns": NOW + 1_000_000_000}
    made, fields = made_by(topic_of(time="at"), b"{}", place=place)
    assert made.time_ns == NOW + 1_000_000_000
    assert (fields["timestamp"], fields["id"]) == ("2023-11-14T22:13:21.123456789Z", "S-5")
    assert (fields["stream"], fields["sequence"], fields["deliveries"]) == ("S", 5, 2)
    assert made_by(topic_of(time="at"), b'{"at":1700000000}', place=place)[0].time_ns == 1_700_000_000 * 10**9


def test_text_that_is_not_utf_8():
    made, fields = made_by(topic_of("text"), b"a\xff\x00\n")
    assert (fields["content"], made.replaced) == ("a\ufffd\x00\n", 1)


def test_raw():
    assert fields_of(topic_of("raw"), b"\x00\xff")["content"] == "AP8="


def test_a_cloudevent_in_headers():
    event = {
        "specversion": "1.0",
        "id": "1",
        "source": "/s",
        "type": "t.made",
        "time": "2019-06-12T21:38:02Z",
    }
    lines = "".join(f"ce-{name}: {value}\r\n" for name, value in event.items())
    block = f"NATS/1.0\r\n{lines}\r\n".encode()
    made, fields = made_by(topic_of("cloudevents", operation="subject:3"), b"hello", headers=block)
    assert fields["content"] == event | {"data": "hello"}
    assert (fields["identity"], fields["operation"], fields["key"]) == ("t.made", "created", "/s")
    assert (fields["timestamp"], made.time_ns) == (event["time"], 1_560_375_482 * 10**9)
    assert fields["headers"] == {f"ce-{name}": value for name, value in event.items()}


def test_places_go_over_what_an_event_says():
    event = {"specversion": "1.0", "id": "1", "source": "/s", "type": "t", "data": {"n": "7"}}
    fields = fields_of(topic_of("cloudevents", key="data.n", identity="source"), json.dumps(event).encode())
    assert (fields["key"], fields["identity"]) == ("7", "/s")


def test_auto_takes_a_publication_for_one():
    payload = publication(ENFORCER)
    assert fields_of(topic_of("auto"), payload) == fields_of(topic_of("publication"), payload)
    assert fields_of(topic_of("auto"), b"hello")["content"] == "hello"


def test_very_deep_content():
    deep = b'{"a":' * 100 + b"1" + b"}" * 100
    content = fields_of(topic_of(), deep, levels=FORWARD_LEVELS)["content"]
    for _ in range(FORWARD_LEVELS):
        content = content["a"]
    assert content == deep[5 * FORWARD_LEVELS :].decode()[: 5 * 40 + 1 + 40]
    assert fields_of(topic_of(), deep)["content"] == json.loads(deep)


# What cannot be decoded


def test_what_cannot_be_decoded():
    made, fields = made_by(topic_of(key="id"), b"{no")
    assert made.tag == "aporeto.undecodable"
    assert fields["error"].startswith("payload: not JSON")
    assert (fields["key"], fields["size"], fields["payload"]) == ("orders", 3, "e25v")


def test_too_many_headers():
    fields = fields_of(topic_of("text"), b"x", headers=b"NATS/1.0\r\n" + b"A: b\r\n" * 1100 + b"\r\n")
    assert fields["error"] == "headers: more than 1000 lines"


@pytest.mark.parametrize(
    ("size", "reason"),
    [
        (20_000, "the record takes 20170 bytes, over the limit of 10000 (record.max_bytes)"),
        (60_001, "the payload takes 60001 bytes, over the limit of 60000 (6 times record.max_bytes)"),
    ],
)
@pytest.mark.parametrize("redact", ["off", "mask"])
def test_what_is_too_large(size, reason, redact):
    fields = fields_of(topic_of("text"), b"x" * size, max_bytes=10_000, redact=redact)
    assert fields["error"].partition(" takes ")[0] == reason.partition(" takes ")[0]
    assert fields["error"].partition(" bytes")[2] == reason.partition(" bytes")[2]
    assert fields["size"] == size
    # Of what is too large to be read there is no telling what is in it.
    assert (fields["payload"] == "") == (redact == "mask" and size > 60_000)


# Filters


@pytest.mark.parametrize("name", ["json", "msgpack"])
def test_filters(name):
    payload = packed_as(name, ORDER)
    for match, holds in (
        (Match(identity=("book",)), True),
        (Match(identity=("pen",)), False),
        (Match(operation=("created",)), True),
        (Match(namespace=("/eu",)), True),
        (Match(namespace=("/us",)), False),
    ):
        assert made_by(topic_of(name, **ORDER_PLACES, include=match), payload)[0].filtered is not holds
        assert made_by(topic_of(name, **ORDER_PLACES, exclude=match), payload)[0].filtered is holds


def test_what_cannot_be_decoded_is_not_filtered():
    assert not made_by(topic_of(include=Match(identity=("x",))), b"{no")[0].filtered


# Redaction


@pytest.mark.parametrize("name", ["json", "msgpack"])
@pytest.mark.parametrize("odd", [{}, {"odd": float("nan")}])
def test_redaction(name, odd):
    if odd and name == "json":
        payload = packed_as(name, ORDER).replace(b"{", b'{"odd":"\xff",', 1)
    else:
        payload = packed_as(name, ORDER | odd)
    fields = fields_of(topic_of(name, redact=("order.kind",), **ORDER_PLACES), payload, redact="mask")
    assert fields["content"]["password"] == fields["content"]["order"]["kind"] == "***"
    # What is redacted does not come to stand beside the content.
    assert fields["identity"] == "***"
    assert "book" not in str(fields)


def test_what_is_filtered_by_is_what_was_sent():
    topic = topic_of(redact=("order.kind",), **ORDER_PLACES, include=Match(identity=("book",)))
    made, fields = made_by(topic, packed_as("json", ORDER), redact="remove")
    assert not made.filtered
    assert "identity" not in fields


def test_hashes_of_what_is_no_text():
    fields = fields_of(topic_of(redact=("id",)), packed_as("json", ORDER), redact="hash")
    assert fields["content"]["id"].startswith("hmac:")


def test_redacted_headers():
    block = b"NATS/1.0\r\nAuthorization: Bearer x\r\n\r\n"
    fields = fields_of(topic_of(key="header:authorization"), b"{}", headers=block, redact="mask")
    assert (fields["headers"], fields["key"]) == ({"Authorization": "***"}, "***")


def test_msgpack_with_nothing_to_redact():
    order = {"id": "7", "more": {"a": 1}}
    fields = fields_of(topic_of("msgpack", key="id"), msgpack.packb(order), redact="mask")
    assert (fields["content"], fields["key"]) == (order, "7")
    # Of a path without a key there is no telling whether it is about this.
    topic = topic_of("msgpack", redact=("more.*",))
    assert fields_of(topic, msgpack.packb(order), redact="mask")["content"] == {
        "id": "7",
        "more": {"a": "***"},
    }


def test_what_was_redacted_is_not_shown_when_it_is_too_large():
    payload = json.dumps({"password": "secret", "x": "x" * 20_000}).encode()
    assert fields_of(topic_of(), payload, max_bytes=10_000, redact="mask")["payload"] == ""


# Any bytes

payloads = (
    st.binary(max_size=80)
    | plain_values.map(lambda value: json.dumps(value).encode())
    | json_objects
    | odd_maps.map(pack)
    | publications()
)


@given(
    payload=payloads | mutated(payloads),
    name=st.sampled_from(["publication", "json", "msgpack", "text", "raw", "cloudevents", "auto"]),
    place=st.sampled_from(["id", "entity.ID", "header:A", "subject:2"]),
    redact=st.sampled_from(["off", "mask", "remove", "hash"]),
    headers=st.none() | st.just(b"NATS/1.0\r\nA: 7\r\nce-specversion: 1.0\r\nce-id: \xff\r\n\r\n"),
)
def test_any_bytes_become_a_record(payload, name, place, redact, headers):
    places = {} if name == "publication" else {"key": place, "time": place, "identity": place}
    how = {"headers": headers, "redact": redact, "levels": FORWARD_LEVELS, "max_bytes": 5000}
    made, fields = made_by(topic_of(name, **places), payload, **how)
    with without_the_compiled_part():
        other, same_fields = made_by(topic_of(name, **places), payload, **how)
    assert exactly(fields, same_fields)
    assert (made.tag, made.time_ns, made.error) == (other.tag, other.time_ns, other.error)
    assert isinstance(fields["key"], str)
    assert fields["key"]
    assert plain.parse_rfc3339(fields["timestamp"]) is not None or name in ("publication", "auto")
    assert made.time_ns >= 0
    assert ("content" in fields) != ("error" in fields)


# Which recorder


def test_publications_alone_have_the_recorder_of_publications():
    for topics in ((), (Topic("a", "a"), Topic("b", "b", format="publication"))):
        assert type(recorder_of(Settings(topics=topics), "run", levels=None)) is Recorder


def test_a_format_for_all_topics():
    settings = Settings(
        topics=(Topic("a", "a", format="text"), Topic("b", "b")), record=RecordSettings(format="json")
    )

    def contents(of):
        maker = recorder_of(of, "run", levels=None)
        return [msgpack.unpackb(maker.record(Delivery(t, t, b"1"), NOW).packed)["content"] for t in "abc"]

    assert contents(settings) == ["1", 1, 1]
    assert contents(in_format(settings, None)) == ["1", 1, 1]
    assert contents(in_format(settings, "raw")) == ["MQ=="] * 3


def test_a_topic_of_publications_among_others():
    settings = Settings(topics=(Topic("a", "a", format="publication"), Topic("b", "b", format="text")))
    maker = recorder_of(settings, "run", levels=None)
    for topic in ("a", "unknown"):
        assert msgpack.unpackb(maker.record(Delivery(topic, topic, publication(ENFORCER)), NOW).packed)[
            "identity"
        ]
