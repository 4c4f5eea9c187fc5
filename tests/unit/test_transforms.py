"""Handlers: which is called, what it is given, and what becomes of what it returns."""
# ruff: noqa: ARG001 - a handler takes a publication

from __future__ import annotations

import re

import pytest
from building import bare, publication
from decoding import with_fields
from handling import GOOD, HEAD, fields_of, made_by, returning
from recording import ENFORCER, EVENT_NS, NOW

from nats_fluent import Record, on
from nats_fluent.delivery import Delivery
from nats_fluent.errors import SettingsError
from nats_fluent.loader import handlers_of
from nats_fluent.record import FORWARD_LEVELS, Recorder
from nats_fluent.recorders import recorder_of
from nats_fluent.sections import RecordSettings
from nats_fluent.settings import Settings
from nats_fluent.topics import Match, Topic
from nats_fluent.transforms import Handlers, Transforming

# Which one


def test_the_one_that_says_most_is_called():
    @on.default
    def rest(publication):
        return {"by": "rest"}

    @on(operation="delete")
    def deleted(publication):
        return {"by": "deleted"}

    @on("enforcer", "processingunit")
    def either(publication):
        return {"by": "either"}

    @on("enforcer", operation=["update", "Create"])
    def changed(publication):
        return {"by": "changed"}

    def by(identity, operation):
        payload = publication(ENFORCER, identity=identity, operation=operation)
        ((_, fields),) = made_by(rest, deleted, either, changed, payload=payload)
        return fields["by"]

    assert by("enforcer", "update") == by("enforcer", "create") == by("enforcer", "UPDATE") == "changed"
    assert by("enforcer", "delete") == by("processingunit", "update") == "either"
    assert by("namespace", "delete") == "deleted"
    assert by("namespace", "update") == by("", "error") == "rest"


def test_one_function_for_several():
    @on("enforcer", operation="create")
    @on("namespace")
    def handler(publication):
        return {"by": publication.identity}

    handlers = handlers_of([("my.py", handler)])
    assert len(handlers) == 1
    assert str(handlers) == "namespace: my.py:handler, create enforcer: my.py:handler"
    assert str(handlers_of([("my.py", returning(1))])) == "all the rest: my.py:handler"
    assert handlers.find("enforcer", "create") is handlers.find("namespace", "")
    assert handlers.find("enforcer", "update") is None


def test_two_for_the_same_are_refused():
    with pytest.raises(
        SettingsError, match=r"a.py:handler and b.py:handler are both for update enforcer; leave"
    ):
        handlers_of(
            [
                ("b.py", on("enforcer", operation="update")(lambda_())),
                ("a.py", on("enforcer", operation="update")(lambda_())),
            ]
        )


def lambda_():
    def handler(publication):
        return None

    return handler


def test_what_is_not_marked_is_no_handler():
    handlers = Handlers()
    assert not handlers.add(lambda_(), "a")
    assert not handlers.add(5, "a")
    assert not len(handlers)


@pytest.mark.parametrize(
    ("mark", "message"),
    [
        (lambda: on(lambda_()), "@on.default, above the function"),
        (lambda: on(""), 'write @on("identity"'),
        (lambda: on("a", operation=["", "b"]), "write @on"),
        (lambda: on("a", operation=[3]), "write @on"),
        (lambda: on("a")(3), "3 is not a function"),
        (lambda: on.default(len), "is not a function"),
    ],
)
def test_a_mark_that_cannot_be(mark, message):
    with pytest.raises(TypeError, match=re.escape(message)):
        mark()


def test_functions_that_cannot_be_handlers():
    async def waits(publication):
        pass

    def yields(publication):
        yield {}

    async def both(publication):
        yield {}

    def two(publication, other):
        pass

    for function, message in (
        (waits, "waits is async"),
        (yields, "yields has a yield; return a list"),
        (both, "both has a yield"),
        (two, "two cannot be called with a publication alone: missing a required argument: 'other'"),
    ):
        with pytest.raises(TypeError, match=message):
            on("a")(function)


def test_what_has_no_handler_goes_out_as_ever():
    recorder = Recorder(RecordSettings(), "run", levels=None)
    transforming = Transforming(recorder, handlers_of([("a", on("namespace")(lambda_()))]), levels=None)
    made = transforming.record(Delivery("squall-events", "squall-events", GOOD), NOW)
    assert made == Recorder(RecordSettings(), "run", levels=None).record(
        Delivery("squall-events", "squall-events", GOOD), NOW
    )


# What it is given


def test_it_is_given_the_publication():
    seen = []

    @on("enforcer")
    def handler(publication):
        seen.append(publication)
        return {}

    made_by(handler, headers=b"NATS/1.0\r\nA: b\r\n\r\n")
    (it,) = seen
    assert (it.id, it.identity, it.object().name, it.record.headers.A) == ("run-1", "enforcer", "one", "b")


def test_what_is_redacted_is_not_there():
    @on("enforcer")
    def handler(publication):
        return {"all": publication.content}

    settings = Settings()
    recorder = recorder_of(settings, "run", levels=None)
    payload = publication({"ID": "1", "certificateKey": "hunter2"})
    ((made, fields),) = made_by(handler, payload=payload, recorder=recorder)
    assert fields["all"]["entity"]["ID"] == "1"
    assert b"hunter2" not in made.packed

    @on("enforcer")
    def raising(publication):
        raise ValueError(publication.object())

    ((made, fields),) = made_by(raising, payload=payload, recorder=recorder)
    assert "certificateKey" in fields["transform_error"]
    assert b"hunter2" not in made.packed


def test_what_cannot_be_decoded_is_not_given_to_it():
    ((made, fields),) = made_by(returning({"by": "me"}), payload=b"nothing")
    assert made.error
    assert "by" not in fields


def test_what_is_filtered_is_not_given_to_it():
    topic = Topic("squall-events", "squall-events", exclude=Match(identity=("enforcer",)))
    recorder = recorder_of(Settings(topics=(topic,)), "run", levels=None)
    assert made_by(returning({"by": "me"}), recorder=recorder) == []


# What becomes of what it returns


def test_a_dict_takes_the_place_of_the_content():
    ((made, fields),) = made_by(returning({"status": "up", "namespace": "/other"}))
    assert fields == HEAD | {"status": "up", "namespace": "/other"}
    assert (made.tag, made.time_ns, made.identity) == ("aporeto.squall-events", EVENT_NS, "enforcer")


def test_the_content_may_be_returned():
    @on.default
    def handler(publication):
        return {"content": {**publication.content, "entity": {"name": publication.object().name}}}

    ((_, fields),) = made_by(handler)
    assert fields["content"]["entity"] == {"name": "one"}
    assert fields["content"]["type"] == "update"


def test_an_object_may_be_returned():
    @on("flowreport")
    def handler(publication):
        return publication.object()

    ((_, fields),) = made_by(handler, payload=bare({"action": "Reject"}, "x"), topic="external-flowreports")
    assert fields["action"] == "Reject"
    assert fields["identity"] == "flowreport"


def test_a_list_makes_several_records():
    found = made_by(returning([{"a": 1}, Record({"a": 2, "key": "k"}, tag="siem"), {"a": 3}]))
    assert [fields for _, fields in found] == [
        HEAD | {"id": "run-1-0", "a": 1},
        HEAD | {"id": "run-1-1", "a": 2, "key": "k"},
        HEAD | {"id": "run-1-2", "a": 3},
    ]
    assert [made.tag for made, _ in found] == ["aporeto.squall-events", "siem", "aporeto.squall-events"]


def test_a_list_of_one_is_a_list():
    ((made, fields),) = made_by(returning(({"a": 1},)))
    assert (fields["id"], made.transformed) == ("run-1-0", None)


@pytest.mark.parametrize("nothing", [None, [], ()])
def test_nothing_makes_no_record(nothing):
    assert made_by(returning(nothing)) == []


@pytest.mark.parametrize("mode", [0, 1])
def test_whether_the_publisher_waits_is_kept(mode):
    payload = with_fields(responseMode=mode)
    recorder = Recorder(RecordSettings(), "run", levels=None)
    for value in (None, {}, [{}, {}], 5):
        transforming = Transforming(recorder, handlers_of([("a", returning(value))]), levels=None)
        assert transforming.record(Delivery("t", "t", payload), NOW).ack_asked == bool(mode)


def test_a_tag_of_its_own_is_made_to_fit():
    ((made, _),) = made_by(returning(Record({}, tag="siem/a b*" + "x" * 200)))
    assert made.tag == ("siem_a_b_" + "x" * 200)[:128]
    for bad in ("", None, 5):
        with pytest.raises(TypeError, match="the tag is a string that is not empty"):
            Record({}, tag=bad)


def test_a_time_of_its_own():
    ((made, fields),) = made_by(returning({"timestamp": "2020-01-01T00:00:00.5Z"}))
    assert (made.time_ns, fields["timestamp"]) == (1_577_836_800_500_000_000, "2020-01-01T00:00:00.5Z")


def test_a_deep_value_goes_to_a_log_shipper_as_text():
    deep = {"a": 1}
    for _ in range(100):
        deep = {"a": deep}
    fields = fields_of({"deep": deep}, levels=FORWARD_LEVELS)
    levels = 0
    value = fields["deep"]
    while isinstance(value, dict):
        levels, value = levels + 1, value["a"]
    assert (levels, value[:6]) == (FORWARD_LEVELS, '{"a":{')
    assert fields_of({"deep": deep})["deep"] == deep
