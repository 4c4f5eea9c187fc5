"""Handlers called for a publication, and what becomes of it."""

from __future__ import annotations

import msgpack
from building import publication
from judging import not_plain
from recording import ENFORCER, EVENT_TEXT, NOW

from nats_fluent import on
from nats_fluent.delivery import Delivery
from nats_fluent.loader import handlers_of
from nats_fluent.record import Recorder
from nats_fluent.sections import RecordSettings
from nats_fluent.transforms import Transforming

HEAD = {
    "topic": "squall-events",
    "subject": "squall-events",
    "identity": "enforcer",
    "operation": "update",
    "namespace": "/apomux",
    "key": "enforcer/5d01",
    "timestamp": EVENT_TEXT,
    "id": "run-1",
}
GOOD = publication(ENFORCER)


def made_by(*functions, payload=GOOD, topic="squall-events", recorder=None, levels=None, headers=None):
    """All records that become of the payload, as (record, its fields)."""
    recorder = recorder or Recorder(RecordSettings(), "run", levels=levels)
    transforming = Transforming(
        recorder, handlers_of([("my.py", function) for function in functions]), levels=levels
    )
    first = transforming.record(Delivery(topic, topic, payload, headers=headers), NOW)
    made = [] if first.filtered else [first, *(first.transformed.more if first.transformed else ())]
    found = [(each, msgpack.unpackb(each.packed)) for each in made]
    assert all(not_plain(fields) == [] for _, fields in found)
    return found


def returning(value, **wanted):
    @on(**wanted)
    def handler(publication):  # noqa: ARG001 - a handler takes one
        return value

    return handler


def fields_of(value, **changes):
    ((made, fields),) = made_by(returning(value), **changes)
    assert made.transformed is None, made.transformed
    return fields


def failing_with(value, **changes):
    """The reason why what a handler returned is no record."""
    ((made, fields),) = made_by(returning(value), **changes)
    assert fields["content"]["entity"] == ENFORCER
    assert made.transformed.handler == "my.py:handler"
    assert made.transformed.error == fields["transform_error"]
    return fields["transform_error"]
