"""The demo's samples: what the Go libraries write, and what the decoder makes of it."""

from __future__ import annotations

import json
from pathlib import Path

import msgpack
import pytest

from nats_fluent.delivery import Delivery
from nats_fluent.record import Recorder
from nats_fluent.samples import KINDS, Sample, sample
from nats_fluent.sections import RecordSettings
from nats_fluent.settings import DEFAULT_TOPICS

EXAMPLES = Path(__file__).parents[2] / "EXAMPLES.md"
NOW = 1_767_225_600_123_456_789  # 2026-01-01T00:00:00.123456789Z


def record_of(made: Sample) -> tuple[str, dict]:
    """The tag and the record of a sample, as a consumer with the run id `example` makes it."""
    recorder = Recorder(RecordSettings(), "example", levels=None)
    found = recorder.record(Delivery(made.topic, made.topic, made.payload), NOW)
    assert not found.error
    assert not found.ack_asked
    return found.tag, msgpack.unpackb(found.packed)


def sorted_keys(value: object) -> bool:
    """Whether every map has its keys in bytewise order."""
    if isinstance(value, dict):
        keys = [key.encode() for key in value]
        return keys == sorted(keys) and all(map(sorted_keys, value.values()))
    return all(map(sorted_keys, value)) if isinstance(value, list) else True


def test_every_topic_has_samples_and_one_round_has_them_all() -> None:
    made = [sample(number, NOW) for number in range(len(KINDS))]
    assert [each.kind for each in made] == list(KINDS)
    assert {each.topic for each in made} == set(DEFAULT_TOPICS)


@pytest.mark.parametrize("number", range(len(KINDS)))
def test_the_envelope_is_that_of_the_go_libraries(number: int) -> None:
    made = sample(number, NOW)
    envelope = msgpack.unpackb(made.payload)
    assert list(envelope) == ["data", "encoding", "topic", "trackingData"]
    assert type(envelope["data"]) is bytes
    assert envelope["topic"] == made.topic
    assert envelope["trackingData"] == {}
    if envelope["encoding"] == "application/json":
        content = json.loads(envelope["data"])
        assert b"<" not in envelope["data"]
        assert b'": ' not in envelope["data"]
    else:
        content = msgpack.unpackb(envelope["data"])
    assert sorted_keys(content)
    if made.topic == "squall-events":
        assert list(content) == ["encoding", "entity", "identity", "timestamp", "type"]
        assert content["encoding"] == envelope["encoding"]
        if envelope["encoding"] == "application/msgpack":
            assert content["timestamp"] == msgpack.Timestamp.from_unix_nano(NOW)
            assert type(content["entity"]) is bytes
            assert sorted_keys(msgpack.unpackb(content["entity"]))


@pytest.mark.parametrize("number", range(len(KINDS)))
def test_each_becomes_a_record_with_its_own_time(number: int) -> None:
    tag, record = record_of(sample(number, NOW))
    assert tag == f"aporeto.{record['topic']}"
    assert record["identity"]
    assert record["namespace"].startswith("/")
    assert record["timestamp"].startswith(
        ("2026-01-01T00:00:00.1", "2025-12-31T23:59:59.4", "2026-01-01T00:00:00.0")
    )


def test_the_next_round_is_about_other_objects() -> None:
    size = len(KINDS)
    keys = {record_of(sample(number, NOW))[1]["key"] for number in range(size * 4)}
    first = {record_of(sample(number, NOW))[1]["key"] for number in range(size)}
    assert len(keys) > 2 * len(first)


def test_a_sample_depends_on_its_number_and_time_alone() -> None:
    assert sample(7, NOW) == sample(7, NOW)
    assert sample(7, NOW) != sample(7, NOW + 1)


def examples() -> dict[str, tuple[str, dict]]:
    """The examples of EXAMPLES.md: the heading in lower case -> tag and record."""
    found = {}
    for section in EXAMPLES.read_text("utf-8").split("\n## ")[1:]:
        heading = section.partition("\n")[0].lower()
        tag = section.partition("Tag: `")[2].partition("`")[0]
        found[heading] = tag, json.loads(section.partition("```json\n")[2].partition("```")[0])
    return found


def test_the_examples_are_what_the_decoder_prints() -> None:
    shown = examples()
    broken = Recorder(RecordSettings(), "example", levels=None).record(
        Delivery("squall-events", "squall-events", b"not a publication"), NOW
    )
    made = {each.kind: record_of(each) for each in (sample(number, NOW) for number in range(len(KINDS)))}
    made["what cannot be decoded"] = broken.tag, msgpack.unpackb(broken.packed)
    assert shown == {kind: made[kind] for kind in shown}
    assert "what cannot be decoded" in shown
    assert {record["topic"] for _, record in shown.values()} == set(DEFAULT_TOPICS)


# The same kinds of object, as the platform's libraries published them.
VECTORS = {
    "enforcer updated": "event_enforcer_update",
    "processing unit created": "event_processingunit_create",
    "activity": "activity",
    "flow rejected": "flowreport",
    "audit report": "auditreport",
    "file access report": "fileaccessreport",
    "event log": "eventlog",
}


@pytest.mark.parametrize("kind", VECTORS)
def test_the_objects_have_the_fields_of_the_platforms(kind: str) -> None:
    path = Path(__file__).parents[1] / "vectors" / "2024" / "good" / f"{VECTORS[kind]}.json"
    theirs = json.loads(path.read_text("utf-8"))["content"]
    ours = record_of(sample(tuple(KINDS).index(kind), NOW))[1]["content"]
    theirs, ours = theirs.get("entity", theirs), ours.get("entity", ours)
    # The reports leave out what is empty, so they may have fewer.
    assert set(ours) <= set(theirs)
    for name, value in ours.items():
        assert type(value) is type(theirs[name]) or theirs[name] is None or value is None, name
