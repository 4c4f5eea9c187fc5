"""The digests are computed here a second time, from the specification, so that a slip is not made twice."""

from __future__ import annotations

import hashlib

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nats_fluent.errors import ForwardError, HandshakeRefused, RemoteProtocolError
from nats_fluent.forward.handshake import Credentials, Helo, check_pong, ping, read_helo

NONCE = bytes(range(240, 256))
AUTH = bytes(range(128, 144))
MINE = Credentials(
    hostname="us", shared_key="s3cr\u00e9t", salt="0f" * 16, user="u\u00fc", password="p\u00e4ss"
)
HELO = Helo(NONCE, AUTH, keepalive=True)


def sha512(*parts):
    return hashlib.sha512(b"".join(parts)).hexdigest()


def server_digest(credentials=MINE, server=b"them"):
    return sha512(credentials.salt.encode(), server, NONCE, credentials.shared_key.encode()).encode()


def test_helo_of_fluentd():
    message = [b"HELO", {b"nonce": NONCE, b"auth": b"", b"keepalive": False}]
    assert read_helo(message) == Helo(NONCE, b"", keepalive=False)


def test_helo_of_fluent_bit_has_no_keepalive_and_nonces_that_are_no_utf8_in_a_str():
    sent = b"\x92\xa4HELO\x82\xa5nonce\xb0" + NONCE + b"\xa4auth\xb0" + AUTH
    assert read_helo(msgpack.unpackb(sent, raw=True)) == HELO


@pytest.mark.parametrize(
    "message",
    [
        [b"HELO"],
        [b"HELO", None],
        [b"HELO", {}],
        [b"HELO", {b"nonce": 1}],
        [b"HELO", {b"nonce": NONCE}, 1],
        [b"PING", {b"nonce": NONCE}],
    ],
)
def test_a_helo_without_a_nonce_is_refused(message):
    with pytest.raises(RemoteProtocolError, match=r"^HELO: no `nonce`"):
        read_helo(message)


@pytest.mark.parametrize("auth", [None, 5, []])
def test_an_auth_that_is_no_text_asks_for_no_user(auth):
    assert read_helo([b"HELO", {b"nonce": NONCE, b"auth": auth}]).auth == b""


def test_ping_with_user():
    kind, host, salt, key, user, password = msgpack.unpackb(ping(HELO, MINE))
    assert (kind, host, salt, user) == ("PING", "us", MINE.salt, MINE.user)
    assert key == sha512(MINE.salt.encode(), b"us", NONCE, MINE.shared_key.encode())
    assert password == sha512(AUTH, MINE.user.encode(), MINE.password.encode())


def test_ping_answers_auth_even_when_there_is_no_user():
    # Fluent Bit and Fluentd send `auth` also when they know no users.
    anybody = MINE._replace(user="", password="")
    assert msgpack.unpackb(ping(HELO, anybody))[4:] == ["", sha512(AUTH)]


def test_ping_shows_no_user_to_a_server_that_asks_for_none():
    assert msgpack.unpackb(ping(HELO._replace(auth=b""), MINE))[4:] == ["", ""]


def test_pong_gives_the_name_of_the_server():
    assert check_pong([b"PONG", True, b"", b"them", server_digest()], HELO, MINE) == "them"


def test_pong_with_a_reason_is_a_refusal():
    message = [b"PONG", False, b"username/password \xff mismatch" + b"!" * 1000, b"", b""]
    with pytest.raises(
        HandshakeRefused, match=r"refused the handshake: username/password \\xff mis"
    ) as refused:
        check_pong(message, HELO, MINE)
    assert len(str(refused.value)) < 300


def test_pong_without_a_reason_is_a_refusal():
    with pytest.raises(HandshakeRefused, match="it gave no reason"):
        check_pong([b"PONG", False, b"", b"", b""], HELO, MINE)


@pytest.mark.parametrize("digest", [b"", b"0" * 128, server_digest().upper(), b"\xff" * 128])
def test_pong_of_a_server_that_does_not_know_the_key_is_refused(digest):
    with pytest.raises(HandshakeRefused, match="does not know the shared key"):
        check_pong([b"PONG", True, b"", b"them", digest], HELO, MINE)


def test_pong_that_sends_our_own_digest_back_is_refused():
    ours = msgpack.unpackb(ping(HELO, MINE))[3].encode()
    with pytest.raises(HandshakeRefused, match=r"set fluent\.hostname"):
        check_pong([b"PONG", True, b"", b"us", ours], HELO, MINE)


def test_a_server_whose_name_is_no_utf8_is_shown_and_verified():
    message = [b"PONG", True, b"", b"\xff", server_digest(server=b"\xff")]
    assert check_pong(message, HELO, MINE) == "\\xff"


@pytest.mark.parametrize(
    "message",
    [
        [b"PONG"],
        [b"PONG", True, b"", b"them"],
        [b"PONG", 1, b"", b"them", server_digest()],
        [b"PONG", True, None, b"them", server_digest()],
        [b"PONG", True, b"", b"them", server_digest(), b""],
    ],
)
def test_a_pong_of_another_shape_is_refused(message):
    with pytest.raises(RemoteProtocolError, match=r"^PONG: not \["):
        check_pong(message, HELO, MINE)


JUNK = st.recursive(
    st.none() | st.booleans() | st.integers() | st.binary() | st.floats(),
    lambda inner: (
        st.lists(inner) | st.dictionaries(st.binary() | st.sampled_from([b"nonce", b"auth"]), inner)
    ),
)


@given(st.lists(JUNK | st.sampled_from([b"HELO", b"PONG", True]), max_size=7))
def test_junk_gives_the_documented_errors_only(message):
    for read in (read_helo, lambda m: check_pong(m, HELO, MINE)):
        try:
            read(message)
        except ForwardError:
            continue


def test_credentials_are_not_shown():
    assert MINE.shared_key not in repr(MINE)
    assert MINE.password not in repr(MINE)
