"""A payload as an object, without a program around it."""

from __future__ import annotations

import subprocess
import sys

import pytest
from building import EVENT_TIME, JSON, bare, envelope, event, publication
from recording import ENFORCER, EVENT_TEXT

import nats_fluent
from nats_fluent import Event, Publication, Undecodable

FLOW = {"action": "Reject", "sourceID": "1", "namespace": "/a", "timestamp": EVENT_TIME}


@pytest.mark.parametrize("encoding", [JSON, "application/msgpack"])
def test_an_event(encoding):
    time = EVENT_TEXT if encoding == JSON else EVENT_TIME
    it = Publication.decode(publication(ENFORCER, encoding=encoding, time=time))
    assert (it.topic, it.subject, it.identity, it.operation) == (
        "squall-events",
        "squall-events",
        "enforcer",
        "update",
    )
    assert (it.namespace, it.key, it.timestamp, it.id) == ("/apomux", "enforcer/5d01", EVENT_TEXT, "")
    assert it.content.entity == ENFORCER
    assert it.object().name == "one"
    happened = it.event()
    assert isinstance(happened, Event)
    assert (happened.identity, happened.operation, happened.timestamp) == ("enforcer", "update", EVENT_TEXT)
    assert happened.entity == ENFORCER
    assert repr(happened) == f"<Event update enforcer {EVENT_TEXT}>"
    assert repr(it) == "<Publication squall-events update enforcer enforcer/5d01>"


def test_an_object_without_an_event():
    it = Publication.decode(bare(FLOW, "external-flowreports"))
    assert it.event() is None
    assert it.object() == it.content
    assert it.object().action == "Reject"
    assert (it.identity, it.operation, it.namespace) == ("flowreport", "", "/a")


def test_where_the_topic_has_another_subject():
    it = Publication.decode(bare(FLOW, "flows.eu"), topic="external-flowreports")
    assert (it.topic, it.subject, it.identity) == ("external-flowreports", "flows.eu", "flowreport")
    it = Publication.decode(bare(FLOW, ""), topic="external-flowreports")
    assert (it.topic, it.subject) == ("external-flowreports",) * 2
    assert Publication.decode(bare(FLOW, "x"), subject="external-flowreports").identity == "flowreport"


def test_what_says_nothing():
    it = Publication.decode(envelope(event(None, identity="", operation="error", time=None), ""))
    assert (it.topic, it.identity, it.operation, it.timestamp, it.namespace) == ("", "", "error", "", "")
    assert it.object() == {}
    assert it.event().timestamp == ""


def test_what_has_the_content_of_another_format():
    it = Publication({"topic": "t", "content": [1, 2]})
    assert (it.content, it.event(), it.object(), it.id) == ([1, 2], None, {}, "")


def test_nothing_is_redacted_and_there_is_no_limit():
    secret = {"certificateKey": "s" * 2_000_000}
    assert Publication.decode(publication(secret)).object().certificateKey == "s" * 2_000_000


def test_what_is_no_publication():
    with pytest.raises(Undecodable, match="publication: ") as raised:
        Publication.decode(b"nothing")
    assert raised.value.stage == "publication"
    with pytest.raises(Undecodable) as raised:
        Publication.decode(envelope(b"\xc1"))
    assert raised.value.stage == "content"


def test_it_is_read_only():
    it = Publication.decode(publication(ENFORCER))
    with pytest.raises(AttributeError):
        it.topic = "other"
    with pytest.raises(AttributeError):
        it.other = 1
    with pytest.raises(AttributeError, match="read-only"):
        it.object().name = "two"


def test_every_public_name_is_there():
    for name in nats_fluent.__all__:
        assert getattr(nats_fluent, name) is not None
    with pytest.raises(AttributeError, match="has no attribute 'Nothing'"):
        _ = nats_fluent.Nothing


def test_to_import_the_package_imports_nothing_else():
    program = "import sys; before = set(sys.modules); import nats_fluent; print(*set(sys.modules) - before)"
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    # `typing` and what it brings are there in any program of ours.
    assert {name for name in found.split() if name.startswith(("nats", "msg", "asyncio"))} == {"nats_fluent"}
