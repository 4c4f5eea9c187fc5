"""Connections to the HTTP endpoint: few at once, none for ever, and a new one always gets in."""

from __future__ import annotations

import asyncio

import pytest

from nats_fluent import visitors
from nats_fluent.visitors import MOST, Visitors


class Socket(asyncio.Transport):
    """A transport of which only the end matters; `aborted` says that it came."""

    def __init__(self) -> None:
        super().__init__()
        self.aborted = asyncio.Event()
        self.closed = False

    def close(self) -> None:
        self.closed = True

    def abort(self) -> None:
        self.aborted.set()

    def is_closing(self) -> bool:
        return self.aborted.is_set()


@pytest.fixture
def house():
    return Visitors()


def enter(house, count=1):
    """Let some in, and return their transports."""
    found = [Socket() for _ in range(count)]
    for transport in found:
        house.came(transport)
    return found


async def test_one_too_many_takes_the_place_of_the_one_of_no_use_for_longest(house):
    found = enter(house, MOST)
    house.asks(found[0])  # the first is served
    house.asks(found[1])  # the second was, and is idle again
    house.waits(found[1])
    enter(house, 3)
    gone = [number for number, transport in enumerate(found) if transport.is_closing()]
    assert gone == [2, 3, 4]
    assert len(house) == MOST


async def test_where_all_are_served_there_is_no_room(house):
    found = enter(house, MOST)
    for transport in found:
        house.asks(transport)
    (late,) = enter(house)
    assert late.is_closing()
    assert not any(transport.is_closing() for transport in found)
    house.went(late)
    assert len(house) == MOST


async def test_whoever_asks_for_nothing_is_dropped_in_time(house, monkeypatch):
    monkeypatch.setattr(visitors, "WITHIN", 0.0)
    (slow,) = enter(house)
    await asyncio.wait_for(slow.aborted.wait(), 10)
    (served,) = enter(house)
    house.asks(served)
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert not served.is_closing()
    house.waits(served)
    await asyncio.wait_for(served.aborted.wait(), 10)


async def test_a_connection_that_ended_is_not_dropped_later(house, monkeypatch):
    monkeypatch.setattr(visitors, "WITHIN", 0.0)
    (transport,) = enter(house)
    house.went(transport)
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert not transport.is_closing()
    assert len(house) == 0


async def test_none_stays_after_the_end(house):
    idle, served, stuck = enter(house, 3)
    house.asks(served)
    house.asks(stuck)
    closing = asyncio.create_task(house.close(0.05))
    await asyncio.sleep(0)
    assert house.closing
    assert (idle.closed, served.closed) == (True, False)
    for transport in (idle, served):
        house.went(transport)
    await closing
    assert (served.is_closing(), stuck.is_closing()) == (False, True)


async def test_the_end_waits_for_nobody_where_nobody_is(house):
    await asyncio.wait_for(house.close(60), 10)
    (late,) = enter(house)
    ending = asyncio.create_task(house.close(60))
    await asyncio.sleep(0)
    house.went(late)
    await asyncio.wait_for(ending, 10)
