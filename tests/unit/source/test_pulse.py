from __future__ import annotations

import pytest

from nats_fluent.source.pulse import ASLEEP, EVERY, PATIENCE, Pulse


class Looked:
    """A pulse that is looked at on time."""

    def __init__(self):
        self.pulse, self.now, self.heard = Pulse(), 1000.0, 50

    def look(self, *, after=EVERY, heard=0):
        self.now += after
        self.heard += heard
        return self.pulse.look(self.heard, self.now)


def test_a_server_that_talks_is_never_asked():
    looked = Looked()
    assert not any(looked.look(heard=1) for _ in range(100))
    assert looked.pulse.answers


def test_a_server_that_answers_is_asked_every_other_time():
    looked = Looked()
    asked = [looked.look(heard=0 if number % 2 else 1) for number in range(10)]
    assert asked == [False, True] * 5
    assert looked.pulse.silent == 0.0


def test_a_server_that_does_not_answer_is_asked_once_and_named_after_some_time():
    looked = Looked()
    asked = [looked.look() for _ in range(2)]
    assert asked == [False, True]
    found = []
    while looked.pulse.answers:
        assert not looked.look()
        found.append(looked.pulse.silent)
    assert found[-1] == PATIENCE + EVERY
    assert not looked.look(heard=1)
    assert (looked.pulse.answers, looked.pulse.silent) == (True, 0.0)
    assert looked.look()


@pytest.mark.parametrize("gap", [10.0, 3600.0])
def test_the_time_in_which_this_process_did_not_run_is_not_the_server_s(gap):
    looked = Looked()
    looked.look()
    assert looked.look()
    looked.look(after=gap)
    assert looked.pulse.silent == ASLEEP
    assert looked.pulse.answers
