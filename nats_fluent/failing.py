"""Says when a handler begins to fail, and when it no longer does; not each time."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from nats_fluent.log import Log
    from nats_fluent.record import Transformed

QUIET = 60.0
"""Seconds without a failure after which a handler counts as mended. One that fails now and then says two lines a minute
at most."""


class Failing:
    """The handlers that fail.

    Args:
        log: one line per change of state.
        clock: seconds, never going back.
    """

    def __init__(self, log: Log, clock: Callable[[], float] = time.monotonic) -> None:
        self._log = log
        self._clock = clock
        self._failing: dict[str, tuple[float, int]] = {}

    def failed(self, transformed: Transformed) -> None:
        """Take in that a handler failed."""
        name = transformed.handler
        _, failures = self._failing.get(name, (0.0, 0))
        self._failing[name] = self._clock(), failures + 1
        if not failures:
            self._log.warning("a handler fails", handler=name, reason=transformed.error)

    def look(self) -> None:
        """Say which of them have not failed for a while; once a second."""
        now = self._clock()
        for name, (last, failures) in list(self._failing.items()):
            if now - last >= QUIET:
                del self._failing[name]
                self._log.info("a handler has not failed for a while", handler=name, failures=failures)
