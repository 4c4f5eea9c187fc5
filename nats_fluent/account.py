"""What became of every publication, in plain integers that the hot path adds to."""

from __future__ import annotations

from collections import defaultdict


class Account:
    """Counts of one run; each publication that was received is in exactly one of the others.

    received = delivered + dropped + held, where undecodable and oversized are among the delivered or the held.

    Attributes:
        received: publications by topic, as handed over by the source.
        delivered: records that the log shipper acknowledged.
        delivered_undecodable: those of them that hold bytes instead of content.
        dropped: publications that found the memory budget full.
        undecodable: records made for payloads that could not be decoded, or were too large.
        replaced_bytes: bytes that were not UTF-8 and went out as U+FFFD.
    """

    def __init__(self) -> None:
        self.received: defaultdict[str, int] = defaultdict(int)
        self.delivered = 0
        self.delivered_undecodable = 0
        self.dropped = 0
        self.undecodable = 0
        self.replaced_bytes = 0

    @property
    def held(self) -> int:
        """Publications that are received and neither delivered nor dropped."""
        return sum(self.received.values()) - self.delivered - self.dropped
