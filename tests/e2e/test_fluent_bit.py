"""The whole way: NATS, the command, and a Fluent Bit with the configuration that users get, to its stdout.

What comes out is compared with what `nats-fluent decode` makes of the same payloads, which the unit tests hold to
what the Go libraries make of them.
"""

from __future__ import annotations

import base64
import concurrent.futures
import contextlib
import json
import lzma
import os
import re
import subprocess
from collections import Counter
from pathlib import Path

import msgpack
import pytest
from building import bare, envelope, publication
from commands import COMMAND, ENVIRON, MonitoredNats, Running, pub
from judging import same, vectors
from programs import FluentBit, free_port, started, wait_until
from taking import hpub, publish_raw

from nats_fluent import plain
from nats_fluent.record import FORWARD_LEVELS
from nats_fluent.settings import DEFAULT_TOPICS

ROOT = Path(__file__).parents[2]
CORPUS = ROOT / "tests" / "corpus"
FILES_AT_ONCE = 250
"""Of one `decode`: it opens all of them."""


class Way:
    """nats-server, `nats-fluent run` and Fluent Bit, one after the other."""

    def __init__(self, nats, running, fluent_bit):
        self.nats = nats
        self.running = running
        self.fluent_bit = fluent_bit

    def send(self, commands, *, within=60):
        """Publish, wait until as many lines are printed, and return the record of each once all has ended."""
        publish_raw(self.nats.port, *commands)
        count = len(commands)
        wait_until(lambda: self.printed() >= count, within=within, what=f"{count} lines are printed")
        assert self.running.stop() == 0
        assert self.fluent_bit.stop(within=30) == 0
        lines = self.fluent_bit.stdout.read_bytes().split(b"\n")
        assert lines.pop() == b""
        assert len(lines) == count
        stopped = self.running.log()[-1]
        assert (stopped["received"], stopped["delivered"], stopped["left"]) == (count, count, 0)
        assert (stopped["dropped"], stopped["event"]) == (0, "stopped")
        return [json.loads(line, parse_constant=pytest.fail) for line in lines]

    def printed(self):
        assert self.running.running()
        assert self.fluent_bit.running()
        return self.fluent_bit.stdout.read_bytes().count(b"\n")


@pytest.fixture
def way(tmp_path):
    port, http = free_port(), free_port()
    environ = os.environ | {
        "FORWARD_PORT": str(port),
        "HTTP_PORT": str(http),
        "STORAGE_PATH": str(tmp_path / "storage"),
    }
    fluent_bit = FluentBit(tmp_path, conf=ROOT / "conf" / "fluent-bit.conf", port=port, env=environ)
    with contextlib.ExitStack() as stack:
        nats = stack.enter_context(started(MonitoredNats(tmp_path)))
        stack.enter_context(started(fluent_bit))
        running = Running(tmp_path, nats, NATS_FLUENT_FLUENT_URL=f"forward://127.0.0.1:{port}")
        stack.enter_context(started(running))
        running.wait_subscribed()
        yield Way(nats, running, fluent_bit)


def decoded(directory, messages):
    """What `nats-fluent decode` prints for each payload, several processes at a time."""

    def decode(part):
        first, subject, payloads = part
        files = []
        for number, payload in enumerate(payloads):
            files.append(directory / f"{first + number}.bin")
            files[-1].write_bytes(payload)
        done = subprocess.run(
            [*COMMAND, "decode", "--subject", subject, *map(str, files)],
            check=False,
            capture_output=True,
            env=ENVIRON,
            timeout=60,
        )
        assert done.stderr == b""
        return [json.loads(line) for line in done.stdout.splitlines()]

    parts, numbers = [], []
    for wanted in dict.fromkeys(subject for subject, _ in messages):
        of = [number for number, (subject, _) in enumerate(messages) if subject == wanted]
        for start in range(0, len(of), FILES_AT_ONCE):
            part = of[start : start + FILES_AT_ONCE]
            parts.append((len(numbers), wanted, [messages[number][1] for number in part]))
            numbers += part
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        records = [record for part in pool.map(decode, parts) for record in part]
    assert len(records) == len(messages)
    return dict(zip(numbers, records, strict=True))


def nested(levels):
    """An activity whose content has so many levels."""
    arrays = levels - 1
    return envelope(b'{"a":' + b"[" * arrays + b"0" + b"]" * arrays + b"}", encoding="application/json")


def printed(value):
    """As Fluent Bit prints it: 16 digits of a float, which may not be enough to read it back."""
    match value:
        case float():
            return float(f"{value:.16g}")
        case list():
            return [printed(item) for item in value]
        case dict():
            return {name: printed(item) for name, item in value.items()}
    return value


def cause(record):
    """What there is of an undecodable payload; the size of a record that is too large is with its headers."""
    return re.sub(r"the record takes \d+", "", json.dumps(without(record, "id", "timestamp")))


def without(record, *names):
    return {name: value for name, value in record.items() if name not in names}


@pytest.mark.parametrize("name", ["mixed-2024", "mixed-2021-json"])
def test_recorded_traffic_comes_out_whole_and_once(tmp_path, way, name):
    with lzma.open(CORPUS / f"{name}.msgpack.xz") as file:
        messages = [(subject, payload) for subject, payload in msgpack.Unpacker(file)]
    records = way.send([pub(subject, payload) for subject, payload in messages])

    by_seq = {int(re.search(r"seq=(\d{9})", json.dumps(record))[1]): record for record in records}
    assert sorted(by_seq) == list(range(1, len(messages) + 1))
    assert len({record["id"] for record in records}) == len(messages)
    expected = decoded(tmp_path, messages)
    for number, record in expected.items():
        found = by_seq[number + 1]
        assert "error" not in record
        assert same(without(found, "id"), printed(without(record, "id"))), number
    # In the order in which they were published, each topic for itself.
    for topic in DEFAULT_TOPICS:
        ids = [int(record["id"].partition("-")[2]) for record in records if record["topic"] == topic]
        assert ids == sorted(ids)
        assert ids


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


def test_a_deep_record_costs_its_neighbours_nothing(way):
    """Fluent Bit reads 64 levels; a deeper record it would acknowledge and drop, with all behind it in the chunk."""
    deep = vectors()["2024/good/activity_deep100"].payload
    payloads = [nested(2), deep, nested(FORWARD_LEVELS + 1), nested(FORWARD_LEVELS), nested(3)]
    records = way.send([pub("activities", payload) for payload in payloads])
    levels = [json.dumps(record["content"]).count("[") for record in records]
    assert levels[:1] + levels[2:] == [1, FORWARD_LEVELS, FORWARD_LEVELS - 1, 2]
    assert not plain.deeper(records[1]["content"], FORWARD_LEVELS)
