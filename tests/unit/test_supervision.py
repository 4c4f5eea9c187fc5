from __future__ import annotations

import pytest

from nats_fluent.supervision import IN_A_ROW, WELL, Again, Over, Supervision, exit_code, how


def test_a_worker_that_ends_is_started_again_after_longer_and_longer():
    supervision = Supervision([1, 2])
    now, waits = 0.0, []
    for _ in range(IN_A_ROW - 1):
        supervision.started(1, now)
        now += 2
        step = supervision.ended(1, -9, now)
        assert isinstance(step, Again)
        waits.append(step.seconds)
    assert waits == [1.0, 2.0, 4.0]
    assert not supervision.stopping


def test_when_that_helps_nothing_all_is_over():
    supervision = Supervision([1, 2])
    steps = []
    for _ in range(IN_A_ROW):
        supervision.started(2, 0.0)
        steps.append(supervision.ended(2, 7, 1.0))
    assert steps[-1] == Over(1, "worker 2 ended 4 times in a row, the last with exit code 7")
    assert supervision.stopping
    assert supervision.code == 1


def test_the_ends_of_one_are_not_those_of_another():
    supervision = Supervision([1, 2])
    for number in [1, 2] * (IN_A_ROW - 1):
        supervision.started(number, 0.0)
        assert isinstance(supervision.ended(number, 1, 1.0), Again)


def test_who_ran_well_for_a_while_begins_anew():
    supervision = Supervision([1])
    now = 0.0
    for _ in range(10):
        supervision.started(1, now)
        now += WELL + 1
        assert supervision.ended(1, 1, now) == Again(1.0)


def test_settings_are_not_tried_again():
    supervision = Supervision([1])
    supervision.started(1, 0.0)
    assert supervision.ended(1, 2, 1.0) == Over(2, "worker 1 cannot use its settings")
    assert supervision.code == 2


@pytest.mark.parametrize(("returned", "code"), [([0, 0], 0), ([0, 1], 1), ([-15, 0], 1), ([1, 2], 2)])
def test_told_to_stop_the_worst_counts_and_nobody_is_started_again(returned, code):
    supervision = Supervision([1, 2])
    supervision.stop()
    for number, each in enumerate(returned, start=1):
        assert supervision.ended(number, each, 1.0) is None
    assert supervision.code == code


def test_one_that_was_dead_when_all_was_told_to_stop_counts_and_one_that_was_started_again_does_not():
    supervision = Supervision([1, 2])
    for number in (1, 2):
        supervision.started(number, 0.0)
        supervision.ended(number, -9, 1.0)
    supervision.started(1, 2.0)
    supervision.stop()
    supervision.ended(1, 0, 3.0)
    assert supervision.code == 1
    supervision.started(2, 4.0)
    assert supervision.code == 0


def test_how_a_process_ended():
    assert [(exit_code(each), how(each)) for each in (0, 3, -9)] == [
        (0, "exit code 0"),
        (3, "exit code 3"),
        (1, "signal 9"),
    ]
