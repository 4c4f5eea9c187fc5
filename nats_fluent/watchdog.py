"""Who stands still, from facts: decides, and does nothing itself. Time is a parameter.

A part stands still when it has something to do and has done nothing for as long as it may take, failing included: a log
shipper or a server that is away is tried again and again, and each try is something done. So nothing here asks how the
world is, only whether this program moves.

A wrong alarm costs more than a late one: it ends a program that works. So the time in which this process did not run at
all (it was stopped, its container was frozen, the machine slept) counts for nobody.
"""

from __future__ import annotations

from enum import Enum, auto
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping

ASLEEP = 3.0
"""Of the time between two looks that were to be one apart, at most so many count: beyond that, this process did not
run."""


class Sign(NamedTuple):
    """What is known of a part at one time.

    Attributes:
        busy: whether there is something that it has to do now.
        tried: compared with the last one: another one when it has done anything since, failing included.
        done: the same for what it is there for. A restart alone does not change this.
    """

    busy: bool
    tried: object
    done: object


class Verdict(Enum):
    """What is to be done about a part."""

    RESTART = auto()
    """It stood still for as long as it may."""
    FAIL = auto()
    """It did so again before a restart was of any use, or cannot be restarted: the process is to end."""


class Limit(NamedTuple):
    """How long a part may stand still.

    Attributes:
        patience: seconds.
        restarts: whether it can be restarted.
    """

    patience: float
    restarts: bool


class _Part:
    def __init__(self, limit: Limit) -> None:
        self.limit = limit
        self.last: Sign | None = None
        self.still = 0.0
        self.restarted = False

    def look(self, sign: Sign, elapsed: float) -> Verdict | None:
        last, self.last = self.last, sign
        if last is None or sign.done != last.done:
            self.restarted = False
        elif sign.tried == last.tried and sign.busy:
            return self._longer(elapsed)
        self.still = 0.0
        return None

    def _longer(self, elapsed: float) -> Verdict | None:
        self.still += elapsed
        if self.still < self.limit.patience:
            return None
        self.still = 0.0
        if self.restarted or not self.limit.restarts:
            return Verdict.FAIL
        self.restarted = True
        return Verdict.RESTART


class Watchdog:
    """Looks at the parts in turn.

    Args:
        limits: for each part, by its name.
        every: seconds between two looks.
    """

    def __init__(self, limits: Mapping[str, Limit], *, every: float) -> None:
        self._most = every * ASLEEP
        self._parts = {name: _Part(limit) for name, limit in limits.items()}
        self._looked: float | None = None

    @property
    def still(self) -> dict[str, float]:
        """For how many seconds each part has stood still with something to do."""
        return {name: part.still for name, part in self._parts.items()}

    def look(self, signs: Mapping[str, Sign], now: float) -> dict[str, Verdict]:
        """Return what is to be done, for each part about which something is.

        Args:
            signs: of each part.
            now: seconds on a clock that never goes back.
        """
        elapsed = 0.0 if self._looked is None else min(now - self._looked, self._most)
        self._looked = now
        verdicts = {name: part.look(signs[name], elapsed) for name, part in self._parts.items()}
        return {name: verdict for name, verdict in verdicts.items() if verdict is not None}


class Heartbeat:
    """Whether something that counts its beats still does.

    Args:
        looks: how many in a row may find no beat. Looks are counted, and not seconds: who looks does not, either, while
            this process does not run.
    """

    def __init__(self, looks: int) -> None:
        self._looks = looks
        self._beats = -1
        self._missed = 0

    def stopped(self, beats: int) -> bool:
        """Look at the count of beats; return whether there was none for too long."""
        self._missed = 0 if beats != self._beats else self._missed + 1
        self._beats = beats
        return self._missed >= self._looks
