"""How deep values may be, and what becomes of those that are deeper."""

from __future__ import annotations

import json

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import plain_values

from nats_fluent import plain


def arrays(levels):
    return json.loads("[" * levels + "1" + "]" * levels)


@pytest.mark.parametrize("levels", [0, 1, 59, 60, 61, 300])
def test_how_deep_a_value_is(levels):
    assert not plain.deeper(arrays(levels), levels)
    assert levels == 0 or plain.deeper(arrays(levels), levels - 1)


def test_the_fast_readers_leave_what_is_deep_to_the_careful_one():
    for levels, fast in ((plain.FAST_DEPTH, True), (plain.FAST_DEPTH + 1, False)):
        value = arrays(levels)
        for read, data in (
            (plain.fast_msgpack, msgpack.packb(value)),
            (plain.fast_json, json.dumps(value).encode()),
        ):
            if fast:
                assert read(data) == value
            else:
                with pytest.raises(plain.NotFast):
                    read(data)


def test_what_is_wide_is_not_deep():
    value = [{"a": [1], "b": {"c": [[]]}}] * 1000
    assert plain.fast_msgpack(msgpack.packb(value)) == plain.fast_json(json.dumps(value).encode()) == value


@given(plain_values, st.integers(0, 4))
def test_what_is_deeper_becomes_its_json_text_and_nothing_is_lost(value, levels):
    flat = plain.flatten(value, levels)
    assert not plain.deeper(flat, levels)
    assert plain.deeper(value, levels) or flat == value

    def restored(found, original):
        if isinstance(original, dict) and isinstance(found, dict):
            return {key: restored(item, original[key]) for key, item in found.items()}
        if isinstance(original, list) and isinstance(found, list):
            return [restored(item, original[place]) for place, item in enumerate(found)]
        return found if isinstance(original, str) or not isinstance(found, str) else json.loads(found)

    assert restored(flat, value) == value


def test_the_deepest_value_that_is_read_can_be_made_flat():
    flat = plain.flatten(arrays(plain.MAX_DEPTH), 60)
    assert json.dumps(flat).count("[") == plain.MAX_DEPTH
