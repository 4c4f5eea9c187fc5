"""What was published, as a read-only object; and what a program made, as plain values."""

from __future__ import annotations

import copy
import json
import pickle
from datetime import UTC, datetime, timedelta, timezone

import pytest

from nats_fluent.objects import MOST_LEVELS, NoField, Object, plain_of, view

FIELDS = {"name": "one", "status": {"state": "up"}, "tags": [{"a": 1}, "b"], "_id": 5, "keys": 7}


def test_a_field_is_an_attribute_and_an_item():
    it = Object(FIELDS)
    assert it.name == it["name"] == "one"
    assert it.status.state == it["status"]["state"] == "up"
    assert it.tags[0].a == 1
    assert (it["keys"], it["_id"], list(it.keys())) == (7, 5, list(FIELDS))
    assert (len(it), "name" in it, it.get("nothing", 3)) == (5, True, 3)


def test_it_compares_as_a_dict_does():
    assert Object(FIELDS) == FIELDS
    assert Object(FIELDS) == FIELDS
    assert Object(FIELDS) == Object(dict(FIELDS))
    assert Object(FIELDS) != {}
    assert Object({}) != 5
    assert Object(FIELDS).tags == [{"a": 1}, "b"]
    with pytest.raises(TypeError, match="unhashable"):
        hash(Object({}))


def test_what_it_shows_cannot_be_changed():
    it = Object(FIELDS)
    for change in (
        lambda: setattr(it, "name", "two"),
        lambda: delattr(it, "name"),
        lambda: setattr(it.status, "state", "down"),
    ):
        with pytest.raises(AttributeError, match="read-only"):
            change()
    with pytest.raises(TypeError):
        it["name"] = "two"
    it.tags.append("c")
    dict(it)["name"] = "two"
    assert it == {"name": "one", "status": {"state": "up"}, "tags": [{"a": 1}, "b"], "_id": 5, "keys": 7}


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"status": 1, "state": 2}, "there is no field 'statsu'; did you mean status?"),
        ({"a": 1, "b": 2}, "there is no field 'statsu'; there is a, b"),
        ({}, "there is no field 'statsu'; there is none"),
        (dict.fromkeys("abcdefghijklmnopqrstu"), "there is no field 'statsu'; there is {}, ..."),
    ],
)
def test_a_field_that_is_not_there(fields, message):
    it = Object(fields)
    with pytest.raises(NoField) as raised:
        _ = it.statsu
    assert str(raised.value) == message.format(", ".join("abcdefghijklmnopqrst"))
    assert getattr(it, "statsu", 4) == 4
    with pytest.raises(KeyError):
        _ = it["statsu"]


def test_it_can_be_copied_and_printed():
    it = Object(FIELDS)
    for same in (copy.copy(it), copy.deepcopy(it), pickle.loads(pickle.dumps(it)), eval(repr(it))):
        assert same == it
        assert type(same) is Object
    assert not hasattr(it, "_private")
    assert json.loads(json.dumps(it, default=dict)) == FIELDS


def test_a_view_of_what_is_no_map():
    assert view("x") == "x"
    assert view([1, {"a": 2}])[1].a == 2


@pytest.mark.parametrize(
    ("value", "plain"),
    [
        ({"a": [None, True, 1, 1.5, "x"]}, {"a": [None, True, 1, 1.5, "x"]}),
        ((1, (2,)), [1, [2]]),
        (Object({"a": [1]}), {"a": [1]}),
        ({"a": Object({})}, {"a": {}}),
        (b"\x00\xff", "AP8="),
        (bytearray(b"a"), "YQ=="),
        (float("nan"), "NaN"),
        (float("inf"), "Infinity"),
        (float("-inf"), "-Infinity"),
        (datetime(2026, 1, 2, 3, 4, 5, 600, tzinfo=UTC), "2026-01-02T03:04:05.000600Z"),
        (datetime(2026, 1, 2, tzinfo=timezone(timedelta(hours=2))), "2026-01-01T22:00:00Z"),
        (2**64 - 1, 2**64 - 1),
    ],
)
def test_what_has_a_plain_form(value, plain):
    assert plain_of(value) == plain
    assert type(plain_of(value)) is type(plain)


def nested(levels):
    value = []
    for _ in range(levels - 1):
        value = [value]
    return value


@pytest.mark.parametrize(
    ("value", "error", "message"),
    [
        ({1, 2}, TypeError, "a value of type set"),
        ({"a": [object()]}, TypeError, "a value of type object"),
        ({1: 2}, TypeError, "a key of type int"),
        ({None: 2}, TypeError, "a key of type NoneType"),
        (2**64, ValueError, "beyond 64 bits: 18446744073709551616"),
        (-(2**63) - 1, ValueError, "beyond 64 bits"),
        (datetime(2026, 1, 2), ValueError, "without a zone: 2026-01-02T00:00:00"),  # noqa: DTZ001
        (nested(MOST_LEVELS + 1), ValueError, "nested deeper"),
    ],
)
def test_what_has_none(value, error, message):
    with pytest.raises(error, match=message):
        plain_of(value)


def test_as_deep_as_a_record_may_be():
    assert plain_of(nested(MOST_LEVELS)) == nested(MOST_LEVELS)
