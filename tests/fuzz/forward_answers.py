"""Whatever a Forward server answers, a connection gives its own events, in bounded number, and then is over."""

from __future__ import annotations

from hashlib import sha512

import msgpack

from nats_fluent.delivery import Chunk
from nats_fluent.errors import ForwardError, LocalProtocolError
from nats_fluent.forward import connection, handshake

MINE = handshake.Credentials(hostname="me", shared_key="key", salt="salt", user="u", password="p")
NONCE = b"nonce"
CHUNKS = ("aaaa", "bbbb")
SIZES = (1, 2, 3, 7, 64, 4096)


def seeds():
    helo = msgpack.packb(["HELO", {"nonce": NONCE, "auth": b"auth", "keepalive": True}])
    digest = sha512(b"".join((b"salt", b"server", NONCE, b"key"))).hexdigest()
    acks = b"".join(msgpack.packb({"ack": each}) for each in (*CHUNKS, "other"))
    for size in range(len(SIZES)):
        head = bytes([size])
        yield head + b"\x00" + acks
        yield head + b"\x01" + helo + msgpack.packb(["PONG", True, "", "server", digest]) + acks
        yield head + b"\x01" + helo + msgpack.packb(["PONG", False, "why", "server", ""])
    yield b"\x00\x00\x80"
    yield b"\x00\x00" + b"\x91" * 1010 + b"\xc0"
    yield b"\x00\x00" + b"\xdd\xff\xff\xff\xff"


def check(data: bytes) -> None:
    size = SIZES[data[0] % len(SIZES)] if data else 1
    credentials = MINE if data[1:2] == b"\x01" else None
    whole = events(data[2:], 4096, credentials)
    assert whole == events(data[2:], size, credentials)


def events(data: bytes, size: int, credentials: handshake.Credentials | None) -> list[object]:
    """What comes of the bytes, read so many at a time: the same for all sizes."""
    link = connection.ForwardConnection(credentials)
    found: list[object] = []
    sent = False
    for at in range(0, len(data), size):
        if link.may_send and not sent:
            sent = True
            for number, name in enumerate(CHUNKS):
                if link.may_send:
                    link.send_chunk(Chunk(id=name, tag="t", entries=b"", count=0), now=number)
        came = link.receive_data(data[at : at + size])
        assert len(came) <= size + 1
        for event in came:
            match event:
                case connection.Acknowledged(chunk):
                    assert chunk.id in CHUNKS
                    found.append(chunk.id)
                case connection.UnknownAcknowledgement(chunk_id):
                    found.append(chunk_id)
                case connection.HandshakeDone(server):
                    found.append(server)
                case connection.Failed(error):
                    assert event is came[-1]
                    assert isinstance(error, ForwardError)
                    assert not isinstance(error, LocalProtocolError)
                    assert len(str(error)) < 1_000
                    assert "'key'" not in str(error)
                    found.append(type(error))
        assert len(link.data_to_send()) < 2_000
        if link.state is connection.State.CLOSED:
            break
    return found
