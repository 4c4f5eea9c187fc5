"""A pipeline on its own, and what it says to its neighbours; on a loop without network or sleep."""

from __future__ import annotations

import asyncio
import contextlib
from itertools import count

from building import publication
from scripted import idle

from nats_fluent.delivery import Delivery, Outcome
from nats_fluent.forward.codec import read_entries
from nats_fluent.pipeline import Pipeline
from nats_fluent.record import Recorder
from nats_fluent.sections import BatchSettings, RecordSettings

NEVER = 3600.0
GOOD = publication({"ID": "1"})


class Pipe:
    """A pipeline, and what it said to each of its neighbours."""

    def __init__(self, *, answer_late=False, reserve=0, recorder=None, **batch):
        numbers = count(1)
        self.dropped = []
        self.chunks = []
        self.acknowledged = []
        self.outcomes = []
        self.pipeline = Pipeline(
            BatchSettings(**({"linger": NEVER} | batch)),
            recorder or Recorder(RecordSettings(), "run", levels=None),
            new_chunk_id=lambda: f"id{next(numbers)}",
            dropped=self.dropped.append,
            answer_late=answer_late,
            reserve=reserve,
        )
        self.account = self.pipeline.account

    def receive(self, *payloads, topic="t", subject="t.s", reply="", settled=True):
        for payload in payloads:
            number = sum(self.account.received.values())
            settle = self._note if settled else None
            self.pipeline.receive([Delivery(topic, subject, payload, reply, settle=settle, key=number)])

    def _note(self, numbers, outcome):
        self.outcomes += [(number, outcome) for number in numbers]

    async def acknowledge(self, reply):
        self.acknowledged.append(reply)

    def settle(self, outcome=Outcome.DELIVERED):
        """Settle every chunk that was submitted."""
        while self.chunks:
            self.pipeline.settled(self.chunks.pop(0), outcome)

    def ids(self):
        return [record["id"] for chunk in self.chunks for _, record in read_entries(chunk.entries)]

    @contextlib.asynccontextmanager
    async def running(self):
        task = asyncio.create_task(
            self.pipeline.run(submit=self.chunks.append, acknowledge=self.acknowledge), name="pipeline"
        )
        await idle()
        try:
            yield task
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
