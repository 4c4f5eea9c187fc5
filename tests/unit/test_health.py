from __future__ import annotations

import pytest

from nats_fluent import health
from nats_fluent.facts import (
    Facts,
    NatsFacts,
    ShipperFacts,
    SpoolFacts,
    StreamFacts,
    WatchdogFacts,
    WorkerFacts,
)

UP = NatsFacts(connected=True, subscribed=True, server="nats:4222")
TAKES = ShipperFacts(connected=True, server="forward://shipper:24224")
STREAM = StreamFacts(stream="S", durable="d")


def facts(**changes):
    return Facts(**({"nats": UP, "shipper": TAKES} | changes))


def why(found):
    return {name: part.why for name, part in found.parts.items() if not part.ok}


@pytest.mark.parametrize(
    "changes",
    [{}, {"stream": STREAM}, {"spool": SpoolFacts(mode="always")}],
    ids=["plain", "stream", "spool"],
)
def test_with_all_as_it_should_be_it_is_ready(changes):
    found = health.ready(facts(**changes))
    assert found.ok
    assert why(found) == {}
    assert ("spool" in found.parts) == ("spool" in changes)


@pytest.mark.parametrize(
    ("changes", "reasons"),
    [
        ({"phase": "starting"}, {"program": "it is starting"}),
        ({"phase": "stopping"}, {"program": "it is stopping"}),
        ({"phase": "stopping", "nats": NatsFacts(connected=True)}, {"program": "it is stopping"}),
        ({"nats": NatsFacts()}, {"nats": "not connected: no attempt has ended yet"}),
        ({"nats": NatsFacts(reason="refused")}, {"nats": "not connected: refused"}),
        ({"nats": NatsFacts(connected=True)}, {"nats": "connected, and not subscribed yet"}),
        (
            {"nats": NatsFacts(connected=True), "stream": STREAM},
            {"nats": "connected, and waiting for JetStream"},
        ),
        (
            {"nats": NatsFacts(connected=True, subscribed=True, denied=["a", "b.>"])},
            {"nats": "the server denies a, b.>"},
        ),
        (
            {"nats": NatsFacts(connected=True, subscribed=True, silent=6.2, denied=["a"])},
            {"nats": "connected, and it has not answered for 6 s"},
        ),
        ({"shipper": ShipperFacts()}, {"log shipper": "not connected: no attempt has ended yet"}),
        ({"shipper": ShipperFacts(reason="gone")}, {"log shipper": "not connected: gone"}),
        (
            {"shipper": ShipperFacts(connected=True, stalled=5.2, pending_chunks=3)},
            {"log shipper": "connected, and nothing was acknowledged for 5 s; chunks that wait: 3"},
        ),
        (
            {"spool": SpoolFacts(mode="always", trouble="No space left on device")},
            {"spool": "it takes no chunks: No space left on device"},
        ),
        (
            {"nats": NatsFacts(), "shipper": ShipperFacts(), "phase": "stopping"},
            {
                "program": "it is stopping",
                "nats": "not connected: no attempt has ended yet",
                "log shipper": "not connected: no attempt has ended yet",
            },
        ),
    ],
)
def test_each_part_that_keeps_data_from_flowing_is_named(changes, reasons):
    found = health.ready(facts(**changes))
    assert not found.ok
    assert why(found) == reasons


@pytest.mark.parametrize("stalled", [0.0, 4.9, health.STALLED])
def test_a_log_shipper_has_some_time_to_answer(stalled):
    assert health.ready(facts(shipper=ShipperFacts(connected=True, stalled=stalled))).ok


@pytest.mark.parametrize("ago", [None, 0.0, health.LOOKS])
def test_a_program_that_moves_is_live_whatever_is_broken_around_it(ago):
    broken = Facts(spool=SpoolFacts(mode="always", trouble="full"), watchdog=WatchdogFacts(looked_ago=ago))
    assert not health.ready(broken).ok
    assert health.live(broken).ok


def test_a_watchdog_that_does_not_look_is_not_live():
    found = health.live(facts(watchdog=WatchdogFacts(looked_ago=16.0)))
    assert not found.ok
    assert why(found) == {"watchdog": "it has not looked for 16 s"}


def of(*workers):
    return Facts(workers=list(workers))


def test_several_workers_are_ready_when_each_is():
    both = of(WorkerFacts(number=1, facts=facts()), WorkerFacts(number=2, facts=facts(stream=STREAM)))
    found = health.ready(both)
    assert found.ok
    assert set(found.parts) == {"program", "nats", "log shipper", "workers"}
    assert health.live(both).ok


def test_what_is_not_ready_names_the_worker():
    lost = facts(nats=NatsFacts(reason="refused"), spool=SpoolFacts(mode="always", trouble="full"))
    alone = facts(nats=NatsFacts(reason="also"))
    found = health.ready(
        of(
            WorkerFacts(number=1, facts=lost),
            WorkerFacts(number=2, facts=alone),
            WorkerFacts(number=3, facts=facts()),
            WorkerFacts(number=4, away="it ended with signal 9"),
        )
    )
    assert why(found) == {
        "nats": "worker 1: not connected: refused; worker 2: not connected: also",
        "spool": "worker 1: it takes no chunks: full",
        "workers": "worker 4: it ended with signal 9",
    }


@pytest.mark.parametrize(
    ("worker", "reasons"),
    [
        (WorkerFacts(number=2, silent=15.0, away="it has not answered for 15 s"), {}),
        (WorkerFacts(number=2, away="it ended with signal 9"), {}),
        (WorkerFacts(number=2, silent=16.0), {"workers": "worker 2: it has not answered for 16 s"}),
        (
            WorkerFacts(number=2, facts=facts(watchdog=WatchdogFacts(looked_ago=20.0))),
            {"watchdog": "worker 2: it has not looked for 20 s"},
        ),
    ],
    ids=["slow", "dead", "silent", "late"],
)
def test_what_is_started_again_lives_and_what_hangs_does_not(worker, reasons):
    assert why(health.live(of(WorkerFacts(number=1, facts=facts()), worker))) == reasons
