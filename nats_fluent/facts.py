"""What is known of the running program at one moment, in plain values: what health, metrics and status are made of."""

from __future__ import annotations

from typing import Literal

import msgspec


class TopicFacts(msgspec.Struct, frozen=True, kw_only=True):
    """Publications of one topic since the start: how many came, their bytes, and what became of some."""

    received: int = 0
    bytes: int = 0
    undecodable: int = 0
    filtered: int = 0
    dropped: int = 0


class IdentityFacts(msgspec.Struct, frozen=True, kw_only=True):
    """Publications of one topic that are about one kind of object and say one thing of it, since the start."""

    topic: str
    identity: str
    operation: str
    count: int


class NatsFacts(msgspec.Struct, frozen=True, kw_only=True):
    """The connection to NATS.

    Attributes:
        connected: whether there is one.
        subscribed: whether what is published now arrives; of a stream, whether it is consumed.
        denied: subjects that the server denies this user.
        server: ``host:port`` of the server that was connected to last.
        reason: why there is no connection, where an attempt failed or one was lost.
        silent: seconds for which the server has left a PING unanswered; 0 while it answers in time.
        reconnects: connections after the first.
        cut_off: connections that a server ended while it went on running.
        answers: acknowledgements that were sent to publishers that asked.
        answers_failed: those that could not be sent.
    """

    connected: bool = False
    subscribed: bool = False
    denied: list[str] = []
    server: str = ""
    reason: str = ""
    silent: float = 0.0
    reconnects: int = 0
    cut_off: int = 0
    answers: int = 0
    answers_failed: int = 0


class StreamFacts(msgspec.Struct, frozen=True, kw_only=True):
    """The stream, where messages come from one: what is still to come, what is not settled, what came again."""

    stream: str
    durable: str
    pending: int = 0
    unsettled: int = 0
    redelivered: int = 0


class Times(msgspec.Struct, frozen=True):
    """A histogram: (bound in seconds, how many were no longer), and the sum in seconds."""

    buckets: list[tuple[str, int]]
    total: float


class ShipperFacts(msgspec.Struct, frozen=True, kw_only=True):
    """The log shipper, or standard output.

    Attributes:
        connected: whether it takes chunks, as far as is known.
        server: the URL that was connected to last.
        reason: why it does not take chunks.
        stalled: seconds for which chunks have waited and none was acknowledged; 0 while none waits.
        oldest: seconds for which the oldest chunk in memory has been there; None without one.
        pending_chunks: chunks that are not acknowledged.
        pending_records: the records in them.
        connections: connections that could take chunks.
        failures: attempts and connections that failed.
        chunks_sent: chunks that were sent, for the first time or again.
        chunks_sent_again: those that were sent before.
        chunks_acknowledged: chunks that were acknowledged.
        records_acknowledged: the records in them.
        bytes_sent: bytes that were sent, before TLS.
        acknowledged_at: when a chunk was last acknowledged, seconds since 1970; None before the first.
        acknowledgement: from when a chunk was last sent, until it was acknowledged.
        end_to_end: from when the first publication of a chunk was published, until the chunk was acknowledged.
    """

    connected: bool = False
    server: str = ""
    reason: str = ""
    stalled: float = 0.0
    oldest: float | None = None
    pending_chunks: int = 0
    pending_records: int = 0
    connections: int = 0
    failures: int = 0
    chunks_sent: int = 0
    chunks_sent_again: int = 0
    chunks_acknowledged: int = 0
    records_acknowledged: int = 0
    bytes_sent: int = 0
    acknowledged_at: float | None = None
    acknowledgement: Times = Times([("+Inf", 0)], 0.0)
    end_to_end: Times = Times([("+Inf", 0)], 0.0)


class SpoolFacts(msgspec.Struct, frozen=True, kw_only=True):
    """The spool: what is in it, and why it takes nothing now, if so.

    Attributes:
        mode: the setting.
        bytes: bytes on disk.
        max_bytes: the setting.
        chunks: chunks on disk and not in memory.
        records: the records in them.
        oldest: seconds since the oldest file was written; None without one.
        recovered: records that an earlier process had left.
        lost: records that could not be read there.
        trouble: why it takes no chunks.
    """

    mode: str
    bytes: int = 0
    max_bytes: int = 0
    chunks: int = 0
    records: int = 0
    oldest: float | None = None
    recovered: int = 0
    lost: int = 0
    trouble: str = ""


class WatchdogFacts(msgspec.Struct, frozen=True, kw_only=True):
    """The watchdog: seconds since it looked (None before the first time), and for how long each part stands still."""

    looked_ago: float | None = None
    still: dict[str, float] = {}


class WorkerFacts(msgspec.Struct, frozen=True, kw_only=True):
    """One of several workers.

    Attributes:
        number: from 1.
        pid: of its process; 0 without one.
        restarts: how often it was started again.
        away: why it does not say how it is; empty when it does.
        silent: seconds for which it has left a question unanswered; 0 while it answers.
        facts: what it said; None when it is away.
    """

    number: int
    pid: int = 0
    restarts: int = 0
    away: str = ""
    silent: float = 0.0
    facts: Facts | None = None


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """All of it.

    Attributes:
        version: of this program.
        time: now, seconds since 1970.
        uptime: seconds since the start.
        phase: of the run.
        topics: by name.
        identities: publications that were decoded, by (topic, identity, operation), most frequent first.
        decoded: publications that were decoded.
        extra: records beyond the first of publications of which a handler made several.
        transform_errors: publications whose handler failed, by identity.
        returned: publications that were given back to their stream, as memory was full.
        replaced_bytes: bytes that were not UTF-8.
        dropped_subjects: the subjects of which most was dropped.
        buffer_bytes: bytes in memory.
        buffer_limit: bytes that may be.
        buffer_records: records in memory, and publications that wait to become one.
        nats: the connection.
        stream: None without one.
        shipper: the log shipper.
        spool: None without one.
        watchdog: what it sees.
        workers: where there are several, each; the rest is then of all of them.
    """

    version: str = ""
    time: float = 0.0
    uptime: float = 0.0
    phase: Literal["starting", "running", "stopping"] = "running"
    topics: dict[str, TopicFacts] = {}
    identities: list[IdentityFacts] = []
    decoded: int = 0
    extra: int = 0
    transform_errors: dict[str, int] = {}
    returned: int = 0
    replaced_bytes: int = 0
    dropped_subjects: dict[str, int] = {}
    buffer_bytes: int = 0
    buffer_limit: int = 0
    buffer_records: int = 0
    nats: NatsFacts = NatsFacts()
    stream: StreamFacts | None = None
    shipper: ShipperFacts = ShipperFacts()
    spool: SpoolFacts | None = None
    watchdog: WatchdogFacts = WatchdogFacts()
    workers: list[WorkerFacts] = []
