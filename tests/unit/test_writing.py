"""Publications as Go writes them: held to what tests/building.py writes, which shares no code with it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import building
import pytest
from building import Time
from hypothesis import given
from hypothesis import strategies as st
from recording import EVENT_TEXT

from nats_fluent import testing, writing
from nats_fluent.testing import JSON, MSGPACK

TEXTS = st.text(max_size=40)
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.sampled_from([2**bits + off for bits in (7, 8, 15, 16, 31, 32, 63) for off in (-1, 0)])
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXTS
)
VALUES = st.recursive(
    SCALARS | st.binary(max_size=300),
    lambda inner: st.lists(inner) | st.dictionaries(TEXTS, inner),
    max_leaves=20,
)


@given(st.dictionaries(TEXTS, VALUES))
def test_msgpack_is_that_of_go(entity):
    expected = building.publication(entity)
    assert testing.publication("enforcer", entity, timestamp=EVENT_TEXT) == expected
    assert testing.bare(entity, "t", ask_ack=True) == building.bare(entity, "t", responseMode=1)


@given(
    st.dictionaries(
        TEXTS, st.recursive(SCALARS, lambda inner: st.lists(inner) | st.dictionaries(TEXTS, inner))
    )
)
def test_json_is_that_of_go(entity):
    expected = building.publication(entity, encoding=JSON, time=EVENT_TEXT)
    assert testing.publication("enforcer", entity, timestamp=EVENT_TEXT, encoding=JSON) == expected
    assert testing.bare(entity, "t", encoding=JSON) == building.bare(entity, "t", encoding=JSON)


def test_large_maps_and_lists():
    entity = {str(number): [number] * 70_000 for number in range(20)}
    assert writing.pack(entity) == building.pack(entity)


def test_times():
    when = datetime(2019, 6, 12, 23, 38, 2, 268588, tzinfo=timezone(timedelta(hours=2)))
    ours = testing.publication("enforcer", {"at": when}, timestamp=when)
    assert ours == building.publication({"at": building.EVENT_TIME})
    as_json = testing.publication("enforcer", {"at": when, "raw": b"\x00"}, timestamp=when, encoding=JSON)
    assert as_json == building.publication({"at": EVENT_TEXT, "raw": "AA=="}, encoding=JSON, time=EVENT_TEXT)
    assert testing.publication("e", timestamp=None) == building.publication(None, identity="e", time=None)
    early = testing.bare({"at": datetime(1, 1, 2, tzinfo=UTC)}, "t")
    assert early == building.bare({"at": Time(-62135510400)}, "t")


@pytest.mark.parametrize("encoding", [MSGPACK, JSON])
@pytest.mark.parametrize(
    ("entity", "timestamp", "error", "message"),
    [
        ({}, "today", ValueError, "not a time: 'today'"),
        ({}, 5, ValueError, "not a time: 5"),
        ({"a": datetime(2026, 1, 1)}, None, ValueError, "without a zone"),  # noqa: DTZ001
        ({1: 2}, None, TypeError, "a key of type int"),
        ({"a": object()}, None, TypeError, "object"),
    ],
)
def test_what_cannot_be_published(encoding, entity, timestamp, error, message):
    with pytest.raises(error, match=message):
        testing.publication("enforcer", entity, timestamp=timestamp, encoding=encoding)
