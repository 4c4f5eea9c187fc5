"""What every sink is, and what it counts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

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
