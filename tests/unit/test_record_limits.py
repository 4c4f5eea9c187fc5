"""What a publisher cannot do with a payload: take much memory or time, or make tags of any kind and number."""

from __future__ import annotations

import contextlib
import os
import re
import resource
import subprocess
import sys
import time
from pathlib import Path

import msgpack
import pytest
from building import JSON, MSGPACK, Raw, bare, envelope, event, pack, publication

from nats_fluent import plain
from nats_fluent.batch import MAX_OPEN_TAGS, Batcher
from nats_fluent.delivery import Delivery
from nats_fluent.envelope import asks_for_ack, careful_envelope
from nats_fluent.errors import Undecodable
from nats_fluent.forward.codec import entry
from nats_fluent.publication import careful_content
from nats_fluent.record import _HEADS as HEADS
from nats_fluent.record import HEAD_BYTES, MAX_HEADERS, TAG_PART, Recorder, parse_headers
from nats_fluent.sections import BatchSettings, RecordSettings

LIMIT = 900_000
MEMORY = 256 << 20
"""Measured: 170 MB, most of it for short strings, with the payload; without the limit on values 480 MB."""
BESIDE = os.environ | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}


def recorded(payload, *, tag="aporeto.{topic}", max_bytes=LIMIT, headers=None, subject="s"):
    recorder = Recorder(RecordSettings(tag=tag, max_bytes=max_bytes), "run", levels=60)
    return recorder.record(Delivery("t", subject, payload, headers=headers), 1)


def array(item, size):
    """An object with one array of as many items as there is room for."""
    count = size // len(item)
    return envelope(b"\x81\xa1a\xdd" + count.to_bytes(4, "big") + item * count, encoding=MSGPACK)


def json_array(item, size):
    return envelope(b'{"a":[' + item * (size // len(item)) + b"0]}", encoding=JSON)


def tracking(size):
    """An envelope with as many entries of tracking data as there is room for."""
    count = size // 6
    pairs = b"".join(pack(f"{number:04x}"[-4:]) + b"\xa0" for number in range(count))
    return envelope(pack({"ID": "1"}), trackingData=Raw(b"\xdf" + count.to_bytes(4, "big") + pairs))


BOMBS = {
    "nil": b"\xc0",
    "empty maps": b"\x80",
    "maps in maps": b"\x81\xa0\x81\xa0\x80",
    "extensions": b"\xd4\x01\x00",
    "short strings": b"\xa2ab",
}


def largest():
    """The payloads that take most memory, each of the largest size that is decoded."""
    size = 6 * LIMIT - 200
    for item in BOMBS.values():
        yield array(item, size)
    for item in (b"[],", b'{"":{}},', b'"",', b"0,"):
        yield json_array(item, size)
    yield tracking(1_000_000)


def test_a_payload_of_very_many_values_takes_little_memory():
    # In a process of its own, because only that can tell how much it had at most.
    done = subprocess.run([sys.executable, __file__], check=True, capture_output=True, text=True, env=BESIDE)
    assert 0 < float(done.stdout) < MEMORY, done.stdout


def main():
    """Print how many bytes of memory the largest payloads take."""
    before = peak()
    for payload in largest():
        error = recorded(payload).error
        assert f"more than {plain.MAX_VALUES} values" in error, error
    sys.stdout.write(f"{peak() - before}")


def peak():
    """Return the most memory so far, in bytes."""
    with contextlib.suppress(OSError):
        # On Linux what getrusage tells begins with the memory of the parent.
        return int(re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())[1]) * 1024
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def test_a_broken_one_is_given_up_as_soon():
    whole = array(b"\x80", 5_000_000)
    payload = whole.replace(b"\x80\xa8encoding", b"\xc1\xa8encoding")
    assert payload != whole
    assert f"more than {plain.MAX_VALUES} values, at byte 250" in recorded(payload).error


def test_a_payload_that_is_surely_too_large_is_not_decoded():
    payload = bare({"text": "x" * (6 * LIMIT)}, "t")
    started = time.process_time()
    made = recorded(payload)
    assert time.process_time() - started < 1
    assert made.error == (
        f"the payload takes {len(payload)} bytes, over the limit of {6 * LIMIT} (6 times record.max_bytes)"
    )
    fields = msgpack.unpackb(made.packed)
    assert fields["size"] == len(payload)
    assert fields["truncated"]
    assert len(fields["payload"]) <= HEAD_BYTES * 4 / 3 + 4


def test_whoever_waits_for_an_answer_to_it_gets_one():
    large = event({"text": "x" * 7000})
    assert recorded(envelope(large, responseMode=1), max_bytes=1000).ack_asked
    assert not recorded(envelope(large), max_bytes=1000).ack_asked
    assert not recorded(b'{"data": {}, "responseMode": 1}' + b" " * 7000, max_bytes=1000).ack_asked
    assert not recorded(b"\xc1" * 7000, max_bytes=1000).ack_asked
    assert not asks_for_ack(b"")


def test_the_largest_payload_that_can_become_a_record_does():
    # JSON as Go writes it: `<` is six bytes, which are one in the record.
    text = b"\\u003c" * 8_000
    made = recorded(envelope(b'{"a":"' + text + b'"}', encoding=JSON), max_bytes=8_400)
    assert made.error == ""
    assert msgpack.unpackb(made.packed)["content"]["a"] == "<" * 8_000


@pytest.mark.parametrize(
    "value",
    [
        ["word " * 10] * 10_000,
        {str(number): {"a": "é" * 10} for number in range(20_000)},
        ["a,b:c[d{e" * 80_000],
        list(range(100_000)),
        ['\\",' * 100_000],
    ],
)
@pytest.mark.parametrize("encoding", [MSGPACK, JSON])
def test_large_content_of_few_values_is_content(value, encoding):
    payload = bare({"a": value, "b": [{}, []]}, "t", encoding=encoding)
    assert len(payload) > plain.MAX_VALUES
    made = recorded(payload, max_bytes=20_000_000)
    assert made.error == ""
    read = msgpack.unpackb(made.packed)["content"]
    assert read == {"a": value, "b": [{}, []]}
    assert careful_content(careful_envelope(payload)).value == read


def test_as_many_values_as_may_be_are_content_in_both_readers():
    room = plain.MAX_VALUES - 3  # the map, the key and the array
    for count, fits in ((room, True), (room + 1, False)):
        for payload in (
            array(b"\x01", count),
            envelope(b'{"a":[' + b",".join([b"1"] * count) + b"]}", encoding=JSON),
        ):
            assert (recorded(payload).error == "") is fits
            if fits:
                careful_content(careful_envelope(payload))
            else:
                with pytest.raises(Undecodable, match="values"):
                    careful_content(careful_envelope(payload))


def test_an_envelope_that_is_large_and_broken_is_undecodable():
    assert recorded(b"\x81\xa4data\xc4" + b"\x00" * plain.MAX_VALUES, max_bytes=10**6).error
    assert recorded(b"\xc0" + b"\x00" * plain.MAX_VALUES, max_bytes=10**6).error == (
        "content: the publication holds no data"
    )


def test_very_many_headers_are_undecodable():
    block = b"NATS/1.0\r\n" + b"a:b\r\n" * MAX_HEADERS + b"\r\n"
    assert len(parse_headers(block)["a"]) == MAX_HEADERS
    made = recorded(bare({"ID": "1"}, "t"), headers=block.replace(b"\r\n", b"\r\nc:d\r\n", 1))
    assert made.error == f"headers: more than {MAX_HEADERS} lines"


@pytest.mark.parametrize(
    ("identity", "part"),
    [
        ("enforcer", "enforcer"),
        ("../../etc/passwd", ".._.._etc_passwd"),
        ("a b\n*{c}", "a_b___c_"),
        ("é" * 500, "_" * TAG_PART),
        ("x" * 1_000_000, "x" * TAG_PART),
        ("", "unknown"),
    ],
)
def test_what_a_publisher_chose_goes_into_a_tag_short_and_clean(identity, part):
    made = recorded(publication({"ID": "1"}, identity=identity), tag="p.{identity}", max_bytes=5_000_000)
    assert made.error == ""
    assert made.tag == f"p.{part}"
    assert msgpack.unpackb(made.packed).get("identity", "") == identity


def test_any_number_of_tags_opens_few_chunks():
    batcher = Batcher(BatchSettings(), lambda: "id")
    for number in range(10 * MAX_OPEN_TAGS):
        made = recorded(publication({"ID": "1"}, identity=f"i{number}"), tag="p.{identity}")
        batcher.add(made.tag, entry(made.time_ns, made.packed), 0.0)
    assert batcher.records == MAX_OPEN_TAGS


def test_any_number_of_identities_is_not_remembered():
    recorder = Recorder(RecordSettings(tag="p.{identity}"), "run", levels=60)
    for number in range(HEADS + 1):
        made = recorder.record(Delivery("t", "s", publication({"ID": "1"}, identity=f"i{number}")), 1)
        assert made.tag == f"p.i{number}"
    assert len(recorder._heads) <= HEADS


if __name__ == "__main__":
    main()
