"""Reads the facts off the parts of a running service; whenever somebody asks, and at no cost before."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Literal

from nats_fluent import __version__
from nats_fluent.account import OTHER, Account
from nats_fluent.facts import (
    Facts,
    IdentityFacts,
    NatsFacts,
    ShipperFacts,
    SpoolFacts,
    StreamFacts,
    Times,
    TopicFacts,
    WatchdogFacts,
)
from nats_fluent.health import STALLED

if TYPE_CHECKING:
    from collections.abc import Iterable

    from nats_fluent.account import Histogram
    from nats_fluent.drops import Drops
    from nats_fluent.guard import Guard
    from nats_fluent.log import Log
    from nats_fluent.pipeline import Pipeline
    from nats_fluent.settings import Settings
    from nats_fluent.sink import Sink
    from nats_fluent.source.base import Source
    from nats_fluent.spooler import Spooler

Phase = Literal["starting", "running", "stopping"]

MOST_TOPICS = 100
"""Topics that have numbers of their own; a stream can have any number of subjects that no topic is for."""

_MOST_SUBJECTS = 20


class Observer:
    """Looks at the parts of one service.

    Args:
        settings: what names the stream and the spool.
        source: where publications come from.
        pipeline: what decodes them.
        sink: where they go.
        spooler: what keeps them on disk; None without a spool.
        drops: what was dropped.
        guard: the watchdog.
        log: one line when the log shipper leaves chunks unacknowledged, and one when that is over.

    Attributes:
        phase: of the run.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        source: Source,
        pipeline: Pipeline,
        sink: Sink,
        spooler: Spooler | None,
        drops: Drops,
        guard: Guard,
        log: Log,
    ) -> None:
        self._settings = settings
        self._source = source
        self._pipeline = pipeline
        self._sink = sink
        self._spooler = spooler
        self._drops = drops
        self._guard = guard
        self._log = log
        self._stalled = False
        self._started = time.monotonic()
        self.phase: Phase = "starting"

    def facts(self) -> Facts:
        """Look now."""
        pipeline, account = self._pipeline, self._pipeline.account
        received = sum(account.received.values())
        worked = received - account.dropped - account.returned - pipeline.waiting
        most = sorted(self._drops.counts.items(), key=lambda item: -item[1])[:_MOST_SUBJECTS]
        expected = [topic.topic for topic in self._settings.topics]
        return Facts(
            version=__version__,
            time=time.time(),
            uptime=time.monotonic() - self._started,
            phase=self.phase,
            topics=topics(account, expected),
            identities=identities(account, expected),
            decoded=worked - account.undecodable - account.filtered,
            extra=account.extra,
            transform_errors=dict(account.transform_errors),
            returned=account.returned,
            replaced_bytes=account.replaced_bytes,
            dropped_subjects=dict(most),
            buffer_bytes=pipeline.held_bytes,
            buffer_limit=self._settings.batch.buffer_bytes,
            buffer_records=account.in_memory,
            nats=self._nats(),
            stream=self._stream(),
            shipper=self._shipper(),
            spool=self._spool(),
            watchdog=WatchdogFacts(looked_ago=self._guard.looked_ago, still=self._guard.still),
        )

    def look(self) -> None:
        """Say when the log shipper begins to leave chunks unacknowledged, and when it ceases to; once a second.

        A connection that fails is the sink's to say, and so is one that is there again.
        """
        stats = self._sink.stats
        stalled = stats.connected and stats.stalled > STALLED
        if stalled == self._stalled:
            return
        self._stalled = stalled
        if stalled:
            self._log.warning(
                "the log shipper does not acknowledge",
                server=stats.server,
                seconds=round(stats.stalled),
                pending_chunks=self._sink.pending_chunks,
            )
        elif stats.connected:
            self._log.info("the log shipper acknowledges again", server=stats.server)

    def _nats(self) -> NatsFacts:
        source, link = self._source, self._source.link
        return NatsFacts(
            connected=link.connected,
            subscribed=source.connected,
            denied=link.denied,
            server=link.client.server,
            reason=link.trouble,
            silent=link.listening.silent,
            cut_off=link.client.cut_off,
            reconnects=link.client.stats["reconnects"],
            answers=source.acknowledged,
            answers_failed=source.unacknowledged,
        )

    def _stream(self) -> StreamFacts | None:
        source, jetstream = self._source, self._settings.jetstream
        if not jetstream.stream:
            return None
        return StreamFacts(
            stream=jetstream.stream,
            durable=jetstream.durable,
            pending=source.pending,
            unsettled=source.unsettled,
            redelivered=source.redelivered,
        )

    def _shipper(self) -> ShipperFacts:
        sink, stats = self._sink, self._sink.stats
        return ShipperFacts(
            connected=stats.connected,
            server=stats.server,
            reason=stats.reason,
            stalled=stats.stalled,
            oldest=self._pipeline.oldest,
            pending_chunks=sink.pending_chunks,
            pending_records=sink.pending,
            connections=stats.connections,
            failures=stats.failures,
            chunks_sent=stats.chunks_sent,
            chunks_sent_again=stats.chunks_resent,
            chunks_acknowledged=stats.chunks_acknowledged,
            records_acknowledged=stats.records_acknowledged,
            bytes_sent=stats.bytes_sent,
            acknowledged_at=self._pipeline.delivered_at,
            acknowledgement=_times(stats.acknowledgement),
            end_to_end=_times(self._pipeline.end_to_end),
        )

    def _spool(self) -> SpoolFacts | None:
        if self._spooler is None:
            return None
        account, settings = self._pipeline.account, self._settings.spool
        return SpoolFacts(
            mode=settings.mode,
            bytes=self._spooler.disk_bytes,
            max_bytes=settings.max_bytes,
            chunks=self._spooler.chunks_on_disk,
            records=account.spooled,
            oldest=self._spooler.oldest,
            recovered=account.recovered,
            lost=account.lost,
            trouble=self._spooler.trouble,
        )


def topics(account: Account, expected: Iterable[str] = ()) -> dict[str, TopicFacts]:
    """Return what is known of each topic; of those after the first `MOST_TOPICS`, the sums as `OTHER`.

    Args:
        account: the counts.
        expected: topics that have numbers, if only 0, before there is a publication.
    """
    found: dict[str, TopicFacts] = {}
    for topic, name in _named(account, expected).items():
        so_far = found.get(name, TopicFacts())
        found[name] = TopicFacts(
            received=so_far.received + account.received.get(topic, 0),
            bytes=so_far.bytes + account.received_bytes.get(topic, 0),
            undecodable=so_far.undecodable + account.undecodable_by_topic.get(topic, 0),
            filtered=so_far.filtered + account.filtered_by_topic.get(topic, 0),
            dropped=so_far.dropped + account.dropped_by_topic.get(topic, 0),
        )
    return found


def _named(account: Account, expected: Iterable[str]) -> dict[str, str]:
    """Return under which name each topic is counted."""
    # A dict keeps its order: a topic that has numbers of its own keeps them.
    names = dict.fromkeys([*expected, *account.received])
    return {topic: topic if at < MOST_TOPICS else OTHER for at, topic in enumerate(names)}


def identities(account: Account, expected: Iterable[str] = ()) -> list[IdentityFacts]:
    """Return how many publications are of each kind, most first; arguments as for `topics`."""
    names = _named(account, expected)
    counts: dict[tuple[str, str, str], int] = {}
    for (topic, identity, operation), count in account.kinds.items():
        kind = names.get(topic, OTHER), identity, operation
        counts[kind] = counts.get(kind, 0) + count
    ordered = sorted(counts.items(), key=lambda item: -item[1])
    return [
        IdentityFacts(topic=topic, identity=identity, operation=operation, count=count)
        for (topic, identity, operation), count in ordered
    ]


def _times(histogram: Histogram) -> Times:
    return Times(histogram.buckets(), histogram.total)
