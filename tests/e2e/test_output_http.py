"""The way to any HTTP server."""

from __future__ import annotations

from base64 import b64encode

import pytest
from building import bare
from http_server import Answer, HttpServer
from outputs import ODD, assert_all, metric, output, rejected, wait_delivered
from programs import wait_until
from ways import as_json, corpus


class Lines:
    """The records that were taken, and the answers to requests before any is."""

    def __init__(self):
        self.records = []
        self.before = []

    def answer(self, request):
        assert (request.method, request.path) == ("POST", "/records?from=nats")
        assert request.headers["content-type"] == "application/x-ndjson"
        assert request.headers["content-encoding"] == "gzip"
        if self.before:
            return Answer(self.before.pop(0), b"this is why")
        lines = request.body.split(b"\n")
        assert lines.pop() == b""
        records = [as_json(line) for line in lines]
        tags = {record["topic"] if "error" not in record else "undecodable" for record in records}
        assert {request.headers["x-tag"]} == {f"aporeto.{tag}" for tag in tags}
        self.records += records
        return Answer(200, b"thank you")


@pytest.fixture
def lines():
    return Lines()


@pytest.fixture
def server(lines):
    with HttpServer(lines.answer) as server:
        yield server


def way(directory, server, **environ):
    places = {"HTTP_OUTPUT_PORT": server.port, "HTTP_OUTPUT_URI": "/records?from=nats"}
    return output(directory, "http.conf", **places, **environ)


def activities(count):
    return [("activities", bare({"number": number}, "")) for number in range(count)]


def numbers(records):
    return sorted(record["content"]["number"] for record in records)


def test_all_is_posted_whole_and_once(tmp_path, lines, server):
    messages = corpus("mixed-2024")[:400]
    with way(tmp_path, server, HTTP_OUTPUT_HEADER="Authorization Bearer a token") as found:
        found.publish(messages + ODD)
        wait_delivered(found.shipper, len(messages + ODD))
        found.finish(len(messages + ODD))
    assert_all(tmp_path, lines.records, messages)
    assert {request.headers["authorization"] for request in server.requests} == {"Bearer a token"}
    assert "thank you" not in found.shipper.stderr.read_text()


def test_what_is_not_taken_is_sent_again(tmp_path, lines, server):
    lines.before = [429, 503]
    with way(tmp_path, server, HTTP_OUTPUT_USER="me", HTTP_OUTPUT_PASSWORD="p w") as found:
        found.publish(activities(300))
        wait_delivered(found.shipper, 300)
        assert metric(found.shipper, "dropped_records") == 0
        found.finish(300)
    assert numbers(lines.records) == list(range(300))
    assert lines.before == []
    signed = {request.headers["authorization"] for request in server.requests}
    assert signed == {f"Basic {b64encode(b'me:p w').decode()}"}
    assert {request.headers["x-source"] for request in server.requests} == {"nats-fluent"}


def test_what_is_refused_is_kept_and_said(tmp_path, lines, server):
    lines.before = [401]
    with way(tmp_path, server) as found:
        found.publish(activities(100))
        wait_until(lambda: metric(found.shipper, "dropped_records"), what="a chunk is refused")
        found.publish(activities(300)[100:])
        wait_until(
            lambda: len(lines.records) + metric(found.shipper, "dropped_records") == 300,
            what="what came behind it is taken",
        )
        assert metric(found.shipper, "errors") == 1
        found.finish(300)
    log = found.shipper.stderr.read_text()
    assert "HTTP status=401\nthis is why" in log
    assert "chunk will not be retried" in log
    kept = rejected(found.shipper)
    assert kept
    assert numbers([*lines.records, *kept]) == list(range(300))
