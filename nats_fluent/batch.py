"""Encoded records -> chunks, by count, bytes and age. Pure: the time is a parameter."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any

from nats_fluent.delivery import Chunk, Outcome, Waiting

if TYPE_CHECKING:
    from collections.abc import Callable

    from nats_fluent import sections
    from nats_fluent.delivery import Settle

MAX_OPEN_TAGS = 64
"""Chunks that may be open at once. A tag template with ``{identity}`` can make any number of tags; beyond this the
oldest is closed early, which costs smaller chunks and loses nothing."""


class _Open:
    """A chunk that is being filled."""

    __slots__ = ("entries", "opened", "size", "undecodable", "waiting")

    def __init__(self, opened: float) -> None:
        self.opened = opened
        self.entries: list[bytes] = []
        self.size = 0
        self.undecodable = 0
        self.waiting: list[Waiting] = []


class Batcher:
    """Collects entries by tag; complete chunks wait in `ready`, in the order in which they were completed.

    Args:
        settings: how many records, bytes and seconds a chunk may take.
        new_id: makes a chunk id that was never made before.
    """

    def __init__(self, settings: sections.BatchSettings, new_id: Callable[[], str]) -> None:
        self._max_records = settings.max_records
        self._max_bytes = settings.max_bytes
        self._linger = settings.linger
        self._new_id = new_id
        self._open: dict[str, _Open] = {}
        self.ready: deque[Chunk] = deque()

    def add(
        self,
        tag: str,
        entry: bytes,
        now: float,
        settle: Settle | None = None,
        key: Any = None,  # noqa: ANN401 - whatever its source knows it by
        undecodable: bool = False,  # noqa: FBT001, FBT002 - by position: this runs once for each publication
    ) -> None:
        """Put an entry into the open chunk of its tag; what is complete by that moves to `ready`.

        Args:
            tag: the Fluent tag.
            entry: msgpack of ``[time, record]``.
            now: seconds on a clock that never goes back.
            settle: called once with what became of it, and
            key: with this.
            undecodable: whether the record is for a payload that could not be decoded.
        """
        chunk = self._open.get(tag)
        size = len(entry)
        if chunk is not None and chunk.size + size > self._max_bytes:
            self._close(tag)
            chunk = None
        if chunk is None:
            if len(self._open) >= MAX_OPEN_TAGS:
                self._close(next(iter(self._open)))
            chunk = self._open[tag] = _Open(now)
        entries = chunk.entries
        entries.append(entry)
        chunk.size += size
        if undecodable:
            chunk.undecodable += 1
        if settle is not None:
            outcome = Outcome.UNDECODABLE if undecodable else Outcome.DELIVERED
            waiting = chunk.waiting
            if waiting and waiting[-1].outcome is outcome and waiting[-1].settle is settle:
                waiting[-1].keys.append(key)
            else:
                waiting.append(Waiting(settle, outcome, [key]))
        if len(entries) >= self._max_records or chunk.size >= self._max_bytes:
            self._close(tag)

    @property
    def deadline(self) -> float | None:
        """When the oldest open chunk is due, on the clock of `add`; None when none is open."""
        for chunk in self._open.values():
            return chunk.opened + self._linger
        return None

    @property
    def records(self) -> int:
        """Records in open chunks."""
        return sum(len(chunk.entries) for chunk in self._open.values())

    def expire(self, now: float) -> None:
        """Move what has been open for as long as it may linger to `ready`."""
        while self._open:
            tag, oldest = next(iter(self._open.items()))
            if (
                oldest.opened + self._linger > now
            ):  # summed as in `deadline`: a difference may round otherwise
                return
            self._close(tag)

    def flush(self) -> None:
        """Move all that is open to `ready`."""
        for tag in list(self._open):
            self._close(tag)

    def _close(self, tag: str) -> None:
        chunk = self._open.pop(tag)
        self.ready.append(
            Chunk(
                id=self._new_id(),
                tag=tag,
                entries=b"".join(chunk.entries),
                count=len(chunk.entries),
                undecodable=chunk.undecodable,
                waiting=chunk.waiting or (),  # nobody, as with core NATS: that is no object
            )
        )
