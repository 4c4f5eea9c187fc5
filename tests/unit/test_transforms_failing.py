"""Handlers that fail, or return what cannot be a record: the publication goes out untouched, with the reason."""
# ruff: noqa: ARG001 - a handler takes a publication

from __future__ import annotations

import enum

import msgpack
import pytest
from handling import GOOD, HEAD, failing_with, made_by, returning
from recording import ENFORCER, NOW

from nats_fluent import on
from nats_fluent.delivery import Delivery
from nats_fluent.record import Recorder
from nats_fluent.sections import RecordSettings
from nats_fluent.transforms import MOST_ERROR, MOST_RECORDS


class Word(enum.Enum):
    A = 1


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (5, "TypeError: returned an object of type int; a handler returns a dict, a list of dicts, or None"),
        ("text", "TypeError: returned an object of type str"),
        ([{}, 5], "TypeError: returned a list with an object of type int; a record is a dict"),
        ({"a": {1}}, "TypeError: a value of type set"),
        ({"a": Word.A}, "TypeError: a value of type Word"),
        ({5: 1}, "TypeError: a key of type int"),
        ({"id": "mine"}, "ValueError: returned a field id"),
        ({"key": None}, "ValueError: returned a key"),
        ({"key": ""}, "ValueError: returned a key"),
        ({"timestamp": "today"}, "ValueError: returned a timestamp"),
        ({"timestamp": 5}, "ValueError: returned a timestamp"),
        ({"timestamp": "1969-12-31T23:59:59Z"}, "ValueError: returned a timestamp"),
        ({"a": "\ud800"}, "UnicodeEncodeError: "),
        ({"a": "x" * 1_000_000}, "ValueError: returned a record of 1000"),
        ([{}] * (MOST_RECORDS + 1), "ValueError: returned 1001 records; it may be 1000"),
    ],
)
def test_what_cannot_be_a_record(value, reason):
    assert failing_with(value).startswith(reason)


def test_what_was_never_awaited_is_closed():
    async def waits():
        raise AssertionError

    @on.default
    def handler(publication):
        return waits()

    ((_, fields),) = made_by(handler)
    assert fields["transform_error"].startswith("TypeError: returned an object of type coroutine")


class UnspeakableError(Exception):
    def __str__(self):
        raise RuntimeError


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (KeyError("name"), "KeyError: 'name' (test_transforms_failing.py:{})"),
        (SystemExit(3), "SystemExit: 3 (test_transforms_failing.py:{})"),
        (UnspeakableError(), "UnspeakableError: ? (test_transforms_failing.py:{})"),
        (ValueError("\ud800"), "ValueError: ? (test_transforms_failing.py:{})"),
        (ValueError("x" * 1000), "ValueError: " + "x" * MOST_ERROR + " (test_transforms_failing.py:{})"),
    ],
)
def test_what_a_handler_raises_is_noted(error, reason):
    @on.default
    def handler(publication):
        raise error

    ((made, fields),) = made_by(handler)
    line = handler.__code__.co_firstlineno + 2
    assert fields["transform_error"] == reason.format(line)
    assert {**fields, "transform_error": "", "content": 0} == HEAD | {"transform_error": "", "content": 0}
    assert list(fields)[-1] == "content"
    assert made.transformed.more == ()


def test_the_line_is_that_of_the_handler_s_file():
    @on.default
    def handler(publication):
        return helper(publication)

    def helper(publication):
        return publication.object().nothing_like_it

    ((_, fields),) = made_by(handler)
    line = helper.__code__.co_firstlineno + 1
    assert fields["transform_error"] == (
        "NoField: there is no field 'nothing_like_it'; there is ID, name, namespace "
        f"(test_transforms_failing.py:{line})"
    )


def test_what_has_no_room_for_the_reason_goes_out_without():
    plain = Recorder(RecordSettings(), "run", levels=None)
    size = len(plain.record(Delivery("squall-events", "squall-events", GOOD), NOW).packed)
    recorder = Recorder(RecordSettings(max_bytes=size + 100), "run", levels=None)
    ((made, fields),) = made_by(returning("x" * 10), recorder=recorder)
    assert made.transformed.error
    assert "transform_error" not in fields
    assert fields["content"]["entity"] == ENFORCER


def test_a_record_without_content():
    class Other:
        def record(self, delivery, now_ns):
            made = Recorder(RecordSettings(), "run", levels=None).record(delivery, now_ns)
            fields = msgpack.unpackb(made.packed)
            del fields["content"]
            return type(made)(made.tag, made.time_ns, msgpack.packb(fields))

        oversize = Recorder(RecordSettings(), "run", levels=None).oversize

    ((_, fields),) = made_by(returning(5), recorder=Other())
    assert fields.pop("transform_error")
    assert fields == HEAD
