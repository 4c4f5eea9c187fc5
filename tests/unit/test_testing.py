"""The kit for tests of one's own handlers and settings."""

# ruff: noqa: ARG001 - a handler takes a publication

from __future__ import annotations

import pytest
from recording import ENFORCER

from nats_fluent import Publication, Record, on
from nats_fluent.errors import SettingsError
from nats_fluent.pytest_plugin import sidecar  # noqa: F401 - a fixture
from nats_fluent.settings import Settings
from nats_fluent.testing import TIME, Message, Sidecar, bare, publication
from nats_fluent.topics import Match, Topic


@on("enforcer", operation="update")
def updated(publication):
    return [{"name": publication.object().name}, Record({"second": True}, tag="siem")]


@on("enforcer", operation="delete")
def deleted(publication):
    return None


def test_what_is_written_can_be_read():
    it = Publication.decode(publication("enforcer", ENFORCER, operation="create"))
    assert (it.identity, it.operation, it.timestamp, it.object()) == ("enforcer", "create", TIME, ENFORCER)
    assert Publication.decode(bare({"action": "Reject"}, "external-flowreports")).object().action == "Reject"


def test_all_that_is_between_nats_and_the_log_shipper():
    ran = Sidecar(transforms=[updated, deleted]).give(
        publication("enforcer", ENFORCER),
        publication("enforcer", ENFORCER, operation="delete"),
        b"nothing",
        publication("namespace", {"name": "n"}, ask_ack=True),
    )
    assert [(each.tag, each.record["id"]) for each in ran.records] == [
        ("aporeto.squall-events", "test-1-0"),
        ("siem", "test-1-1"),
        ("aporeto.undecodable", "test-3"),
        ("aporeto.squall-events", "test-4"),
    ]
    assert ran.outcomes == ["delivered", "filtered", "undecodable", "delivered"]
    assert (ran.account.extra, ran.account.filtered, ran.account.held) == (1, 1, 0)
    assert ran.records[0].record["name"] == "one"
    assert ran.records[0].time_ns == ran.records[2].time_ns == 1_767_225_600_000_000_000
    assert ran.records[2].record["timestamp"] == TIME


def test_it_begins_anew_each_time():
    it = Sidecar()
    assert (
        it.give(publication("a"))[0][0].record["id"]
        == it.give(publication("a"))[0][0].record["id"]
        == "test-1"
    )
    assert it.give().records == []


def test_subject_headers_and_settings(sidecar, tmp_path):  # noqa: F811 - the fixture
    (tmp_path / "my.py").write_text(
        "from nats_fluent import on\n@on.default\ndef rest(publication): return {'by': 'file'}\n"
    )
    topic = Topic("events.>", "events", exclude=Match(identity=("namespace",)))
    it = sidecar(Settings(topics=(topic,), transforms=(str(tmp_path / "my.py"),)))
    ran = it.give(
        Message(publication("enforcer"), "events.a", {"A": "b"}), publication("namespace", topic="events.b")
    )
    ((tag, _, record),) = ran.records
    assert (tag, record["subject"], record["headers"], record["by"]) == (
        "aporeto.events",
        "events.a",
        {"A": "b"},
        "file",
    )
    assert ran.outcomes == ["delivered", "filtered"]


def test_secrets_are_redacted_by_default():
    ((_, _, record),) = Sidecar().give(publication("enforcer", {"certificateKey": "hunter2"})).records
    assert "hunter2" not in str(record)


async def test_it_can_be_used_where_a_loop_runs():
    assert len(Sidecar().give(publication("a"), publication("b")).records) == 2


def test_what_has_no_handler_is_refused():
    with pytest.raises(SettingsError, match=r"nats_fluent\.testing has no handler|TIME"):
        Sidecar(transforms=[__import__("nats_fluent.testing").testing])
