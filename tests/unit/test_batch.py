"""Records become chunks by count, bytes and age; nothing is lost and each tag keeps its order."""

from __future__ import annotations

from itertools import count

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from nats_fluent.batch import MAX_OPEN_TAGS, Batcher
from nats_fluent.delivery import Outcome, Waiting
from nats_fluent.sections import BatchSettings


def batcher(*, max_records=3, max_bytes=100, linger=1.0):
    numbers = count(1)
    settings = BatchSettings(max_records=max_records, max_bytes=max_bytes, linger=linger)
    return Batcher(settings, lambda: f"id{next(numbers)}")


def ready(batch):
    """What is complete, as (id, tag, entries), and take it away."""
    chunks = [(chunk.id, chunk.tag, chunk.entries) for chunk in batch.ready]
    batch.ready.clear()
    return chunks


def test_nothing_is_complete_before_its_time():
    batch = batcher()
    assert batch.deadline is None
    assert batch.records == 0
    batch.flush()
    batch.expire(1e9)
    batch.add("a", b"1", 10.0)
    assert ready(batch) == []
    assert (batch.deadline, batch.records) == (11.0, 1)


def test_by_count():
    batch = batcher()
    for entry in (b"1", b"2", b"3", b"4"):
        batch.add("a", entry, 0.0)
    assert ready(batch) == [("id1", "a", b"123")]
    assert batch.records == 1


def test_one_record_a_chunk():
    batch = batcher(max_records=1)
    batch.add("a", b"1", 0.0)
    batch.add("a", b"2", 0.0)
    assert ready(batch) == [("id1", "a", b"1"), ("id2", "a", b"2")]
    assert batch.deadline is None


def test_by_bytes_that_are_reached():
    batch = batcher(max_records=100, max_bytes=10)
    batch.add("a", b"x" * 4, 0.0)
    batch.add("a", b"y" * 6, 0.0)
    assert ready(batch) == [("id1", "a", b"xxxxyyyyyy")]


def test_by_bytes_that_would_be_passed():
    batch = batcher(max_records=100, max_bytes=10)
    batch.add("a", b"x" * 6, 0.0)
    batch.add("a", b"y" * 5, 5.0)
    assert ready(batch) == [("id1", "a", b"x" * 6)]
    assert (batch.records, batch.deadline) == (1, 6.0)


def test_an_entry_over_the_limit_is_a_chunk_of_its_own():
    batch = batcher(max_bytes=10)
    batch.add("a", b"x", 0.0)
    batch.add("a", b"y" * 50, 0.0)
    assert ready(batch) == [("id1", "a", b"x"), ("id2", "a", b"y" * 50)]


def test_by_age():
    batch = batcher(linger=1.0)
    batch.add("a", b"1", 10.0)
    batch.add("b", b"2", 10.5)
    batch.add("a", b"3", 10.9)
    batch.expire(10.99)
    assert ready(batch) == []
    batch.expire(11.0)
    assert ready(batch) == [("id1", "a", b"13")]
    assert batch.deadline == 11.5
    batch.expire(20.0)
    assert ready(batch) == [("id2", "b", b"2")]
    assert batch.deadline is None


def test_the_age_is_that_of_the_first_record():
    batch = batcher(max_records=2, linger=1.0)
    for now in (1.0, 1.5, 2.0):
        batch.add("a", b"x", now)
    assert batch.deadline == 3.0


def test_flush_takes_all_in_order():
    batch = batcher()
    for tag in ("b", "a", "c", "a"):
        batch.add(tag, tag.encode(), 0.0)
    batch.flush()
    assert ready(batch) == [("id1", "b", b"b"), ("id2", "a", b"aa"), ("id3", "c", b"c")]
    assert (batch.records, batch.deadline) == (0, None)


def test_the_oldest_goes_when_too_many_tags_are_open():
    batch = batcher()
    for number in range(MAX_OPEN_TAGS):
        batch.add(f"t{number}", b"x", 0.0)
    assert ready(batch) == []
    batch.add("t0", b"y", 0.0)  # open already
    assert ready(batch) == []
    batch.add("more", b"z", 0.0)
    assert ready(batch) == [("id1", "t0", b"xy")]
    assert batch.records == MAX_OPEN_TAGS


def test_what_a_chunk_carries_back():
    batch = batcher(max_records=8)
    batch.add("a", b"1", 0.0, print, "one")
    batch.add("a", b"2", 0.0, None, None, True)
    batch.add("a", b"3", 0.0, print, "three")
    batch.add("a", b"4", 0.0, print, "four", True)
    batch.add("a", b"5", 0.0, repr, "five", True)
    batch.add("a", b"6", 0.0)
    batch.add("a", b"7", 0.0, print, "seven")
    batch.add("a", b"8", 0.0, print, "eight")
    (chunk,) = batch.ready
    assert (chunk.count, chunk.undecodable) == (8, 3)
    assert chunk.waiting == [
        Waiting(print, Outcome.DELIVERED, ["one", "three"]),
        Waiting(print, Outcome.UNDECODABLE, ["four"]),
        Waiting(repr, Outcome.UNDECODABLE, ["five"]),
        Waiting(print, Outcome.DELIVERED, ["seven", "eight"]),
    ]


def test_a_chunk_carries_nothing_of_the_one_before():
    batch = batcher(max_records=1)
    batch.add("a", b"1", 0.0, print, 1, True)
    batch.add("a", b"2", 0.0)
    assert [(chunk.count, chunk.undecodable, len(chunk.waiting)) for chunk in batch.ready] == [
        (1, 1, 1),
        (1, 0, 0),
    ]


STEPS = st.lists(
    st.tuples(st.sampled_from("abcd"), st.integers(0, 12), st.floats(0, 2))
    | st.just("expire")
    | st.just("flush"),
    max_size=60,
)


@given(STEPS, st.integers(1, 5), st.integers(1, 20), st.sampled_from([0.0, 0.5, 1.0]))
@example([("b", 0, 9.909658238518803e-199), ("a", 0, 0.5), "expire"], 2, 4, 0.5)
def test_nothing_is_lost_and_limits_hold(steps, max_records, max_bytes, linger):
    batch = batcher(max_records=max_records, max_bytes=max_bytes, linger=linger)
    now, added = 0.0, []
    for number, step in enumerate(steps):
        if step == "expire":
            batch.expire(now)
            assert batch.deadline is None or batch.deadline > now
        elif step == "flush":
            batch.flush()
            assert batch.records == 0
        else:
            tag, size, later = step
            now += later
            entry = b"%03d" % number + b"." * size
            batch.add(tag, entry, now)
            added.append((tag, entry))
        assert batch.records == len(added) - sum(chunk.count for chunk in batch.ready)
        assert (batch.deadline is None) is (batch.records == 0)
        assert batch.deadline is None or batch.deadline <= now + linger
    batch.flush()
    for tag in "abcd":
        expected = b"".join(entry for of, entry in added if of == tag)
        assert b"".join(chunk.entries for chunk in batch.ready if chunk.tag == tag) == expected
    for chunk in batch.ready:
        assert 1 <= chunk.count <= max_records
        assert len(chunk.entries) <= max_bytes or chunk.count == 1
    assert len({chunk.id for chunk in batch.ready}) == len(batch.ready)


@pytest.mark.parametrize("linger", [0.0, 0.1])
def test_a_deadline_is_met_when_expire_is_called_at_it(linger):
    """What the pipeline sleeps until is enough, to the last bit."""
    batch = batcher(linger=linger)
    for now in (0.1, 1e9 + 0.1, 123456.789):
        batch.add("a", b"x", now)
        batch.expire(batch.deadline)
        assert len(ready(batch)) == 1
