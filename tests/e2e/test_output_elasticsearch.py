"""The way to Elasticsearch and OpenSearch: their bulk protocol as documented, answered by the test.

https://www.elastic.co/docs/api/doc/elasticsearch/operation/operation-bulk and
https://docs.opensearch.org/latest/api-reference/document-apis/bulk/
"""

from __future__ import annotations

import json
from base64 import b64encode
from collections import Counter
from urllib.parse import parse_qs, urlsplit

import pytest
from building import bare
from http_server import Answer, HttpServer
from outputs import ODD, assert_all, metric, output, wait_delivered
from programs import wait_until
from ways import as_json, corpus, without

from nats_fluent import plain

pytestmark = pytest.mark.parametrize("name", ["elasticsearch", "opensearch"])

CREATED, CONFLICT = 201, 409
LARGE = 6_000
"""Bytes of the reason for which a record is refused: an answer about 300 of them, or 150, is over 512 kB."""


class Bulk:
    """What is stored, by index and id, and how.

    Attributes:
        documents: what is stored.
        stored: how often each was stored.
        refuse: gives the status with which a document is refused, if it is.
        before: answers to whole requests that come before any that is looked at; None stores, and then is silent.
    """

    def __init__(self):
        self.documents = {}
        self.stored = Counter()
        self.refuse = lambda _: None
        self.before = []

    def answer(self, request):
        url = urlsplit(request.path)
        assert (request.method, url.path) == ("POST", "/_bulk")
        assert request.headers["content-type"] == "application/x-ndjson"
        assert request.headers["content-encoding"] == "gzip"
        silent = False
        if self.before:
            status = self.before.pop(0)
            if status:
                return Answer(status, b'{"error": {"type": "es_rejected_execution_exception"}}')
            silent = True
        lines = request.body.split(b"\n")
        assert lines.pop() == b""
        items = [
            self.store(as_json(action), as_json(document))
            for action, document in zip(lines[::2], lines[1::2], strict=True)
        ]
        errors = any("error" in item for [item] in map(dict.values, items))
        found = {"errors": errors, "took": 1, "items": items}
        [filters] = parse_qs(url.query).get("filter_path", ["*"])
        kept = filtered(found, [path.split(".") for path in filters.split(",")])
        return None if silent else Answer(body=json.dumps(kept).encode())

    def store(self, action, document):
        [(operation, about)] = action.items()
        assert about.keys() == {"_index", "_id"}
        assert about["_index"] == about["_index"].lower()
        place = about["_index"], about["_id"]
        status = self.refuse(document)
        if not status and operation == "create" and place in self.documents:
            status = CONFLICT
        if status:
            why = {"type": "mapper_parsing_exception", "reason": "no " * (LARGE // 3)}
            return {operation: about | {"status": status, "error": why}}
        result = {"status": 200 if place in self.documents else CREATED}
        self.documents[place] = document
        self.stored[place] += 1
        return {operation: about | result}

    def records(self):
        """The documents as records; each is where it should be, and has the time that its record has."""
        for (index, key), document in self.documents.items():
            time = document["timestamp"]
            about = document["topic"] if "error" not in document else "undecodable"
            assert (index, key) == (f"aporeto.{about}-{time[:10].replace('-', '.')}", document["id"])
            assert plain.parse_rfc3339(document["@timestamp"]) == plain.parse_rfc3339(time)
            yield without(document, "@timestamp")


def filtered(value, paths):
    """What the filters leave of an answer, as both describe `filter_path`; arrays have no name in a path."""
    if any(path in ([], ["*"]) for path in paths):
        return value
    if isinstance(value, list):
        left = [filtered(item, paths) for item in value]
        return [item for item in left if item is not None] or None
    if not isinstance(value, dict):
        return None
    left = {}
    for name, inner in value.items():
        below = [rest for first, *rest in paths if first in (name, "*")]
        found = filtered(inner, below) if below else None
        if found is not None:
            left[name] = found
    return left or None


@pytest.fixture
def bulk():
    return Bulk()


@pytest.fixture
def server(bulk):
    with HttpServer(bulk.answer) as server:
        yield server


def way(directory, name, server, **environ):
    return output(directory, f"{name}.conf", **{f"{name.upper()}_PORT": server.port}, **environ)


def activities(count):
    return [("activities", bare({"number": number}, "")) for number in range(count)]


def numbers(bulk):
    return sorted(document["content"]["number"] for document in bulk.documents.values())


def test_all_is_stored_whole_and_once(tmp_path, bulk, server, name):
    """In the index and under the id that it should have, by who has the password."""
    messages = corpus("mixed-2024")[:400]
    who = {f"{name.upper()}_USER": "me", f"{name.upper()}_PASSWORD": "p w"}
    with way(tmp_path, name, server, **who) as found:
        found.publish(messages + ODD)
        wait_delivered(found.shipper, len(messages + ODD))
        found.finish(len(messages + ODD))
    assert_all(tmp_path, bulk.records(), messages)
    assert set(bulk.stored.values()) == {1}
    signed = {request.headers["authorization"] for request in server.requests}
    assert signed == {f"Basic {b64encode(b'me:p w').decode()}"}


def test_what_is_not_taken_is_sent_again_and_stored_once(tmp_path, bulk, server, name):
    """A server that is too busy, and one that stores and then does not say so."""
    bulk.before = [429, None]
    with way(tmp_path, name, server, ELASTICSEARCH_API_KEY="k e y") as found:
        found.publish(activities(300))
        wait_delivered(found.shipper, 300)
        assert numbers(bulk) == list(range(300))
        assert len(bulk.documents) == 300
        assert metric(found.shipper, "retries") >= 2
        assert metric(found.shipper, "dropped_records") == 0
        asked = len(server.requests)
        found.finish(300)
    assert len(server.requests) == asked  # it has come to rest
    signed = {request.headers.get("authorization") for request in server.requests}
    assert signed == {"ApiKey k e y" if name == "elasticsearch" else None}
    assert "HTTP status=429" in found.shipper.stderr.read_text()


def test_a_record_that_is_refused_costs_its_neighbours_nothing(tmp_path, bulk, server, name):
    """It is sent again until it is taken, its neighbours are stored meanwhile, and the reason is in the log."""
    refused = set(range(300))
    bulk.refuse = lambda document: (
        (400 if document["content"]["number"] else 429) if document["content"]["number"] in refused else None
    )
    with way(tmp_path, name, server) as found:
        found.publish(activities(900))
        wait_until(lambda: len(bulk.documents) == 600, what="all but those are stored")
        retries = metric(found.shipper, "retries")
        wait_until(lambda: metric(found.shipper, "retries") > retries, what="another try")
        log = found.shipper.stderr
        wait_until(lambda: b"mapper_parsing_exception" in log.read_bytes(), what="it says why")
        assert numbers(bulk) == list(range(300, 900))
        refused.clear()
        wait_delivered(found.shipper, 900)
        assert metric(found.shipper, "dropped_records") == 0
        found.finish(900)
    assert numbers(bulk) == list(range(900))
    assert len(bulk.documents) == 900
