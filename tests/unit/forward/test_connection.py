from __future__ import annotations

import hashlib
import itertools
import tracemalloc

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nats_fluent.delivery import Chunk
from nats_fluent.errors import (
    ForwardError,
    HandshakeRefused,
    LocalProtocolError,
    RemoteProtocolError,
    ServerUnavailable,
)
from nats_fluent.forward.codec import forward, packed_forward
from nats_fluent.forward.connection import (
    FEED,
    MAX_ANSWER,
    MAX_ELEMENTS,
    Acknowledged,
    Failed,
    ForwardConnection,
    HandshakeDone,
    State,
    UnknownAcknowledgement,
)
from nats_fluent.forward.handshake import Credentials

NONCE = b"\xff" * 16
MINE = Credentials(hostname="us", shared_key="key", salt="ab" * 16)


def chunk(name):
    return Chunk(id=name, tag="t", entries=b"\x92\xd7\x00\x00\x00\x00\x01\x00\x00\x00\x00\x80", count=1)


def ack(name):
    return msgpack.packb({"ack": name})


def helo(**options):
    return msgpack.packb(["HELO", {"nonce": NONCE, "auth": b"", **options}])


def pong(server=b"them", key=b"key"):
    digest = hashlib.sha512(MINE.salt.encode() + server + NONCE + key).hexdigest()
    return msgpack.packb(["PONG", True, "", server, digest])


def with_sent(*names):
    connection = ForwardConnection()
    chunks = [chunk(name) for name in names]
    for at, one in enumerate(chunks):
        connection.send_chunk(one, now=float(at))
    return connection, chunks


def failure(connection, data):
    """The error that this data ends the connection with."""
    *_, event = connection.receive_data(data)
    assert isinstance(event, Failed)
    assert connection.state is State.CLOSED
    return event.error


# -- chunks and acknowledgements


def test_without_credentials_it_is_ready_at_once():
    connection = ForwardConnection()
    assert connection.state is State.READY
    assert connection.may_send
    assert connection.data_to_send() == b""


def test_a_chunk_is_encoded_and_waited_for():
    connection, (one,) = with_sent("a")
    assert connection.unacknowledged() == [one]
    assert connection.receive_data(ack("a")) == [Acknowledged(one)]
    assert connection.unacknowledged() == []


def test_a_chunk_can_be_encoded_by_another_function_or_before():
    one = chunk("a")
    assert ForwardConnection(encode=forward).send_chunk(one, now=0) == forward(one)
    assert ForwardConnection().send_chunk(one, now=0) == packed_forward(one)
    assert ForwardConnection().send_chunk(one, now=0, frame=[b"x"]) == [b"x"]


def test_acknowledgements_match_by_id_and_not_by_order():
    connection, (one, two, three) = with_sent("a", "b", "c")
    assert connection.receive_data(ack("b") + ack("a")) == [Acknowledged(two), Acknowledged(one)]
    assert connection.unacknowledged() == [three]
    assert connection.in_flight == 1


def test_an_id_comes_back_as_it_was_sent_even_with_a_line_feed():
    connection, (one,) = with_sent("YQ==\n")
    assert connection.receive_data(ack("YQ==\n")) == [Acknowledged(one)]


@pytest.mark.parametrize("again", ["a", "x", b"\xff"])
def test_an_unknown_acknowledgement_is_told_and_harmless(again):
    connection, (one, two) = with_sent("a", "b")
    shown = "\\xff" if isinstance(again, bytes) else again
    assert connection.receive_data(ack("a") + ack(again)) == [
        Acknowledged(one),
        UnknownAcknowledgement(shown),
    ]
    assert connection.receive_data(ack("b")) == [Acknowledged(two)]


def test_a_chunk_is_not_sent_twice_on_one_connection():
    connection, (one,) = with_sent("a")
    with pytest.raises(LocalProtocolError, match="sent already"):
        connection.send_chunk(one, now=0)


def test_a_chunk_is_overdue_when_its_time_is_over():
    connection, _ = with_sent("a", "b")  # at 0 and at 1
    assert connection.oldest_sent() == 0
    assert not connection.overdue(4.9, timeout=5)
    assert connection.overdue(5.0, timeout=5)
    connection.receive_data(ack("a"))
    assert not connection.overdue(5.9, timeout=5)
    assert connection.overdue(6.0, timeout=5)
    connection.receive_data(ack("b"))
    assert connection.oldest_sent() is None
    assert not connection.overdue(1e9, timeout=5)


# -- the handshake


def test_handshake():
    connection = ForwardConnection(MINE)
    assert connection.state is State.WAIT_HELO
    assert not connection.may_send
    assert connection.receive_data(helo()) == []
    assert connection.state is State.WAIT_PONG
    sent = connection.data_to_send()
    assert msgpack.unpackb(sent)[:3] == ["PING", "us", MINE.salt]
    assert connection.data_to_send() == b""
    assert connection.receive_data(pong()) == [HandshakeDone("them")]
    assert connection.state is State.READY
    assert connection.server == "them"


def test_nothing_is_sent_before_the_handshake_is_done():
    connection = ForwardConnection(MINE)
    for data in (helo(), b""):
        with pytest.raises(LocalProtocolError, match="waiting for"):
            connection.send_chunk(chunk("a"), now=0)
        connection.receive_data(data)


def test_a_server_that_asks_for_a_key_that_is_not_set():
    connection, chunks = with_sent("a")
    error = failure(connection, helo())
    assert isinstance(error, HandshakeRefused)
    assert "set fluent.shared_key" in str(error)
    assert connection.unacknowledged() == chunks


def test_a_server_that_does_not_know_the_key():
    connection = ForwardConnection(MINE)
    connection.receive_data(helo())
    assert isinstance(failure(connection, pong(key=b"other")), HandshakeRefused)


def test_without_keepalive_a_connection_carries_one_chunk():
    connection = ForwardConnection(MINE)
    connection.receive_data(helo(keepalive=False))
    connection.receive_data(pong())
    assert connection.may_send
    assert not connection.finished
    connection.send_chunk(chunk("a"), now=0)
    assert not connection.may_send
    assert not connection.finished
    connection.receive_data(ack("a"))
    assert connection.finished
    with pytest.raises(LocalProtocolError, match="takes no chunk"):
        connection.send_chunk(chunk("b"), now=0)


# -- the end


@pytest.mark.parametrize(
    ("received", "error", "said"),
    [
        (b"", ServerUnavailable, "before it sent HELO"),
        (helo(), HandshakeRefused, "instead of answering PING"),
        (helo() + pong(), ServerUnavailable, "closed the connection"),
    ],
)
def test_the_server_closes_the_connection(received, error, said):
    connection = ForwardConnection(MINE)
    if received:
        connection.receive_data(received)
    found = failure(connection, b"")
    assert type(found) is error
    assert said in str(found)


def test_an_acknowledgement_before_the_failure_counts():
    connection, (one, two) = with_sent("a", "b")
    event, failed = connection.receive_data(ack("a") + b"\xc1" + ack("b"))
    assert event == Acknowledged(one)
    assert isinstance(failed.error, RemoteProtocolError)
    assert connection.unacknowledged() == [two]


def test_an_empty_map_says_that_the_server_took_nothing():
    connection, _ = with_sent("a")
    error = failure(connection, b"\x80")
    assert isinstance(error, ServerUnavailable)
    assert "could not take a chunk" in str(error)


def test_a_closed_connection_is_of_no_use_but_knows_what_it_owes():
    connection, chunks = with_sent("a", "b")
    connection.close()
    assert connection.unacknowledged() == chunks
    with pytest.raises(LocalProtocolError, match="closed"):
        connection.receive_data(ack("a"))
    with pytest.raises(LocalProtocolError, match="closed"):
        connection.send_chunk(chunk("c"), now=0)


# -- what the protocol does not allow


@pytest.mark.parametrize(
    ("credentials", "data", "said"),
    [
        (None, msgpack.packb(None), "did not expect None"),
        (None, msgpack.packb({"nack": "a"}), "did not expect {b'nack'"),
        (None, msgpack.packb({"ack": 1}), "did not expect {b'ack': 1}"),
        (None, b"HTTP/1.1 400 Bad Request\r\n", "did not expect 72"),
        (None, b"\x91" * 1020 + b"\xc0", "did not expect [[[[[[[...]]]]]]]"),
        (None, pong(), "did not expect PONG"),
        (None, msgpack.packb(["x" * 200]), "..."),
        (None, b"\xc1", "no answer in msgpack (FormatError)"),
        (
            MINE,
            ack("a"),
            "waiting for HELO, after 0 bytes from the server: did not expect an acknowledgement",
        ),
        (MINE, pong(), "did not expect PONG"),
        (MINE, b"\x80", "did not expect an empty map"),
        (MINE, helo() + helo(), "waiting for PONG, after 0 bytes from the server: did not expect HELO"),
        (MINE, msgpack.packb(["HELO", 1]), "HELO: no `nonce`"),
        # an array that claims to have more elements than any answer has
        (None, b"\xdd\xff\xff\xff\xff", "(ValueError)"),
        (None, b"\xdf\xff\xff\xff\xff", "(ValueError)"),
        (None, b"\x91" * 5000, "(StackError)"),
        # map keys that are no strings; a time with 2**32 - 1 nanoseconds
        (None, b"\x81\x90\x90", "(ValueError)"),
        (None, b"\x81\x01\x90", "(ValueError)"),
        (None, b"\xc7\x0c\xff\xff\xff\xff\xff" + bytes(8), "(ValueError)"),
    ],
)
def test_what_the_protocol_does_not_allow_is_named(credentials, data, said):
    error = failure(ForwardConnection(credentials), data)
    assert isinstance(error, RemoteProtocolError)
    assert said in str(error)
    assert len(str(error)) < 250


def test_the_error_says_after_how_many_bytes():
    connection, _ = with_sent("a", "b")
    connection.receive_data(ack("a"))
    assert f"after {len(ack('a'))} bytes" in str(failure(connection, b"\xc1"))


def test_an_answer_that_does_not_end_is_given_up():
    connection = ForwardConnection()
    start = b"\xdb\x7f\xff\xff\xff"
    tracemalloc.start()
    try:
        events = connection.receive_data(start)
        while not events:
            events = connection.receive_data(b"x" * 10_000)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert isinstance(events[0].error, RemoteProtocolError)
    assert peak < 4 * MAX_ANSWER


def test_an_answer_that_grows_to_the_limit_is_given_up():
    data = b"\xdb" + (MAX_ANSWER - 1).to_bytes(4, "big") + b"x" * (MAX_ANSWER * 2)
    assert f"more than {MAX_ANSWER} bytes" in str(failure(ForwardConnection(), data))


def test_nested_arrays_that_claim_to_be_long_take_little_memory():
    tracemalloc.start()
    try:
        failure(ForwardConnection(), b"\xdc\x00\x10" * 1100)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 1100 * MAX_ELEMENTS * 8 * 4


def test_many_short_answers_at_once_are_no_long_one():
    names = [f"{number:024}" for number in range(10_000)]
    connection, _ = with_sent(*names)
    data = b"".join(map(ack, names))
    assert len(data) > 4 * MAX_ANSWER > FEED
    assert [event.chunk.id for event in connection.receive_data(data)] == names


# -- in any pieces


def pieces(data, cuts):
    edges = [0, *sorted(cut % (len(data) + 1) for cut in cuts), len(data)]
    return [data[start:end] for start, end in itertools.pairwise(edges) if start < end]


WHOLE = helo() + pong() + ack("never sent")


@given(st.lists(st.integers(0, 10_000), max_size=8))
def test_the_handshake_is_read_in_any_pieces(cuts):
    connection = ForwardConnection(MINE)
    events = [event for piece in pieces(WHOLE, cuts) for event in connection.receive_data(piece)]
    assert events == [HandshakeDone("them"), UnknownAcknowledgement("never sent")]


def test_the_handshake_is_read_byte_by_byte():
    connection = ForwardConnection(MINE)
    events = [event for at in range(len(WHOLE)) for event in connection.receive_data(WHOLE[at : at + 1])]
    assert events == [HandshakeDone("them"), UnknownAcknowledgement("never sent")]


@given(
    st.lists(st.text(min_size=1, max_size=30), unique=True, max_size=20),
    st.lists(st.integers(0, 10_000)),
    st.data(),
)
def test_acknowledgements_are_read_in_any_pieces_and_order(names, cuts, data):
    connection, chunks = with_sent(*names)
    order = data.draw(st.permutations(names))
    events = [e for piece in pieces(b"".join(map(ack, order)), cuts) for e in connection.receive_data(piece)]
    assert [event.chunk.id for event in events] == order
    assert sorted(event.chunk.id for event in events) == sorted(one.id for one in chunks)
    assert connection.in_flight == 0


ANSWERS = st.sampled_from([helo(), pong(), ack("a"), b"\x80", b"\xc0", b"\x82\xa3ack", b"\x95\xa4PONG"])
JUNK = st.lists(st.binary(max_size=40) | ANSWERS | st.binary(max_size=300), max_size=8)


@given(JUNK, st.sampled_from([None, MINE]))
def test_junk_ends_in_one_documented_event_and_loses_no_chunk(junk, credentials):
    connection = ForwardConnection(credentials)
    if credentials is None:
        connection.send_chunk(chunk("a"), now=0)
    settled = []
    for piece in junk:
        if connection.state is State.CLOSED:
            break
        events = connection.receive_data(piece)
        settled += [event for event in events if isinstance(event, Acknowledged)]
        failures = [event for event in events if isinstance(event, Failed)]
        assert len(failures) == (connection.state is State.CLOSED)
        assert all(isinstance(event.error, ForwardError) for event in failures)
        assert not failures or events[-1] is failures[0]
    if credentials is None:
        assert len(settled) + connection.in_flight == 1
