"""Reply subjects, and the messages that are handed on and not settled."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from nats.aio.msg import Msg
from nats.errors import NotJSMessageError

from nats_fluent.source import acks
from nats_fluent.source.acks import CONSUMERS, PORTION, Outgoing, Places, Unsettled, again, publish

names = st.text("abcXYZ019_-", min_size=1, max_size=12)
numbers = st.integers(0, 2**63)
# nats-py makes a datetime of it.
times = st.integers(0, 4_000_000_000 * 10**9)


@st.composite
def replies(draw):
    stream, sequence, deliveries, time_ns, pending = (
        draw(names),
        draw(numbers),
        draw(numbers),
        draw(times),
        draw(numbers),
    )
    tail = [stream, draw(names), deliveries, sequence, draw(numbers), time_ns, pending]
    match draw(st.sampled_from(["short", "long", "token"])):
        case "short":
            tokens = tail
        case "long":
            tokens = [draw(names), draw(names), *tail]
        case _:
            tokens = [draw(names), draw(names), *tail, draw(names)]
    place = (stream, sequence, deliveries, time_ns, pending, sequence << 64 | time_ns)
    return ".".join(map(str, ["$JS", "ACK", *tokens])), place


@given(replies())
def test_a_reply_subject_says_what_nats_py_reads_in_it(made):
    reply, expected = made
    places = Places()
    theirs = Msg.Metadata._from_reply(reply)
    stream, sequence, deliveries, _, pending, _ = expected
    assert (stream, sequence, deliveries, pending) == (
        theirs.stream,
        theirs.sequence.stream,
        theirs.num_delivered,
        theirs.num_pending,
    )
    # The second time it knows how the reply subject begins.
    assert [places.read(reply), places.read(reply)] == [expected, expected]


@given(st.lists(replies(), max_size=8))
def test_what_was_read_before_changes_nothing(made):
    places = Places()
    assert [places.read(reply) for reply, _ in made] == [expected for _, expected in made]


@pytest.mark.parametrize("end", ["", ".token"])
def test_a_domain_and_an_account_are_no_part_of_the_place(end):
    places = Places()
    reply = f"$JS.ACK.domain.account.S.c.1.2.3.4.5{end}"
    assert [places.read(reply)] * 2 == [places.read(reply), ("S", 2, 1, 4, 5, 2 << 64 | 4)]


def test_any_number_of_consumers_is_read():
    places = Places()
    for number in range(2 * CONSUMERS + 1):
        assert places.read(f"$JS.ACK.S{number}.c.1.2.3.4.5")[0] == f"S{number}"
    assert len(places._streams) == 1


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
    places = Places()
    assert places.read(reply) is None
    assert places.read("$JS.ACK.S.c.1.2.3.4.5") == ("S", 2, 1, 4, 5, 2 << 64 | 4)
    assert places.read(reply) is None


@given(st.lists(st.sampled_from(["$JS", "ACK", "S", "1", "", "_"]), max_size=14).map(".".join))
def test_what_nats_py_does_not_read_is_not_read_here(reply):
    read = Places().read(reply)
    try:
        Msg.Metadata._from_reply(reply)
    except (NotJSMessageError, ValueError):
        assert read is None
    else:
        assert read is not None


def test_a_message_of_a_stream_that_was_made_again_is_another():
    one, again, later, next_one = (
        Places().read(f"$JS.ACK.S.c.{numbers}")[-1]
        for numbers in (
            "1.1.1.1795420259099092531.0",
            "1.1.1.1795420259099092532.0",
            "9.1.77.1795420259099092531.5",
            "1.2.1.1795420259099092531.0",
        )
    )
    assert one == later
    assert len({one, again, next_one}) == 3


def test_what_asks_for_another_delivery():
    asked = [again(deliveries) for deliveries in (1, 2, 3, 6, 7, 8, 2**40)]
    assert {each[:5] for each in asked} == {b"-NAK "}
    assert [json.loads(each[5:])["delay"] / 10**9 for each in asked] == [1, 2, 4, 32, 60, 60, 60]


def test_a_command():
    assert publish(["$JS.ACK.é"], b"+ACK") == b"PUB $JS.ACK.\xc3\xa9 4\r\n+ACK\r\n"
    assert publish(["a", "b"], b"-NAK") == b"PUB a 4\r\n-NAK\r\nPUB b 4\r\n-NAK\r\n"


def test_each_is_settled_once():
    unsettled = Unsettled(30.0)
    assert unsettled.hold([15, 26], ["one", "two"], 0.0) == set()
    assert len(unsettled) == 2
    assert unsettled.settle([15], delivered=False) == ["one"]
    assert unsettled.settle([15], delivered=False) == []
    assert unsettled.clear() == ["two"]
    assert unsettled.clear() == []


def test_one_that_comes_again_is_answered_where_it_came_last():
    unsettled = Unsettled(30.0)
    assert unsettled.hold([15], ["first"], 0.0) == set()
    assert unsettled.hold([15, 16], ["second", "of another stream of that name"], 40.0) == {0}
    assert unsettled.settle([15, 16], delivered=False) == ["second", "of another stream of that name"]


def test_one_that_comes_twice_in_one_read_is_one():
    unsettled = Unsettled(30.0)
    assert unsettled.hold([15, 16, 15], ["first", "other", "second"], 0.0) == {2}
    assert unsettled.settle([16, 15], delivered=True) == ["other", "second"]


def test_one_that_comes_again_after_it_was_delivered_is_known_for_a_while():
    unsettled = Unsettled(30.0, remembered=2)
    for number in range(8):
        assert unsettled.hold([number], [str(number)], 0.0) == set()
        assert unsettled.settle([number], delivered=number != 5) == [str(number)]
    # 0 and 1, 2 and 3, 4 and 6, 7
    known = [unsettled.was_delivered(number) for number in range(8)]
    assert known == [False, False, False, False, True, False, True, True]
    assert unsettled.hold([4, 8, 7], ["again", "new", "again"], 1.0) == {0, 2}
    assert unsettled.settle([8], delivered=False) == ["new"]
    assert len(unsettled) == 0
    assert unsettled.hold([0, 5], ["forgotten", "given back"], 1.0) == set()


def test_the_server_hears_of_each_at_half_of_what_it_waits():
    unsettled = Unsettled(30.0)
    for number in range(3):
        unsettled.hold([number], [str(number)], float(number))
    assert unsettled.due(14.9) == []
    assert unsettled.due(16.0) == ["0", "1"]
    unsettled.settle([1], delivered=False)
    assert unsettled.due(17.0) == ["2"]
    assert unsettled.due(31.0) == ["0"]
    unsettled.ack_wait = 4.0
    assert unsettled.due(32.0) == ["2"]
    assert unsettled.due(34.0) == []
    assert unsettled.due(46.0) == ["0", "2"]


keys = st.integers(0, 6)


@given(
    st.lists(
        st.tuples(st.just("hold"), st.lists(keys, max_size=5))
        | st.tuples(st.sampled_from(["deliver", "give back"]), st.lists(keys, max_size=3, unique=True)),
        max_size=20,
    )
)
def test_many_at_once_are_as_one_after_the_other(steps):
    one, many = Unsettled(30.0), Unsettled(30.0)
    for now, (step, numbers) in enumerate(steps):
        replies = [f"{now}.{at}" for at in range(len(numbers))]
        if step == "hold":
            known = {
                at
                for at, (number, reply) in enumerate(zip(numbers, replies, strict=True))
                if one.hold([number], [reply], now)
            }
            assert many.hold(numbers, replies, now) == known
        else:
            delivered = step == "deliver"
            each = [reply for number in numbers for reply in one.settle([number], delivered=delivered)]
            assert many.settle(numbers, delivered=delivered) == each
        assert many._held == one._held
        assert list(many._held) == list(one._held)


def test_the_oldest_answers_go_when_too_many_wait():
    outgoing = Outgoing(3)
    for number in range(5):
        outgoing.add([str(number)], b"+")
    assert (len(outgoing), outgoing.dropped) == (3, 2)
    assert outgoing.take(2) == publish(["2", "3"], b"+")
    assert outgoing.take(2) == publish(["4"], b"+")
    assert outgoing.take(2) == b""
    outgoing.add([], b"+")
    assert outgoing.take(2) == b""
    assert len(outgoing) == 0


def test_many_answers_are_queued_in_portions():
    outgoing = Outgoing(2 * PORTION)
    replies = [str(number) for number in range(3 * PORTION + 1)]
    outgoing.add(replies, b"+")
    assert (len(outgoing), outgoing.dropped) == (PORTION + 1, 2 * PORTION)
    assert outgoing.take(1) == publish(replies[2 * PORTION : 3 * PORTION], b"+")
    assert outgoing.take(1) == publish(replies[-1:], b"+")


def test_the_words_are_those_of_nats_py():
    assert Msg.Ack.Ack == acks.DELIVERED
    assert (Msg.Ack.Term, Msg.Ack.Progress, Msg.Ack.Nak) == (acks.TERMINATED, acks.AT_WORK, acks.AGAIN)
