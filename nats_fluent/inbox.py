"""What was received and is not worked on yet, in its order: as it is while it is little, beyond that packed.

An allocator gives memory back in pieces (an arena of CPython is 1 MB), and each only when nothing in it is left. A
burst of messages is many pieces. While it is worked on, something small that stays, as each chunk has, gets its place
in each of them, and what is free around it is too little for a chunk. So all of it stayed, beside the chunks: a
pipeline that got 816,000 publications of some words before it could work took 545 MB for records of 293 MB. Packed
messages are in a memory map of their own, which goes back as a whole: 296 MB.
"""

from __future__ import annotations

import mmap
from collections import deque

import msgspec

from nats_fluent.delivery import Delivery

LOOSE = 4096
"""Deliveries that wait as they are, some 1 MB besides payloads. To pack and unpack one takes 0.4 us, 0.9 with 1 KB."""

TOGETHER = 1 << 20
"""Bytes of payloads that are packed into one map, or those of `LOOSE` deliveries if that is less."""

_decoder = msgspec.msgpack.Decoder(list[tuple[str, str, bytes, str, bytes | None]])


class Inbox:
    """Deliveries, first in, first out."""

    __slots__ = ("_count", "_last", "_last_bytes", "_loose", "_packed")

    def __init__(self) -> None:
        self._count = 0
        # In this order:
        self._loose: deque[Delivery] = deque()
        self._packed: deque[mmap.mmap | list[Delivery]] = deque()
        self._last: list[Delivery] = []
        self._last_bytes = 0

    def __len__(self) -> int:
        """Return how many wait."""
        return self._count

    def put(self, deliveries: list[Delivery]) -> None:
        """Take what was received at once."""
        self._count += len(deliveries)
        if not self._packed and not self._last and len(self._loose) < LOOSE:
            self._loose += deliveries
            return
        self._last += deliveries
        self._last_bytes += sum([len(each.payload) for each in deliveries])
        if self._last_bytes >= TOGETHER or len(self._last) >= LOOSE:
            self._packed.append(_pack(self._last))
            self._last, self._last_bytes = [], 0

    def take(self, most: int) -> list[Delivery]:
        """Return the first ones, and forget them."""
        loose = self._loose
        while len(loose) < min(most, self._count):
            if self._packed:
                loose += _unpack(self._packed.popleft())
            else:
                loose += self._last
                self._last, self._last_bytes = [], 0
        count = min(most, self._count)
        self._count -= count
        return [loose.popleft() for _ in range(count)]


def _pack(deliveries: list[Delivery]) -> mmap.mmap | list[Delivery]:
    if any(each.settle for each in deliveries):  # a stream's, which brings no more than it is asked for
        return deliveries
    data = msgspec.msgpack.encode(
        [(each.topic, each.subject, each.payload, each.reply, each.headers) for each in deliveries]
    )
    packed = mmap.mmap(-1, len(data), flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    packed.write(data)
    return packed


def _unpack(packed: mmap.mmap | list[Delivery]) -> list[Delivery]:
    if isinstance(packed, list):
        return packed
    with packed:
        return [Delivery(*fields) for fields in _decoder.decode(packed)]
