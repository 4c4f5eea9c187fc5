"""The way to Loki: its push API as documented, answered by the test.

https://grafana.com/docs/loki/latest/reference/loki-http-api/#ingest-logs
"""

from __future__ import annotations

import pytest
from building import bare
from http_server import Answer, HttpServer
from outputs import ODD, assert_all, metric, output, rejected, wait_delivered
from programs import wait_until
from ways import as_json, corpus, without

from nats_fluent import plain


class Streams:
    """What was pushed, as (labels, time in nanoseconds, line), and the answers to requests before any is."""

    def __init__(self):
        self.entries = []
        self.before = []

    def answer(self, request):
        assert (request.method, request.path) == ("POST", "/loki/api/v1/push")
        assert request.headers["content-type"] == "application/json"
        assert request.headers["content-encoding"] == "gzip"
        if self.before:
            return Answer(self.before.pop(0), b"entry too far behind")
        for stream in as_json(request.body)["streams"]:
            for time, line in stream["values"]:
                self.entries.append((stream["stream"], int(time), as_json(line)))
        return Answer(204)

    def records(self):
        """Each line as a record: what is a label is not in it."""
        for labels, time, line in self.entries:
            assert labels.keys() & line.keys() == set()
            assert time == plain.parse_rfc3339(line["timestamp"])
            assert labels["job"] == "nats-fluent"
            assert labels["topic"]
            yield line | without(labels, "job")


@pytest.fixture
def streams():
    return Streams()


@pytest.fixture
def server(streams):
    with HttpServer(streams.answer) as server:
        yield server


def way(directory, server, **environ):
    return output(directory, "loki.conf", LOKI_PORT=server.port, **environ)


def activities(count):
    return [("activities", bare({"number": number}, "")) for number in range(count)]


def numbers(records):
    return sorted(record["content"]["number"] for record in records)


def test_all_is_pushed_whole_and_once(tmp_path, streams, server):
    messages = corpus("mixed-2024")[:400]
    with way(tmp_path, server, LOKI_TENANT="acme", LOKI_TOKEN="token") as found:
        found.publish(messages + ODD)
        wait_delivered(found.shipper, len(messages + ODD))
        found.finish(len(messages + ODD))
    assert_all(tmp_path, streams.records(), messages)
    assert {labels["topic"] for labels, _, _ in streams.entries} == {subject for subject, _ in messages}
    for request in server.requests:
        assert request.headers["x-scope-orgid"] == "acme"
        assert request.headers["authorization"] == "Bearer token"


def test_what_is_not_taken_is_sent_again(tmp_path, streams, server):
    """By a server that is not ready, or does not know the token yet."""
    streams.before = [503, 401]
    with way(tmp_path, server) as found:
        found.publish(activities(300))
        wait_delivered(found.shipper, 300)
        assert metric(found.shipper, "dropped_records") == 0
        found.finish(300)
    assert numbers(streams.records()) == list(range(300))
    assert streams.before == []


def test_what_is_refused_is_kept_and_said(tmp_path, streams, server):
    streams.before = [400]
    with way(tmp_path, server) as found:
        found.publish(activities(100))
        wait_until(lambda: metric(found.shipper, "dropped_records"), what="a chunk is refused")
        found.publish(activities(300)[100:])
        wait_until(
            lambda: len(streams.entries) + metric(found.shipper, "dropped_records") == 300,
            what="what came behind it is taken",
        )
        assert metric(found.shipper, "errors") == 1
        found.finish(300)
    log = found.shipper.stderr.read_text()
    assert "HTTP status=400 Not retrying.\nentry too far behind" in log
    kept = rejected(found.shipper)
    assert kept
    assert numbers([*streams.records(), *kept]) == list(range(300))
