"""Counting what is dropped, and saying so seldom."""

from __future__ import annotations

import asyncio

import pytest
from logged import capturing_log

from nats_fluent import drops
from nats_fluent.drops import COUNTED_SUBJECTS, NAMED_SUBJECTS, OTHER, QUIET, Drops


class Clock:
    """Stands in for the timer of the event loop."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.callback = None
        self.delays: list[float] = []
        monkeypatch.setattr(drops.asyncio, "get_running_loop", lambda: self)

    def call_later(self, delay: float, callback) -> Clock:
        assert self.callback is None, "two timers at once"
        self.delays.append(delay)
        self.callback = callback
        return self

    def cancel(self) -> None:
        self.callback = None

    def ring(self) -> None:
        callback, self.callback = self.callback, None
        callback()


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


def test_the_first_is_said_at_once_and_the_others_together(clock: Clock) -> None:
    log, logged = capturing_log()
    drops = Drops(log)
    for subject in ("a", "b", "b", "a", "b"):
        drops.add(subject)
    assert [(line["dropped"], line["subjects"]) for line in logged] == [(1, {"a": 1})]
    clock.ring()
    assert [(line["dropped"], line["subjects"]) for line in logged[1:]] == [(4, {"b": 3, "a": 1})]
    clock.ring()
    assert len(logged) == 2
    assert clock.callback is None
    assert drops.counts == {"a": 2, "b": 3}
    drops.add("c")
    assert logged[2]["subjects"] == {"c": 1}
    assert clock.delays == [QUIET] * 3


def test_what_was_not_said_is_said_at_the_end(clock: Clock) -> None:
    log, logged = capturing_log()
    drops = Drops(log)
    drops.close()
    assert logged == []
    drops.add("a")
    drops.add("a")
    drops.close()
    assert [line["dropped"] for line in logged] == [1, 1]
    assert clock.callback is None
    drops.close()
    assert len(logged) == 2


def test_a_bounded_number_of_subjects_is_counted_and_named(clock: Clock) -> None:
    log, logged = capturing_log()
    drops = Drops(log)
    for number in range(COUNTED_SUBJECTS + 10):
        drops.add(f"events.{number}")
    drops.add("events.0")
    clock.ring()
    assert len(drops.counts) == COUNTED_SUBJECTS + 1
    assert drops.counts[OTHER] == 10
    assert drops.counts["events.0"] == 2
    assert logged[1]["dropped"] == COUNTED_SUBJECTS + 10
    assert len(logged[1]["subjects"]) == NAMED_SUBJECTS
    assert logged[1]["subjects"][OTHER] == 10
    assert logged[1]["further_subjects"] == COUNTED_SUBJECTS + 1 - NAMED_SUBJECTS


async def test_the_timer_is_the_loops_own() -> None:
    log, logged = capturing_log()
    drops = Drops(log)
    drops.add("a")
    drops.close()
    await asyncio.sleep(0)
    assert len(logged) == 1
