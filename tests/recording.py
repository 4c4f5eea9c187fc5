"""The record of one payload, checked to be plain."""

from __future__ import annotations

import msgpack
from judging import not_plain

from nats_fluent.delivery import Delivery
from nats_fluent.record import Recorder
from nats_fluent.sections import RecordSettings

NOW = 1_700_000_000_123_456_789
NOW_TEXT = "2023-11-14T22:13:20.123456789Z"
ENFORCER = {"ID": "5d01", "namespace": "/apomux", "name": "one"}
EVENT_TEXT = "2019-06-12T21:38:02.268588Z"
EVENT_NS = 1560375482268588000


def recorder(**changes):
    return Recorder(RecordSettings(**changes), "run", levels=None)


def recorded(payload, topic="squall-events", *, subject=None, headers=None, by=None, **changes):
    """What is made of it, and its fields."""
    made = (by or recorder(**changes)).record(
        Delivery(topic, subject or topic, payload, headers=headers), NOW
    )
    fields = msgpack.unpackb(made.packed)
    assert not_plain(fields) == []
    return made, fields


def fields_of(payload, *args, **kwargs):
    return recorded(payload, *args, **kwargs)[1]
