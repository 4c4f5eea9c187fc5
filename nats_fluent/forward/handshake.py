"""The handshake of the Forward protocol v1: HELO, PING, PONG with a shared key, and user and password.

Messages are read with ``raw=True``: Fluent Bit 5.1.1 sends the nonces, which are not UTF-8, as msgpack str.
"""

from __future__ import annotations

import hmac
from hashlib import sha512
from typing import NamedTuple

import msgpack

from nats_fluent.errors import HandshakeRefused, RemoteProtocolError

MAX_REASON = 200
"""Characters of a server's reason that are kept: it goes to a log line."""


class Helo(NamedTuple):
    """The server's first message.

    Attributes:
        nonce: goes into the digests of the shared key.
        auth: goes into the digest of the password; empty when the server asks for no user.
        keepalive: whether the connection may carry more than one message.
    """

    nonce: bytes
    auth: bytes
    keepalive: bool


class Credentials(NamedTuple):
    """What a client shows to a server.

    Attributes:
        hostname: this client's name; must differ from the server's.
        shared_key: the key that both know; empty for a Fluent Bit with ``empty_shared_key``.
        salt: random text, new for each connection. It is text because Fluent Bit 5.1.1 closes the connection
            when it is a bin; the text itself goes into the digests.
        user: the user name, or an empty string.
        password: the user's password, or an empty string.
    """

    hostname: str
    shared_key: str
    salt: str
    user: str = ""
    password: str = ""

    def __repr__(self) -> str:
        return f"<Credentials of {self.hostname}>"


def read_helo(message: list[object]) -> Helo:
    """Read ``["HELO", {"nonce": ..., "auth": ..., "keepalive": ...}]``.

    Raises:
        RemoteProtocolError: it is something else.
    """
    match message:
        case [b"HELO", {b"nonce": bytes(nonce), **options}]:
            auth = options.get(b"auth")
            # Fluent Bit leaves `keepalive` out.
            return Helo(
                nonce, auth if isinstance(auth, bytes) else b"", options.get(b"keepalive") is not False
            )
    raise RemoteProtocolError(
        "HELO: no `nonce` in it; is this the port of a Forward server, and is its shared key set?"
    )


def ping(helo: Helo, credentials: Credentials) -> bytes:
    """Return the client's answer to a HELO; it must reach the server in one piece.

    (Fluent Bit 5.1.1 reads it with one ``recv``, plugins/in_forward/fw_prot.c.)
    """
    c = credentials
    # Asked for whenever `auth` is there: Fluent Bit and Fluentd send it even when they know no users.
    password = _digest(helo.auth, c.user, c.password) if helo.auth else ""
    key = _digest(c.salt, c.hostname, helo.nonce, c.shared_key)
    return bytes(msgpack.packb(["PING", c.hostname, c.salt, key, c.user if helo.auth else "", password]))


def check_pong(message: list[object], helo: Helo, credentials: Credentials) -> str:
    """Read ``["PONG", ok, reason, server's host name, digest]`` and verify it.

    Returns:
        The server's host name.

    Raises:
        HandshakeRefused: the server refused, or does not know the shared key.
        RemoteProtocolError: it is not a PONG.
    """
    match message:
        case [b"PONG", bool(accepted), bytes(reason), bytes(host), bytes(digest)]:
            pass
        case _:
            raise RemoteProtocolError(
                f"PONG: not [PONG, bool, reason, host, digest] but {len(message)} elements or other types"
            )
    if not accepted:
        said = reason.decode("utf-8", "backslashreplace")[:MAX_REASON]
        raise HandshakeRefused(f"the server refused the handshake: {said or 'it gave no reason'}")
    name = host.decode("utf-8", "backslashreplace")
    # Were the names equal, a server that does not know the key could send this client's own digest back.
    if name == credentials.hostname:
        raise HandshakeRefused(
            f"the server calls itself {name!r}, as this client does; set fluent.hostname to another name"
        )
    expected = _digest(credentials.salt, host, helo.nonce, credentials.shared_key)
    if not hmac.compare_digest(digest, expected.encode()):
        raise HandshakeRefused("the server does not know the shared key: its digest is wrong")
    return name


def _digest(*parts: str | bytes) -> str:
    """Return the digest of the parts, one after the other, as 128 lower-case hexadecimal digits."""
    return sha512(b"".join(part.encode() if isinstance(part, str) else part for part in parts)).hexdigest()
