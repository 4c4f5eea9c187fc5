"""The whole way: NATS, the command, and a Fluentd with the configuration that users get, to its stdout."""

from __future__ import annotations

import json
import re
import subprocess
from collections import Counter

import pytest
import ways
from building import bare, publication
from commands import pub
from fluentd import OUTPUTS, Fluentd
from judging import same, vectors
from programs import PATIENCE, wait_until
from taking import hpub
from ways import decoded, without

from nats_fluent import plain
from nats_fluent.record import FORWARD_LEVELS
from nats_fluent.settings import DEFAULT_TOPICS


@pytest.fixture
def way(tmp_path):
    with ways.way(tmp_path, Fluentd(tmp_path)) as way:
        yield way


@pytest.mark.parametrize("output", OUTPUTS)
def test_fluentd_takes_each_output_by_the_one_line(tmp_path, output):
    environ = {"KAFKA_BROKERS": "127.0.0.1:9", "KAFKA_USERNAME": "exporter", "KAFKA_PASSWORD": "t0p-secret"}
    fluentd = Fluentd(tmp_path, output, "--dry-run", **environ)
    tried = subprocess.run(
        fluentd.command, check=False, capture_output=True, env=fluentd.env, timeout=2 * PATIENCE
    )
    said = tried.stderr.decode()
    assert tried.returncode == 0, said
    assert tried.stdout == b""
    assert "finished dry run mode" in said
    assert not re.search(r"\[(warn|error)\]", said)
    # Fluentd logs its configuration.
    assert "t0p-secret" not in said


def test_recorded_traffic_comes_out_whole_and_once(tmp_path, way):
    messages = ways.corpus("mixed-2024")
    records = way.send([pub(subject, payload) for subject, payload in messages])
    ways.assert_whole_and_once(tmp_path, records, messages)
    for topic in DEFAULT_TOPICS:
        ways.assert_in_order([record for record in records if record["topic"] == topic])


def test_every_vector_comes_out_as_one_line_of_json(tmp_path, way):
    messages = {
        "more/large": ("squall-events", publication({"a": "x" * 1_000_000})),
        "more/text": ("activities", bare({"a": '\x00\x1f\x7f"\\/\n\u2028\ud7ff\ue000\uffff\U0010ffff'}, "")),
        "more/floats": (
            "activities",
            bare({"a": [1 / 3, 1e300, 5e-324, 0.1 + 0.2, 1.7976931348623157e308]}, ""),
        ),
    } | {
        name: (vector.go["subject"] if "INBOX" not in vector.go["subject"] else "activities", vector.payload)
        for name, vector in vectors().items()
    }
    records = way.send(
        [
            hpub(subject, b"NATS/1.0\r\nvector: %s\r\n\r\n" % name.encode(), payload)
            for name, (subject, payload) in messages.items()
        ]
    )
    expected = dict(zip(messages, in_order(decoded(tmp_path, list(messages.values()))), strict=True))
    good = {record["headers"]["vector"]: record for record in records if "headers" in record}
    assert good.keys() == {name for name, record in expected.items() if "error" not in record}
    for name, record in good.items():
        wanted = expected[name] | {"content": plain.flatten(expected[name]["content"], FORWARD_LEVELS)}
        # What has no time of its own has that of receipt.
        assert same(without(record, "id", "timestamp", "headers"), without(wanted, "id", "timestamp")), name
    broken = [record for record in records if "headers" not in record]
    assert Counter(map(cause, broken)) == Counter(
        cause(record) for record in expected.values() if "error" in record
    )


def in_order(numbered):
    return [numbered[number] for number in range(len(numbered))]


def cause(record):
    """What there is of an undecodable payload; the size of a record that is too large is with its headers."""
    return re.sub(r"the record takes \d+", "", json.dumps(without(record, "id", "timestamp")))


def test_the_monitor_tells_what_each_plugin_did(way):
    way.publish([("activities", bare({"targetID": "t"}, ""))])
    wait_until(way.printed, what="the record is printed")
    assert way.shipper.state("stdout")["emit_records"] == 1
    assert way.shipper.state("stdout")["retry_count"] == 0
