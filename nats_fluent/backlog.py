"""What is in memory, what is on disk, and what is done next with either. Decides, and does nothing itself.

All chunks stand in one line, oldest first, and each is in one of three parts of it::

    sent          with the sink; in memory, and on disk too where it came from there or `always` asks for it
    on disk       in a file, and not in memory
    waiting       in memory, until it may be sent or is written

A chunk moves from the first of one part to the last of the part before it, so that none overtakes another: while
anything is on disk only, what is newer goes to disk too. Each chunk has a number, which is the name of its file, so
that a later process finds the same order.

When a chunk goes to disk:

- in mode `overflow`, when the sink holds half of the budget, or older chunks are on disk only. A log shipper that is
  away for a short time costs no disk, and what memory holds then is lost with a crash of this process;
- in mode `always`, before it is sent. It stays in memory where the sink has room, and is not read again.

When a chunk cannot be written, it waits in memory. In mode `always`, it is sent unwritten once nothing is on disk that
was to free room by being delivered: a disk that takes nothing must not stop the records.

A file is removed when the log shipper has acknowledged its chunk.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, NamedTuple, TypeVar

import msgspec

from nats_fluent.delivery import CHUNK_BYTES

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from nats_fluent.delivery import Chunk

RETRY = 1.0
"""Seconds before what failed is tried again. Until then memory takes what comes, as without a spool."""

AHEAD = 2
"""Windows of chunks that are loaded before they can be sent: the next ones are read while one is acknowledged."""

BLOCK = 4096
"""What a file takes is a multiple of this, the block of ext4 and XFS by default: many small chunks add up."""

HEAD = 256
"""Bytes of a file besides the entries and the tag, at most."""


class Stored(msgspec.Struct, frozen=True, gc=False):
    """A chunk in a file.

    Attributes:
        number: its place in the line, and the name of the file.
        count: how many records.
        undecodable: how many of them hold bytes instead of content.
        length: bytes of its entries.
        size: bytes that the file takes on disk.
        written: when it was written, in seconds since 1970.
    """

    number: int
    count: int
    undecodable: int
    length: int
    size: int
    written: float = 0.0


class Write(NamedTuple):
    """Write the chunk to the file of that number; then `Backlog.wrote` or `not_written`."""

    number: int
    chunk: Chunk


class Load(NamedTuple):
    """Read the file; then `Backlog.loaded`, `not_loaded` or `unreadable`."""

    stored: Stored


class Remove(NamedTuple):
    """Remove the files; then `Backlog.removed`."""

    files: tuple[Stored, ...]


Step = Write | Load | Remove
_Kind = TypeVar("_Kind", Write, Load, Remove)


def footprint(size: int) -> int:
    """Return how many bytes a file of that size takes on disk."""
    return -(-size // BLOCK) * BLOCK


def reserve(buffer_bytes: int, chunk_bytes: int, window: int) -> int:
    """Return how many bytes of the budget are kept for chunks that are loaded, so that a full memory can drain.

    Args:
        buffer_bytes: the budget.
        chunk_bytes: bytes of a chunk, at most.
        window: chunks that the sink has unacknowledged at once, at most.
    """
    return min(buffer_bytes // 4, AHEAD * window * chunk_bytes)


class Backlog:
    """The line of chunks between the pipeline and the sink.

    One step at a time is given out by `next` and reported back before there is another. After each call that changes
    something, what `ready` returns goes to the sink.

    Args:
        always: whether a chunk is written before it is sent.
        memory: bytes that the sink may hold before chunks go to disk.
        reserve: bytes of loaded chunks, at most, unless one alone is larger.
        window: chunks that the sink has unacknowledged at once, at most.
        max_bytes: bytes on disk, at most.
        found: what an earlier process left, in order.
        first: the number of the next chunk.
    """

    def __init__(
        self,
        *,
        always: bool,
        memory: int,
        reserve: int,
        window: int,
        max_bytes: int,
        found: Sequence[Stored] = (),
        first: int = 1,
    ) -> None:
        self._always = always
        self._memory = memory
        self._reserve = reserve
        self._ahead = AHEAD * window
        self._max_bytes = max_bytes
        self._number = first
        self._sent: dict[Chunk, Stored | int] = {}  # the file, or the number of what has none
        self._sent_bytes = 0
        self._sent_stored = 0
        self._on_disk = deque(found)
        self._waiting: deque[tuple[int, Chunk]] = deque()
        self._removals: list[Stored] = []
        self._busy: Step | None = None
        self._loaded_last = False
        self._write_at: float | None = None
        self._load_at: float | None = None
        self._closing = False
        self._stowing = False
        self.disk_bytes = sum(stored.size for stored in found)
        """Bytes on disk, without what is about to be removed."""
        self.given_up: list[Chunk] = []
        """What could not be written when it was the last chance."""

    # The line

    def submit(self, chunk: Chunk) -> None:
        """Take a chunk, newer than all before it."""
        self._waiting.append((self._number, chunk))
        self._number += 1

    def ready(self, now: float) -> list[Chunk]:
        """Return what goes to the sink now; `now` as for `next`."""
        chunks = []
        while self._waiting and self._may_pass(now):
            number, chunk = self._waiting.popleft()
            self._send(chunk, number)
            chunks.append(chunk)
        return chunks

    def settled(self, chunk: Chunk) -> None:
        """Note that the log shipper has the chunk."""
        stored = self._sent.pop(chunk)
        self._sent_bytes -= chunk.memory
        if isinstance(stored, Stored):
            self._sent_stored -= 1
            self._forget(stored)
            self._removals.append(stored)

    def _may_pass(self, now: float) -> bool:
        """Whether the first that waits may be sent from memory."""
        if self._stowing or self._on_disk or isinstance(self._busy, Write) or not self._roomy():
            return False
        return not self._always or (self.blocked(now) and not self._sent_stored)

    def _roomy(self) -> bool:
        return not self._sent or self._sent_bytes < self._memory

    def _send(self, chunk: Chunk, stored: Stored | int) -> None:
        self._sent[chunk] = stored
        self._sent_bytes += chunk.memory
        if isinstance(stored, Stored):
            self._sent_stored += 1

    # The disk

    def blocked(self, now: float) -> bool:
        """Whether the first that waits cannot be written, with the disk full or just found unusable."""
        if not self._waiting:
            return False
        return (self._write_at is not None and now < self._write_at) or not self._fits(self._waiting[0][1])

    def due(self, now: float) -> float | None:
        """When to ask `next` again though nothing else has happened, on its clock; None for never."""
        return min(
            (at for at in (self._write_at, self._load_at) if at is not None and at > now), default=None
        )

    @property
    def roomy_disk(self) -> bool:
        """Whether nothing waits and a quarter of the disk is free: a full one is said to have room again then."""
        return not self._waiting and self._write_at is None and self.disk_bytes <= self._max_bytes // 4 * 3

    @property
    def oldest(self) -> float | None:
        """When the oldest file was written, in seconds since 1970; None without one."""
        # Those that are sent stand before those that are not.
        stored = next((each for each in self._sent.values() if isinstance(each, Stored)), None)
        if stored is None and self._on_disk:
            stored = self._on_disk[0]
        return None if stored is None else stored.written

    @property
    def idle(self) -> bool:
        """Whether no step is out or due, other than loading."""
        return not (self._busy or self._waiting or self._removals)

    @property
    def chunks_on_disk(self) -> int:
        """Chunks that are on disk and not in memory."""
        return len(self._on_disk)

    def next(self, now: float) -> Step | None:
        """Return what to do next; None when nothing is due, or the last step is not reported.

        Args:
            now: seconds on a clock that never goes back.
        """
        if self._busy is not None:
            return None
        if self._stowing:
            self._give_up()
        if self._removals:
            self._busy = Remove(tuple(self._removals))
            self._removals.clear()
            return self._busy
        write, load = self._writable(now), self._loadable(now)
        if load and not (write and self._loaded_last):
            self._loaded_last = True
            self._busy = Load(self._on_disk[0])
        elif write:
            self._loaded_last = False
            self._busy = Write(*self._waiting.popleft())
        return self._busy

    def _writable(self, now: float) -> bool:
        """Whether the first that waits should be written; `ready` has passed on what need not be."""
        return bool(self._waiting) and not self.blocked(now)

    def _loadable(self, now: float) -> bool:
        if not self._on_disk or self._stowing or (self._closing and not self.blocked(now)):
            return False
        if self._load_at is not None and now < self._load_at:
            return False
        in_memory = self._sent_bytes + self._on_disk[0].length + CHUNK_BYTES
        room = len(self._sent) < self._ahead and in_memory <= self._reserve
        return room or not self._sent

    def _fits(self, chunk: Chunk) -> bool:
        size = footprint(len(chunk.entries) + len(chunk.tag.encode()) + HEAD)
        return self.disk_bytes + size <= self._max_bytes

    def _give_up(self) -> None:
        while self._waiting and not self._fits(self._waiting[0][1]):
            self.given_up.append(self._waiting.popleft()[1])

    def _forget(self, stored: Stored) -> None:
        self.disk_bytes -= stored.size
        if self._write_at is not None:
            self._write_at = 0.0  # there is room that was not there when it failed

    # What became of a step

    def wrote(self, stored: Stored) -> bool:
        """Note that the chunk is on disk; return whether it is sent now, too, instead of being forgotten."""
        chunk = self._done(Write).chunk
        self._write_at = None
        self.disk_bytes += stored.size
        if self._stowing or self._on_disk or not self._roomy():
            self._on_disk.append(stored)
            return False
        self._send(chunk, stored)
        return True

    def not_written(self, now: float) -> None:
        """Note that the chunk could not be written: it waits, first as before, or is given up at the end."""
        number, chunk = self._done(Write)
        if self._stowing:
            self.given_up.append(chunk)
        else:
            self._write_at = now + RETRY
            self._waiting.appendleft((number, chunk))

    def loaded(self, chunk: Chunk) -> bool:
        """Note that the first on disk was read; return whether it is sent now."""
        stored = self._done(Load).stored
        self._load_at = None
        if self._stowing:
            return False
        self._on_disk.popleft()
        self._send(chunk, stored)
        return True

    def not_loaded(self, now: float) -> None:
        """Note that the first on disk could not be read this time."""
        self._done(Load)
        self._load_at = now + RETRY

    def unreadable(self) -> None:
        """Note that the first on disk is lost."""
        stored = self._done(Load).stored
        self._load_at = None
        self._on_disk.remove(stored)  # not always the first any more, when it is the end
        self._forget(stored)

    def removed(self, failed: Iterable[Stored] = ()) -> None:
        """Note that the files are gone, but for some."""
        self._done(Remove)
        self.disk_bytes += sum(stored.size for stored in failed)

    def _done(self, kind: type[_Kind]) -> _Kind:
        step, self._busy = self._busy, None
        assert isinstance(step, kind), step
        return step

    # The end

    def stop_loading(self) -> None:
        """Leave what is on disk there, unless it must go to make room for what waits."""
        self._closing = True

    def stow(self) -> list[Chunk]:
        """Take back what the sink has, which has ended, and see to it that all is written.

        Returns:
            The chunks that are on disk already.
        """
        self._stowing = True
        on_disk = [(chunk, stored) for chunk, stored in self._sent.items() if isinstance(stored, Stored)]
        unwritten = [(number, chunk) for chunk, number in self._sent.items() if isinstance(number, int)]
        self._on_disk.extendleft(stored for _, stored in reversed(on_disk))
        self._waiting.extendleft(reversed(unwritten))
        self._sent.clear()
        self._sent_bytes = self._sent_stored = 0
        self._write_at = None  # the last chance
        return [chunk for chunk, _ in on_disk]
