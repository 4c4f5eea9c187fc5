"""One line when a handler begins to fail, one when it is over."""

from __future__ import annotations

from logged import captured

from nats_fluent.failing import QUIET, Failing
from nats_fluent.log import Log
from nats_fluent.record import Transformed

ONE = Transformed((), "my.py:one", "ValueError: no (my.py:3)")
OTHER = Transformed((), "my.py:other", "KeyError: 'x' (my.py:9)")


def test_a_line_for_each_change():
    now = [0.0]
    with captured() as lines:
        failing = Failing(Log(), lambda: now[0])
        failing.look()
        failing.failed(ONE)
        failing.failed(ONE)
        failing.failed(OTHER)
        now[0] = QUIET - 1
        failing.failed(ONE)
        now[0] = QUIET
        failing.look()
        now[0] = 2 * QUIET - 1
        failing.look()
        failing.look()
        failing.failed(ONE)
    assert [(line["event"], line["handler"], line.get("reason", line.get("failures"))) for line in lines] == [
        ("a handler fails", "my.py:one", ONE.error),
        ("a handler fails", "my.py:other", OTHER.error),
        ("a handler has not failed for a while", "my.py:other", 1),
        ("a handler has not failed for a while", "my.py:one", 3),
        ("a handler fails", "my.py:one", ONE.error),
    ]
