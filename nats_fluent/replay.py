"""``nats-fluent replay``: a part of a stream to the log shipper, once more.

The records are those that `nats-fluent run` made of it, with the same ids, so that what is there already can be told.
The durable consumer is not touched.
"""

from __future__ import annotations

import asyncio
import io
import re
import sys
import time
from collections import deque
from typing import TYPE_CHECKING, NamedTuple

import msgspec
import uvloop
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.text import Text

from nats_fluent import logs, plain
from nats_fluent.addresses import SUBJECTS
from nats_fluent.errors import NatsFluentError, RunFailed, SettingsError
from nats_fluent.failing import Failing
from nats_fluent.loader import with_transforms
from nats_fluent.log import Log
from nats_fluent.options import quote
from nats_fluent.pipeline import DELIVERY_BYTES, Pipeline
from nats_fluent.record import FORWARD_LEVELS
from nats_fluent.recorders import recorder_of
from nats_fluent.runtime import new_chunk_id, new_run_id
from nats_fluent.signals import stopped_by_signals
from nats_fluent.sink import open_sink
from nats_fluent.source.replay import ReplaySource, measured

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.progress import Task

    from nats_fluent.delivery import Delivery
    from nats_fluent.settings import Settings
    from nats_fluent.source.replay import Part, Place, Start

LOOK_EVERY = 0.2
"""Seconds between two looks at how far it is."""

ACKS_WITHIN = 2.0
"""Seconds for the server to take in the last acknowledgements, of which the log shipper's are already here."""

_NS = 1_000_000_000
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
_AGO = re.compile(r"([0-9]{1,9})([smhd])", re.ASCII)
_SEQUENCE = re.compile(r"[0-9]{1,18}", re.ASCII)


class Wish(NamedTuple):
    """What to replay.

    Attributes:
        start: the first sequence, or the time from which on.
        end: the last sequence, or the time up to which; None for all that the stream has now.
    """

    start: Start
    end: Start | None = None


def wish(since: str | None, from_sequence: int | None, until: str | None, *, now_ns: int) -> Wish:
    """Read what the command was given.

    Args:
        since: RFC 3339, or how long ago: ``90m``, ``2h``, ``3d``.
        from_sequence: the first sequence.
        until: as `since`, or the last sequence.
        now_ns: the time, in nanoseconds since 1970.

    Raises:
        SettingsError: with one sentence for the first that cannot be.
    """
    if (since is None) == (from_sequence is None):
        raise SettingsError("replay: give one of --since and --from-sequence: where it begins.")
    begin = _time("--since", since, now_ns) if since is not None else None
    end: int | None = None
    last: int | None = None
    if until is not None and _SEQUENCE.fullmatch(until):
        last = int(until)
        if from_sequence is not None and last < from_sequence:
            raise SettingsError(f"--until: {last} is before --from-sequence {from_sequence}.")
    elif until is not None:
        end = _time("--until", until, now_ns)
        if begin is not None and end < begin:
            raise SettingsError(f"--until: {quote(until)} is before --since {quote(since)}.")
    start: Start = _rfc3339(begin) if begin is not None else int(from_sequence or 1)
    return Wish(start, last if last is not None else _rfc3339(end) if end is not None else None)


def _time(flag: str, text: str, now_ns: int) -> int:
    ago = _AGO.fullmatch(text)
    when = now_ns - int(ago[1]) * _UNITS[ago[2]] * _NS if ago else plain.parse_rfc3339(text)
    if when is None or when < 0:
        raise SettingsError(
            f"{flag}: {quote(text)} is not a time; write it as 2026-01-02T03:04:05Z, or how long ago: 90m, 2h or 3d."
        )
    if when > now_ns:
        raise SettingsError(f"{flag}: {quote(text)} lies in the future.")
    return when


def _rfc3339(ns: int) -> str:
    return plain.rfc3339(*divmod(ns, _NS))


class Pace:
    """When the next of so many a second may go; without I/O."""

    def __init__(self, rate: float) -> None:
        self._gap = 1 / rate
        self._next = 0.0

    def wait(self, now: float) -> float:
        """Return how many seconds to wait before this one; what was late is not made up for in a burst."""
        at = max(self._next, now)
        self._next = at + self._gap
        return at - now


def run(
    settings: Settings,
    wanted: Wish,
    *,
    subjects: Sequence[str] = (),
    dry_run: bool = False,
    rate: float | None = None,
) -> int:
    """Replay, and say up to where all is acknowledged.

    Args:
        settings: the stream, and where its records go.
        wanted: which part.
        subjects: which subjects of the stream; by default those that `nats-fluent run` would take.
        dry_run: whether to say only what would be replayed.
        rate: messages a second, at most.

    Returns:
        The exit code: 0 when all of it was acknowledged, else 1.

    Raises:
        SettingsError: no stream is set, or a subject cannot be one.
        NatsFluentError: NATS or the stream cannot be used, or it has nothing of what is wanted.
    """
    jetstream = settings.jetstream
    if not jetstream.stream:
        raise SettingsError("replay: there is no stream; give jetstream.stream (--jetstream-stream).")
    if subjects:
        try:
            found = SUBJECTS.parse(list(subjects))
        except ValueError as error:
            raise SettingsError(f"--subject: {error}.") from None
        jetstream = msgspec.structs.replace(jetstream, filter_subjects=found)
    if rate is not None:  # what waits for its turn is not acknowledged meanwhile: no more of it than for 2 s
        few = max(1, min(jetstream.max_ack_pending, int(2 * rate)))
        jetstream = msgspec.structs.replace(jetstream, max_ack_pending=few)
    settings = msgspec.structs.replace(settings, jetstream=jetstream)
    console = Console(file=sys.stderr, highlight=False, markup=False, emoji=False, soft_wrap=True)
    logs.configure(format="text", level="warning", stream=_Above(console))  # type: ignore[arg-type]
    return uvloop.run(_replay(settings, wanted, console, dry_run=dry_run, rate=rate))


async def _replay(
    settings: Settings, wanted: Wish, console: Console, *, dry_run: bool, rate: float | None
) -> int:
    part = await measured(settings, wanted.start, wanted.end)
    name, subjects = settings.jetstream.stream, ", ".join(part.subjects)
    if not part.messages:
        raise RunFailed(
            f"there is nothing to replay: the stream {name} has no message of {subjects} "
            f"from sequence {part.first} to {part.last}"
        )
    where = ", ".join(map(str, settings.fluent.url))
    what = (
        f"{part.messages} messages of {name} ({subjects}), sequences {part.first} to {part.last}, to {where}"
    )
    console.print(f"{'Would replay' if dry_run else 'Replaying'} {what}.")
    if dry_run:
        return 0
    return await _Replay(settings, part, console, rate).run()


class _Above(io.TextIOBase):
    """A stream for log lines, which stand above the progress bar."""

    def __init__(self, console: Console) -> None:
        self._console = console

    def write(self, text: str) -> int:
        self._console.print(Text(text), end="")
        return len(text)


class _Speed(TextColumn):
    def __init__(self) -> None:
        super().__init__("")

    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        return Text(f"{speed:,.0f}/s" if speed is not None else "-/s")


class _Replay:
    """One run.

    Args:
        settings: as for `run`.
        part: what is replayed.
        console: where it says how far it is.
        rate: messages a second, at most.
    """

    def __init__(self, settings: Settings, part: Part, console: Console, rate: float | None) -> None:
        self._console = console
        self._part = part
        self._timeout = settings.shutdown.timeout
        self._pace = Pace(rate) if rate is not None else None
        self._queue: deque[Delivery] = deque()
        self._queued_bytes = 0
        self._wake = asyncio.Event()
        self._to_stdout = settings.fluent.url[0].scheme == "stdout"
        levels = None if self._to_stdout else FORWARD_LEVELS
        self._failing = Failing(Log())
        self._pipeline = Pipeline(
            settings.batch,
            with_transforms(recorder_of(settings, new_run_id(), levels=levels), settings, levels=levels),
            new_chunk_id=new_chunk_id,
            dropped=lambda _: None,  # what is in a stream is given back, never dropped
            failed=self._failing.failed,
        )
        self._sink = open_sink(settings.fluent, self._pipeline.settled)
        self._source = ReplaySource(
            settings.nats,
            settings.topics,
            jetstream=settings.jetstream,
            part=part,
            receive=self._pipeline.receive if self._pace is None else self._enqueue,
            room=lambda: self._pipeline.room - self._queued_bytes,
            log=Log(),
        )
        self._floor = part.first - 1

    async def run(self) -> int:
        """Return the exit code."""
        stop = asyncio.Event()
        account, part = self._pipeline.account, self._part
        done, failure = False, ""
        with stopped_by_signals(stop):
            await self._source.start()
            parts = [
                self._sink.run(),
                self._pipeline.run(submit=self._sink.submit, acknowledge=self._source.acknowledge),
                self._source.wait_closed(),
                self._feed(),
                stop.wait(),
            ]
            following = asyncio.create_task(self._follow(), name="follow")
            tasks = [following, *(asyncio.create_task(each) for each in parts)]
            try:
                await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
                done = following.done() and not following.cancelled() and following.exception() is None
                if not done:
                    await self._end(tasks[1])
                for task in tasks:
                    if task.done():
                        task.result()
            except NatsFluentError as error:
                failure = f" {error}."
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)
                await self._source.close()
        bad = f", {account.delivered_undecodable} undecodable" if account.delivered_undecodable else ""
        less = f", {account.filtered} publications filtered" if account.filtered else ""
        said = f"{account.delivered} records delivered{bad}{less}; all up to sequence {self._floor} is acknowledged."
        if done:
            self._console.print(f"Done: {said}")
            return 0
        self._console.print(
            f"Stopped:{failure} {said} Go on with --from-sequence {max(self._floor, part.first - 1) + 1}."
        )
        return 1

    async def _follow(self) -> None:
        """Show how far it is; return when all of it is acknowledged."""
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            _Speed(),
            TimeRemainingColumn(),
        )
        # Records that go to the same terminal would be mixed with it.
        terminal = self._console.is_terminal and not (self._to_stdout and sys.stdout.isatty())
        with Progress(
            *columns, console=self._console, disable=not terminal, redirect_stdout=False
        ) as progress:
            task = progress.add_task("Replaying", total=self._part.messages)
            while True:
                place = await self._source.place()
                account = self._pipeline.account
                progress.update(
                    task, completed=min(account.delivered + account.filtered, self._part.messages)
                )
                if place is not None:
                    self._floor = place.floor
                    if place.done and not self._source.unsettled:
                        return
                await asyncio.sleep(LOOK_EVERY)

    async def _end(self, sink: asyncio.Task[object]) -> None:
        """Take nothing more, wait for what is on its way, and learn up to where that is acknowledged."""
        await self._source.stop_taking()
        self._queue.clear()
        if self._sink.stats.connected and not sink.done():
            ending = asyncio.create_task(self._pipeline.end(), name="end")
            await asyncio.wait([ending, sink], timeout=self._timeout, return_when=asyncio.FIRST_COMPLETED)
            ending.cancel()
        clock = asyncio.get_running_loop().time
        deadline = clock() + ACKS_WITHIN
        while (place := await self._place()) is not None:
            self._floor = place.floor
            if place.unacknowledged <= self._source.unsettled or clock() > deadline:
                return
            await asyncio.sleep(LOOK_EVERY)

    async def _place(self) -> Place | None:
        return await self._source.place()

    def _enqueue(self, deliveries: list[Delivery]) -> None:
        self._queued_bytes += sum(len(delivery.payload) + DELIVERY_BYTES for delivery in deliveries)
        self._queue.extend(deliveries)
        self._wake.set()

    async def _feed(self) -> None:
        """Hand on what waits for its turn."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._queue and self._pace is not None:
                if wait := self._pace.wait(time.monotonic()):
                    await asyncio.sleep(wait)
                delivery = self._queue.popleft()
                self._queued_bytes -= len(delivery.payload) + DELIVERY_BYTES
                self._pipeline.receive([delivery])
