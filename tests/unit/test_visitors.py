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

    def abort(self) -> None:
        self.aborted.set()

    def is_closing(self) -> bool:
        return self.aborted.is_set()


class Protocol(asyncio.Protocol):
    """Notes what it is told."""

    def __init__(self) -> None:
        self.told: list[object] = []

    def connection_made(self, transport):
        self.told.append(transport)

    def data_received(self, data):
        self.told.append(data)

    def eof_received(self):
        self.told.append("eof")
        return True

    def pause_writing(self):
        self.told.append("pause")

    def resume_writing(self):
        self.told.append("resume")

    def connection_lost(self, exc):
        self.told.append(exc)


@pytest.fixture
def made():
    return []


@pytest.fixture
def house(made):
    def serve():
        made.append(Protocol())
        return made[-1]

    return Visitors(serve)


def enter(house, count=1):
    """Let some in, and return (transport, protocol) of each."""
    found = []
    for _ in range(count):
        visitor, transport = house(), Socket()
        visitor.connection_made(transport)
        found.append((transport, visitor))
    return found


async def test_what_happens_to_a_connection_is_handed_on(house, made):
    ((transport, visitor),) = enter(house)
    visitor.data_received(b"GET")
    visitor.pause_writing()
    visitor.resume_writing()
    assert visitor.eof_received() is True
    assert len(house) == 1
    visitor.connection_lost(None)
    assert made[0].told == [transport, b"GET", "pause", "resume", "eof", None]
    assert len(house) == 0


async def test_one_too_many_takes_the_place_of_the_one_of_no_use_for_longest(house):
    found = enter(house, MOST)
    house.asks(found[0][0])  # the first is served
    house.asks(found[1][0])  # the second was, and is idle again
    house.waits(found[1][0])
    enter(house, 3)
    gone = [number for number, (transport, _) in enumerate(found) if transport.is_closing()]
    assert gone == [2, 3, 4]
    assert len(house) == MOST


async def test_where_all_are_served_there_is_no_room(house):
    found = enter(house, MOST)
    for transport, _ in found:
        house.asks(transport)
    ((late, visitor),) = enter(house)
    assert late.is_closing()
    assert not any(transport.is_closing() for transport, _ in found)
    visitor.connection_lost(None)
    assert len(house) == MOST


async def test_whoever_asks_for_nothing_is_dropped_in_time(house, monkeypatch):
    monkeypatch.setattr(visitors, "WITHIN", 0.0)
    ((slow, _),) = enter(house)
    await asyncio.wait_for(slow.aborted.wait(), 10)
    ((served, _),) = enter(house)
    house.asks(served)
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert not served.is_closing()
    house.waits(served)
    await asyncio.wait_for(served.aborted.wait(), 10)


async def test_a_connection_that_ended_is_not_dropped_later(house, monkeypatch):
    monkeypatch.setattr(visitors, "WITHIN", 0.0)
    ((transport, visitor),) = enter(house)
    visitor.connection_lost(None)
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert not transport.is_closing()
    assert len(house) == 0
