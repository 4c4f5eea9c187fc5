"""What is said of a log shipper that takes chunks and acknowledges none."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from logged import capturing_log

from nats_fluent.health import STALLED
from nats_fluent.observe import Observer
from nats_fluent.settings import Settings

STANDS, AGAIN = "the log shipper does not acknowledge", "the log shipper acknowledges again"


class Seen:
    """An observer of a sink, and what it says of each state of it."""

    def __init__(self):
        self.sink = SimpleNamespace(
            stats=SimpleNamespace(connected=True, stalled=0.0, server="forward://s:1"), pending_chunks=2
        )
        self.log, self.logged = capturing_log()
        parts = dict.fromkeys(("source", "pipeline", "spooler", "drops", "guard"))
        self.observer = Observer(Settings(), sink=self.sink, log=self.log, **parts)

    def look(self, stalled, *, connected=True):
        self.sink.stats.stalled, self.sink.stats.connected = stalled, connected
        before = len(self.logged)
        self.observer.look()
        return [line["event"] for line in self.logged[before:]]


def test_it_is_said_once_that_it_stands_still_and_once_that_it_does_not():
    seen = Seen()
    assert [seen.look(stalled) for stalled in (0.0, STALLED, 6.4, 7.4, 1.0, 0.0)] == [
        [],
        [],
        [STANDS],
        [],
        [AGAIN],
        [],
    ]
    assert seen.logged[0] == {
        "event": STANDS,
        "log_level": "warning",
        "server": "forward://s:1",
        "seconds": 6,
        "pending_chunks": 2,
    }


@pytest.mark.parametrize("stalled", [0.0, 40.0])
def test_a_connection_that_fails_is_for_the_sink_to_say(stalled):
    seen = Seen()
    assert seen.look(6.0) == [STANDS]
    assert seen.look(stalled, connected=False) == []
    assert seen.look(0.0) == []
    assert seen.look(6.0) == [STANDS]
