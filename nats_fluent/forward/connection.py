"""One Forward connection without I/O: bytes in, events out; chunks in, buffers out.

The shell writes what :meth:`ForwardConnection.data_to_send` and :meth:`ForwardConnection.send_chunk` return,
hands what it reads to :meth:`ForwardConnection.receive_data`, and acts on the events. Time is a parameter.
"""

from __future__ import annotations

import reprlib
from enum import Enum
from typing import TYPE_CHECKING, Any, NamedTuple

import msgpack

from nats_fluent.errors import (
    ForwardError,
    HandshakeRefused,
    LocalProtocolError,
    RemoteProtocolError,
    ServerUnavailable,
)
from nats_fluent.forward.codec import packed_forward
from nats_fluent.forward.handshake import Credentials, Helo, check_pong, ping, read_helo

if TYPE_CHECKING:
    from collections.abc import Callable

    from nats_fluent.delivery import Chunk
    from nats_fluent.forward.codec import Buffers

MAX_ANSWER = 64 * 1024
"""Bytes of one unfinished answer. An acknowledgement has 40, a PONG some hundreds plus a reason."""
MAX_ELEMENTS = 16
"""Elements of an array or map in an answer. PONG has 5. Memory for them is taken before they are read, and a
server could nest a thousand arrays that claim to be long."""
FEED = 16 * 1024
"""Bytes that are read at a time, so that many short answers at once do not count as one long one."""
MAX_SHOWN = 80
"""Characters of an answer that an error shows."""


class State(Enum):
    """Where a connection is."""

    WAIT_HELO = "waiting for HELO"
    WAIT_PONG = "waiting for PONG"
    READY = "ready"
    CLOSED = "closed"


class Acknowledged(NamedTuple):
    """The server took the chunk."""

    chunk: Chunk


class UnknownAcknowledgement(NamedTuple):
    """The server acknowledged what is not waited for: twice, or a chunk of somebody else. Harmless."""

    chunk_id: str


class HandshakeDone(NamedTuple):
    """The server knows the shared key, and took ours."""

    server: str


class Failed(NamedTuple):
    """The connection is of no more use; always the last event, after whatever came before it was read.

    Attributes:
        error: RemoteProtocolError: the protocol does not allow what came; says where and what.
            HandshakeRefused: the server refused, asks for a shared key, or does not know ours.
            ServerUnavailable: the server closed the connection, or could not take a chunk.
    """

    error: ForwardError


Event = Acknowledged | UnknownAcknowledgement | HandshakeDone | Failed


class _Kind(Enum):
    HELO = "HELO"
    PONG = "PONG"
    ACK = "an acknowledgement"
    NACK = "an empty map"
    OTHER = "what the protocol does not have"


# What a server may say in which state, and the state after it. Anything else is an error.
_NEXT = {
    (State.WAIT_HELO, _Kind.HELO): State.WAIT_PONG,
    (State.WAIT_PONG, _Kind.PONG): State.READY,
    (State.READY, _Kind.ACK): State.READY,
}


class ForwardConnection:
    """The client's side of one connection.

    Args:
        credentials: what to show in the handshake; None connects without one.
        encode: makes the frame of a chunk.

    Attributes:
        state: where it is.
        server: the server's host name, as it gave it in the handshake.
    """

    def __init__(
        self,
        credentials: Credentials | None = None,
        *,
        encode: Callable[[Chunk], Buffers] = packed_forward,
    ) -> None:
        self.state = State.READY if credentials is None else State.WAIT_HELO
        self.server = ""
        # Without a handshake neither is looked at, but that the connection may carry many chunks.
        self._credentials = credentials or Credentials(hostname="", shared_key="", salt="")
        self._helo = Helo(nonce=b"", auth=b"", keepalive=True)
        self._encode = encode
        self._to_send = b""
        self._unacknowledged: dict[str, tuple[Chunk, float]] = {}
        self._sent = 0
        self._received = 0
        self._unpacker = msgpack.Unpacker(
            raw=True,
            max_buffer_size=MAX_ANSWER,
            max_array_len=MAX_ELEMENTS,
            max_map_len=MAX_ELEMENTS,
        )

    def receive_data(self, data: bytes) -> list[Event]:
        """Read what the server sent; no bytes say that it closed the connection.

        What the server did wrong is an event, not an exception, because an acknowledgement can stand before
        it in the same bytes.

        Raises:
            LocalProtocolError: the connection was closed, or failed, before.
        """
        if self.state is State.CLOSED:
            raise LocalProtocolError("receive_data: the connection is closed")
        events: list[Event] = []
        try:
            if not data:
                raise self._ended()
            for at in range(0, len(data), FEED):
                self._feed(data[at : at + FEED], events)
        except ForwardError as error:
            self.state = State.CLOSED
            events.append(Failed(error))
        return events

    def data_to_send(self) -> bytes:
        """Return what the handshake wants to be sent now, in one piece; often nothing."""
        data, self._to_send = self._to_send, b""
        return data

    def send_chunk(self, chunk: Chunk, *, now: float, frame: Buffers | None = None) -> Buffers:
        """Note that the chunk is sent, and return what to write.

        Args:
            chunk: the chunk.
            now: seconds, on the clock of :meth:`overdue`.
            frame: the chunk as `encode` made it, where that was done elsewhere (in a thread).

        Raises:
            LocalProtocolError: the connection cannot take it; see :attr:`may_send`.
        """
        if not self.may_send:
            raise LocalProtocolError(f"send_chunk: the connection is {self.state.value} and takes no chunk")
        if chunk.id in self._unacknowledged:
            raise LocalProtocolError(f"send_chunk: {chunk!r} is sent already, and not acknowledged")
        buffers = self._encode(chunk) if frame is None else frame
        self._unacknowledged[chunk.id] = (chunk, now)
        self._sent += 1
        return buffers

    @property
    def may_send(self) -> bool:
        """Whether it can take another chunk: only one, where the server said ``keepalive: false``."""
        return self.state is State.READY and (self._sent == 0 or self._helo.keepalive)

    @property
    def finished(self) -> bool:
        """Whether it carried all that the server allows on one connection, and that was acknowledged."""
        return self.state is State.READY and not self._unacknowledged and not self.may_send

    @property
    def in_flight(self) -> int:
        """How many chunks are not acknowledged."""
        return len(self._unacknowledged)

    def unacknowledged(self) -> list[Chunk]:
        """Return the chunks that are not acknowledged, in the order in which they were sent."""
        return [chunk for chunk, _ in self._unacknowledged.values()]

    def oldest_sent(self) -> float | None:
        """Return when the oldest chunk that is not acknowledged was sent; None when all are."""
        for _, sent in self._unacknowledged.values():
            return sent
        return None

    def overdue(self, now: float, timeout: float) -> bool:
        """Whether an acknowledgement did not come within `timeout` seconds."""
        oldest = self.oldest_sent()
        return oldest is not None and now - oldest >= timeout

    def close(self) -> None:
        """Nothing more goes either way; what is not acknowledged stays to be asked for."""
        self.state = State.CLOSED

    def _feed(self, data: bytes, events: list[Event]) -> None:
        try:
            self._unpacker.feed(data)
            for message in self._unpacker:
                self._message(message, events)
        except ForwardError:
            raise
        except msgpack.BufferFull as error:
            raise RemoteProtocolError(
                f"{self._where()}: an answer of more than {MAX_ANSWER} bytes; is this a Forward server?"
            ) from error
        # What msgpack raises for bytes that are not msgpack, are nested too deeply, claim to be longer than
        # allowed, have map keys that are no strings, or are a time that does not exist.
        except (ValueError, TypeError, OverflowError, msgpack.UnpackException) as error:
            raise RemoteProtocolError(
                f"{self._where()}: no answer in msgpack ({type(error).__name__}); is this a Forward server?"
            ) from error
        self._received += len(data)

    def _message(self, message: Any, events: list[Event]) -> None:  # noqa: ANN401 - any value of msgpack
        kind = _kind(message)
        after = _NEXT.get((self.state, kind))
        if after is None:
            raise self._unexpected(kind, message)
        match kind:
            case _Kind.ACK:
                self._acknowledge(message[b"ack"], events)
            case _Kind.HELO:
                self._helo = read_helo(message)
                self._to_send = ping(self._helo, self._credentials)
            case _:
                self.server = check_pong(message, self._helo, self._credentials)
                events.append(HandshakeDone(self.server))
        self.state = after

    def _acknowledge(self, answer: bytes, events: list[Event]) -> None:
        chunk_id = answer.decode("utf-8", "backslashreplace")
        found = self._unacknowledged.pop(chunk_id, None)
        events.append(UnknownAcknowledgement(chunk_id) if found is None else Acknowledged(found[0]))

    def _unexpected(self, kind: _Kind, message: object) -> ForwardError:
        match self.state, kind:
            case State.READY, _Kind.HELO:
                return HandshakeRefused(
                    "the server asks for a shared key (it sent HELO); set fluent.shared_key"
                )
            # Vector's `fluent` source answers so when none of its sinks took the chunk.
            case State.READY, _Kind.NACK:
                return ServerUnavailable("the server could not take a chunk (it answered with an empty map)")
        found = kind.value if kind is not _Kind.OTHER else _show(message)
        return RemoteProtocolError(f"{self._where()}: did not expect {found}")

    def _ended(self) -> ForwardError:
        match self.state:
            case State.WAIT_HELO:
                return ServerUnavailable("the server closed the connection before it sent HELO")
            case State.WAIT_PONG:
                # Fluent Bit 5.1.1 says no more than this for a wrong key or user.
                return HandshakeRefused(
                    "the server closed the connection instead of answering PING; "
                    "is fluent.shared_key its own, and are fluent.user and fluent.password?"
                )
            case _:
                return ServerUnavailable("the server closed the connection")

    def _where(self) -> str:
        return f"connection {self.state.value}, after {self._received} bytes from the server"


def _kind(message: object) -> _Kind:
    match message:
        case {b"ack": bytes()}:
            return _Kind.ACK
        case {}:
            return _Kind.OTHER if message else _Kind.NACK
        case [b"HELO", *_]:
            return _Kind.HELO
        case [b"PONG", *_]:
            return _Kind.PONG
        case _:
            return _Kind.OTHER


def _show(message: object) -> str:
    shown = reprlib.repr(message)  # msgpack takes 1,024 levels, `repr` of Python 3.11 fewer
    return shown if len(shown) <= MAX_SHOWN else f"{shown[:MAX_SHOWN]}..."
