"""What of the runtime needs no server: exit codes, ids, signals, and one payload at a time."""

from __future__ import annotations

import asyncio
import base64
import re
import signal
import time

import pytest
from building import Time, bare, envelope, event, publication
from judging import vectors

from nats_fluent import signals
from nats_fluent.addresses import FluentUrl
from nats_fluent.delivery import Chunk
from nats_fluent.runtime import Service, Summary, decode_payload, new_chunk_id, new_run_id
from nats_fluent.sections import FluentSettings, RecordSettings
from nats_fluent.settings import Settings
from nats_fluent.topics import Match, Topic


def summary(**changes):
    whole = {"received": {"t": 3}, "delivered": 3, "undecodable": 0, "dropped": {}, "left": 0}
    return Summary(**(whole | changes))


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({}, 0),
        ({"undecodable": 3}, 0),
        ({"dropped": {"t": 1}, "delivered": 2}, 0),
        ({"left": 1, "delivered": 2}, 1),
        ({"failure": "it broke"}, 1),
    ],
)
def test_exit_codes(changes, code):
    assert summary(**changes).exit_code == code


def test_run_ids():
    ids = {new_run_id() for _ in range(100)}
    assert len(ids) == 100
    assert all(re.fullmatch("[a-z2-7]{8}", run_id) for run_id in ids)


def test_chunk_ids():
    ids = {new_chunk_id() for _ in range(100)}
    assert len(ids) == 100
    assert {len(base64.b64decode(chunk_id, validate=True)) for chunk_id in ids} == {16}


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_the_first_signal_stops_and_the_second_does_what_it_always_did(number):
    before = {each: signal.getsignal(each) for each in (signal.SIGTERM, signal.SIGINT)}
    assert before[signal.SIGTERM] == signal.SIG_DFL
    stop = asyncio.Event()
    with signals.stopped_by_signals(stop):
        assert not stop.is_set()
        signal.raise_signal(number)
        await asyncio.wait_for(stop.wait(), 10)
        assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
        assert signal.getsignal(signal.SIGINT) == signal.default_int_handler


async def test_without_a_signal_all_is_as_before():
    stop = asyncio.Event()
    with pytest.raises(KeyError), signals.stopped_by_signals(stop):
        raise KeyError
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
    assert not stop.is_set()


# One payload


def decoded(payload, subject=None, **settings):
    (record,), decodable = decode_payload(payload, subject=subject, settings=Settings(**settings))
    return record, decodable


def test_a_payload_on_its_own():
    record, decodable = decoded(publication({"ID": "1"}))
    assert decodable
    assert re.fullmatch("[a-z2-7]{8}-1", record.pop("id"))
    assert record == {
        "topic": "squall-events",
        "subject": "squall-events",
        "identity": "enforcer",
        "operation": "update",
        "key": "enforcer/1",
        "timestamp": "2019-06-12T21:38:02.268588Z",
        "content": {
            "encoding": "application/msgpack",
            "entity": {"ID": "1"},
            "identity": "enforcer",
            "timestamp": "2019-06-12T21:38:02.268588Z",
            "type": "update",
        },
    }


@pytest.mark.parametrize(
    ("named", "subject", "topic"),
    [
        (None, "squall-events", "squall-events"),
        ("events.enforcer", "events.enforcer", "all"),
        ("other", "other", "other"),
        ("a.b", "a.b", "a.b"),
    ],
)
def test_subject_and_topic(named, subject, topic):
    topics = (Topic("squall-events", "squall-events"), Topic("events.>", "all"))
    record, _ = decoded(publication({}), named, topics=topics)
    assert (record["subject"], record["topic"]) == (subject, topic)


def test_a_publication_that_does_not_say_where_it_went():
    record, decodable = decoded(envelope(event({}), ""))
    assert decodable
    assert (record["subject"], record["topic"]) == ("unknown", "unknown")


def test_what_has_no_time_has_that_of_now():
    def now():
        return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime())

    before = now()
    record, _ = decoded(bare({"date": Time(-5)}, "activities"))
    assert before <= record["timestamp"][: len(before)] <= now()


def test_a_payload_that_cannot_be_decoded():
    record, decodable = decoded(b"junk", "activities")
    assert not decodable
    assert (record["topic"], record["payload"]) == ("activities", "anVuaw==")


def test_the_limit_of_a_record_holds_here_too():
    vector = vectors()["2024/good/event_enforcer_update"]
    record, decodable = decoded(vector.payload, record=RecordSettings(max_bytes=1000))
    assert not decodable
    assert "over the limit of 1000" in record["error"]


def test_a_payload_that_the_topic_does_not_want():
    topics = (Topic("squall-events", "events", exclude=Match(identity=("enforcer",))),)
    record, decodable = decoded(publication({"ID": "1"}), topics=topics)
    assert decodable
    assert record == {"topic": "events", "subject": "squall-events", "filtered": True}


# What the watchdog looks at


async def test_nothing_is_expected_of_a_sink_that_was_ended_before_its_chunks_go_to_the_spool():
    url = (FluentUrl("unix", path="/nonexistent/socket"),)
    service = Service(Settings(fluent=FluentSettings(url=url)))
    service._sink.submit(Chunk(id=new_chunk_id(), tag="tag", entries=b"", count=1))
    running = asyncio.create_task(service._sink_part.run())
    await asyncio.sleep(0)
    assert service._signs()["sink"].busy
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert service._sink.pending_chunks == 1
    assert not service._signs()["sink"].busy
