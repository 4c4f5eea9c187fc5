"""The watchdog at work: looks at the parts each second, restarts what stands still, and ends a process that hangs.

A thread of its own sees to it that the event loop goes round, and that a process which is to end does. It cannot see a
call into C that never gives up the interpreter's lock; nothing here makes one that waits.
"""

from __future__ import annotations

import asyncio
import contextlib
import faulthandler
import os
import threading
import time
from typing import TYPE_CHECKING, NoReturn

from nats_fluent.errors import RunFailed
from nats_fluent.watchdog import Heartbeat, Limit, Verdict, Watchdog

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine, Mapping

    from nats_fluent.log import Log
    from nats_fluent.settings import Settings
    from nats_fluent.watchdog import Sign

EVERY = 1.0
"""Seconds between two looks."""

BLOCKED = 60
"""Seconds for which the event loop may stand still: far beyond what any one step takes."""

MARGIN = 10.0
"""Seconds of patience beyond what settings and constants add up to: a busy machine is no reason to restart."""

_STDERR = 2


def limits(settings: Settings) -> dict[str, Limit]:
    """Return how long each part may stand still; what is left out may for ever.

    - ``nats``: nats-py gives up a server that leaves two of its pings unanswered. One that does not even do that has
      a ping more; and an attempt to connect takes no longer than `connect_timeout`, with 2.5 s before it.
    - ``pipeline``: works on what it has received in slices of milliseconds.
    - ``sink``: an acknowledgement is awaited for `ack_timeout`, an attempt to connect takes `connect_timeout`, and
      up to 5 s lie between two. Standard output may be blocked for as long as its reader likes.
    """
    nats, fluent = settings.nats, settings.fluent
    found = {
        "nats": Limit(4 * nats.ping_interval + 2 * nats.connect_timeout + MARGIN, restarts=True),
        "pipeline": Limit(BLOCKED, restarts=False),
    }
    if fluent.url[0].scheme != "stdout":
        patience = 2 * (fluent.ack_timeout + fluent.connect_timeout) + 5.0 + MARGIN
        found["sink"] = Limit(patience, restarts=True)
    return found


class Restartable:
    """A part that can be ended and begun again while the others go on.

    Attributes:
        ended: whether `run` has ended, so that nothing is to be expected of it.

    Args:
        start: begins it; called once for each time.
    """

    def __init__(self, start: Callable[[], Coroutine[object, object, None]]) -> None:
        self.ended = False
        self._start = start
        self._task: asyncio.Task[None] | None = None
        self._again = False

    async def run(self) -> None:
        """Run it until cancelled, or until it ends on its own."""
        try:
            while True:
                self._again = False
                self._task = asyncio.create_task(self._start())
                try:
                    await self._task
                except asyncio.CancelledError:
                    if not self._again or not self._task.done():
                        raise
                else:
                    return
        finally:
            self.ended = True

    async def restart(self) -> None:
        """End it, and let `run` begin it again. Returns at once."""
        if self._task is not None and not self._task.done():
            self._again = True
            self._task.cancel()


class Guard:
    """Watches the parts of a running service.

    Args:
        limits: how long each part may stand still.
        signs: what is known of each of these parts now.
        restarts: for each part that can be restarted, how; must not block.
        log: one line for each part that stands still.
    """

    def __init__(
        self,
        limits: Mapping[str, Limit],
        *,
        signs: Callable[[], Mapping[str, Sign]],
        restarts: Mapping[str, Callable[[], Awaitable[None]]],
        log: Log,
    ) -> None:
        self._limits = limits
        self._signs = signs
        self._restarts = restarts
        self._log = log
        self._beats = 0
        self._dog = Watchdog(limits, every=EVERY)
        self._looked: float | None = None
        self._looks_left: int | None = None
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch_loop, name="watchdog", daemon=True)

    @property
    def looked_ago(self) -> float | None:
        """Seconds since it looked at the parts; None when it has not yet."""
        return None if self._looked is None else time.monotonic() - self._looked

    @property
    def still(self) -> dict[str, float]:
        """For how many seconds each part has stood still with something to do."""
        return self._dog.still

    def start(self) -> None:
        """Start the thread; from now on `run` is to run."""
        self._thread.start()

    def close(self) -> None:
        """End the thread."""
        self._over.set()
        self._thread.join()

    async def run(self) -> None:
        """Look at the parts until cancelled.

        Raises:
            RunFailed: a part stands still for good.
        """
        while True:
            self._beats += 1
            self._looked = time.monotonic()
            for part, verdict in self._dog.look(self._signs(), self._looked).items():
                patience = self._limits[part].patience
                if verdict is Verdict.FAIL:
                    raise RunFailed(f"{part}: it had something to do, and did nothing for {patience:g} s")
                self._log.error("a part stands still, and is restarted", part=part, seconds=patience)
                await self._restarts[part]()
            await asyncio.sleep(EVERY)

    def end_within(self, seconds: float) -> None:
        """End the process if `close` was not called after so many seconds in which it ran."""
        self._looks_left = round(seconds / EVERY)

    def _watch_loop(self) -> None:
        heart = Heartbeat(round(BLOCKED / EVERY))
        while not self._over.wait(EVERY):
            if self._looks_left is not None:
                self._looks_left -= 1
                if self._looks_left < 0:
                    leave("it was to end, and did not")
            elif heart.stopped(self._beats):
                leave(f"the event loop stood still for {BLOCKED} s")


def leave(why: str) -> NoReturn:
    """End this process now, with exit code 1; say why on stderr, and where each thread is."""
    with contextlib.suppress(OSError):
        # A stderr that nobody reads may be what blocks: what it has no room for is not worth waiting.
        os.set_blocking(_STDERR, False)
        os.write(_STDERR, f"nats-fluent: {why}; the threads are here:\n".encode())
        faulthandler.dump_traceback(_STDERR)
    os._exit(1)
