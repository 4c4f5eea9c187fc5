"""Asks a server that is silent whether it is there, and says when it does not answer and when it does again."""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import TYPE_CHECKING

from nats import errors

from nats_fluent.source.client import end
from nats_fluent.source.pulse import EVERY, Pulse

if TYPE_CHECKING:
    from nats_fluent.log import Log
    from nats_fluent.source.client import Client


class Listening:
    """Listens on the connections of one client, one after the other, from `start` to `close`.

    Args:
        client: the client.
        log: one line when the server does not answer, and one when it does again.
    """

    def __init__(self, client: Client, log: Log) -> None:
        self._client = client
        self._log = log
        self._pulse = Pulse()
        self._answers = True
        self._tasks: list[asyncio.Task[None]] = []

    @property
    def silent(self) -> float:
        """Seconds for which the server has left a PING unanswered; 0 while it answers in time."""
        return 0.0 if self._pulse.answers else self._pulse.silent

    def start(self) -> None:
        """Begin; there may be no connection yet."""
        self._tasks.append(asyncio.create_task(self._listen(), name="nats-listen"))

    async def close(self) -> None:
        """End."""
        tasks, self._tasks = self._tasks, []
        for task in tasks:
            await end(task)

    def anew(self) -> None:
        """Take note that the connection was made or lost: what was said of another is over."""
        self._pulse, self._answers = Pulse(), True

    async def _listen(self) -> None:
        client = self._client
        while True:
            await asyncio.sleep(EVERY)
            if not client.is_connected:
                continue
            if self._pulse.look(client.heard_bytes, time.monotonic()):
                # In a task of its own, as it may wait for what was written before to leave.
                self._tasks = [task for task in self._tasks if not task.done()]
                self._tasks.append(asyncio.create_task(self._ask(), name="nats-ask"))
            if self._pulse.answers != self._answers:
                self._answers = self._pulse.answers
                if self._answers:
                    self._log.info("NATS answers again", server=client.server)
                else:
                    self._log.warning(
                        "NATS does not answer", server=client.server, seconds=round(self._pulse.silent)
                    )

    async def _ask(self) -> None:
        with contextlib.suppress(errors.Error, OSError):  # the connection was lost: for others to notice
            await self._client.ask()
