"""The inbox of the pipeline: nothing is lost, changed or overtaken by being packed."""

from __future__ import annotations

import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nats_fluent import inbox
from nats_fluent.delivery import Delivery
from nats_fluent.inbox import Inbox


def numbered(count, first=0, **more):
    return [Delivery("t", f"t.{n}", b"%d" % n, **more) for n in range(first, first + count)]


DELIVERIES = st.builds(
    lambda fields, waits: Delivery(*fields, settle=print, key=7) if waits else Delivery(*fields),
    st.tuples(st.text(), st.text(), st.binary(), st.text(), st.none() | st.binary()),
    st.booleans(),
)


@given(reads=st.lists(st.lists(DELIVERIES)), most=st.integers(1, 5))
def test_what_goes_in_comes_out_in_its_order(reads, most):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(inbox, "LOOSE", 2)
        patch.setattr(inbox, "TOGETHER", 20)
        box, taken = Inbox(), []
        for read in reads:
            box.put(read)
        put = [each for read in reads for each in read]
        assert len(box) == len(put)
        while box:
            taken += box.take(most)
        assert taken == put
        assert box.take(most) == []


def test_it_may_be_filled_and_emptied_at_once(monkeypatch):
    monkeypatch.setattr(inbox, "LOOSE", 4)
    box, put, taken = Inbox(), [], []
    for size in [7, 7, 1, 0, 3, 7, 9] * 10:
        put += (read := numbered(size, len(put)))
        box.put(read)
        taken += box.take(5)
    box.put([])
    taken += box.take(3)
    assert len(box) == len(put) - len(taken)
    taken += box.take(1000)
    assert taken == put
    assert len(box) == 0


def test_what_waits_for_its_end_is_kept_as_it_is(monkeypatch):
    monkeypatch.setattr(inbox, "LOOSE", 2)
    box, put = Inbox(), numbered(9, settle=print, key=7)
    for at in range(0, 9, 3):
        box.put(put[at : at + 3])
    assert all(one is other for one, other in zip(box.take(9), put, strict=True))


def test_much_is_packed_and_little_is_not(monkeypatch):
    monkeypatch.setattr(inbox, "LOOSE", 1000)

    def pieces(reads):
        """How many pieces of memory are taken."""
        tracemalloc.start()
        box = Inbox()
        for _ in range(reads):
            box.put(numbered(100))
        taken = sum(each.count for each in tracemalloc.take_snapshot().statistics("filename"))
        tracemalloc.stop()
        assert len(box) == 100 * reads
        return taken

    loose = pieces(10)
    assert loose > 2 * 1000
    assert pieces(210) < 3 * loose  # what is loose at both ends, and the maps
