from __future__ import annotations

import base64
import copy
import hashlib
import hmac
import json

import msgpack
import pytest
from building import JSON, Raw, Text, bare, envelope, publication
from hypothesis import example, given, settings
from hypothesis import strategies as st
from judging import exactly, vectors
from programs import missing
from recording import NOW
from strategies import PATHS_TO_REDACT, REDACTED_KEYS, nested, odd_maps, scalars

from nats_fluent import compiled, plain
from nats_fluent.delivery import Delivery
from nats_fluent.envelope import careful_envelope, fast_envelope
from nats_fluent.errors import Undecodable
from nats_fluent.publication import Content, careful_content, fast_content
from nats_fluent.record import HEAD_BYTES, Recorder
from nats_fluent.redact import MASK, SECRETS, Redaction, Redactor
from nats_fluent.sections import RecordSettings, RedactSettings
from nats_fluent.topics import TOPICS, Topic

KEY = "a key of 16 or more"
CONTENT = st.dictionaries(REDACTED_KEYS, nested(scalars, keys=REDACTED_KEYS), max_size=5)


def recorded(payload, topic="t", *, topics=(), headers=None, levels=None, max_bytes=900_000, **redact):
    redaction = Redaction(RedactSettings(**redact), topics)
    recorder = Recorder(RecordSettings(max_bytes=max_bytes), "run", levels=levels, redaction=redaction)
    return msgpack.unpackb(recorder.record(Delivery(topic, topic, payload, headers=headers), NOW).packed)


def redact(redactor, value, *, event=False):
    entity = value.get("entity") if event else value
    about = entity if isinstance(entity, dict) else {}
    return redactor(
        Content(value, about, event=event, identity="", operation="", timestamp=None, time_ns=None)
    )


# What matches, told in another way


def matches(path, keys):
    if not path:
        return not keys
    if path[0] == "**":
        return matches(path[1:], keys) or (bool(keys) and matches(path, keys[1:]))
    return bool(keys) and path[0] in ("*", keys[0]) and matches(path[1:], keys[1:])


def masked(value, paths, keys=()):
    if isinstance(value, list):
        return [masked(item, paths, keys) for item in value]
    if not isinstance(value, dict):
        return value
    found = {}
    for key, item in value.items():
        here = (*keys, key)
        if any(matches(path.split("."), here) for path in paths):
            found[key] = item if item is None or item == "" else MASK
        else:
            found[key] = masked(item, paths, here)
    return found


@given(CONTENT, st.lists(PATHS_TO_REDACT, max_size=4), st.booleans())
@example({"a": [{"token": "x"}, [{"b": {"token": 1}}]]}, ["**.token"], False)
@example({"entity": {"a": {"b": 1}}}, ["entity.*.b", "**.a.b"], True)
@example({"entity": "x"}, ["entity"], True)
@example({"entity": {"a": 1}}, ["*"], True)
@example({"a": None, "entity": []}, ["**.entity"], True)
@example({"a": {"c": {"b": 1}}}, ["a.b"], False)
@settings(max_examples=150)
def test_what_matches_is_masked_and_all_else_is_as_it_was(content, paths, event):
    before = copy.deepcopy(content)
    expected = masked(before, paths)
    if event:
        expected = before | ({"entity": expected["entity"]} if "entity" in before else {})
    found = redact(Redactor(paths, "mask"), content, event=event)
    assert exactly(content, expected)
    assert found or exactly(content, before)


@given(CONTENT, st.lists(PATHS_TO_REDACT, max_size=4))
def test_a_removed_value_goes_with_its_key(content, paths):
    redact(Redactor(paths, "remove"), content)

    def keys(value, above=()):
        if isinstance(value, list):
            return [each for item in value for each in keys(item, above)]
        if not isinstance(value, dict):
            return []
        return [each for key, item in value.items() for each in ((*above, key), *keys(item, (*above, key)))]

    assert not [here for here in keys(content) for path in paths if matches(path.split("."), here)]


@pytest.mark.parametrize(
    ("path", "content", "expected"),
    [
        (
            "entity.certificate",
            {"entity": {"certificate": "x", "a": 1}},
            {"entity": {"certificate": MASK, "a": 1}},
        ),
        ("certificate", {"entity": {"certificate": "x"}}, {"entity": {"certificate": "x"}}),
        ("entity.*.token", {"entity": {"a": {"token": "x"}}}, {"entity": {"a": {"token": MASK}}}),
        ("entity.*.token", {"entity": {"token": "x"}}, {"entity": {"token": "x"}}),
        ("entity.a.token", {"entity": {"a": [{"token": "x"}, 1]}}, {"entity": {"a": [{"token": MASK}, 1]}}),
        ("**.token", {"entity": {"a": [[{"token": ["x"]}]]}}, {"entity": {"a": [[{"token": MASK}]]}}),
        ("entity.a.*", {"entity": {"a": {"b": 1, "c": None}}}, {"entity": {"a": {"b": MASK, "c": None}}}),
        ("entity", {"entity": {"a": 1}}, {"entity": MASK}),
        ("entity.a", {"entity": [{"a": 1}]}, {"entity": [{"a": MASK}]}),
        ("entity.a", {"entity": None}, {"entity": None}),
        ("*", {"entity": {"a": 1}, "type": "x"}, {"entity": MASK, "type": "x"}),
        ("type", {"entity": {"type": "x"}, "type": "x"}, {"entity": {"type": "x"}, "type": "x"}),
        ("**.type", {"entity": {"type": "x"}, "type": "x"}, {"entity": {"type": MASK}, "type": "x"}),
        ("entity.a", {"identity": "x"}, {"identity": "x"}),
    ],
)
def test_examples_of_events(path, content, expected):
    before = copy.deepcopy(content)
    assert redact(Redactor([path], "mask"), content, event=True) is (before != expected)
    assert content == expected


def test_a_hash_tells_values_apart_and_not_what_they_are():
    content = {"a": "x", "b": ["x", {"d": 1, "c": None}], "c": "", "d": None, "e": "x"}
    assert redact(Redactor(["*"], "hash", KEY.encode()), content)
    digest = hmac.new(KEY.encode(), b"x", hashlib.sha256).hexdigest()
    assert content["a"] == content["e"] == f"hmac:{digest[:32]}"
    digest = hmac.new(KEY.encode(), b'["x",{"c":null,"d":1}]', hashlib.sha256).hexdigest()
    assert content["b"] == f"hmac:{digest[:32]}"
    assert (content["c"], content["d"]) == ("", None)


# In a record


@given(
    st.dictionaries(
        REDACTED_KEYS, nested(scalars | st.binary(max_size=8) | st.floats(), keys=REDACTED_KEYS), max_size=4
    )
    | odd_maps,
    st.lists(PATHS_TO_REDACT, min_size=1, max_size=3),
    st.sampled_from(["mask", "remove", "hash"]),
)
@example({"token": b"ab", "a": float("nan")}, ["**.token"], "hash")
@example({Text(b"tok\xff"): 1}, ["**.tok\ufffd"], "mask")
@settings(max_examples=100)
def test_both_readers_redact_the_same(entity, paths, action):
    redactor = Redactor(paths, action, KEY.encode())
    payload = publication(entity)
    try:
        careful = careful_content(careful_envelope(payload))
    except Undecodable:
        return
    redactor(careful)
    made = recorded(payload, secrets="off", paths=tuple(paths), action=action, key=_Key())
    assert exactly(made["content"], careful.value)
    try:
        fast = fast_content(fast_envelope(payload))
        redactor(fast, fast=True)
        packed = plain.fast_pack(fast.value)
    except plain.NotFast:
        return
    assert exactly(msgpack.unpackb(packed), careful.value)


class _Key:
    def get(self):
        return KEY


@pytest.mark.parametrize("name", [name for name in sorted(vectors()) if "deep500" not in name])
def test_with_the_defaults_recorded_payloads_differ_in_secrets_alone(name):
    payload = vectors()[name].payload
    without = recorded(payload, secrets="off")
    made = recorded(payload)
    assert made.keys() == without.keys()
    if "content" in made:
        expected = masked(without["content"], SECRETS)
        assert exactly(made["content"], expected)


@pytest.mark.parametrize("name", [path.removeprefix("**.") for path in SECRETS])
def test_what_the_platform_carries_as_a_secret_is_masked_wherever_it_is(name):
    value = {"ID": "1", "credentials": {name: "s3cret"}, "list": [{name: ["s3cret"]}], name: "s3cret"}
    for payload in (
        publication(value),
        publication(value, encoding=JSON, time=None),
        bare({"data": value}, "t"),
    ):
        made = recorded(payload)
        assert "s3cret" not in json.dumps(made)
        assert json.dumps(made).count('"***"') == 3


def test_a_key_that_json_writes_with_an_escape():
    payload = envelope(
        b'{"entity":{"pass\\u0077ord":"s3cret","ID":"1"},"identity":"a","type":"b"}', "t", encoding=JSON
    )
    assert recorded(payload)["content"]["entity"] == {"password": MASK, "ID": "1"}


def test_a_publication_of_2018():
    payload = b'{"data":{"entity":{"password":"s3cret"},"identity":"a","type":"b"},"topic":"t"}'
    assert recorded(payload)["content"]["entity"] == {"password": MASK}


def test_keys_that_are_no_text():
    payload = publication(Raw(b"\x82\x05\xa1x\xc0\xa1y"))
    made = recorded(payload, paths=("entity.5",))
    assert made["content"]["entity"] == {"5": MASK, "": "y"}


def test_what_is_too_deep_for_a_log_shipper_is_redacted_before_it_becomes_text():
    value = {"password": "s3cret"}
    for _ in range(70):
        value = {"a": value}
    made = recorded(publication(value), levels=60)
    assert "s3cret" not in json.dumps(made)
    assert '\\"password\\":\\"***\\"' in json.dumps(made)


def test_fields_are_made_of_redacted_content():
    value = {"ID": "secret-id", "namespace": "/secret"}
    made = recorded(publication(value), paths=("entity.ID", "entity.namespace"))
    assert (made["key"], made["namespace"]) == ("enforcer/***", "***")
    made = recorded(publication(value), paths=("entity.ID", "entity.namespace"), action="remove")
    assert (made["key"], "namespace" in made) == ("enforcer", False)
    made = recorded(bare({"date": "2019-06-12T21:38:02Z"}, "t"), paths=("date",))
    assert made["timestamp"].startswith("2023-11-14")  # of receipt


def test_a_topic_has_paths_of_its_own_or_none():
    topics = TOPICS.parse(
        [
            {"subject": "a", "redact": ["entity.name"]},
            {"subject": "b", "redact": "off"},
            {"subject": "c", "include": {"identity": "x"}},
        ]
    )
    payload = publication({"name": "n", "password": "p", "email": "e"})
    cookie = b"NATS/1.0\r\ncookie: 1\r\n\r\n"
    for topic, shown in (("a", "***"), ("b", "npe"), ("c", "n**"), ("d", "n**")):
        found = recorded(payload, topic, topics=topics, paths=("entity.email",), headers=cookie)
        entity = found["content"]["entity"]
        assert [entity[name] == MASK for name in ("name", "password", "email")] == [
            each == "*" for each in shown
        ]
        assert found["headers"] == {"cookie": "1" if topic == "b" else MASK}


def test_headers():
    block = b"NATS/1.0\r\nAUTHORIZATION: Bearer x\r\nX-Key: y\r\nX-Key: z\r\nOther: o\r\n\r\n"
    made = _with_headers(block)
    assert made == {"AUTHORIZATION": MASK, "X-Key": ["y", "z"], "Other": "o"}
    assert _with_headers(block, headers=("x-key",)) == {
        "AUTHORIZATION": "Bearer x",
        "X-Key": MASK,
        "Other": "o",
    }
    assert _with_headers(block, action="remove") == {"X-Key": ["y", "z"], "Other": "o"}


def _with_headers(block, **redact):
    redaction = Redaction(RedactSettings(**redact))
    recorder = Recorder(RecordSettings(), "run", levels=None, redaction=redaction)
    made = recorder.record(Delivery("t", "t", publication({}), headers=block), NOW)
    return msgpack.unpackb(made.packed)["headers"]


@pytest.mark.parametrize(("undecodable", "payload"), [("keep", "s3cret"), ("omit", "")])
def test_the_bytes_of_what_cannot_be_decoded(undecodable, payload):
    made = recorded(b"s3cret", undecodable=undecodable)
    assert base64.b64decode(made["payload"]).decode() == payload
    assert made.get("truncated", False) is (payload == "")
    assert made["size"] == 6
    off = recorded(b"s3cret", undecodable=undecodable, topics=[Topic("t", "t", redact=())])
    assert base64.b64decode(off["payload"]) == b"s3cret"


@pytest.mark.parametrize(("name", "shown"), [("password", 0), ("name", HEAD_BYTES)])
def test_the_head_of_a_record_over_the_limit_holds_no_secret(name, shown):
    made = recorded(publication({name: "s3cret", "x": "x" * 200_000}), max_bytes=100_000)
    assert "over the limit" in made["error"]
    assert len(base64.b64decode(made["payload"])) == shown


def test_nothing_is_looked_at_when_a_publication_is_far_too_large():
    made = recorded(publication({"x": "x" * 700_000}), max_bytes=100_000)
    assert (made["payload"], made["truncated"]) == ("", True)


def test_any_number_of_states_is_no_trouble():
    paths = [f"**.{one}.*.*.*.*.*.*.*.*.*.*.*.*.*.{two}" for one in "ab" for two in "ab"]
    value = "x"
    for number in range(400):
        value = {"ab"[number * number % 7 % 2]: value, "c": number}
    before = copy.deepcopy(value)
    redact(Redactor(paths, "mask"), value)
    assert exactly(value, masked(before, paths))


@pytest.fixture(params=[True, False], ids=["spliced", "decoded"])
def spliced(request, monkeypatch):
    if request.param and compiled.splice is None:
        missing("splice")
    if not request.param:
        monkeypatch.setattr(compiled, "splice", None)


@pytest.mark.usefixtures("spliced")
@pytest.mark.parametrize("make", [publication, lambda value: bare(value, "t")], ids=["event", "object"])
@pytest.mark.parametrize(
    ("paths", "masked_keys"),
    [
        (("**.b",), ["b"]),
        (("entity.a.*", "a.*"), ["b"]),
        (("entity.*.b", "*.b"), ["b"]),
        (("entity.*", "ID", "a", "c"), ["ID", "a", "c"]),
        (("entity.**.b", "a.b"), ["b"]),
        ((f"**.{'long' * 70}",), []),
    ],
)
def test_what_is_sent_on_as_it_came_has_nothing_to_redact(make, paths, masked_keys):
    value = {"ID": "1", "a": {"b": "2"}, "c": [3]}
    content = recorded(make(value), secrets="off", paths=paths)["content"]
    entity = content.get("entity", content)
    found = [key for key in ("ID", "a", "c") if entity[key] == MASK]
    found += ["b"] if isinstance(entity["a"], dict) and entity["a"]["b"] == MASK else []
    assert found == masked_keys


@pytest.mark.usefixtures("spliced")
def test_an_entity_that_is_redacted_as_a_whole_is_not_in_other_fields():
    made = recorded(publication({"ID": "secret-id", "namespace": "/secret"}), paths=("entity",))
    assert made["content"]["entity"] == MASK
    assert "secret" not in json.dumps(made)
