"""Several workers as one program: starts them, starts them again, ends them, and answers for all of them.

It takes no publication itself. Workers are processes of their own from the start, none is forked: they share nothing
but the queue group (or the durable consumer). Each is in a process group of its own, so that Ctrl-C in a terminal is
one signal, to the supervisor, and not a second one to each worker. `supervision` decides; this acts.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from nats_fluent import __version__
from nats_fluent.channel import ASK, STOP, Order, hear, ordered
from nats_fluent.errors import SettingsError
from nats_fluent.facts import Facts, WorkerFacts
from nats_fluent.log import Log
from nats_fluent.merge import counted, merged
from nats_fluent.shares import share
from nats_fluent.signals import stopped_by_signals
from nats_fluent.supervision import SETTINGS, Again, Over, Supervision, how

if TYPE_CHECKING:
    from nats_fluent.settings import Settings

ANSWER_WITHIN = 0.8
"""Seconds for a worker's answer: by default Kubernetes gives a probe 1 s in all."""


def run(settings: Settings) -> int:
    """Run workers until SIGTERM or SIGINT, and return the exit code.

    Raises:
        SettingsError: the address of the endpoint, or what a worker needs, cannot be used.
    """
    return asyncio.run(Supervisor(settings).serve())


class Worker:
    """One worker, and what took its place when it died.

    Args:
        number: from 1.
        settings: those of the whole.

    Attributes:
        number: from 1.
        problems: what it said is wrong with its settings.
        latest: what the process that runs last said of itself.
        gone: what those before it counted.
    """

    def __init__(self, number: int, settings: Settings) -> None:
        self.number = number
        self.problems: tuple[str, ...] = ()
        self.latest: Facts | None = None
        self.gone: Facts | None = None
        self._order = ordered(Order(number, share(settings, number)))
        self._process: asyncio.subprocess.Process | None = None
        self._writer: asyncio.StreamWriter | None = None
        self._answer: asyncio.Future[None] | None = None
        self._asked = 0.0
        self._starts = 0
        self._ended = "it is starting"

    async def run(self, stop: asyncio.Event) -> int:
        """Start a process and wait for its end; return what it returned.

        Args:
            stop: set when it is to end at once.

        Raises:
            OSError: it cannot be started.
        """
        ours, theirs = socket.socketpair()
        try:
            with theirs:
                self._process = await asyncio.create_subprocess_exec(
                    *command(theirs.fileno()),
                    stdin=asyncio.subprocess.DEVNULL,
                    pass_fds=[theirs.fileno()],
                    process_group=0,
                )
            reader, self._writer = await asyncio.open_unix_connection(sock=ours)
        except OSError:
            ours.close()
            raise
        self._starts += 1
        self._writer.write(self._order)
        if stop.is_set():
            self.stop()
        while (found := await hear(reader)) is not None:
            self.problems = found.problems
            if found.facts is not None:
                self.latest = found.facts
                self._answered()
        returned = await self._process.wait()
        self._writer.close()
        with contextlib.suppress(OSError):
            await self._writer.wait_closed()
        self._process = self._writer = None
        self._ended = f"it ended with {how(returned)}"
        self.gone = counted(merged([], [each for each in (self.gone, self.latest) if each is not None]))
        self.latest = None
        self._answered()
        return returned

    def stop(self) -> None:
        """Tell it to end in order."""
        if self._writer is not None:
            self._writer.write(STOP)

    def kill(self) -> None:
        """End it."""
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()

    async def look(self) -> WorkerFacts:
        """Ask it how it is."""
        restarts = max(self._starts - 1, 0)
        if self._process is None or self._writer is None:
            return WorkerFacts(number=self.number, restarts=restarts, away=self._ended)
        loop = asyncio.get_running_loop()
        if self._answer is None:
            self._answer = loop.create_future()
            self._asked = loop.time()
            self._writer.write(ASK)
        pid = self._process.pid
        answered, _ = await asyncio.wait([self._answer], timeout=ANSWER_WITHIN)
        if not answered:
            silent = loop.time() - self._asked
            away = f"it has not answered for {silent:.0f} s"
            return WorkerFacts(number=self.number, pid=pid, restarts=restarts, silent=silent, away=away)
        facts = self.latest  # None when it ended instead
        away = "" if facts is not None else self._ended
        return WorkerFacts(number=self.number, pid=pid, restarts=restarts, facts=facts, away=away)

    def _answered(self) -> None:
        if self._answer is not None:
            self._answer.set_result(None)
            self._answer = None


def command(descriptor: int) -> list[str]:
    """Return how a worker is started: it is to find its modules where this process does.

    As `python -m` it looks into the working directory first; a program that is installed does not.
    """
    flags = ["-I"] if sys.flags.isolated else [] if sys.path[:1] == [str(Path.cwd())] else ["-P"]
    return [sys.executable, *flags, "-m", "nats_fluent.worker", str(descriptor)]


class Supervisor:
    """The workers, and one endpoint for them.

    Args:
        settings: of the whole, with `workers` above 1.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._log = Log()
        numbers = range(1, settings.workers + 1)
        self._workers = [Worker(number, settings) for number in numbers]
        self._supervision = Supervision(numbers)
        self._stop = asyncio.Event()
        self._began = time.monotonic()

    async def serve(self) -> int:
        """Run until told to stop, or until a worker cannot be kept; return the exit code.

        Raises:
            SettingsError: as in `run`.
        """
        listen = self._settings.http.listen
        async with contextlib.AsyncExitStack() as stack:
            stack.enter_context(stopped_by_signals(self._stop, second=self._kill))
            if listen != "off":
                from nats_fluent.http_endpoint import serving  # noqa: PLC0415 - as in the runtime

                drain = self._stop.set
                await stack.enter_async_context(serving(listen, self.facts, drain=drain, log=self._log))
            self._log.info("starting workers", workers=len(self._workers))
            async with asyncio.TaskGroup() as group:
                ending = group.create_task(self._end())
                await asyncio.gather(*(group.create_task(self._keep(worker)) for worker in self._workers))
                ending.cancel()
        code = self._supervision.code
        if code == SETTINGS:
            raise SettingsError(
                *dict.fromkeys(problem for each in self._workers for problem in each.problems)
            )
        (self._log.error if code else self._log.info)("all workers have stopped", exit_code=code)
        return code

    async def facts(self) -> Facts:
        """Ask all workers, and return what is known of the whole."""
        workers = await asyncio.gather(*(worker.look() for worker in self._workers))
        now = [worker.latest for worker in self._workers if worker.latest is not None]
        found = merged(now, [worker.gone for worker in self._workers if worker.gone is not None])
        return msgspec.structs.replace(
            found,
            version=__version__,
            time=time.time(),
            uptime=time.monotonic() - self._began,
            phase="stopping" if self._stop.is_set() else found.phase,
            workers=list(workers),
        )

    async def _keep(self, worker: Worker) -> None:
        """Run a worker, again and again if need be, until it is not wanted any more."""
        supervision, clock = self._supervision, asyncio.get_running_loop().time
        while not self._stop.is_set():
            supervision.started(worker.number, clock())
            try:
                returned = await worker.run(self._stop)
            except OSError as error:
                self._log.error("cannot start a worker", worker=worker.number, reason=str(error))
                returned = 1
            match supervision.ended(worker.number, returned, clock()):
                case Again(seconds):
                    self._log.error(
                        "a worker ended, and is started again",
                        worker=worker.number,
                        how=how(returned),
                        seconds=seconds,
                    )
                    with contextlib.suppress(TimeoutError):
                        async with asyncio.timeout(seconds):
                            await self._stop.wait()
                case Over(_, reason):
                    self._log.error("failed", reason=reason)
                    self._stop.set()

    async def _end(self) -> None:
        await self._stop.wait()
        self._supervision.stop()
        for worker in self._workers:
            worker.stop()

    def _kill(self) -> None:
        for worker in self._workers:
            worker.kill()
