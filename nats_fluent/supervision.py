"""What becomes of a worker that ended: decides, and does nothing itself. Time is a parameter.

A worker that dies once is started again, at the price of what it held; the others go on meanwhile. One that dies again
and again has a reason that a start does not mend. Then the whole ends, with the exit code that one process alone
would have had: whoever runs it (Kubernetes, Swarm, systemd) shows and counts such ends, and a program that hides them
looks well.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable

FIRST = 1.0
"""Seconds from when a worker ended until it is started again; each further time in a row doubles it."""

IN_A_ROW = 4
"""Ends in a row after which it is not started again: with 1, 2 and 4 s between them."""

WELL = 120.0
"""Seconds that a worker must run for its ends before that not to count. What hangs from its start is ended by the
watchdog after 60 s, and such ends are to count."""

SETTINGS = 2
"""The exit code for settings that cannot be used."""


class Again(NamedTuple):
    """The worker is to be started again, so many seconds from now."""

    seconds: float


class Over(NamedTuple):
    """All is to end, with this exit code, for this reason."""

    code: int
    reason: str


def exit_code(returned: int) -> int:
    """Return the exit code for what a process returned; a signal that ended it is negative there."""
    return returned if returned >= 0 else 1


def how(returned: int) -> str:
    """Say how a process ended."""
    return f"exit code {returned}" if returned >= 0 else f"signal {-returned}"


class Supervision:
    """Decides on each worker.

    Args:
        numbers: of the workers.
    """

    def __init__(self, numbers: Iterable[int]) -> None:
        self._started = dict.fromkeys(numbers, 0.0)
        self._ends = dict.fromkeys(self._started, 0)
        self._last = dict.fromkeys(self._started, 0)
        self._over: Over | None = None
        self._stopping = False

    @property
    def stopping(self) -> bool:
        """Whether no worker is to be started any more."""
        return self._stopping

    @property
    def code(self) -> int:
        """The exit code of the whole: the worst of why it ended, and of how each worker did."""
        worst = max(map(exit_code, self._last.values()), default=0)
        return self._over.code if self._over is not None else worst

    def started(self, number: int, now: float) -> None:
        """Note that a worker was started."""
        self._started[number] = now
        self._last[number] = 0

    def stop(self) -> None:
        """Note that all is told to end."""
        self._stopping = True

    def ended(self, number: int, returned: int, now: float) -> Again | Over | None:
        """Note that a worker ended; return what is to be done, None when nothing is.

        Args:
            number: of the worker.
            returned: its exit code, or the negative number of a signal.
            now: seconds on a clock that never goes back.
        """
        self._last[number] = returned
        if self._stopping:
            return None
        if returned == SETTINGS:
            return self._end(SETTINGS, f"worker {number} cannot use its settings")
        lasted = now - self._started[number]
        self._ends[number] = 1 if lasted > WELL else self._ends[number] + 1
        if self._ends[number] >= IN_A_ROW:
            return self._end(
                1, f"worker {number} ended {IN_A_ROW} times in a row, the last with {how(returned)}"
            )
        return Again(FIRST * 2 ** (self._ends[number] - 1))

    def _end(self, code: int, reason: str) -> Over:
        self._stopping = True
        self._over = Over(code, reason)
        return self._over
