"""What became of every publication, in plain integers that the hot path adds to."""

from __future__ import annotations

from collections import defaultdict


class Account:
    """Counts of one run; each publication that came is in exactly one of the others.

    received + recovered = delivered + dropped + lost + returned + held, where undecodable and oversized are among the
    delivered or the held, and spooled among the held.

    Attributes:
        received: publications by topic, as handed over by the source.
        recovered: records that an earlier process left in the spool.
        delivered: records that the log shipper acknowledged.
        delivered_undecodable: those of them that hold bytes instead of content.
        dropped: publications that found the memory budget full, and are lost.
        lost: records that were on disk, and could not be read there.
        returned: publications that the source will bring again: they found it full, or it was closed before they were
            delivered.
        spooled: records that are on disk and not in memory.
        undecodable: records made for payloads that could not be decoded, or were too large.
        replaced_bytes: bytes that were not UTF-8 and went out as U+FFFD.
    """

    def __init__(self) -> None:
        self.received: defaultdict[str, int] = defaultdict(int)
        self.recovered = 0
        self.delivered = 0
        self.delivered_undecodable = 0
        self.dropped = 0
        self.lost = 0
        self.returned = 0
        self.spooled = 0
        self.undecodable = 0
        self.replaced_bytes = 0

    @property
    def held(self) -> int:
        """Records that are neither delivered nor given up."""
        came = sum(self.received.values()) + self.recovered
        return came - self.delivered - self.dropped - self.lost - self.returned

    @property
    def in_memory(self) -> int:
        """Those of the held that are in memory; in mode `always` of the spool, most of these are on disk, too."""
        return self.held - self.spooled
