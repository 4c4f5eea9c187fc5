"""What the tests of Fluent Bit's outputs share: odd publications, its metrics, and what it keeps of refused ones."""

from __future__ import annotations

import msgpack
import ways
from building import JSON, bare, envelope, publication
from judging import same
from programs import wait_until
from ways import assert_whole_and_once, decoded, fluent_bit, number_of, printed, way, without

from nats_fluent import plain
from nats_fluent.record import FORWARD_LEVELS

PATIENT = "Scheduler.Cap             30\n"

HEADER_OF_A_CHUNK = 24
"""Bytes in front of the records in a file of Fluent Bit's, when it has no tag."""

TEXT = '\x00\x1f\x7f"\\/\n\u2028\ud7ff\ue000\uffff\U0010ffff ünï'

ODD = [
    ("activities", bare({"text": TEXT, TEXT: 1, "": 2, "a.b": 3, ".c": 4, "a": {"b": 5}}, "")),
    ("activities", bare({"n": [2**63, -(2**63), 2**64 - 1, 0.1, 1e300, 1.0, float("nan"), True, None]}, "")),
    ("activities", bare([], "")),
    ("activities", envelope(b'{"a":' + b"[" * 59 + b"0" + b"]" * 59 + b"}", encoding=JSON)),
    ("squall-events", publication({"ID": "x" * 600, "raw": b"\xff\x00", "large": "é" * 100_000})),
    ("squall-events", b"\xc1 is no msgpack"),
    ("external-flowreports", envelope(b"{", encoding=JSON)),
]
"""(subject, payload) of what an output may stumble over: bytes, depth, size, numbers, and what cannot be decoded."""


def assert_odd(directory, records):
    """These are the records of `ODD`, each as `decode` prints it, with its content as flat as it travels."""
    records = sorted(records, key=number_of)
    for record, wanted in zip(records, decoded(directory, ODD).values(), strict=True):
        if "content" in wanted:
            wanted["content"] = plain.flatten(wanted["content"], FORWARD_LEVELS)
        assert same(without(record, "id", "timestamp"), printed(without(wanted, "id", "timestamp")))


def assert_all(directory, records, messages):
    """These are the records of recorded `messages`, and of the odd ones that were published behind them."""
    records = sorted(records, key=number_of)
    assert_whole_and_once(directory, records[: len(messages)], messages)
    assert_odd(directory, records[len(messages) :])
    assert len({record["id"] for record in records}) == len(records)


def output(directory, name, **environ):
    """The way to a Fluent Bit with this output, which does not wait for half a minute before it tries again."""
    shipper = fluent_bit(directory, name, **environ)
    main = directory / "conf" / "fluent-bit.conf"
    patient = main.read_text()
    assert patient.count(PATIENT) == 1
    main.write_text(patient.replace(PATIENT, PATIENT.replace("30", "2")))
    return way(directory, shipper)


def metric(shipper, name):
    """A counter of the one output, as in retries for fluentbit_output_retries_total."""
    return ways.metric(shipper, f"fluentbit_output_{name}_total", r"\w+\.0")


def wait_delivered(shipper, count):
    """Wait until the output says of so many records that they are delivered."""

    def ready():
        assert shipper.running(), shipper.stderr.read_text()
        return metric(shipper, "proc_records") >= count

    wait_until(ready, what=f"{count} records are delivered")


def rejected(shipper):
    """The records that Fluent Bit keeps because the output refused them for good."""
    records = []
    for file in sorted((shipper.stdout.parent / "storage" / "rejected").iterdir()):
        entries = msgpack.Unpacker(strict_map_key=False)
        entries.feed(file.read_bytes()[HEADER_OF_A_CHUNK:])
        records += [entry[1] for entry in entries if isinstance(entry, list)]
    return records
