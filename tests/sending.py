"""What the tests of the Forward sink share: chunks of numbered records, and a sink that runs."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import os
from typing import TYPE_CHECKING

import msgpack
import uvloop
from forward_server import until
from logged import capturing_log
from programs import PATIENCE

from nats_fluent.delivery import Chunk, Outcome
from nats_fluent.forward.codec import entry
from nats_fluent.sink import ForwardSink

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Coroutine

    from nats_fluent.sections import FluentSettings

TIME_NS = 1560375482268588123
LOOPS = {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}


def run_on(loop: str, main: Coroutine[None, None, None]) -> None:
    """Run a test on the event loop of that name; production has uvloop, unit tests have asyncio."""
    with asyncio.Runner(loop_factory=LOOPS[loop]) as runner:
        runner.run(main)


def chunk_of(*records: dict, tag: str = "aporeto.events") -> Chunk:
    entries = b"".join(entry(TIME_NS + n, msgpack.packb(record)) for n, record in enumerate(records))
    return Chunk(id=base64.b64encode(os.urandom(16)).decode(), tag=tag, entries=entries, count=len(records))


def numbered(count: int, *, each: int = 100, padding: int = 0) -> list[Chunk]:
    """`count` chunks of `each` records, whose `id` counts from 0 through all of them."""
    return [
        chunk_of(*({"id": str(at * each + n), "padding": "x" * padding} for n in range(each)))
        for at in range(count)
    ]


class Sending:
    """A sink, what was settled, and what it logged."""

    def __init__(self, settings: FluentSettings) -> None:
        self.log, self.logged = capturing_log()
        self.settled: list[str] = []
        self.sink = ForwardSink(settings, on_settled=self._settle, log=self.log)

    def _settle(self, chunk: Chunk, outcome: Outcome) -> None:
        assert outcome is Outcome.DELIVERED
        self.settled.append(chunk.id)

    def events(self) -> list[str]:
        return [entry["event"] for entry in self.logged]

    def reasons(self) -> list[str]:
        return [entry["reason"] for entry in self.logged if "reason" in entry]

    async def deliver(self, *chunks: Chunk, within: float = PATIENCE) -> None:
        """Submit, and wait until all that was submitted is settled."""
        for chunk in chunks:
            self.sink.submit(chunk)
        await until(lambda: not self.sink.pending_chunks, within=within, what="every chunk is settled")
        assert len(set(self.settled)) == len(self.settled)


@contextlib.asynccontextmanager
async def sending(settings: FluentSettings) -> AsyncIterator[Sending]:
    """A sink that runs until the block ends."""
    one = Sending(settings)
    task = asyncio.create_task(one.sink.run())
    try:
        yield one
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
