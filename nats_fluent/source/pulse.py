"""Whether the server still answers: when it is to be asked, and for how long it has not answered. Time is a parameter.

A server that is paused, or a network that swallows what is sent, ends no connection. nats-py finds it out by its own
pings, which is for giving the connection up, and takes two to three of the user's `ping_interval`. This only says so,
early, and leaves the connection alone.
"""

from __future__ import annotations

EVERY = 1.0
"""Seconds between two looks. The server is asked when nothing came between two of them: a PING every 2 s at most."""

PATIENCE = 5.0
"""Seconds for which a server may leave the question unanswered."""

ASLEEP = 3 * EVERY
"""Of the time between two looks, at most so much counts: beyond that, this process did not run, and read nothing."""


class Pulse:
    """One connection, from when it was made.

    Attributes:
        silent: seconds for which a question was left unanswered, as of the last look.
    """

    def __init__(self) -> None:
        self._heard = -1
        self._asked = False
        self._looked = 0.0
        self.silent = 0.0

    @property
    def answers(self) -> bool:
        """Whether the server answers, as far as is known."""
        return self.silent <= PATIENCE

    def look(self, heard: int, now: float) -> bool:
        """Return whether the server is to be asked now.

        Args:
            heard: grows with whatever comes from it.
            now: seconds on a clock that never goes back.
        """
        elapsed, self._looked = min(now - self._looked, ASLEEP), now
        if heard != self._heard:
            self._heard, self._asked, self.silent = heard, False, 0.0
            return False
        if self._asked:
            self.silent += elapsed
            return False
        self._asked = True
        return True
