"""The metrics: a catalogue of name, type, meaning and labels, each read from the facts when somebody asks.

Names by Prometheus' rules: base units, ``_total`` for what only grows. docs/metrics.md is made from the catalogue.
"""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Literal, NamedTuple

from nats_fluent import compiled
from nats_fluent.facts import Facts, Times
from nats_fluent.health import ready

if TYPE_CHECKING:
    from collections.abc import Iterator

PREFIX = "nats_fluent_"

Value = float | Times
Read = Callable[[Facts], Iterable[tuple[tuple[str, ...], Value]]]
"""Returns (values of the labels, value) for each; nothing where the facts have none."""


class Metric(NamedTuple):
    """One metric.

    Attributes:
        name: without the prefix.
        kind: its type.
        meaning: one sentence.
        labels: their names.
        read: finds the values.
    """

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    meaning: str
    labels: tuple[str, ...]
    read: Read


def _one(read: Callable[[Facts], Value | None]) -> Read:
    """Return a reader of one value without labels; None is none."""

    def found(facts: Facts) -> Iterator[tuple[tuple[str, ...], Value]]:
        value = read(facts)
        if value is not None:
            yield (), value

    return found


def _topics(name: str, *more: str) -> Read:
    """Return a reader of one field of each topic."""
    return lambda facts: [((topic, *more), getattr(each, name)) for topic, each in facts.topics.items()]


def _of(part: str, name: str) -> Read:
    """Return a reader of one field of a part, which may not be there."""

    def found(facts: Facts) -> Value | None:
        inside = getattr(facts, part)
        value: Value | None = None if inside is None else getattr(inside, name)
        return value

    return _one(found)


CATALOGUE = (
    Metric(
        "build_info",
        "gauge",
        "1, with the version of this program and of Python, and whether the part in C is there (yes or no).",
        ("version", "python", "compiled"),
        lambda facts: [((facts.version, platform.python_version(), "yes" if compiled.splice else "no"), 1)],
    ),
    Metric(
        "ready",
        "gauge",
        "1 when the part is as /readyz wants it, else 0.",
        ("part",),
        lambda facts: [((name,), part.ok) for name, part in ready(facts).parts.items()],
    ),
    Metric(
        "worker_up",
        "gauge",
        "1 while the worker runs and answers, else 0; with several workers.",
        ("worker",),
        lambda facts: [((str(each.number),), not each.away) for each in facts.workers],
    ),
    Metric(
        "worker_restarts_total",
        "counter",
        "How often the worker was started again after it had ended; with several workers.",
        ("worker",),
        lambda facts: [((str(each.number),), each.restarts) for each in facts.workers],
    ),
    Metric(
        "publications_received_total",
        "counter",
        "Publications that arrived from NATS.",
        ("topic",),
        _topics("received"),
    ),
    Metric(
        "publications_received_bytes_total",
        "counter",
        "Bytes of their payloads.",
        ("topic",),
        _topics("bytes"),
    ),
    Metric(
        "publications_decoded_total",
        "counter",
        "Publications that were decoded.",
        (),
        _one(lambda facts: facts.decoded),
    ),
    Metric(
        "publications_by_identity_total",
        "counter",
        "The decoded, by what they are about; beyond the first 100 combinations, as other.",
        ("topic", "identity", "operation"),
        lambda facts: [
            ((each.topic, each.identity, each.operation), each.count) for each in facts.identities
        ],
    ),
    Metric(
        "publications_undecodable_total",
        "counter",
        "Publications that could not be decoded, or were too large; each became a record of its bytes.",
        ("topic",),
        _topics("undecodable"),
    ),
    Metric(
        "publications_filtered_total",
        "counter",
        "Publications that became no record, because the topic's include and exclude, or a handler, want none.",
        ("topic",),
        _topics("filtered"),
    ),
    Metric(
        "publications_dropped_total",
        "counter",
        "Publications that are lost; reason buffer_full: memory, and the spool, had no room.",
        ("topic", "reason"),
        _topics("dropped", "buffer_full"),
    ),
    Metric(
        "publications_returned_total",
        "counter",
        "Publications that their stream has again, and will bring again, because memory had no room.",
        (),
        _one(lambda facts: facts.returned),
    ),
    Metric(
        "transform_extra_records_total",
        "counter",
        "Records beyond the first of publications of which a handler made several.",
        (),
        _one(lambda facts: facts.extra),
    ),
    Metric(
        "transform_errors_total",
        "counter",
        "Publications whose handler failed, and which went out as they are; beyond the first 100 identities, as other.",
        ("identity",),
        lambda facts: [((identity,), count) for identity, count in facts.transform_errors.items()],
    ),
    Metric(
        "replaced_bytes_total",
        "counter",
        "Bytes that were not UTF-8 and went out as U+FFFD.",
        (),
        _one(lambda facts: facts.replaced_bytes),
    ),
    Metric(
        "records_acknowledged_total",
        "counter",
        "Records that the log shipper acknowledged.",
        (),
        _of("shipper", "records_acknowledged"),
    ),
    Metric(
        "sent_bytes_total",
        "counter",
        "Bytes that were sent to the log shipper, before TLS, what was sent again included.",
        (),
        _of("shipper", "bytes_sent"),
    ),
    Metric(
        "chunks_sent_total",
        "counter",
        "Chunks that were sent, for the first time or again.",
        (),
        _of("shipper", "chunks_sent"),
    ),
    Metric(
        "chunks_sent_again_total",
        "counter",
        "Chunks that were sent before, and not acknowledged.",
        (),
        _of("shipper", "chunks_sent_again"),
    ),
    Metric(
        "chunks_acknowledged_total",
        "counter",
        "Chunks that the log shipper acknowledged.",
        (),
        _of("shipper", "chunks_acknowledged"),
    ),
    Metric(
        "acknowledgement_seconds",
        "histogram",
        "For each chunk, from when it was last sent until it was acknowledged.",
        (),
        _of("shipper", "acknowledgement"),
    ),
    Metric(
        "end_to_end_seconds",
        "histogram",
        "For each chunk, from the time in its first publication until it was acknowledged, by two clocks.",
        (),
        _of("shipper", "end_to_end"),
    ),
    Metric(
        "last_acknowledged_timestamp_seconds",
        "gauge",
        "When the log shipper last acknowledged a chunk, seconds since 1970; missing before the first.",
        (),
        _of("shipper", "acknowledged_at"),
    ),
    Metric(
        "pending_chunks",
        "gauge",
        "Chunks that are with the sink and not acknowledged.",
        (),
        _of("shipper", "pending_chunks"),
    ),
    Metric(
        "stalled_seconds",
        "gauge",
        "For how long chunks have waited and none was acknowledged; 0 while none waits.",
        (),
        _of("shipper", "stalled"),
    ),
    Metric(
        "shipper_connected",
        "gauge",
        "1 while the log shipper takes chunks, as far as is known.",
        (),
        _of("shipper", "connected"),
    ),
    Metric(
        "shipper_connections_total",
        "counter",
        "Connections to a log shipper that could take chunks.",
        (),
        _of("shipper", "connections"),
    ),
    Metric(
        "shipper_failures_total",
        "counter",
        "Attempts to connect, and connections, that failed.",
        (),
        _of("shipper", "failures"),
    ),
    Metric(
        "buffer_bytes",
        "gauge",
        "Bytes of memory for what is received and not acknowledged.",
        (),
        _one(lambda facts: facts.buffer_bytes),
    ),
    Metric(
        "buffer_limit_bytes",
        "gauge",
        "The setting batch.buffer_bytes.",
        (),
        _one(lambda facts: facts.buffer_limit),
    ),
    Metric(
        "buffer_records",
        "gauge",
        "Publications and records in memory.",
        (),
        _one(lambda facts: facts.buffer_records),
    ),
    Metric(
        "buffer_oldest_seconds",
        "gauge",
        "For how long the oldest chunk in memory has been there; 0 without one.",
        (),
        _one(lambda facts: facts.shipper.oldest or 0.0),
    ),
    Metric("spool_bytes", "gauge", "Bytes of chunks on disk.", (), _of("spool", "bytes")),
    Metric("spool_limit_bytes", "gauge", "The setting spool.max_bytes.", (), _of("spool", "max_bytes")),
    Metric("spool_chunks", "gauge", "Chunks on disk and not in memory.", (), _of("spool", "chunks")),
    Metric("spool_records", "gauge", "The records in them.", (), _of("spool", "records")),
    Metric(
        "spool_oldest_seconds",
        "gauge",
        "Age of the oldest file in the spool; 0 without one.",
        (),
        _one(lambda facts: None if facts.spool is None else facts.spool.oldest or 0.0),
    ),
    Metric(
        "spool_recovered_records_total",
        "counter",
        "Records that an earlier process had left in the spool.",
        (),
        _of("spool", "recovered"),
    ),
    Metric(
        "spool_lost_records_total",
        "counter",
        "Records that were in the spool, and could not be read there.",
        (),
        _of("spool", "lost"),
    ),
    Metric("nats_connected", "gauge", "1 while there is a connection.", (), _of("nats", "connected")),
    Metric(
        "nats_subscribed",
        "gauge",
        "1 while what is published arrives; with JetStream, while the consumer can be used.",
        (),
        _of("nats", "subscribed"),
    ),
    Metric(
        "nats_silent_seconds",
        "gauge",
        "For how long NATS has left a PING unanswered; 0 while it answers within 5 s.",
        (),
        _of("nats", "silent"),
    ),
    Metric(
        "nats_cut_off_total",
        "counter",
        "Connections that a NATS server ended and went on running, as with a consumer that reads too slowly.",
        (),
        _of("nats", "cut_off"),
    ),
    Metric(
        "nats_reconnects_total",
        "counter",
        "Connections to NATS after the first.",
        (),
        _of("nats", "reconnects"),
    ),
    Metric(
        "answers_sent_total",
        "counter",
        "Answers to publishers that asked for one.",
        (),
        _of("nats", "answers"),
    ),
    Metric(
        "answers_failed_total",
        "counter",
        "Answers that could not be sent, or that the server denied.",
        (),
        _of("nats", "answers_failed"),
    ),
    Metric(
        "jetstream_pending",
        "gauge",
        "Messages of the stream that the consumer has still to deliver: the lag. At most 10 s old.",
        (),
        _of("stream", "pending"),
    ),
    Metric(
        "jetstream_ack_pending",
        "gauge",
        "Messages of the stream that this process has and has not acknowledged.",
        (),
        _of("stream", "unsettled"),
    ),
    Metric(
        "jetstream_redelivered_total",
        "counter",
        "Messages that the stream delivered again.",
        (),
        _of("stream", "redelivered"),
    ),
)
