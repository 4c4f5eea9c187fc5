"""Several workers as one: nothing that is counted goes back, and nothing that is there now is counted twice."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nats_fluent.account import Histogram
from nats_fluent.facts import (
    Facts,
    IdentityFacts,
    NatsFacts,
    ShipperFacts,
    SpoolFacts,
    StreamFacts,
    Times,
    TopicFacts,
    WatchdogFacts,
)
from nats_fluent.merge import MOST_SUBJECTS, counted, merged
from nats_fluent.metrics import CATALOGUE


def times(*seconds):
    histogram = Histogram()
    for each in seconds:
        histogram.add(each)
    return Times(histogram.buckets(), histogram.total)


def facts(n, **changes):
    """A worker of which every number is told from every other worker's, and up to n of anything."""
    return Facts(
        **{
            "version": "1",
            "time": 100.0 + n,
            "uptime": 10.0 * n,
            "phase": "running",
            "topics": {"t": TopicFacts(received=n, bytes=10 * n, undecodable=1, filtered=2, dropped=3)},
            "identities": [IdentityFacts(topic="t", identity="i", operation="o", count=n)],
            "decoded": n,
            "extra": n,
            "transform_errors": {"i": n, str(n): 1},
            "returned": n,
            "replaced_bytes": n,
            "dropped_subjects": {"s": n},
            "buffer_bytes": n,
            "buffer_limit": 100,
            "buffer_records": n,
            "nats": NatsFacts(
                connected=True,
                subscribed=True,
                server="n:4222",
                reconnects=n,
                cut_off=n,
                answers=n,
                answers_failed=n,
            ),
            "stream": StreamFacts(stream="S", durable="d", pending=n, unsettled=n, redelivered=n),
            "shipper": ShipperFacts(
                connected=True,
                server="forward://s",
                stalled=float(n),
                oldest=float(n),
                pending_chunks=n,
                pending_records=n,
                connections=n,
                failures=n,
                chunks_sent=n,
                chunks_sent_again=n,
                chunks_acknowledged=n,
                records_acknowledged=n,
                bytes_sent=n,
                acknowledged_at=50.0 + n,
                acknowledgement=times(0.001 * n),
                end_to_end=times(n),
            ),
            "spool": SpoolFacts(
                mode="always",
                bytes=n,
                max_bytes=100,
                chunks=n,
                records=n,
                oldest=float(n),
                recovered=n,
                lost=n,
            ),
            "watchdog": WatchdogFacts(looked_ago=0.1 * n, still={"sink": float(n)}),
        }
        | changes
    )


def test_one_is_itself():
    alone = facts(3)
    assert merged([alone]) == alone


def test_numbers_are_added_and_ages_are_the_longest():
    found = merged([facts(1), facts(2)])
    assert found.topics == {"t": TopicFacts(received=3, bytes=30, undecodable=2, filtered=4, dropped=6)}
    assert found.identities == [IdentityFacts(topic="t", identity="i", operation="o", count=3)]
    assert (found.decoded, found.returned, found.replaced_bytes) == (3, 3, 3)
    assert (found.buffer_bytes, found.buffer_limit, found.buffer_records) == (3, 200, 3)
    assert (found.time, found.uptime, found.version, found.phase) == (102.0, 20.0, "1", "running")
    assert found.nats == NatsFacts(
        connected=True, subscribed=True, server="n:4222", reconnects=3, cut_off=3, answers=3, answers_failed=3
    )
    assert found.stream == StreamFacts(stream="S", durable="d", pending=2, unsettled=3, redelivered=3)
    shipper = found.shipper
    assert (shipper.stalled, shipper.oldest, shipper.acknowledged_at) == (2.0, 2.0, 52.0)
    assert (shipper.pending_chunks, shipper.bytes_sent, shipper.connections) == (3, 3, 3)
    assert shipper.acknowledgement == times(0.001, 0.002)
    assert shipper.end_to_end == times(1, 2)
    assert found.spool == SpoolFacts(
        mode="always", bytes=3, max_bytes=200, chunks=3, records=3, oldest=2.0, recovered=3, lost=3
    )
    assert found.watchdog == WatchdogFacts(looked_ago=0.2, still={"sink": 2.0})


def test_what_each_counts_of_its_own_is_there():
    one = facts(1, topics={"a": TopicFacts(received=1)}, dropped_subjects={"x": 1, "y": 5})
    other = facts(2, topics={"b": TopicFacts(received=2)}, dropped_subjects={"x": 9}, identities=[])
    found = merged([one, other])
    assert {name: topic.received for name, topic in found.topics.items()} == {"a": 1, "b": 2}
    assert list(found.dropped_subjects.items()) == [("x", 10), ("y", 5)]
    many = [facts(1, dropped_subjects={f"{w}.{n}": n for n in range(MOST_SUBJECTS)}) for w in "ab"]
    assert len(merged(many).dropped_subjects) == MOST_SUBJECTS


def test_a_connection_is_there_when_each_has_its_own():
    lost = facts(
        2,
        nats=NatsFacts(reason="refused", server="m:4222", denied=["a"], silent=6.0),
        shipper=ShipperFacts(reason="gone", server="forward://u"),
    )
    found = merged([facts(1), lost])
    assert found.nats.connected is found.nats.subscribed is found.shipper.connected is False
    assert (found.nats.reason, found.nats.server, found.nats.denied, found.nats.silent) == (
        "refused",
        "n:4222, m:4222",
        ["a"],
        6.0,
    )
    assert (found.shipper.reason, found.shipper.server) == ("gone", "forward://s, forward://u")


@pytest.mark.parametrize(
    ("phases", "phase"),
    [
        (["running", "running"], "running"),
        (["running", "starting"], "starting"),
        (["starting", "stopping"], "stopping"),
        ([], "starting"),
    ],
)
def test_the_phase(phases, phase):
    assert merged([facts(1, phase=each) for each in phases]).phase == phase


def test_without_spool_and_stream_there_are_none():
    found = merged([facts(1, spool=None, stream=None), facts(2, spool=None, stream=None)])
    assert found.spool is found.stream is None
    assert counted(facts(1, spool=None, stream=None)).spool is None
    nobody = merged([])
    assert nobody.nats == NatsFacts()
    assert nobody.shipper.oldest is nobody.shipper.acknowledged_at is None
    assert nobody.shipper.end_to_end == Times([("+Inf", 0)], 0.0)


def counters(found):
    return {
        (metric.name, *labels): value
        for metric in CATALOGUE
        if metric.kind != "gauge" and metric.name != "worker_restarts_total"
        for labels, value in metric.read(found)
    }


def gauges(found):
    return {
        (metric.name, *labels): value
        for metric in CATALOGUE
        if metric.kind == "gauge" and metric.name not in ("build_info", "ready", "spool_oldest_seconds")
        for labels, value in metric.read(found)
        if metric.name != "last_acknowledged_timestamp_seconds"
    }


def test_what_died_keeps_what_it_counted_and_nothing_that_it_had():
    before = merged([facts(1), facts(2)])
    after = merged([facts(1)], [facts(2)])
    assert counters(after) == counters(before)
    assert gauges(after) == gauges(merged([facts(1)]))
    assert counted(counted(facts(2))) == counted(facts(2))


@given(st.lists(st.integers(0, 50), max_size=4), st.lists(st.integers(0, 50), max_size=4))
def test_in_whatever_order_workers_die_the_totals_are_the_same(now, gone):
    workers, dead = [facts(n) for n in now], [facts(n) for n in gone]
    at_once = counters(merged(workers, dead))
    one_by_one = None
    for each in dead:
        one_by_one = counted(merged([], [part for part in (one_by_one, each) if part is not None]))
    step_by_step = counters(merged(workers, [one_by_one] if one_by_one is not None else []))
    assert at_once.keys() == step_by_step.keys()
    for name, value in at_once.items():
        if isinstance(value, Times):
            assert value.buckets == step_by_step[name].buckets
            assert value.total == pytest.approx(step_by_step[name].total)
        else:
            assert value == step_by_step[name]


def test_every_number_of_the_facts_is_either_added_or_looked_at():
    """A field that is new, and forgotten here, would vanish as soon as there are two workers."""
    for name, value in msgspec.to_builtins(merged([facts(5)])).items():
        if name != "workers":
            assert value == msgspec.to_builtins(facts(5))[name], name
            assert value not in (0, "", {}, [], None), f"{name}: give it a value in facts()"
    for part in ("nats", "stream", "shipper", "spool"):
        fields = msgspec.to_builtins(getattr(merged([facts(5)]), part))
        silent = {"denied", "reason", "silent", "trouble"}
        assert {name for name, value in fields.items() if not value} <= silent, part
