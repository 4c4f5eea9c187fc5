"""When a pull consumer is asked, and for how many: by hand, and with any order of events."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nats_fluent.pipeline import DELIVERY_BYTES
from nats_fluent.source import pull
from nats_fluent.source.consumer import Limits
from nats_fluent.source.pull import BATCH, EXPIRES, HEARTBEAT, OVERHEAD, PULLS, SHARE, SILENCE, PullWindow

MB = 1_000_000
LARGER = "Message Size Exceeds MaxBytes"


class Rig:
    """A window, and what it looks at."""

    def __init__(self, *, room=100 * MB, max_ack_pending=20_000, **limits):
        self.limits = Limits(30.0, max_ack_pending, **limits)
        self.room = room
        self.unsettled = 0
        self.now = 100.0
        self.window = PullWindow(self.limits, room=lambda: self.room, unsettled=lambda: self.unsettled)
        self.window.trusted(self.limits)

    def ask(self):
        return self.window.ask(self.now)

    def take(self, number, count=1, size=100):
        return [self.window.taken(number, 1, size, self.now) for _ in range(count)][-1]

    def status(self, number, code, text=""):
        self.window.status(number, code, text, self.now)


def test_it_charges_what_the_pipeline_does():
    assert OVERHEAD == DELIVERY_BYTES


def test_nothing_is_asked_of_a_consumer_that_nobody_looked_at():
    window = PullWindow(Limits(30.0, 100), room=lambda: MB, unsettled=lambda: 0)
    assert window.doubt
    assert window.ask(0.0) is None
    window.trusted(Limits(30.0, 100))
    assert window.ask(0.0).batch == 100


def test_what_is_sent_to_the_server():
    rig = Rig()
    ask = rig.ask()._replace(batch=3, max_bytes=70)
    all_of_it = {"batch": 3, "max_bytes": 70, "expires": 30 * 10**9, "idle_heartbeat": 5 * 10**9}
    assert json.loads(ask.request) == all_of_it
    del all_of_it["max_bytes"]
    assert json.loads(ask._replace(max_bytes=0).request) == all_of_it


def test_the_second_pull_is_opened_when_the_first_has_brought_half():
    rig = Rig()
    first = rig.ask()
    assert first[:2] == (1, BATCH)
    assert (first.expires, first.heartbeat) == (EXPIRES, HEARTBEAT)
    assert first.heartbeat <= first.expires / 2
    assert rig.ask() is None
    assert rig.take(1, BATCH // 2 - 1) is False
    assert rig.ask() is None
    assert rig.take(1) is True
    second = rig.ask()
    assert second[:2] == (2, BATCH)
    assert second.max_bytes > 0.9 * first.max_bytes
    assert rig.ask() is None
    assert rig.take(1, BATCH // 2 - 1) is False
    assert rig.take(1) is True
    assert not rig.window.is_open(1)
    assert rig.ask() is None, "the other has brought nothing yet"
    rig.take(2, BATCH // 2)
    assert rig.ask().pull == 3


def test_what_comes_after_the_end_of_a_pull_is_counted_for_none():
    rig = Rig()
    rig.ask()
    rig.take(1, BATCH)
    assert rig.take(1) is False
    rig.status(1, 409, "Consumer Deleted")
    assert not rig.window.doubt
    assert rig.window.asked == 0


def test_no_more_is_asked_for_than_may_be_unacknowledged():
    rig = Rig(max_ack_pending=100)
    rig.unsettled = 70
    assert rig.ask().batch == 30
    rig.take(1, 30)
    rig.unsettled = 100
    assert rig.ask() is None
    rig.unsettled = 99
    assert rig.ask().batch == 1


def test_no_more_is_asked_for_than_there_is_room_for():
    rig = Rig(room=MB)
    ask = rig.ask()
    assert ask.max_bytes + ask.batch * OVERHEAD <= MB * SHARE
    assert ask.batch < BATCH + 1
    rig.take(1, 600)
    rig.room = 100
    assert rig.ask() is None
    rig.room = -100
    rig.take(1, 400)
    rig.unsettled = 1000
    assert rig.ask() is None


def test_while_something_is_on_its_way_a_small_pull_waits_to_become_a_larger_one():
    rig = Rig(max_ack_pending=1000)
    rig.unsettled = 990
    assert rig.ask().batch == 10
    rig.take(1, 6)
    rig.unsettled = 996 - 200
    assert rig.ask() is None
    rig.unsettled = 700
    assert rig.ask().batch == 296


def test_what_two_pulls_bring_fits_into_what_the_server_keeps_for_a_reader():
    rig = Rig(room=10**10)
    first = rig.ask()
    rig.take(1, BATCH // 2)
    assert 0 < first.max_bytes + rig.ask().max_bytes < 64_000_000


def test_with_nothing_held_it_asks_however_little_room_there_is():
    rig = Rig(room=10)
    assert rig.ask()[1:3] == (1, 1)


def test_limits_of_the_consumer():
    rig = Rig(max_batch=50, max_bytes=2000, max_expires=3.0)
    ask = rig.ask()
    assert ask[1:] == (50, 2000, 3.0, 1.5)


def test_an_expired_pull_is_followed_by_another_at_once():
    rig = Rig()
    rig.ask()
    rig.now += EXPIRES
    rig.status(1, 408, "Request Timeout")
    assert rig.ask().pull == 2
    assert rig.window.well


def test_pulls_that_expire_at_once_are_backed_off_from():
    rig = Rig()
    waits = []
    for number in range(1, 9):
        assert rig.ask().pull == number
        rig.status(number, 408, "Request Timeout")
        assert rig.ask() is None
        due = rig.window.deadline(rig.now)
        waits.append(round(due - rig.now, 3))
        rig.now = due
    assert waits == [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0]
    assert not rig.window.well
    rig.ask()
    rig.status(9, 100, "Idle Heartbeat")
    assert rig.window.well


@pytest.mark.parametrize(
    ("code", "text", "doubt"),
    [
        (409, "Consumer Deleted", "409 Consumer Deleted"),
        (409, "Exceeded MaxRequestBatch of 5", "409 Exceeded MaxRequestBatch of 5"),
        (409, "Consumer is push based", "409 Consumer is push based"),
        (409, "Server Shutdown", ""),
        (409, "Leadership Change", ""),
        (400, "Bad Request", "400 Bad Request"),
        (404, "No Messages", "404 No Messages"),
        (503, "", "503"),
    ],
)
def test_other_ends_of_a_pull(code, text, doubt):
    rig = Rig()
    rig.ask()
    rig.status(1, code, text)
    assert rig.window.doubt == doubt
    assert rig.ask() is None
    rig.window.trusted(rig.limits)
    rig.now += 0.1
    assert rig.ask().pull == 2


def test_a_pull_that_is_silent_is_given_up():
    rig = Rig()
    rig.ask()
    rig.take(1, BATCH // 2)
    rig.now += HEARTBEAT
    rig.ask()
    assert rig.window.deadline(rig.now) == rig.now - HEARTBEAT + SILENCE * HEARTBEAT
    rig.now += SILENCE * HEARTBEAT - 1
    assert rig.window.silent(rig.now) == [1]
    assert rig.window.doubt == "no heartbeat"
    assert rig.window.silent(rig.now) == []
    assert rig.window.is_open(2)


def test_a_heartbeat_keeps_a_pull():
    rig = Rig()
    rig.ask()
    for _ in range(5):
        rig.now += 2 * HEARTBEAT
        assert rig.window.silent(rig.now) == []
        rig.status(1, 100, "Idle Heartbeat")
    assert rig.ask() is None
    assert rig.window.is_open(1)


def test_a_lost_connection_ends_all_and_the_next_is_asked_at_once():
    rig = Rig()
    rig.ask()
    rig.take(1, BATCH // 2)
    rig.ask()
    rig.status(2, 409, "Server Shutdown")
    rig.window.lost()
    assert rig.window.asked == 0
    assert rig.ask().pull == 3


# A message that is larger than what was asked for


def test_a_large_message_is_waited_for_until_there_is_room():
    rig = Rig(room=MB)
    rig.unsettled = 10
    first = rig.ask()
    rig.status(1, 409, LARGER)
    assert rig.window.too_small == first.max_bytes
    assert rig.ask() is None, "the same again would end the same"
    rig.room = 2 * MB
    second = rig.ask()
    assert second.max_bytes > first.max_bytes
    rig.take(2)
    assert rig.ask() is None
    rig.status(2, 409, LARGER)
    assert rig.window.too_small == 0, "it was another message"
    assert rig.ask().max_bytes == second.max_bytes


def test_a_large_message_comes_alone_when_there_will_never_be_more_room():
    rig = Rig(room=MB)
    rig.ask()
    rig.status(1, 409, LARGER)
    assert rig.ask()[1:3] == (1, 0)
    rig.take(2, size=5 * MB)
    assert rig.ask().batch == BATCH


def test_what_the_consumer_never_lets_through_is_not_asked_for_in_a_loop():
    rig = Rig(max_bytes=1000)
    rig.ask()
    for number in range(1, 10):
        rig.status(number, 409, LARGER)
        assert rig.ask() is None
        rig.now = rig.window.deadline(rig.now)
        assert rig.ask()[1:3] == (1, 1000)
    assert rig.window.deadline(rig.now) > rig.now


def test_the_deadline_when_nothing_is_open():
    rig = Rig()
    assert rig.window.deadline(rig.now) == rig.now + HEARTBEAT


# Any order of events


class Server:
    """A stream that has messages, and a consumer that obeys: the other side of the window."""

    def __init__(self, sizes, *, max_ack_pending, budget):
        self.sizes = list(sizes)
        self.budget = budget
        self.held = []
        self.now = 0.0
        self.asks = {}
        self.limits = Limits(30.0, max_ack_pending)
        self.window = PullWindow(self.limits, room=self.room, unsettled=lambda: len(self.held))

    def room(self):
        return self.budget - sum(size + OVERHEAD for size in self.held)

    def drive(self):
        """What the shell does whenever it wakes up."""
        for number in self.window.silent(self.now):
            del self.asks[number]
        if self.window.doubt:
            self.window.trusted(self.limits)
        while (ask := self.window.ask(self.now)) is not None:
            self.asks[ask.pull] = [ask.batch, ask.max_bytes, self.now + ask.expires]
            room = int(max(self.room(), 0) * SHARE)
            assert ask.batch >= 1
            assert (
                len(self.held) + sum(batch for batch, *_ in self.asks.values()) <= self.limits.max_ack_pending
            )
            if self.held:
                reserved = sum(most + batch * OVERHEAD for batch, most, _ in self.asks.values())
                assert reserved <= room + OVERHEAD
                assert ask.max_bytes > 0
        assert len(self.asks) <= PULLS
        assert set(self.asks) == set(self.window._open)

    def serve(self, number, count):
        """Bring what a pull asked for, some of it."""
        ask = self.asks.get(number)
        while ask and self.sizes and count:
            batch, most, _ = ask
            size = self.sizes[0]
            if most and size > most:
                self.end(number, 409, LARGER)
                return
            self.sizes.pop(0)
            self.held.append(size)
            self.window.taken(number, 1, size, self.now)
            count -= 1
            ask[:2] = batch - 1, (most - size) or -1 if most else 0
            if batch == 1:
                del self.asks[number]
                return

    def end(self, number, code, text):
        if self.asks.pop(number, None) is not None:
            self.window.status(number, code, text, self.now)


events = st.one_of(
    st.tuples(st.just("serve"), st.integers(0, PULLS - 1), st.integers(1, 2000)),
    st.tuples(st.just("settle"), st.integers(1, 2000), st.none()),
    st.tuples(st.just("pass"), st.floats(0.01, 40.0), st.none()),
    st.tuples(st.just("beat"), st.integers(0, PULLS - 1), st.none()),
    st.tuples(
        st.just("end"),
        st.integers(0, PULLS - 1),
        st.sampled_from(
            [(408, "Request Timeout"), (409, "Leadership Change"), (409, "Consumer Deleted"), (503, "")]
        ),
    ),
    st.tuples(st.just("lose"), st.none(), st.none()),
)


@given(
    sizes=st.lists(st.sampled_from([1, 100, 1000, 20_000, 3 * MB]), max_size=60),
    max_ack_pending=st.sampled_from([1, 7, 100, 20_000]),
    budget=st.sampled_from([10, 5_000, 100_000, 50 * MB]),
    happens=st.lists(events, max_size=40),
)
def test_whatever_happens_the_window_asks_for_what_it_may_and_is_never_stuck(
    sizes, max_ack_pending, budget, happens
):
    server = Server(sizes * 5, max_ack_pending=max_ack_pending, budget=budget)
    server.drive()
    for what, one, other in happens:
        pulls = list(server.asks)
        number = pulls[one] if what in ("serve", "beat", "end") and one < len(pulls) else 0
        match what:
            case "serve":
                server.serve(number, other)
            case "settle":
                del server.held[:one]
            case "pass":
                server.now += one
            case "beat":
                server.window.status(number, 100, "Idle Heartbeat", server.now)
            case "end":
                server.end(number, *other)
            case "lose":
                server.window.lost()
                server.asks.clear()
        server.drive()
    # From here on all goes well: whatever the stream has arrives.
    for _ in range(2 * len(server.sizes) + 50):
        if not server.sizes:
            break
        for number in list(server.asks):
            server.serve(number, 1000)
        server.held.clear()
        server.drive()
        if not server.asks:
            server.now = server.window.deadline(server.now)
            server.drive()
    assert not server.sizes
    assert server.asks or server.window.deadline(server.now) - server.now <= pull.BACK_OFF_MOST
