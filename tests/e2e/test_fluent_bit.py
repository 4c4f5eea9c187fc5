"""The whole way: NATS, the command, and a Fluent Bit with the configuration that users get, to its stdout."""

from __future__ import annotations

import base64
import json
import re
from collections import Counter

import pytest
import ways
from building import bare, envelope, publication
from commands import pub
from judging import same, vectors
from programs import wait_until
from taking import hpub
from ways import decoded, printed, without

from nats_fluent import plain
from nats_fluent.record import FORWARD_LEVELS
from nats_fluent.settings import DEFAULT_TOPICS


def nested(levels):
    """An activity whose content has so many levels."""
    arrays = levels - 1
    return envelope(b'{"a":' + b"[" * arrays + b"0" + b"]" * arrays + b"}", encoding="application/json")


def cause(record):
    """What there is of an undecodable payload; the size of a record that is too large is with its headers."""
    return re.sub(r"the record takes \d+", "", json.dumps(without(record, "id", "timestamp")))


@pytest.fixture
def way(tmp_path):
    with ways.way(tmp_path, ways.fluent_bit(tmp_path)) as way:
        yield way


@pytest.mark.parametrize(
    ("name", "output"), [("mixed-2024", "stdout.conf"), ("mixed-2021-json", "stdout.yaml")]
)
def test_recorded_traffic_comes_out_whole_and_once(tmp_path, name, output):
    messages = ways.corpus(name)
    with ways.way(tmp_path, ways.fluent_bit(tmp_path, output)) as way:
        records = way.send([pub(subject, payload) for subject, payload in messages])
    ways.assert_whole_and_once(tmp_path, records, messages)
    # In the order in which they were published, each topic for itself.
    for topic in DEFAULT_TOPICS:
        ways.assert_in_order([record for record in records if record["topic"] == topic])


def test_every_vector_comes_out_as_one_line_of_json(tmp_path, way):
    """NaN, bytes, integer keys, what is not UTF-8, nanoseconds, and all that cannot be decoded."""
    more = {
        "more/deep": ("activities", nested(FORWARD_LEVELS)),
        "more/large": ("squall-events", publication({"a": "x" * 1_000_000})),
        "more/text": ("activities", bare({"a": '\x00\x1f\x7f"\\/\n\u2028\ud7ff\ue000\uffff\U0010ffff'}, "")),
    }
    messages = more | {
        name: (vector.go["subject"] if "INBOX" not in vector.go["subject"] else "activities", vector.payload)
        for name, vector in vectors().items()
    }
    records = way.send(
        [
            hpub(subject, b"NATS/1.0\r\nvector: %s\r\n\r\n" % name.encode(), payload)
            for name, (subject, payload) in messages.items()
        ]
    )
    found = decoded(tmp_path, list(messages.values()))
    expected = {name: found[number] for number, name in enumerate(messages)}
    good = {record["headers"]["vector"]: record for record in records if "headers" in record}
    assert good.keys() == {name for name, record in expected.items() if "error" not in record}
    for name, record in good.items():
        wanted = expected[name] | {"content": plain.flatten(expected[name]["content"], FORWARD_LEVELS)}
        # What has no time of its own has that of receipt.
        received = record["timestamp"] != wanted["timestamp"]
        assert not received or record["timestamp"] > "2024-06", name
        assert same(
            without(record, "id", "timestamp", "headers"), printed(without(wanted, "id", "timestamp"))
        ), name
    broken = [record for record in records if "headers" not in record]
    wanted = [record for record in expected.values() if "error" in record]
    assert Counter(map(cause, broken)) == Counter(map(cause, wanted))
    payloads = {payload for _, payload in messages.values()}
    assert all(
        base64.b64decode(record["payload"]) in payloads for record in broken if "truncated" not in record
    )


def test_what_fluent_bit_acknowledged_survives_its_crash(tmp_path, way):
    messages = ways.corpus("mixed-2024")
    way.publish(messages)
    wait_until(way.printed, what="the first line is printed")
    way.shipper.kill()
    before = way.shipper.lines()
    # What comes after is in another file: the last line before the crash may be a part of one.
    way.shipper.stdout = tmp_path / "after.out"
    way.shipper.start()

    def came():
        lines = before + way.shipper.lines()
        return len({json.loads(line)["id"] for line in lines}) == len(messages)

    wait_until(came, what="all records are printed, before or after")
    way.finish(len(messages))


def test_a_deep_record_costs_its_neighbours_nothing(way):
    """Fluent Bit reads 64 levels; a deeper record it would acknowledge and drop, with all behind it in the chunk."""
    deep = vectors()["2024/good/activity_deep100"].payload
    payloads = [nested(2), deep, nested(FORWARD_LEVELS + 1), nested(FORWARD_LEVELS), nested(3)]
    records = way.send([pub("activities", payload) for payload in payloads])
    levels = [json.dumps(record["content"]).count("[") for record in records]
    assert levels[:1] + levels[2:] == [1, FORWARD_LEVELS, FORWARD_LEVELS - 1, 2]
    assert not plain.deeper(records[1]["content"], FORWARD_LEVELS)
