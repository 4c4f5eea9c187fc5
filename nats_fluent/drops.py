"""What was dropped, by subject, and said at most once a second."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from nats_fluent.log import Log

COUNTED_SUBJECTS = 1000
"""Subjects whose drops are counted on their own; a wildcard can match any number of them."""

OTHER = "other"
"""Under which the drops of all further subjects are counted."""

NAMED_SUBJECTS = 20
"""Subjects that one line of the log names."""

QUIET = 1.0
"""Seconds between two lines about drops."""


class Drops:
    """Counts what was dropped, per subject, and says so at most once a second.

    Args:
        log: where it is said.

    Attributes:
        counts: messages dropped since the start, per subject; at most `COUNTED_SUBJECTS` of them and `OTHER`.
    """

    def __init__(self, log: Log) -> None:
        self.counts: dict[str, int] = {}
        self._log = log
        self._unsaid: dict[str, int] = {}
        self._timer: asyncio.TimerHandle | None = None

    def add(self, subject: str) -> None:
        """Count one message of that subject."""
        counts = self.counts
        if subject not in counts and len(counts) >= COUNTED_SUBJECTS:
            subject = OTHER
        counts[subject] = counts.get(subject, 0) + 1
        self._unsaid[subject] = self._unsaid.get(subject, 0) + 1
        if self._timer is None:
            self._say()
            self._timer = asyncio.get_running_loop().call_later(QUIET, self._after_quiet)

    def close(self) -> None:
        """Say what was not said yet."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._say()

    def _after_quiet(self) -> None:
        self._timer = None
        if self._unsaid:
            self._say()
            self._timer = asyncio.get_running_loop().call_later(QUIET, self._after_quiet)

    def _say(self) -> None:
        if not self._unsaid:
            return
        most = sorted(self._unsaid.items(), key=lambda item: -item[1])
        self._log.warning(
            "dropped messages: they arrived faster than they were taken",
            dropped=sum(self._unsaid.values()),
            subjects=dict(most[:NAMED_SUBJECTS]),
            further_subjects=max(0, len(most) - NAMED_SUBJECTS),
        )
        self._unsaid.clear()
