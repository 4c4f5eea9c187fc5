"""Where the parts meet: tasks, signals, and the order in which everything stops.

::

    source ─► Pipeline.receive ─► Pipeline.run ─► sink.submit ─► sink.run
                   ▲                                                │
                   └───────────────── Pipeline.settled ◄────────────┘

With a spool, the `Spooler` stands between pipeline and sink, in both directions.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import os
import secrets
import time
from typing import TYPE_CHECKING, NamedTuple

import msgpack
import uvloop

from nats_fluent.addresses import bare_subject
from nats_fluent.delivery import Delivery
from nats_fluent.drops import Drops
from nats_fluent.envelope import published_to
from nats_fluent.errors import NatsFluentError, told
from nats_fluent.failing import Failing
from nats_fluent.freed import Freed, give_back
from nats_fluent.guard import Guard, Restartable, limits
from nats_fluent.loader import with_transforms
from nats_fluent.log import Log
from nats_fluent.observe import Observer
from nats_fluent.pipeline import Pipeline
from nats_fluent.record import FORWARD_LEVELS
from nats_fluent.recorders import recorder_of
from nats_fluent.signals import stopped_by_signals
from nats_fluent.sink import open_sink
from nats_fluent.source import open_source
from nats_fluent.spooler import Spooler, reserved
from nats_fluent.topics import PUBLICATION, topic_name
from nats_fluent.watchdog import Sign

if TYPE_CHECKING:
    from collections.abc import Coroutine, Iterable

    from nats_fluent.delivery import Chunk
    from nats_fluent.settings import Settings

_CANCEL_AGAIN = 0.2
"""Seconds after which a part that was told to end and goes on is told again."""

_TO_CLOSE = 60.0
"""Seconds for all that follows `shutdown.timeout`, before a process that does not end is ended."""

_LOOK_AGAIN = 0.1
"""Seconds after which it is looked whether the log shipper is still there, when there is a spool to turn to."""

_LAST_ANSWERS = 1.0
"""Seconds for the last answers to publishers, when something else is left that could not be spooled."""


class Summary(NamedTuple):
    """What became of everything that one run received.

    Attributes:
        received: publications by topic.
        delivered: records that the log shipper acknowledged.
        undecodable: those of them that hold bytes instead of content.
        filtered: publications that became no record, as the filters of their topic, or a handler, want none.
        dropped: publications by subject that were lost because the memory budget was full.
        left: records that were not acknowledged when the time to stop was up, and are not on disk.
        failure: why the run ended on its own; empty when it was told to stop.
        recovered: records that an earlier process had left in the spool.
        spooled: records that are in the spool, for the next process.
        lost: records that were in the spool, and could not be read there.
        returned: publications that the stream has again, because there was no room for them or no time.
        extra: records beyond the first of publications of which a handler made several.
    """

    received: dict[str, int]
    delivered: int
    undecodable: int
    dropped: dict[str, int]
    left: int
    failure: str = ""
    recovered: int = 0
    spooled: int = 0
    lost: int = 0
    returned: int = 0
    filtered: int = 0
    extra: int = 0

    @property
    def exit_code(self) -> int:
        """0 when it was told to stop and nothing was left behind, else 1."""
        return 1 if self.failure or self.left else 0


def run(settings: Settings) -> int:
    """Run until SIGTERM or SIGINT, and return the exit code."""

    async def main() -> Summary:
        stop = asyncio.Event()
        with stopped_by_signals(stop):
            return await Service(settings).serve(stop)

    return uvloop.run(main()).exit_code


class Service:
    """The running program: a source, a pipeline and a sink.

    Args:
        settings: what to take from where, and where it goes.

    Attributes:
        account: what became of every publication so far.
        facts: looks at all of it.

    Raises:
        SettingsError: a file that the settings name cannot be used, a file with handlers among them.
    """

    def __init__(self, settings: Settings) -> None:
        self._timeout = settings.shutdown.timeout
        self._listen = settings.http.listen
        self._log = Log()
        self._drops = Drops(self._log)
        self._failing = Failing(self._log)
        self._freed = Freed(give_back)
        levels = None if settings.fluent.url[0].scheme == "stdout" else FORWARD_LEVELS
        self._pipeline = Pipeline(
            settings.batch,
            with_transforms(recorder_of(settings, new_run_id(), levels=levels), settings, levels=levels),
            new_chunk_id=new_chunk_id,
            dropped=self._drops.add,
            answer_late=settings.nats.ack == "delivered" or settings.spool.mode == "always",
            reserve=reserved(settings),
            failed=self._failing.failed,
        )
        self._spooler = (
            Spooler(settings, self._pipeline, submit=self._send, log=self._log)
            if settings.spool.mode != "off"
            else None
        )
        line = self._spooler or self._pipeline
        self._sink = open_sink(settings.fluent, line.settled)
        self._source = open_source(
            settings, receive=self._pipeline.receive, room=lambda: self._pipeline.room, log=self._log
        )
        self._sink_part = Restartable(self._sink.run)
        self._guard = Guard(
            limits(settings),
            signs=self._signs,
            restarts={"nats": self._source.reconnect, "sink": self._sink_part.restart},
            log=self._log,
        )
        self.account = self._pipeline.account
        self._observer = Observer(
            settings,
            source=self._source,
            pipeline=self._pipeline,
            sink=self._sink,
            spooler=self._spooler,
            drops=self._drops,
            guard=self._guard,
            log=self._log,
        )
        self.facts = self._observer.facts

    async def ready(self) -> None:
        """Return once what is published from now on arrives; :meth:`serve` must be running."""
        await self._source.wait_subscribed()

    async def serve(self, stop: asyncio.Event) -> Summary:
        """Take publications and deliver their records until `stop` is set or a part of this dies.

        Then, in this order: nothing new is taken, what arrived is decoded and sent, acknowledgements are awaited
        for up to ``shutdown.timeout``, and the connections are closed. With a spool, what is in memory then goes to
        disk, and it does so at once when the log shipper is not there.

        Raises:
            SettingsError: the directory of the spool, or the address of the endpoint, cannot be used.
        """
        async with contextlib.AsyncExitStack() as stack:
            if self._listen != "off":
                from nats_fluent.http_endpoint import serving  # noqa: PLC0415 - 3 MB that others do without

                await stack.enter_async_context(
                    serving(self._listen, self.facts, drain=stop.set, log=self._log)
                )
            return await self._serve(stop)

    async def _serve(self, stop: asyncio.Event) -> Summary:
        parts: dict[str, Coroutine[object, object, object]] = {}
        if self._spooler is not None:
            await self._spooler.open()
            parts["spool"] = self._spooler.run()
        await self._source.start()
        line = self._spooler or self._sink
        parts |= {
            "sink": self._sink_part.run(),
            "pipeline": self._pipeline.run(submit=line.submit, acknowledge=self._source.acknowledge),
            "source": self._source.wait_closed(),
            "watchdog": self._guard.run(),
            "stop": stop.wait(),
        }
        self._guard.start()
        tasks = {name: asyncio.create_task(part, name=name) for name, part in parts.items()}
        self._observer.phase = "running"
        failure = ""
        try:
            await asyncio.wait(tasks.values(), return_when=asyncio.FIRST_COMPLETED)
            self._observer.phase = "stopping"
            self._guard.end_within(self._timeout + _TO_CLOSE)
            failure = self._failure(tasks)
            if failure:
                self._log.error("failed", reason=failure)
            failure = await self._empty(tasks) or failure
        finally:
            await _cancel(tasks.values())
            await self._source.close()
            self._pipeline.returned(self._source.returned)
            if self._spooler is not None:
                self._spooler.close()
            self._drops.close()
            self._guard.close()
        summary = self._summary(failure)
        (self._log.error if summary.exit_code else self._log.info)(
            "stopped",
            received=sum(summary.received.values()),
            delivered=summary.delivered,
            undecodable=summary.undecodable,
            filtered=summary.filtered,
            extra=summary.extra,
            dropped=sum(summary.dropped.values()),
            left=summary.left,
            recovered=summary.recovered,
            spooled=summary.spooled,
            lost=summary.lost,
            returned=summary.returned,
            replaced_bytes=self.account.replaced_bytes,
        )
        return summary

    async def _empty(self, tasks: dict[str, asyncio.Task[object]]) -> str:
        """Stop taking, and see to it that what is held is delivered; return what failed on the way."""
        if self._spooler is not None:
            self._spooler.stop_loading()
        ending = asyncio.create_task(self._end(), name="end")
        try:
            await self._delivered(ending, tasks["sink"])
            if self._spooler is not None:
                await self._stow(self._spooler, ending, tasks)
            if not ending.done():
                self._log.error(
                    "gave up waiting for acknowledgements",
                    timeout=self._timeout,
                    records=self.account.in_memory,
                )
        finally:
            ending.cancel()
            await asyncio.gather(ending, return_exceptions=True)
        return self._failure(tasks)

    async def _delivered(self, ending: asyncio.Task[None], sink: asyncio.Task[object]) -> None:
        """Wait for acknowledgements as long as it is worth it: a dead sink delivers no more."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._timeout
        while not (ending.done() or sink.done()) and (left := deadline - loop.time()) > 0:
            if self._spooler is not None:
                if not self._sink.stats.connected:
                    return
                left = min(left, _LOOK_AGAIN)
            await asyncio.wait([ending, sink], timeout=left, return_when=asyncio.FIRST_COMPLETED)

    async def _stow(
        self, spooler: Spooler, ending: asyncio.Task[None], tasks: dict[str, asyncio.Task[object]]
    ) -> None:
        """Put on disk what is still in memory, and answer who waits for that."""
        await _cancel([tasks["sink"]])
        stowing = asyncio.create_task(spooler.stow(), name="stow")
        await asyncio.wait([stowing, tasks["spool"]], return_when=asyncio.FIRST_COMPLETED)
        if stowing.done():
            stowing.result()
        else:
            await _cancel([stowing])  # what should write is dead
        await asyncio.wait([ending], timeout=_LAST_ANSWERS)

    def _send(self, chunk: Chunk) -> None:
        self._sink.submit(chunk)

    async def _end(self) -> None:
        await self._source.stop_taking()
        await self._pipeline.end()

    def _failure(self, tasks: dict[str, asyncio.Task[object]]) -> str:
        """Return why a part ended on its own; empty when none did."""
        for name, task in tasks.items():
            if task.done() and not task.cancelled() and (error := task.exception()):
                if isinstance(error, NatsFluentError):
                    return str(error)
                self._log.error("a part of this program died", part=name, exc_info=error)
                return f"{name}: {told(error)}"
        return ""

    def _signs(self) -> dict[str, Sign]:
        """Return what the watchdog looks at, which is the time for others to look, too."""
        self._observer.look()
        self._failing.look()
        self._freed.look(self._pipeline.held_bytes)
        account, source, sink = self.account, self._source, self._sink.stats
        waiting = self._pipeline.waiting
        worked = sum(account.received.values()) - account.dropped - account.returned - waiting
        return {
            # Idle or not: the server answers pings.
            "nats": Sign(busy=True, tried=(source.heard, source.attempts), done=source.heard),
            "pipeline": Sign(busy=waiting > 0, tried=worked, done=worked),
            "sink": Sign(
                # It is ended before what it holds goes to the spool, which may take a slow disk longer than this waits.
                busy=not self._sink_part.ended and self._sink.pending_chunks > 0,
                # Not what was sent: either an acknowledgement or a failure follows.
                tried=(sink.connections, sink.failures, sink.chunks_acknowledged),
                done=sink.chunks_acknowledged,
            ),
        }

    def _summary(self, failure: str) -> Summary:
        return Summary(
            received=dict(self.account.received),
            delivered=self.account.delivered,
            undecodable=self.account.delivered_undecodable,
            dropped=dict(self._drops.counts),
            left=self.account.in_memory,
            failure=failure,
            recovered=self.account.recovered,
            spooled=self.account.spooled,
            lost=self.account.lost,
            returned=self.account.returned,
            filtered=self.account.filtered,
            extra=self.account.extra,
        )


async def _cancel(tasks: Iterable[asyncio.Task[object]]) -> None:
    """Cancel the tasks until they are done.

    Once is not enough: in CPython before 3.13 a TaskGroup, of which the sink has one, loses a cancellation that
    comes together with the failure of one of its own tasks.
    """
    running = set(tasks)
    while running:
        for task in running:
            task.cancel()
        _, running = await asyncio.wait(running, timeout=_CANCEL_AGAIN)


def new_run_id() -> str:
    """Return what tells the records of this process from all others': 40 random bits in base32."""
    return base64.b32encode(secrets.token_bytes(5)).decode("ascii").lower()


def new_chunk_id() -> str:
    """Return a Forward chunk id: base64 of 16 random bytes, as Fluentd's own client makes them."""
    return base64.b64encode(os.urandom(16)).decode("ascii")


def decode_payload(
    payload: bytes, *, subject: str | None, settings: Settings
) -> tuple[list[dict[str, object]], bool]:
    """Make the records of one payload, as `Service` would for stdout.

    Args:
        payload: what was published.
        subject: where; by default where the publication itself says it went.
        settings: the topics, and the form of the record.

    Returns:
        The record, or those that a handler makes, or that there is none because of the topic's filters or a handler;
        and whether the payload could be decoded.

    Raises:
        SettingsError: a file with handlers cannot be used.
    """
    if subject is None:
        says = settings.record.format in (PUBLICATION, "auto")
        subject = (says and published_to(payload)) or "unknown"
    topic = topic_name(settings.topics, subject) or bare_subject(subject)
    recorder = with_transforms(recorder_of(settings, new_run_id(), levels=None), settings, levels=None)
    made = recorder.record(Delivery(topic, subject, payload), time.time_ns())
    if made.filtered:
        return [{"topic": topic, "subject": subject, "filtered": True}], True
    more = made.transformed.more if made.transformed is not None else ()
    return [msgpack.unpackb(each.packed) for each in (made, *more)], not made.error
