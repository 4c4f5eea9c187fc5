"""What is published: publications of several kinds, from the recorded traffic and the vectors of the tests.

A publication that comes a thousand times over would make a cache look better than it is. So each has times of its own,
as precise as in the original, and one of 1,000 object ids.
"""

from __future__ import annotations

import json
import lzma
import re
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import msgpack

if TYPE_CHECKING:
    from collections.abc import Iterator

TESTS = Path(__file__).resolve().parent.parent / "tests"
GOOD = TESTS / "vectors/2024/good"
OBJECT_BYTES = 100_000
STORED_NS = 1_560_375_482_268_588_123
"""When the first message of a stream was stored."""

KINDS = {
    "small": "a publication of some words",
    "event": "an enforcer's update, as an event",
    "flow": "a flow report",
    "activity": "an activity, with the object before and after",
    "object": f"an activity with a tree of {OBJECT_BYTES // 1000} KB",
    "mix": "the recorded traffic of six topics, msgpack",
    "json": "the recorded traffic of six topics, JSON in an envelope",
    "plain": "an enforcer's update, as plain JSON",
}

VECTORS = {
    "small": ("squall-events", "pub_plain_text"),
    "event": ("squall-events", "event_enforcer_update"),
    "flow": ("external-flowreports", "flowreport"),
    "activity": ("activities", "activity"),
}


@cache
def templates(kind: str) -> list[tuple[str, bytes]]:
    """Return (subject, payload) of what is published over and over."""
    match kind:
        case "object":
            return [("activities", _large(OBJECT_BYTES))]
        case "mix":
            return _recorded("mixed-2024")
        case "json":
            return _recorded("mixed-2021-json")
        case "plain":
            return [("squall-events", _plain())]
    subject, vector = VECTORS[kind]
    return [(subject, (GOOD / f"{vector}.bin").read_bytes())]


def _recorded(name: str) -> list[tuple[str, bytes]]:
    with lzma.open(TESTS / "corpus" / f"{name}.msgpack.xz") as file:
        return [(subject, payload) for subject, payload in msgpack.Unpacker(file)]


def _large(size: int) -> bytes:
    """Return an activity about so many objects that it takes `size` bytes, or up to 2 KB less."""
    publication = msgpack.unpackb((GOOD / "activity.bin").read_bytes())
    activity = msgpack.unpackb(publication["data"])
    one = activity["data"]
    activity["originalData"] = None
    each = len(msgpack.packb(one))
    activity["data"] = [one] * ((size - len(msgpack.packb(publication))) // each)
    publication["data"] = msgpack.packb(activity)
    return bytes(msgpack.packb(publication))


def _plain() -> bytes:
    """Return what is in the event of an enforcer's update, without an envelope, for programs that know none."""
    event = msgpack.unpackb(msgpack.unpackb((GOOD / f"{VECTORS['event'][1]}.bin").read_bytes())["data"])
    event["entity"] = msgpack.unpackb(event["entity"])
    event["encoding"] = "application/json"
    return json.dumps(event, separators=(",", ":"), default=_rfc3339).encode()


def _rfc3339(when: msgpack.Timestamp) -> str:
    return when.to_datetime().isoformat(timespec="microseconds").replace("+00:00", "Z")


def subjects(kind: str) -> list[str]:
    return sorted({subject for subject, _ in templates(kind)})


def mean_size(kind: str) -> int:
    payloads = [payload for _, payload in templates(kind)]
    return round(sum(map(len, payloads)) / len(payloads))


def publications(kind: str, count: int, first: int = 0) -> Iterator[tuple[str, bytes]]:
    """Yield `count` publications of a kind, as (subject, payload), from the one of that number on."""
    given = templates(kind)
    for number in range(first, first + count):
        at = number % len(given)
        yield given[at][0], _varied(kind, at).made(number)


@cache
def _varied(kind: str, at: int) -> _Varied | _VariedText:
    return (_VariedText if kind == "plain" else _Varied)(templates(kind)[at][1])


class _Varied:
    """A payload, with times and an object id that can be set.

    Where it has several times, the first is taken for that of the object's creation, which is the object's own.
    """

    def __init__(self, payload: bytes) -> None:
        self._payload = payload
        places = [match.start() + 2 for match in re.finditer(rb"\xd7\xff.{8}", payload, re.DOTALL)]
        # Each time keeps its precision: milliseconds from the database, more from a clock.
        units = [_precision(int.from_bytes(payload[place : place + 8], "big") >> 34) for place in places]
        creation = places[0] if len(places) > 1 else None
        self._times = [(place, unit, place == creation) for place, unit in zip(places, units, strict=True)]
        self._ids = [match.end() for match in re.finditer(rb"\xa2ID\xb8", payload)]

    def made(self, number: int) -> bytes:
        varied = bytearray(self._payload)
        for place in self._ids:
            varied[place : place + 24] = b"%024x" % (number % 1000)
        for place, unit, created in self._times:
            ns = (number % 1000 if created else number) * 7919 * unit % 1_000_000_000
            seconds = 1_560_000_000 + (number % 1000 if created else 10_000_000 + number // 5000)
            varied[place : place + 8] = (ns << 34 | seconds).to_bytes(8, "big")
        return bytes(varied)


class _VariedText:
    """The same for a payload of JSON, whose times are RFC 3339 text with microseconds."""

    def __init__(self, payload: bytes) -> None:
        self._payload = payload
        places = [match.start() for match in re.finditer(rb"\d{4}-\d\d-\d\dT[\d:]{8}\.\d{6}Z", payload)]
        self._created, *self._times = places
        self._ids = [match.end() for match in re.finditer(rb'"ID":"', payload)]

    def made(self, number: int) -> bytes:
        varied = bytearray(self._payload)
        for place in self._ids:
            varied[place : place + 24] = b"%024x" % (number % 1000)
        for place, seed in ((self._created, number % 1000), *((each, number) for each in self._times)):
            minutes, seconds = divmod(seed // 5000, 60)
            clock = b"%02d:%02d:%02d.%06d" % (minutes // 60 % 24, minutes % 60, seconds, seed * 7919 % 10**6)
            varied[place + 11 : place + 26] = clock
        return bytes(varied)


def _precision(ns: int) -> int:
    """Return the largest power of ten, up to a second, that divides it."""
    return next(unit for unit in (10**power for power in range(9, -1, -1)) if ns % unit == 0)


def commands(kind: str, count: int, first: int = 0) -> list[bytes]:
    """Return what a publisher writes to the server for each of `count` publications."""
    return [
        b"PUB %s %d\r\n%s\r\n" % (subject.encode(), len(payload), payload)
        for subject, payload in publications(kind, count, first)
    ]


def frames(kind: str, count: int, first: int = 0) -> bytes:
    """Return what the server writes to a subscriber, whose subscriptions count from 1 in the order of `subjects`."""
    numbers = {subject: number for number, subject in enumerate(subjects(kind), 1)}
    return b"".join(
        b"MSG %s %d %d\r\n%s\r\n" % (subject.encode(), numbers[subject], len(payload), payload)
        for subject, payload in publications(kind, count, first)
    )


def pulled(kind: str, count: int, first: int = 0) -> bytes:
    """Return what the server writes for the messages of a stream that a consumer pulls into its first subscription."""
    return b"".join(
        b"MSG %s 1 $JS.ACK.EVENTS.nats-fluent.1.%d.%d.%d.%d %d\r\n%s\r\n"
        % (subject.encode(), number, number, STORED_NS + number, left, len(payload), payload)
        for left, (number, (subject, payload)) in zip(
            range(count - 1, -1, -1), enumerate(publications(kind, count, first), first + 1), strict=True
        )
    )
