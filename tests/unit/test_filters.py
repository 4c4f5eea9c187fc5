from __future__ import annotations

import json

import pytest
from building import EVENT_TIME, JSON, MSGPACK, Raw, bare, envelope, event, pack, publication
from hypothesis import given, settings
from hypothesis import strategies as st
from judging import vectors
from piping import Pipe
from recording import NOW
from scripted import idle
from strategies import mutated, publications

from nats_fluent import plain
from nats_fluent.delivery import Delivery, Outcome
from nats_fluent.envelope import careful_envelope, fast_envelope
from nats_fluent.errors import Undecodable
from nats_fluent.filters import Filters, _about, _fast_about
from nats_fluent.publication import careful_content
from nats_fluent.record import Recorder
from nats_fluent.sections import RecordSettings
from nats_fluent.topics import Match, Topic, within

VECTORS = [vector.payload for vector in vectors().values() if len(vector.payload) < 5000]
ENFORCER = {"ID": "1", "namespace": "/apomux/a"}
BROKEN_JSON = b'{"entity":{"a":1,},"identity":"enforcer","type":"update"}'


def recorded(payload, topic="t", *, include=None, exclude=None):
    recorder = Recorder(
        RecordSettings(), "run", levels=None, filters=Filters([Topic(topic, topic, include, exclude)])
    )
    return recorder.record(Delivery(topic, topic, payload), NOW)


@pytest.mark.parametrize("encoding", [MSGPACK, JSON])
@pytest.mark.parametrize(
    ("match", "holds"),
    [
        (Match(identity=("enforcer",)), True),
        (Match(identity=("other", "enforcer")), True),
        (Match(identity=("enforce",)), False),
        (Match(operation=("update",)), True),
        (Match(operation=("create", "delete")), False),
        (Match(namespace=("/apomux",)), True),
        (Match(namespace=("/apomux/a",)), True),
        (Match(namespace=("/",)), True),
        (Match(namespace=("/apomux/a/b", "/apo")), False),
        (Match(identity=("enforcer",), operation=("update",), namespace=("/apomux",)), True),
        (Match(identity=("enforcer",), operation=("create",)), False),
        (Match(identity=("other",), namespace=("/apomux",)), False),
    ],
)
def test_an_event_passes_what_it_matches_and_is_kept_back_by_it(encoding, match, holds):
    time = EVENT_TIME if encoding == MSGPACK else None
    payload = publication(ENFORCER, encoding=encoding, time=time)
    assert recorded(payload, include=match).filtered is not holds
    assert recorded(payload, exclude=match).filtered is holds


def test_include_and_exclude_together():
    all_but = {"include": Match(namespace=("/apomux",)), "exclude": Match(identity=("enforcer",))}
    assert recorded(publication(ENFORCER), **all_but).filtered
    assert not recorded(publication(ENFORCER, identity="externalnetwork"), **all_but).filtered
    assert recorded(publication({"namespace": "/b"}, identity="externalnetwork"), **all_but).filtered


@pytest.mark.parametrize("encoding", [MSGPACK, JSON])
@pytest.mark.parametrize(
    ("topic", "value", "match"),
    [
        ("activities", {"operation": "Create", "namespace": "/a/b"}, Match(operation=("create",))),
        ("activities", {"ID": "1"}, Match(identity=("activity",))),
        ("t", {"namespace": "/a/b"}, Match(namespace=("/a",))),
        ("external-auditreports", {"processingUnitNamespace": "/a"}, Match(namespace=("/a",))),
        (
            "external-fileaccessreports",
            {"namespace": "", "enforcerNamespace": "/a"},
            Match(namespace=("/a",)),
        ),
    ],
)
def test_a_bare_object_is_known_by_its_topic_and_its_fields(encoding, topic, value, match):
    payload = bare(value, topic, encoding=encoding)
    assert recorded(payload, topic, exclude=match).filtered
    assert not recorded(payload, topic, include=match).filtered
    assert not recorded(bare({"a": 1}, "t", encoding=encoding), "t", exclude=match).filtered


@pytest.mark.parametrize("value", [{}, {"namespace": ""}, {"namespace": None}, {"namespace": 7}])
@pytest.mark.parametrize("namespace", ["/", "/a"])
def test_what_names_no_namespace_is_in_none(value, namespace):
    match = Match(namespace=(namespace,))
    in_json = publication(value, encoding=JSON, time=None)
    for payload in (publication(value), in_json, publication(None), bare(value, "t")):
        assert recorded(payload, include=match).filtered
        assert not recorded(payload, exclude=match).filtered


def test_other_topics_are_let_through():
    recorder = Recorder(
        RecordSettings(),
        "run",
        levels=None,
        filters=Filters([Topic("a", "a", Match(identity=("x",))), Topic("b", "b")]),
    )
    assert not recorder.record(Delivery("b", "b", publication(ENFORCER)), NOW).filtered
    assert not Filters([Topic("a", "a"), Topic("b", "b")])


@pytest.mark.parametrize(
    "payload",
    [
        b"junk",
        envelope(pack(7), "t"),
        envelope(BROKEN_JSON, "t", encoding=JSON),
        envelope(b'{"operation":"update","namespace":"/a","b":tru}', "t", encoding=JSON),
    ],
)
def test_what_cannot_be_decoded_is_not_filtered(payload):
    made = recorded(payload, include=Match(identity=("none",)))
    assert made.error
    assert not made.filtered


def test_the_head_of_an_event_decides_though_its_entity_cannot_be_decoded():
    assert recorded(publication(Raw(b"\x81\xa1a"))).error
    # A time of five bytes: what is skipped is not looked into.
    payload = publication(Raw(b"\x81\xa1a\xc7\x05\xff12345"))
    assert recorded(payload).error
    assert recorded(payload, exclude=Match(identity=("enforcer",))).filtered
    assert recorded(publication(Raw(b"\x81\xa1a")), exclude=Match(identity=("enforcer",))).error


@given(publications() | mutated(publications()) | mutated(st.sampled_from(VECTORS)))
@settings(max_examples=100)
def test_the_head_says_what_the_content_says(payload):
    try:
        content = careful_content(careful_envelope(payload))
    except Undecodable:
        return
    for topic in ("t", "activities"):
        try:
            head = _fast_about(topic, fast_envelope(payload))
        except plain.NotFast:
            continue
        assert head == _about(topic, content)


@pytest.mark.parametrize("name", sorted(vectors()))
def test_every_recorded_payload_is_filtered_by_what_its_record_says(name):
    payload = vectors()[name].payload
    plainly = recorded(payload)
    if plainly.error:
        return
    match = Match(identity=(plainly.identity or "none",), operation=(plainly.operation.lower() or "none",))
    known = bool(plainly.identity and plainly.operation)
    assert recorded(payload, exclude=match).filtered is known
    assert recorded(payload, include=match).filtered is not known


def test_a_json_publication_of_2018():
    payload = json.dumps(
        {"data": {"entity": ENFORCER, "identity": "enforcer", "type": "update"}, "topic": "t"}
    ).encode()
    assert recorded(payload, exclude=Match(identity=("enforcer",), namespace=("/apomux",))).filtered
    assert not recorded(payload, exclude=Match(identity=("enforcer",), namespace=("/b",))).filtered


@pytest.mark.parametrize(
    ("namespace", "parent", "is_within"),
    [
        ("/a", "/a", True),
        ("/a/", "/a", True),
        ("/a/b", "/a", True),
        ("/ab", "/a", False),
        ("/", "/", True),
        ("/a", "/", True),
        ("", "/", False),
        ("", "/a", False),
        ("/", "/a", False),
    ],
)
def test_which_namespace_is_within_which(namespace, parent, is_within):
    assert within(namespace, parent) is is_within


# What becomes of them


@pytest.mark.parametrize("answer_late", [False, True])
async def test_a_filtered_publication_is_settled_answered_and_accounted_for(answer_late):
    filters = Filters([Topic("t", "t", exclude=Match(identity=("externalnetwork",)))])
    pipe = Pipe(
        answer_late=answer_late, recorder=Recorder(RecordSettings(), "run", levels=None, filters=filters)
    )
    unwanted = envelope(event({"ID": "1"}, identity="externalnetwork"), "t", responseMode=1)
    async with pipe.running():
        pipe.receive(unwanted, reply="inbox")
        pipe.receive(unwanted, settled=False)
        pipe.receive(publication({"ID": "2"}), b"junk")
        await idle()
        assert pipe.outcomes == [(0, Outcome.FILTERED)]
        assert pipe.acknowledged == ["inbox"]
        account = pipe.account
        assert (account.filtered, account.filtered_by_topic, account.held) == (2, {"t": 2}, 2)
        pipe.pipeline._batcher.flush()
        pipe.receive(publication({"ID": "3"}))
        await idle()
        pipe.settle()
        await idle()
        assert pipe.outcomes[1:] == [(2, Outcome.DELIVERED), (3, Outcome.UNDECODABLE)]
    assert account.filtered + account.delivered + account.held == sum(account.received.values())


async def test_when_all_is_filtered_nothing_is_held():
    filters = Filters([Topic("t", "t", include=Match(identity=("none",)))])
    pipe = Pipe(recorder=Recorder(RecordSettings(), "run", levels=None, filters=filters))
    async with pipe.running() as task:
        pipe.receive(*[publication({"ID": "1"})] * 3)
        await pipe.pipeline.end()
        await task
    assert pipe.account.in_memory == pipe.pipeline.held_bytes == 0
    assert pipe.chunks == []
