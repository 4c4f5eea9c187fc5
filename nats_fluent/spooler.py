"""Does what the backlog decides: files written, read and removed in a thread, one after the other.

::

    Pipeline.run ─► Spooler.submit ─► sink.submit
                      │      ▲            │
                      ▼      │            ▼
                     files of the     Spooler.settled ─► Pipeline.settled
                        spool
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, TypeVar

from nats_fluent.backlog import Backlog, Load, Remove, Stored, Write, reserve
from nats_fluent.delivery import Chunk
from nats_fluent.errors import SpoolError
from nats_fluent.heirs import inherit
from nats_fluent.log import Log
from nats_fluent.shares import orphans
from nats_fluent.spool import PASSING, Spool

if TYPE_CHECKING:
    from collections.abc import Callable

    from nats_fluent.backlog import Step
    from nats_fluent.delivery import Outcome
    from nats_fluent.heirs import Inherited
    from nats_fluent.pipeline import Pipeline
    from nats_fluent.settings import Settings

Done = Stored | Chunk | Exception | list[tuple[Stored, OSError]]
"""What a step came to: a file, a chunk, what kept it from being, or the files that could not be removed."""

Result = TypeVar("Result")

_FULL = "spool.max_bytes are on disk"


def reserved(settings: Settings) -> int:
    """Return how many bytes of the budget are kept for what is loaded from the spool."""
    if settings.spool.mode == "off":
        return 0
    batch = settings.batch
    return reserve(batch.buffer_bytes, batch.max_bytes, settings.fluent.window)


class Spooler:
    """Stands between the pipeline and the sink, and keeps on disk what memory should not hold.

    Args:
        settings: the sections ``spool``, ``batch`` and ``fluent``, and ``workers``.
        pipeline: what is told of each chunk that is settled, written, read or lost.
        submit: takes what is to be sent; the sink's.
        log: one line per change of state.
        clock: seconds, never going back.
    """

    def __init__(
        self,
        settings: Settings,
        pipeline: Pipeline,
        *,
        submit: Callable[[Chunk], None],
        log: Log | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._settings = settings
        self._clock = clock
        self._pipeline = pipeline
        self._submit = submit
        self._log = log or Log()
        self._spool = Spool(settings.spool.dir, fsync=settings.spool.fsync == "on")
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="spool")
        self._backlog = self._line()
        self._wake = asyncio.Event()
        self._idle = asyncio.Event()
        self._unremoved: list[Stored] = []
        self._trouble = ""
        self._full = False

    def _line(self, **found: object) -> Backlog:
        settings = self._settings
        return Backlog(
            always=settings.spool.mode == "always",
            memory=settings.batch.buffer_bytes // 2,
            reserve=reserved(settings),
            window=settings.fluent.window,
            max_bytes=settings.spool.max_bytes,
            **found,  # type: ignore[arg-type]
        )

    @property
    def trouble(self) -> str:
        """Why it takes no chunks now; empty while it does."""
        backlog, settings = self._backlog, self._settings.spool
        if settings.mode == "always":
            return self._trouble or (_FULL if self._full else "")
        # In mode `overflow`, what failed is not tried again before there is something to write.
        unknown = backlog.idle and backlog.disk_bytes <= settings.max_bytes // 4 * 3
        return (self._trouble or _FULL) if self._full and not unknown else ""

    @property
    def disk_bytes(self) -> int:
        """Bytes on disk."""
        return self._backlog.disk_bytes

    @property
    def chunks_on_disk(self) -> int:
        """Chunks that are on disk and not in memory."""
        return self._backlog.chunks_on_disk

    @property
    def oldest(self) -> float | None:
        """Seconds since the oldest file was written; None without one."""
        written = self._backlog.oldest
        return None if written is None else max(time.time() - written, 0.0)

    async def open(self) -> None:
        """Take the directory, and put what an earlier process left there before all that comes.

        Raises:
            SettingsError: the directory cannot be used, or another process has it.
        """
        found, left = await self._in_thread(self._open)
        directory = str(self._spool.directory)
        for name, (chunks, records) in left.items():
            self._log.info("took over from another spool", dir=name, chunks=chunks, records=records)
        for name, reason in found.aside:
            self._log.error("set aside a file of the spool", file=f"{directory}/{name}", reason=reason)
        if found.foreign:
            self._log.warning(
                "files in the spool that are not its own", dir=directory, files=found.foreign[:20]
            )
        if found.chunks:
            records = sum(stored.count for stored in found.chunks)
            self._log.info("found in the spool", dir=directory, chunks=len(found.chunks), records=records)
            self._pipeline.recovered(records)
        self._backlog = self._line(found=found.chunks, first=found.next_number)

    def _open(self) -> Inherited:
        found = self._spool.open()
        left = orphans(self._spool.directory, self._settings.workers)
        return inherit(self._spool, found, left, fsync=self._settings.spool.fsync == "on")

    def submit(self, chunk: Chunk) -> None:
        """Take a chunk, newer than all before it; never blocks."""
        self._backlog.submit(chunk)
        self._changed()

    def settled(self, chunk: Chunk, outcome: Outcome) -> None:
        """Take the sink's word that the log shipper has the chunk."""
        self._backlog.settled(chunk)
        self._pipeline.settled(chunk, outcome)
        self._changed()

    async def run(self) -> None:
        """Write, read and remove files until cancelled."""
        while True:
            step = self.next_step()
            if step is None:
                await self._sleep()
            else:
                self.done(step, await self._in_thread(self.work, step))

    def next_step(self) -> Step | None:
        """Return what is to be done next; None when nothing is."""
        return self._backlog.next(self._clock())

    def work(self, step: Step) -> Done:
        """Do it; may block."""
        spool = self._spool
        match step:
            case Write(number, chunk):
                try:
                    return spool.write(number, chunk)
                except OSError as error:
                    return error
            case Load(stored):
                try:
                    return spool.read(stored)
                except (SpoolError, OSError) as error:
                    if getattr(error, "errno", None) not in PASSING:
                        with contextlib.suppress(OSError):
                            spool.set_aside(stored.number)
                    return error
            case Remove(files):
                return self._remove(files)

    def _remove(self, files: tuple[Stored, ...] | list[Stored]) -> list[tuple[Stored, OSError]]:
        failed = []
        for stored in files:
            try:
                self._spool.remove(stored)
            except OSError as error:
                failed.append((stored, error))
        return failed

    def done(self, step: Step, done: Done) -> None:
        """Note what it came to."""
        match step, done:
            case Write(_, chunk), Stored():
                self._trouble = ""
                if self._backlog.wrote(done):
                    self._pipeline.stored(chunk)
                    self._submit(chunk)
                else:
                    self._pipeline.spooled(chunk)
            case Load(stored), Chunk():
                if self._backlog.loaded(done):
                    self._pipeline.loaded(done)
                    self._submit(done)
            case Remove(), list():
                self._unremoved += (stored for stored, _ in done)
                self._backlog.removed(stored for stored, _ in done)
                if done:
                    self._log.warning(
                        "cannot remove what was delivered: it will be sent again after a restart",
                        files=len(done),
                        reason=str(done[0][1]),
                    )
            case Write(), OSError():
                self._trouble = str(done)
                self._backlog.not_written(self._clock())
            case Load(stored), Exception():
                self._not_read(stored, done)
        self._changed()

    def _not_read(self, stored: Stored, error: Exception) -> None:
        if isinstance(error, OSError) and error.errno in PASSING:
            self._backlog.not_loaded(self._clock())
            self._log.warning("cannot read the spool, will try again", reason=str(error))
            return
        self._log.error(
            "lost a chunk of the spool; its file is set aside",
            file=f"{self._spool.path(stored.number)}.bad",
            records=stored.count,
            reason=str(error),
        )
        self._backlog.unreadable()
        self._pipeline.lost(stored.count)

    def _changed(self) -> None:
        """Send what may be sent, say what is to be said, and look for the next step."""
        now = self._clock()
        blocked = self._backlog.blocked(now)  # what is sent unwritten for that reason does not wait any more
        for chunk in self._backlog.ready(now):
            self._submit(chunk)
        if not self._full and (blocked or self._backlog.blocked(now)):
            self._full = True
            self._log.warning(
                "cannot spool: memory holds what it can, and then what comes is dropped",
                dir=str(self._spool.directory),
                reason=self._trouble or _FULL,
                bytes=self._backlog.disk_bytes,
            )
        elif self._full and self._backlog.roomy_disk:
            self._full = False
            self._log.info("the spool takes chunks again", bytes=self._backlog.disk_bytes)
        self._wake.set()

    async def _sleep(self) -> None:
        """Wait until something changes, or what failed is to be tried again."""
        if self._backlog.idle:
            self._idle.set()
        now = self._clock()
        due = self._backlog.due(now)
        self._wake.clear()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(None if due is None else due - now):
                await self._wake.wait()

    async def _in_thread(self, work: Callable[..., Result], *args: object) -> Result:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work, *args)

    # The end

    def stop_loading(self) -> None:
        """Leave what is on disk there; the process is about to end."""
        self._backlog.stop_loading()

    async def stow(self) -> None:
        """Write all that is in memory, and return when it is on disk; `run` must be running, and the sink have ended.

        What cannot be written stays in memory.
        """
        for chunk in self._backlog.stow():
            self._pipeline.spooled(chunk)
        self._changed()
        await self._pipeline.handed_over()
        while not self._backlog.idle:
            self._idle.clear()
            self._wake.set()
            await self._idle.wait()
        if self._pipeline.account.spooled:
            self._log.info(
                "left in the spool for the next process",
                dir=str(self._spool.directory),
                chunks=self._backlog.chunks_on_disk,
                records=self._pipeline.account.spooled,
            )
        if self._backlog.given_up:
            self._log.error(
                "could not spool what the log shipper did not take",
                dir=str(self._spool.directory),
                reason=self._trouble or _FULL,
                records=sum(chunk.count for chunk in self._backlog.given_up),
            )

    def close(self) -> None:
        """Give the directory up."""
        self._thread.shutdown()
        self._remove(self._unremoved)
        self._spool.close()
