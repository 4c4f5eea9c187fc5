"""The catalogue against Prometheus' rules, the text against prometheus_client's own parsers."""

from __future__ import annotations

import os
import re
from pathlib import Path

import msgspec
import pytest
from prometheus_client import parser
from prometheus_client.openmetrics import parser as openmetrics_parser

from nats_fluent import compiled, exposition, metrics
from nats_fluent.account import BOUNDS, Account, Histogram
from nats_fluent.facts import (
    Facts,
    IdentityFacts,
    NatsFacts,
    ShipperFacts,
    SpoolFacts,
    StreamFacts,
    Times,
    TopicFacts,
    WorkerFacts,
)
from nats_fluent.observe import MOST_TOPICS, identities, topics
from nats_fluent.source.parser import frames

OPENMETRICS = "application/openmetrics-text; version=1.0.0,text/plain;q=0.5"
PARSE = {
    "": parser.text_string_to_metric_families,
    OPENMETRICS: openmetrics_parser.text_string_to_metric_families,
}
DOCUMENT = Path(__file__).parents[2] / "docs" / "metrics.md"


def histogram(*seconds):
    made = Histogram()
    for each in seconds:
        made.add(each)
    return Times(made.buckets(), made.total)


WHOLE = Facts(
    version="1.2.3",
    topics={
        "a": TopicFacts(received=5, bytes=900, undecodable=1, filtered=4, dropped=2),
        'b"\\\n': TopicFacts(received=7),
    },
    identities=[IdentityFacts(topic="a", identity="enforcer", operation="update", count=4)],
    decoded=9,
    extra=2,
    transform_errors={"enforcer": 3},
    nats=NatsFacts(silent=6.5, cut_off=2),
    buffer_bytes=12345,
    shipper=ShipperFacts(
        connected=True, acknowledged_at=1.7e9, end_to_end=histogram(0.002, 0.3, 1e6), oldest=2.5
    ),
    spool=SpoolFacts(mode="always", bytes=4096, oldest=70.5),
    stream=StreamFacts(stream="s", durable="d", pending=11),
)


def samples(facts, accept=""):
    text, _ = exposition.render(facts, accept)
    return {
        (sample.name, *sorted(sample.labels.items())): sample.value
        for family in PARSE[accept](text.decode())
        for sample in family.samples
    }


@pytest.mark.parametrize("accept", PARSE, ids=["prometheus", "openmetrics"])
def test_both_texts_are_read_by_their_parsers(accept):
    found = samples(WHOLE, accept)
    assert found["nats_fluent_publications_received_total", ("topic", "a")] == 5
    assert found["nats_fluent_publications_received_total", ("topic", 'b"\\\n')] == 7
    assert found["nats_fluent_publications_received_bytes_total", ("topic", "a")] == 900
    assert found["nats_fluent_publications_undecodable_total", ("topic", "a")] == 1
    dropped = ("nats_fluent_publications_dropped_total", ("reason", "buffer_full"), ("topic", "a"))
    assert found[dropped] == 2
    assert found["nats_fluent_publications_decoded_total",] == 9
    kind = ("identity", "enforcer"), ("operation", "update"), ("topic", "a")
    assert found["nats_fluent_publications_by_identity_total", *kind] == 4
    assert found["nats_fluent_nats_silent_seconds",] == 6.5
    assert found["nats_fluent_nats_cut_off_total",] == 2
    assert found["nats_fluent_spool_oldest_seconds",] == 70.5
    assert found["nats_fluent_buffer_bytes",] == 12345
    assert found["nats_fluent_buffer_oldest_seconds",] == 2.5
    assert found["nats_fluent_spool_bytes",] == 4096
    assert found["nats_fluent_jetstream_pending",] == 11
    assert found["nats_fluent_ready", ("part", "log shipper")] == 1
    assert found["nats_fluent_ready", ("part", "nats")] == 0
    assert found["nats_fluent_last_acknowledged_timestamp_seconds",] == 1.7e9
    build_info = next(key for key in found if key[0] == "nats_fluent_build_info")
    assert ("version", "1.2.3") in build_info
    assert ("compiled", "yes" if compiled.splice and frames else "no") in build_info
    name = "nats_fluent_end_to_end_seconds"
    assert [found[f"{name}_bucket", ("le", le)] for le in ("0.001", "0.0025", "0.5", "3600.0", "+Inf")] == [
        0,
        1,
        2,
        2,
        3,
    ]
    assert (found[f"{name}_count",], found[f"{name}_sum",]) == (3, pytest.approx(1_000_000.302))


def test_the_content_type_says_which_text_it_is():
    assert exposition.render(WHOLE)[1].startswith("text/plain; version=0.0.4")
    assert exposition.render(WHOLE, OPENMETRICS)[1].startswith("application/openmetrics-text; version=1.0.0")


def test_every_metric_is_there_with_its_meaning_and_its_type():
    several = msgspec.structs.replace(WHOLE, workers=[WorkerFacts(number=1, facts=WHOLE)])
    text = exposition.render(several)[0].decode()
    for metric in metrics.CATALOGUE:
        assert f"# HELP nats_fluent_{metric.name} {metric.meaning}\n" in text
        assert f"# TYPE nats_fluent_{metric.name} {metric.kind}\n" in text


def test_what_is_not_there_has_no_metric():
    found = {name for name, *_ in samples(Facts())}
    assert not {name for name in found if "_spool_" in name or "_jetstream_" in name}
    assert "nats_fluent_last_acknowledged_timestamp_seconds" not in found
    assert "nats_fluent_buffer_bytes" in found


@pytest.mark.parametrize("metric", metrics.CATALOGUE, ids=lambda metric: metric.name)
def test_names_keep_to_the_rules(metric):
    """https://prometheus.io/docs/practices/naming/ and what `promtool check metrics` asks."""
    name = metric.name
    assert re.fullmatch(r"[a-z]+(_[a-z]+)*", name)
    assert name.endswith("_total") == (metric.kind == "counter")
    assert not re.search(r"_(count|sum|bucket|info)$", name) or name == "build_info"
    assert not re.search(r"(milli|micro|nano)seconds|_ms\b|kilo|mega|minutes", name)
    if metric.kind == "histogram":
        assert name.endswith("_seconds")
    assert metric.meaning.endswith(".")


def test_no_name_is_there_twice():
    names = [metric.name for metric in metrics.CATALOGUE]
    assert len(set(names)) == len(names)


def test_the_document_is_what_the_catalogue_says():
    assert DOCUMENT.read_text("utf-8") == exposition.document(), "write it anew; its third line says how"


# Cardinality


def test_topics_beyond_a_limit_become_one():
    account = Account()
    for number in range(MOST_TOPICS + 20):
        topic = f"t{number}"
        account.received[topic] = number
        account.received_bytes[topic] = 10
        account.dropped_by_topic[topic] = 2
        account.undecodable_by_topic[topic] = 3
    found = topics(account, ["first"])
    assert next(iter(found)) == "first"
    assert len(found) == MOST_TOPICS + 1
    assert found["t5"] == TopicFacts(received=5, bytes=10, undecodable=3, dropped=2)
    # `first` has one of the hundred, so t99 is the first of the others.
    assert found["other"] == TopicFacts(received=sum(range(99, 120)), bytes=210, undecodable=63, dropped=42)
    assert sum(topic.received for topic in found.values()) == sum(account.received.values())


def test_identities_are_those_of_the_topics_that_have_numbers_most_first():
    account = Account()
    for number in range(MOST_TOPICS + 2):
        account.received[f"t{number}"] = 1
        account.kinds[f"t{number}", "i", "create"] = number + 1
    found = identities(account)
    assert found[0] == IdentityFacts(
        topic="other", identity="i", operation="create", count=2 * MOST_TOPICS + 3
    )
    assert found[1] == IdentityFacts(topic="t99", identity="i", operation="create", count=100)
    assert len(found) == MOST_TOPICS + 1
    assert sum(each.count for each in found) == sum(account.kinds.values())


# Histograms


@pytest.mark.parametrize(
    ("seconds", "bound"), [(0, "0.001"), (-7, "0.001"), (0.001, "0.001"), (0.0011, "0.0025")]
)
def test_what_is_as_long_as_the_bound_is_within(seconds, bound):
    counts = dict(histogram(seconds).buckets)
    assert counts[bound] == 1
    assert sum(counts.values()) == len(BOUNDS) + 1 - list(counts).index(bound)


def test_a_clock_that_was_set_back_takes_nothing_from_the_sum():
    assert histogram(-5.0, 2.0).total == 2.0


def test_of_several_workers_each_says_whether_it_runs():
    workers = [
        WorkerFacts(number=1, restarts=3, facts=WHOLE),
        WorkerFacts(number=2, away="it ended with signal 9"),
    ]
    found = samples(msgspec.structs.replace(WHOLE, workers=workers))
    assert [found["nats_fluent_worker_up", ("worker", each)] for each in "12"] == [1, 0]
    assert [found["nats_fluent_worker_restarts_total", ("worker", each)] for each in "12"] == [3, 0]
    assert found["nats_fluent_ready", ("part", "workers")] == 0


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="only Linux says this of a process")
def test_memory_is_that_of_all_processes_and_the_start_is_of_the_first():
    alone, ours = samples(WHOLE), WorkerFacts(number=1, pid=os.getpid(), facts=WHOLE)
    gone = WorkerFacts(number=2, pid=2**22 + 1, away="it ended")  # beyond what Linux gives
    two = samples(msgspec.structs.replace(WHOLE, workers=[ours, ours, gone]))
    assert two["process_resident_memory_bytes",] > 2.5 * alone["process_resident_memory_bytes",]
    assert two["process_cpu_seconds_total",] > 2.5 * alone["process_cpu_seconds_total",]
    assert two["process_start_time_seconds",] == alone["process_start_time_seconds",]
    assert two["process_max_fds",] == alone["process_max_fds",]
