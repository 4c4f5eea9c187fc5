"""What travels: deliveries from a source, chunks to a sink, and what became of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from enum import Enum, auto
from typing import Any, NamedTuple

import msgspec


class Outcome(Enum):
    """What became of one delivery."""

    DELIVERED = auto()
    """The log shipper acknowledged the chunk that holds its record."""
    UNDECODABLE = auto()
    """As DELIVERED, for a record that holds the payload's bytes and the reason."""
    FILTERED = auto()
    """There is no record: the filters of its topic want none."""
    SPOOLED = auto()
    """The chunk that holds its record is on disk, and goes to the log shipper later, or from another process."""
    RETRY = auto()
    """It was given back unsent; a source that can redeliver should."""


CHUNK_BYTES = 256
"""What a chunk costs besides its records: 215 bytes with all that holds it (tracemalloc, CPython 3.11), and the head of
its bytes. While little arrives a chunk is one record, which may be smaller than that."""

Settle = Callable[[list[Any], Outcome], None]
"""Takes the keys of deliveries, and what became of all of them."""


class Delivery(msgspec.Struct, frozen=True, gc=False):
    r"""One message from NATS.

    Attributes:
        topic: the subscription's topic name.
        subject: the message's own subject.
        payload: the message's bytes.
        reply: the reply subject, or an empty string.
        headers: the header block as it came, ``NATS/1.0\r\n...``, or None without headers.
        settle: called once with its key and what became of it; None where nobody wants to know.
        key: what `settle` knows it by.
        stream: the JetStream stream that it comes from; empty for core NATS.
        sequence: its sequence number in the stream.
        deliveries: how many times it was delivered, this one included.
        time_ns: when the stream took it, in nanoseconds since 1970; 0 for core NATS.
    """

    topic: str
    subject: str
    payload: bytes
    reply: str = ""
    headers: bytes | None = None
    settle: Settle | None = None
    key: Any = None
    stream: str = ""
    sequence: int = 0
    deliveries: int = 0
    time_ns: int = 0

    def settled(self, outcome: Outcome) -> None:
        """Say what became of it."""
        if self.settle is not None:
            self.settle([self.key], outcome)


class Waiting(NamedTuple):
    """Who waits for records of a chunk that stand together.

    Attributes:
        settle: what to call once.
        outcome: what to name for DELIVERED.
        keys: of their deliveries.
    """

    settle: Settle
    outcome: Outcome
    keys: list[Any]


class Chunk:
    """Records of one tag that are sent, and acknowledged, as one.

    Attributes:
        id: the Forward ``chunk`` option: base64 of 16 bytes, the same each time it is sent.
        tag: the Fluent tag of every record in it.
        entries: the msgpack of each ``[time, record]``, one after the other.
        count: how many records.
        undecodable: how many of the records are for payloads that could not be decoded.
        waiting: who waits for its records.
    """

    __slots__ = ("count", "entries", "id", "tag", "undecodable", "waiting")

    def __init__(
        self,
        *,
        id: str,  # noqa: A002 - the protocol's name
        tag: str,
        entries: bytes,
        count: int,
        undecodable: int = 0,
        waiting: Sequence[Waiting] = (),
    ) -> None:
        self.id = id
        self.tag = tag
        self.entries = entries
        self.count = count
        self.undecodable = undecodable
        self.waiting = waiting

    @property
    def memory(self) -> int:
        """Bytes of memory that it takes."""
        return len(self.entries) + CHUNK_BYTES

    def __repr__(self) -> str:
        return f"<Chunk {self.id} {self.tag} records={self.count} bytes={len(self.entries)}>"
