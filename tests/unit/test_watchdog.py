"""Who stands still, by the facts alone."""

from __future__ import annotations

import pytest

from nats_fluent.watchdog import ASLEEP, Heartbeat, Limit, Sign, Verdict, Watchdog

PATIENCE = 10.0
LIMITS = {"nats": Limit(PATIENCE, restarts=True), "pipeline": Limit(PATIENCE, restarts=False)}
IDLE = Sign(busy=False, tried=0, done=0)


class Looks:
    """A watchdog that looks each second."""

    def __init__(self):
        self.dog = Watchdog(LIMITS, every=1.0)
        self.now = 1000.0
        self.said = []

    def for_seconds(self, seconds, *, apart=1.0, **signs):
        """Look so long; a sign may be a function of the time."""
        for _ in range(round(seconds / apart)):
            self.now += apart
            found = {name: signs.get(name, IDLE) for name in LIMITS}
            found = {name: sign(self.now) if callable(sign) else sign for name, sign in found.items()}
            for name, verdict in self.dog.look(found, self.now).items():
                self.said.append((name, verdict))
        return self.said


def still(done=7, tried=None):
    return Sign(busy=True, tried=done if tried is None else tried, done=done)


def moving(now):
    return Sign(busy=True, tried=now, done=now)


def trying(now):
    """What is away is tried each four seconds."""
    return Sign(busy=True, tried=now // 4, done=7)


@pytest.fixture
def looks():
    return Looks()


def test_who_moves_or_has_nothing_to_do_is_left_alone(looks):
    assert looks.for_seconds(10_000, nats=moving, pipeline=IDLE) == []


def test_who_stands_still_is_restarted_and_then_given_up(looks):
    assert looks.for_seconds(PATIENCE, nats=still()) == []
    assert looks.for_seconds(1, nats=still()) == [("nats", Verdict.RESTART)]
    assert looks.for_seconds(PATIENCE - 1, nats=still()) == [("nats", Verdict.RESTART)]
    assert looks.for_seconds(1, nats=still()) == [("nats", Verdict.RESTART), ("nats", Verdict.FAIL)]


def test_who_tries_is_left_alone(looks):
    assert looks.for_seconds(10_000, nats=trying) == []


def test_what_a_restart_does_by_itself_is_no_help(looks):
    looks.for_seconds(PATIENCE + 1, nats=still(tried=1))
    looks.for_seconds(PATIENCE, nats=still(tried=2))
    assert looks.for_seconds(1, nats=still(tried=2)) == [("nats", Verdict.RESTART), ("nats", Verdict.FAIL)]


def test_a_restart_whose_server_is_away_is_not_given_up(looks):
    looks.for_seconds(PATIENCE + 1, nats=still())
    assert looks.for_seconds(10_000, nats=trying) == [("nats", Verdict.RESTART)]


def test_who_cannot_be_restarted_is_given_up(looks):
    assert looks.for_seconds(PATIENCE + 1, pipeline=still()) == [("pipeline", Verdict.FAIL)]


def test_a_restart_that_helped_is_forgotten(looks):
    looks.for_seconds(PATIENCE + 1, nats=still())
    looks.for_seconds(1, nats=still(8))
    assert looks.for_seconds(PATIENCE, nats=still(8)) == [("nats", Verdict.RESTART)] * 2


@pytest.mark.parametrize("between", [still(8), IDLE])
def test_any_sign_of_life_begins_the_time_anew(looks, between):
    for _ in range(10):
        looks.for_seconds(PATIENCE - 1, nats=still())
        looks.for_seconds(1, nats=between)
    assert looks.said == []


def test_a_count_that_begins_again_is_progress(looks):
    """As that of a new connection does."""
    looks.for_seconds(PATIENCE - 1, nats=still(100))
    assert looks.for_seconds(PATIENCE, nats=still(0)) == []


def test_the_time_in_which_this_process_did_not_run_counts_for_nobody(looks):
    looks.for_seconds(1, nats=still())
    assert looks.for_seconds(3600, apart=3600, nats=still(), pipeline=still()) == []
    # That one look counts as a few.
    assert looks.for_seconds(PATIENCE - ASLEEP - 1, nats=still(), pipeline=still()) == []
    assert len(looks.for_seconds(1 + ASLEEP, nats=still(), pipeline=still())) == 2


def test_looks_that_come_late_count_for_what_they_are(looks):
    assert looks.for_seconds(PATIENCE + 2, apart=2.0, nats=still()) == [("nats", Verdict.RESTART)]


def test_several_at_once(looks):
    found = looks.for_seconds(PATIENCE + 1, nats=still(), pipeline=still())
    assert found == [("nats", Verdict.RESTART), ("pipeline", Verdict.FAIL)]


def test_a_heart_that_beats():
    heart = Heartbeat(3)
    assert not any(heart.stopped(beats) for beats in range(1000))
    assert not any(heart.stopped(beats // 3) for beats in range(1000))


def test_a_heart_that_has_stopped():
    heart = Heartbeat(3)
    assert [heart.stopped(beats) for beats in (0, 1, 1, 1, 1)] == [False, False, False, False, True]
    assert not heart.stopped(2)
    assert [heart.stopped(2) for _ in range(3)] == [False, False, True]


def test_a_heart_that_never_beat():
    heart = Heartbeat(2)
    assert [heart.stopped(0) for _ in range(3)] == [False, False, True]


def test_it_says_for_how_long_a_part_stands_still():
    looks = Looks()
    assert looks.dog.still == {"nats": 0.0, "pipeline": 0.0}
    looks.for_seconds(5, pipeline=still(), nats=moving)
    assert looks.dog.still == {"nats": 0.0, "pipeline": 4.0}
