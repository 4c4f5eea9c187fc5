from __future__ import annotations

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.console import Console

from nats_fluent import tail
from nats_fluent.delivery import Delivery
from nats_fluent.errors import SettingsError
from nats_fluent.settings import Settings
from nats_fluent.tail import Wanted
from nats_fluent.topics import Topic

RECORD = {
    "topic": "squall-events",
    "subject": "squall-events",
    "identity": "processingunit",
    "operation": "update",
    "namespace": "/harbour/eu",
    "key": "processingunit/1",
    "timestamp": "2026-01-02T03:04:05.678Z",
    "id": "tail-1",
    "content": {"type": "update", "entity": {"ID": "1", "name": "search"}},
}
UNDECODABLE = {
    "topic": "activities",
    "subject": "activities",
    "key": "activities",
    "timestamp": "2026-01-02T03:04:05.678Z",
    "id": "tail-2",
    "error": "publication: no msgpack\x1b[31m",
    "size": 7,
    "payload": "AAAA",
}


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        (Wanted(), True),
        (Wanted(identities=("processingunit",)), True),
        (Wanted(identities=("policy", "processingunit")), True),
        (Wanted(identities=("Processingunit",)), False),
        (Wanted(operations=("UPDATE",)), True),
        (Wanted(operations=("create",)), False),
        (Wanted(namespaces=("/harbour/eu",)), True),
        (Wanted(namespaces=("/harbour",)), True),
        (Wanted(namespaces=("/harbour/",)), True),
        (Wanted(namespaces=("/",)), True),
        (Wanted(namespaces=("/harbour/e",)), False),
        (Wanted(namespaces=("/harbour/eu/west",)), False),
        (Wanted(identities=("processingunit",), operations=("delete",)), False),
    ],
)
def test_what_is_wanted(wanted, found):
    assert wanted(RECORD) is found


@pytest.mark.parametrize("field", ["identities", "operations", "namespaces"])
def test_what_is_asked_for_must_be_there(field):
    assert not Wanted(**{field: ("x",)})(UNDECODABLE)
    assert Wanted()(UNDECODABLE)


def test_the_line_of_an_event_has_its_entity():
    assert tail.line(RECORD).plain == (
        '2026-01-02T03:04:05.678Z squall-events update processingunit /harbour/eu {"ID":"1","name":"search"}'
    )


def test_the_line_of_an_object_has_all_of_it():
    bare = {"topic": "activities", "timestamp": "t", "content": {"a": 1}}
    assert tail.line(bare).plain == 't activities {"a":1}'


def test_the_line_of_what_cannot_be_decoded_says_why():
    assert tail.line(UNDECODABLE).plain == (
        "2026-01-02T03:04:05.678Z activities undecodable, 7 bytes: publication: no msgpack\\x1b[31m"
    )


@given(st.text())
def test_nothing_from_the_network_moves_the_cursor(text):
    shown = tail.line(RECORD | {"topic": text, "content": {text: text}, "namespace": text}).plain
    assert shown.isprintable()


def test_what_turns_the_direction_is_shown_as_its_escape():
    assert tail.printable("a\u202eb\x9b\x7f\n") == "a\\u202eb\\x9b\\x7f\\n"


@pytest.mark.parametrize("width", [20, 60, 200])
def test_lines_are_cut_to_the_width_of_a_terminal(width):
    console = Console(file=io.StringIO(), force_terminal=True, width=width, color_system=None, markup=False)
    wide = RECORD | {"content": {"entity": {"name": "\u8239" * 300}}}
    shown = tail.for_people(console)([wide, RECORD]).decode()
    first, second = shown.splitlines()
    assert cell_len(first) <= width
    assert first.endswith("\u2026")
    assert second.endswith("\u2026") == (width < len(tail.line(RECORD, short=True).plain))


def test_lines_are_whole_where_there_is_no_terminal():
    console = Console(file=io.StringIO(), width=20)
    assert tail.for_people(console)([RECORD]).decode() == tail.line(RECORD).plain + "\n"


def test_json_is_a_line_each():
    assert tail.as_json([{"a": "\n"}, {"b": 1}]) == b'{"a":"\\n"}\n{"b":1}\n'


def test_subjects_are_those_of_the_settings_or_of_the_command():
    assert tail.topics_for([], Settings())[0] == Topic("squall-events", "squall-events")
    assert tail.topics_for(["a.*", ">"], Settings()) == (Topic("a.*", "a.*"), Topic(">", ">"))


@pytest.mark.parametrize("subject", ["a..b", "a.>.b", "a b", ""])
def test_subjects_that_cannot_be(subject):
    with pytest.raises(SettingsError, match="SUBJECT: "):
        tail.topics_for([subject], Settings())


def a_tail(*subjects, **options):
    given = {"wanted": Wanted(), "show": tail.as_json, "count": None} | options
    return tail._Tail(Settings(), tail.topics_for(subjects, Settings()), **given)


def test_what_several_subscriptions_bring_is_shown_once():
    one = a_tail("a.*", "*.b", "c")
    for subscription, subject in (("a.*", "a.b"), ("*.b", "a.b"), ("*.b", "z.b"), ("c", "c")):
        one._receive([Delivery(subscription, subject, b"")])
    assert [record["subject"] for record in one._records()] == ["a.b", "z.b", "c"]


def test_what_finds_no_room_is_counted_and_said(capsys):
    one = a_tail(">")
    payload = bytes(tail.BUFFER_BYTES // 4)
    for _ in range(6):
        one._receive([Delivery(">", "s", payload)])
    one._tell_dropped()
    one._tell_dropped()
    assert capsys.readouterr().err == "Cannot keep up: 3 publications are not shown, wanted or not.\n"
    one._waiting.popleft()
    one._bytes = 0
    one._receive([Delivery(">", "s", payload)])
    one._tell_dropped()
    assert capsys.readouterr().err == ""


def test_records_carry_the_topic_of_the_settings():
    settings = Settings(topics=(Topic("flows.*", "flows"),))
    one = tail._Tail(settings, (Topic(">", ">"),), wanted=Wanted(), show=tail.as_json, count=2)
    for subject in ("flows.eu", "other.eu", "other.us"):
        one._receive([Delivery(">", subject, b"x")])
    assert [record["topic"] for record in one._records()] == ["flows", "other.eu"]


@pytest.mark.parametrize(
    ("timestamp", "short"),
    [
        ("2026-01-02T03:04:05.678901234Z", "03:04:05.678"),
        ("2026-01-02T03:04:05.6Z", "03:04:05.600"),
        ("2026-01-02T03:04:05Z", "03:04:05.000"),
        ("2026-01-02T03:04:05+02:00", "2026-01-02T03:04:05+02:00"),
        ("yesterday", "yesterday"),
    ],
)
def test_the_time_is_short_where_it_can_be(timestamp, short):
    record = {"topic": "t", "timestamp": timestamp, "content": {}}
    assert tail.line(record, short=True).plain == f"{short} t {{}}"
    assert tail.line(record).plain == f"{timestamp} t {{}}"
