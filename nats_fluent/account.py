"""What became of every publication, in plain integers that the hot path adds to."""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict

BOUNDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1800, 3600)
"""Upper bounds of a histogram's buckets, in seconds: from an acknowledgement on the same host, to an outage."""


MOST_KINDS = 100
"""Combinations of topic, identity and operation that are counted by themselves: publishers choose these words, and
each is a series in Prometheus."""

MOST_NAME = 64
"""Characters of an identity or an operation that is counted by itself."""

OTHER = "other"
"""Under which all else is counted."""

Kind = tuple[str, str, str]
"""Topic, identity and operation; the latter two may be empty."""


class Histogram:
    """How long something took, in plain integers and one sum; added to once for each chunk.

    Attributes:
        counts: for each of `BOUNDS`, and for what is beyond, how many; not cumulative.
        total: the sum, in seconds.
    """

    __slots__ = ("counts", "total")

    def __init__(self) -> None:
        self.counts = [0] * (len(BOUNDS) + 1)
        self.total = 0.0

    def add(self, seconds: float) -> None:
        """Count one; a clock that was set back makes it 0."""
        seconds = max(seconds, 0.0)
        self.counts[bisect_left(BOUNDS, seconds)] += 1
        self.total += seconds

    def buckets(self) -> list[tuple[str, int]]:
        """Return (bound, how many were no longer than it) for each bound, as Prometheus has them."""
        found, count = [], 0
        for bound, each in zip((*map(str, map(float, BOUNDS)), "+Inf"), self.counts, strict=True):
            count += each
            found.append((bound, count))
        return found


class Account:
    """Counts of one run; each publication that came is in exactly one of the others.

    received + recovered + extra = delivered + filtered + dropped + lost + returned + held, where undecodable and
    oversized are among the delivered or the held, and spooled among the held.

    Attributes:
        received: publications by topic, as handed over by the source.
        recovered: records that an earlier process left in the spool.
        delivered: records that the log shipper acknowledged.
        delivered_undecodable: those of them that hold bytes instead of content.
        extra: records beyond the first of publications of which a handler made several.
        filtered: publications that become no record, as the filters of their topic, or a handler, want none.
        dropped: publications that found the memory budget full, and are lost.
        lost: records that were on disk, and could not be read there.
        returned: publications that the source will bring again: they found it full, or it was closed before they were
            delivered.
        spooled: records that are on disk and not in memory.
        undecodable: records made for payloads that could not be decoded, or were too large.
        replaced_bytes: bytes that were not UTF-8 and went out as U+FFFD.
        received_bytes: bytes of the payloads of the received, by topic.
        dropped_by_topic: the dropped, by topic.
        filtered_by_topic: the filtered, by topic.
        undecodable_by_topic: the undecodable, by topic.
        transform_errors: publications whose handler failed, by identity. One goes to `transform_failed`.
        kinds: the decoded, by what they are about. A kind that is not there yet goes to `new_kind`.
    """

    def __init__(self) -> None:
        self.received: defaultdict[str, int] = defaultdict(int)
        self.recovered = 0
        self.extra = 0
        self.delivered = 0
        self.delivered_undecodable = 0
        self.filtered = 0
        self.dropped = 0
        self.lost = 0
        self.returned = 0
        self.spooled = 0
        self.undecodable = 0
        self.replaced_bytes = 0
        self.received_bytes: defaultdict[str, int] = defaultdict(int)
        self.dropped_by_topic: defaultdict[str, int] = defaultdict(int)
        self.filtered_by_topic: defaultdict[str, int] = defaultdict(int)
        self.undecodable_by_topic: defaultdict[str, int] = defaultdict(int)
        self.transform_errors: dict[str, int] = {}
        self.kinds: dict[Kind, int] = {}

    def new_kind(self, kind: Kind) -> None:
        """Count the first publication of a kind, or one of a kind that has no number of its own."""
        topic, identity, operation = kind
        if len(self.kinds) >= MOST_KINDS or max(len(identity), len(operation)) > MOST_NAME:
            kind = topic, OTHER, OTHER
        self.kinds[kind] = self.kinds.get(kind, 0) + 1

    def transform_failed(self, identity: str) -> None:
        """Count a publication whose handler failed, by its identity, or as one of the others."""
        errors = self.transform_errors
        if identity not in errors and (len(errors) >= MOST_KINDS or len(identity) > MOST_NAME):
            identity = OTHER
        errors[identity] = errors.get(identity, 0) + 1

    @property
    def held(self) -> int:
        """Records that are neither delivered nor given up, and publications that wait to become one."""
        came = sum(self.received.values()) + self.recovered + self.extra
        return came - self.delivered - self.filtered - self.dropped - self.lost - self.returned

    @property
    def in_memory(self) -> int:
        """Those of the held that are in memory; in mode `always` of the spool, most of these are on disk, too."""
        return self.held - self.spooled
