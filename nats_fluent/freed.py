"""Memory that was held, and is to go back to the system when it is not any more.

glibc gives back what is free at the end of its heap, and what was large enough to be a map of its own: 128 KiB at
first, and more once such a one was freed. Chunks of small records are neither. After an outage with these the process
kept 256 to 312 MB; told to look for free pages, which takes 44 ms then, it keeps 42 MB.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

MUCH = 32 << 20
"""Bytes that have to have been held, for it to be worth looking."""

FEW = 8
"""What is held now, when it is time to look, is less than what was held divided by this."""


class Freed:
    """Watches what is held.

    Args:
        give_back: is called when much was held that is not any more.
    """

    def __init__(self, give_back: Callable[[], None]) -> None:
        self._give_back = give_back
        self._most = 0

    def look(self, held: int) -> None:
        """Take note of how much is held now; every now and then."""
        self._most = max(self._most, held)
        if self._most >= MUCH and held < self._most // FEW:
            self._most = held
            self._give_back()


def give_back() -> None:
    """Give free memory back to the system; where the C library has no way to, do nothing."""
    import ctypes  # noqa: PLC0415 - after the first outage is soon enough

    with contextlib.suppress(AttributeError):  # neither musl nor macOS has it
        ctypes.CDLL(None).malloc_trim(0)
