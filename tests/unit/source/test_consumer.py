"""The consumer that is wanted, and how another differs from it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nats_fluent.addresses import overlap
from nats_fluent.errors import SourceError
from nats_fluent.sections import JetStreamSettings
from nats_fluent.source import consumer
from nats_fluent.source.consumer import (
    Floor,
    Stream,
    changed,
    differences,
    limits,
    meet,
    refusal,
    started_after,
    subjects_for,
    unusable,
    wanted,
)
from nats_fluent.topics import Topic

SETTINGS = JetStreamSettings(stream="S", durable="d", ack_wait=1.5, max_ack_pending=7)
WANT = wanted(SETTINGS, ["events.*", "b"])
# What nats-server 2.15.1 answers when this is what it was asked for.
FOUND = WANT | {"max_waiting": 512, "num_replicas": 0, "metadata": {"_nats.level": "5"}}
STREAM = ("events.>", "b")


def rows(**change):
    return [str(row) for row in differences(WANT, FOUND | change, STREAM)]


def test_what_is_wanted():
    assert WANT == {
        "durable_name": "d",
        "name": "d",
        "deliver_policy": "all",
        "ack_policy": "explicit",
        "ack_wait": 1_500_000_000,
        "max_deliver": -1,
        "max_ack_pending": 7,
        "replay_policy": "instant",
        "filter_subjects": ["events.*", "b"],
    }
    assert wanted(SETTINGS, ["a"])["filter_subject"] == "a"


def test_what_the_server_adds_is_no_difference():
    assert rows() == []


def test_where_it_began_is_no_difference():
    assert rows(deliver_policy="by_start_sequence", opt_start_seq=5) == []


@pytest.mark.parametrize(
    ("change", "shown"),
    [
        ({"ack_wait": 30_000_000_000}, "ack_wait is 30s, wanted 1.5s"),
        ({"max_ack_pending": 1000}, "max_ack_pending is 1000, wanted 7"),
        ({"max_deliver": 5}, "max_deliver is 5, wanted -1"),
        ({"replay_policy": "original"}, "replay_policy is original, wanted instant"),
        ({"headers_only": True}, "headers_only is True, wanted False"),
        ({"backoff": [10**9, 2 * 10**9]}, "backoff is 1s,2s, wanted none"),
        ({"inactive_threshold": 60 * 10**9}, "inactive_threshold is 60s, wanted none"),
        ({"filter_subjects": ["b"]}, "filter_subjects is b, wanted b,events.*"),
        ({"filter_subjects": None, "filter_subject": "b"}, "filter_subjects is b, wanted b,events.*"),
        ({"filter_subjects": []}, "filter_subjects is all, wanted b,events.*"),
    ],
)
def test_a_difference_is_shown(change, shown):
    assert rows(**change) == [shown]


@pytest.mark.parametrize("subjects", [[], ["events.>", "b"], [">"]])
def test_ways_to_ask_for_the_whole_stream(subjects):
    want = wanted(SETTINGS, ["b", "events.>"])
    assert differences(want, FOUND | {"filter_subjects": subjects}, STREAM) == []


def test_a_refusal_shows_each_difference_and_what_to_do():
    found = FOUND | {"ack_wait": 30_000_000_000, "filter_subjects": []}
    error = refusal("S.d", differences(WANT, found, STREAM))
    assert str(error) == (
        "JetStream: the consumer S.d differs: ack_wait is 30s, wanted 1.5s; filter_subjects is all, wanted b,events.*. "
        "Set NATS_FLUENT_JETSTREAM_CREATE=reconcile to change it, or set NATS_FLUENT_JETSTREAM_ACK_WAIT=30s "
        "NATS_FLUENT_JETSTREAM_FILTER_SUBJECTS=> to take it as it is."
    )
    for change in ({"max_deliver": 3}, {"max_ack_pending": -1}):
        error = refusal("S.d", differences(WANT, found | change, STREAM))
        assert str(error).endswith("Set NATS_FLUENT_JETSTREAM_CREATE=reconcile to change it.")


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"ack_policy": "none"}, "its ack_policy is none"),
        ({"deliver_subject": "push.here"}, "it pushes"),
        ({"priority_policy": "pinned_client", "priority_groups": ["a"]}, "by priority"),
        ({}, ""),
    ],
)
def test_a_consumer_that_no_change_makes_usable(change, why):
    said = unusable(FOUND | change)
    assert why in said
    assert bool(said) == bool(why)


def test_a_change_keeps_what_is_not_this_programs():
    found = FOUND | {
        "description": "mine",
        "deliver_policy": "by_start_sequence",
        "opt_start_seq": 9,
        "filter_subjects": ["b"],
        "max_deliver": 3,
        "backoff": [1, 2, 3],
        "inactive_threshold": 5,
        "headers_only": True,
    }
    assert changed(found, WANT) == FOUND | {
        "description": "mine",
        "deliver_policy": "by_start_sequence",
        "opt_start_seq": 9,
    }
    assert "filter_subjects" not in changed(found, wanted(SETTINGS, ["b"]))


def test_limits():
    assert limits(FOUND) == (1.5, 7, 0, 0, 0.0)
    found = FOUND | {"backoff": [10**9, 10**10], "max_batch": 3, "max_bytes": 4, "max_expires": 5 * 10**9}
    assert limits(found) == (1.0, 7, 3, 4, 5.0)


def test_a_new_consumer_goes_on_where_the_old_one_was():
    assert started_after(WANT, 41, retention="limits") == WANT | {
        "deliver_policy": "by_start_sequence",
        "opt_start_seq": 42,
    }
    assert started_after(WANT, 0, retention="limits") == WANT
    assert started_after(WANT, 41, retention="workqueue") == WANT


def test_the_subjects_are_those_that_topics_and_stream_have_in_common():
    topics = [Topic("events.>", "events"), Topic("a.*", "a"), Topic("b", "b"), Topic("other", "other")]
    assert subjects_for(SETTINGS, topics, ["events.*.x", "a.one", "*"]) == [
        "events.*.x",
        "a.one",
        "b",
        "other",
    ]


def test_a_subject_within_another_is_left_out():
    topics = [Topic("events.>", "events"), Topic("events.a", "a"), Topic("events.>", "twice")]
    assert subjects_for(SETTINGS, topics, [">"]) == ["events.>"]


def test_the_setting_goes_before_the_topics():
    settings = JetStreamSettings(stream="S", filter_subjects=("events.a", "nowhere"))
    assert subjects_for(settings, [Topic("b", "b")], ["events.>", "b"]) == ["events.a"]


def test_a_stream_that_names_no_subjects_is_taken_at_the_topics_word():
    assert subjects_for(SETTINGS, [Topic("a", "a"), Topic("b", "b")], []) == ["a", "b"]


def test_nothing_in_common():
    with pytest.raises(SourceError) as caught:
        subjects_for(SETTINGS, [Topic("a", "a"), Topic("b.>", "b")], ["events.>"])
    assert str(caught.value) == (
        "JetStream: the stream S has none of the subjects a,b.>; it has events.>. "
        "Set NATS_FLUENT_TOPICS or NATS_FLUENT_JETSTREAM_FILTER_SUBJECTS."
    )


tokens = st.sampled_from(["a", "b", "*"])
patterns = st.builds(
    lambda parts, last: ".".join([*parts, *last]),
    st.lists(tokens, max_size=3),
    st.sampled_from([[">"], ["a"], ["*"]]),
)
subjects = st.lists(st.sampled_from("abc"), min_size=1, max_size=5).map(".".join)


@given(patterns, patterns, st.lists(subjects, max_size=20))
def test_what_matches_both_matches_what_they_have_in_common(one, other, examples):
    both = meet(one, other)
    assert bool(both) == overlap(one, other)
    assert meet(other, one) == both
    for subject in examples:
        matches = overlap(one, subject) and overlap(other, subject)
        assert matches == bool(both and overlap(both, subject))


def test_settings_are_named_as_they_are():
    fields = {f"jetstream_{field}" for field in consumer._SETTINGS}
    assert {name.removeprefix("NATS_FLUENT_").lower() for name in consumer._SETTINGS.values()} == fields


def test_a_floor_holds_for_the_stream_that_it_was_noted_of():
    stream = Stream(("a",), "limits", "2026-01-01T00:00:00Z", 100)
    floor = Floor()
    assert floor.of(stream) == 0
    floor.note(stream, 40)
    assert floor.of(stream) == 40
    floor.raised(60)
    floor.raised(50)
    assert floor.of(stream._replace(last=60)) == 60
    assert floor.of(stream._replace(last=59)) == 0, "it was put back to an earlier state"
    assert floor.of(stream._replace(created="2026-01-02T00:00:00Z")) == 0, "it was made again"
