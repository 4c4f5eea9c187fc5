"""Reply subjects, and the messages that are handed on and not settled."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from nats.aio.msg import Msg
from nats.errors import NotJSMessageError

from nats_fluent.delivery import Outcome
from nats_fluent.source import acks
from nats_fluent.source.acks import Outgoing, Place, Settled, Unsettled, again, place, publish

names = st.text("abcXYZ019_-", min_size=1, max_size=12)
numbers = st.integers(0, 2**63)
# nats-py makes a datetime of it.
times = st.integers(0, 4_000_000_000 * 10**9)


@st.composite
def replies(draw):
    place = Place(draw(names), draw(numbers), draw(numbers), draw(times), draw(numbers))
    tail = [
        place.stream,
        draw(names),
        place.deliveries,
        place.sequence,
        draw(numbers),
        place.time_ns,
        place.pending,
    ]
    match draw(st.sampled_from(["short", "long", "token"])):
        case "short":
            tokens = tail
        case "long":
            tokens = [draw(names), draw(names), *tail]
        case _:
            tokens = [draw(names), draw(names), *tail, draw(names)]
    return ".".join(map(str, ["$JS", "ACK", *tokens])), place


@given(replies())
def test_a_reply_subject_says_what_nats_py_reads_in_it(made):
    reply, expected = made
    read = place(reply)
    theirs = Msg.Metadata._from_reply(reply)
    assert read == expected
    assert (read.stream, read.sequence, read.deliveries, read.pending) == (
        theirs.stream,
        theirs.sequence.stream,
        theirs.num_delivered,
        theirs.num_pending,
    )


@pytest.mark.parametrize(
    "reply",
    [
        "",
        "_INBOX.a.b",
        "$JS.ACK.S.c.1.2.3.4",
        "$JS.ACK.S.c.1.2.3.4.5.6",
        "$JS.API.S.c.1.2.3.4.5",
        "$KV.ACK.S.c.1.2.3.4.5",
        "$JS.ACK.S.c.1.x.3.4.5",
    ],
)
def test_another_subject_says_nothing(reply):
    assert place(reply) is None


@given(st.lists(st.sampled_from(["$JS", "ACK", "S", "1", "", "_"]), max_size=14).map(".".join))
def test_what_nats_py_does_not_read_is_not_read_here(reply):
    read = place(reply)
    try:
        Msg.Metadata._from_reply(reply)
    except (NotJSMessageError, ValueError):
        assert read is None
    else:
        assert read is not None


def test_a_message_of_a_stream_that_was_made_again_is_another():
    one, again = (place(f"$JS.ACK.S.c.1.1.1.{time}.0") for time in (1795420259099092531, 1795420259099092532))
    assert one.key != again.key
    assert one.key == place("$JS.ACK.S.c.9.1.77.1795420259099092531.5").key
    assert place("$JS.ACK.S.c.1.2.1.1795420259099092531.0").key != one.key


def test_what_asks_for_another_delivery():
    asked = [again(deliveries) for deliveries in (1, 2, 3, 6, 7, 8, 2**40)]
    assert {each[:5] for each in asked} == {b"-NAK "}
    assert [json.loads(each[5:])["delay"] / 10**9 for each in asked] == [1, 2, 4, 32, 60, 60, 60]


def test_a_command():
    assert publish("$JS.ACK.é", b"+ACK") == b"PUB $JS.ACK.\xc3\xa9 4\r\n+ACK\r\n"


def test_each_is_settled_once():
    unsettled = Unsettled(30.0)
    assert unsettled.hold(15, "one", 0.0)
    assert unsettled.hold(26, "two", 0.0)
    assert len(unsettled) == 2
    assert unsettled.settle(15, delivered=False) == "one"
    assert unsettled.settle(15, delivered=False) == ""
    assert unsettled.clear() == ["two"]
    assert unsettled.clear() == []


def test_one_that_comes_again_is_answered_where_it_came_last():
    unsettled = Unsettled(30.0)
    assert unsettled.hold(15, "first", 0.0)
    assert not unsettled.hold(15, "second", 40.0)
    assert unsettled.hold(16, "of another stream of that name", 40.0)
    assert unsettled.settle(15, delivered=False) == "second"
    assert unsettled.settle(16, delivered=False) == "of another stream of that name"


def test_one_that_comes_again_after_it_was_delivered_is_known_for_a_while():
    unsettled = Unsettled(30.0, remembered=2)
    for number in range(8):
        assert unsettled.hold(number, str(number), 0.0)
        assert unsettled.settle(number, delivered=number != 5) == str(number)
    # 0 and 1, 2 and 3, 4 and 6, 7
    known = [unsettled.was_delivered(number) for number in range(8)]
    assert known == [False, False, False, False, True, False, True, True]
    assert not unsettled.hold(4, "again", 1.0)
    assert not unsettled.hold(7, "again", 1.0)
    assert len(unsettled) == 0
    assert unsettled.hold(0, "forgotten", 1.0)
    assert unsettled.hold(5, "given back", 1.0)


def test_the_server_hears_of_each_at_half_of_what_it_waits():
    unsettled = Unsettled(30.0)
    for number in range(3):
        unsettled.hold(number, str(number), float(number))
    assert unsettled.due(14.9) == []
    assert unsettled.due(16.0) == ["0", "1"]
    unsettled.settle(1, delivered=False)
    assert unsettled.due(17.0) == ["2"]
    assert unsettled.due(31.0) == ["0"]
    unsettled.ack_wait = 4.0
    assert unsettled.due(32.0) == ["2"]
    assert unsettled.due(34.0) == []
    assert unsettled.due(46.0) == ["0", "2"]


def test_a_delivery_is_settled_under_its_own_key():
    told = []
    settled = Settled(lambda key, outcome: told.append((key, outcome)), 15)
    settled(Outcome.DELIVERED)
    assert told == [(15, Outcome.DELIVERED)]


def test_the_oldest_answer_goes_when_too_many_wait():
    outgoing = Outgoing(3)
    for number in range(5):
        outgoing.add(b"%d" % number)
    assert (len(outgoing), outgoing.dropped) == (3, 2)
    assert outgoing.take(2) == b"23"
    assert outgoing.take(2) == b"4"
    assert outgoing.take(2) == b""
    assert Msg.Ack.Ack == acks.DELIVERED
    assert (Msg.Ack.Term, Msg.Ack.Progress, Msg.Ack.Nak) == (acks.TERMINATED, acks.AT_WORK, acks.AGAIN)
