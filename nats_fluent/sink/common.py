"""What every sink is, and what it counts."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from nats_fluent.account import Histogram
from nats_fluent.delivery import Chunk, Outcome

OnSettled = Callable[[Chunk, Outcome], None]
"""Called once for each chunk, on the loop's thread, with what became of it."""


@dataclass(slots=True)
class SinkStats:
    """What a sink did so far, as plain numbers, and where it stands.

    Attributes:
        connections: connections that were ready to take chunks.
        chunks_sent: chunks that were sent, again or for the first time.
        chunks_resent: those of `chunks_sent` that were sent before.
        chunks_acknowledged: chunks that the server has taken.
        records_acknowledged: the records in them.
        bytes_sent: bytes of the frames that were sent, before TLS.
        failures: attempts and connections that failed.
        unknown_acks: acknowledgements of what was not waited for.
        connected: whether the server takes chunks: a connection is ready and, after a failure, something was
            acknowledged again where something was to be.
        server: the URL of the server that was connected to last.
        reason: why it does not take chunks, where an attempt or a connection failed; empty while it does.
        waiting_since: since when chunks wait and none was acknowledged, on `time.monotonic`; None while none waits.
        acknowledgement: from when a chunk was last sent, until it was acknowledged.
    """

    connections: int = 0
    chunks_sent: int = 0
    chunks_resent: int = 0
    chunks_acknowledged: int = 0
    records_acknowledged: int = 0
    bytes_sent: int = 0
    failures: int = 0
    unknown_acks: int = 0
    connected: bool = False
    server: str = ""
    reason: str = ""
    waiting_since: float | None = None
    acknowledgement: Histogram = field(default_factory=Histogram)

    @property
    def stalled(self) -> float:
        """Seconds for which chunks have waited and none was acknowledged; 0 while none waits."""
        return 0.0 if self.waiting_since is None else time.monotonic() - self.waiting_since

    def waits(self) -> None:
        """Note that a chunk waits."""
        if self.waiting_since is None:
            self.waiting_since = time.monotonic()

    def moves(self, *, waiting: bool) -> None:
        """Note that a chunk was acknowledged, and whether others wait."""
        self.waiting_since = time.monotonic() if waiting else None


class Sink(Protocol):
    """Where chunks go."""

    @property
    def stats(self) -> SinkStats:
        """What was done so far."""

    @property
    def pending(self) -> int:
        """Records that were submitted and are not settled."""

    @property
    def pending_chunks(self) -> int:
        """Chunks that were submitted and are not settled."""

    def submit(self, chunk: Chunk) -> None:
        """Take a chunk, to be sent after those before it. Never blocks: the caller bounds what it submits."""

    async def run(self) -> None:
        """Send what is submitted until cancelled.

        Raises:
            RunFailed: what cannot heal.
        """

    def unsettled(self) -> list[Chunk]:
        """Return the chunks that are not settled, in order; for when :meth:`run` has ended."""
