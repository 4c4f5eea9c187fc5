"""``nats-fluent demo``: all of it on this machine, for a look: NATS, sample publications, a log shipper.

The records go to stdout; everything that is said about them goes to stderr.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import random
import shutil
import signal
import socket
import sysconfig
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import uvloop
from nats.errors import Error as NatsError
from rich.console import Console
from rich.table import Table

from nats_fluent import logs
from nats_fluent.addresses import FluentUrl
from nats_fluent.errors import RunFailed
from nats_fluent.runtime import Service, Summary
from nats_fluent.samples import sample
from nats_fluent.sections import FluentSettings, NatsSettings, ShutdownSettings
from nats_fluent.settings import Settings
from nats_fluent.signals import stopped_by_signals
from nats_fluent.source.client import Client

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Coroutine

STARTED_WITHIN = 15.0
"""Seconds for a program to listen."""

ENDED_WITHIN = 15.0
"""Seconds for a program to end; conf/fluent-bit.conf gives Fluent Bit 10 to hand on what it holds."""

DELIVERED_WITHIN = 30.0
"""Seconds without a new acknowledgement after which the rest is given up."""

PORTS = range(10_000, 32_000)
"""Ports of what is started: below those that systems give to outgoing connections (32,768 and up on Linux), one of
which could have the port before Fluent Bit listens there."""

CONF = Path(__file__).resolve().parent / "conf"
"""The configuration of the log shipper, which comes with the package."""


def run_demo(*, count: int | None, rate: float, conf: Path | None = None) -> int:
    """Publish samples and deliver them, and say what became of them.

    Args:
        count: how many publications; None for as many as there are until SIGTERM or Ctrl-C.
        rate: how many a second.
        conf: the directory with ``fluent-bit.conf``; by default the one that comes with the package.

    Returns:
        The exit code: 0 when every publication was delivered and nothing that was started died, else 1.

    Raises:
        RunFailed: there is no nats-server, or a program did not start; where its log is.
    """
    console = Console(stderr=True, highlight=False, markup=False, emoji=False, soft_wrap=True)
    logs.configure(format="text", level="warning")
    directory = Path(tempfile.mkdtemp(prefix="nats-fluent-demo-"))
    delivered = False
    try:
        delivered = uvloop.run(_Demo(console, directory, conf or CONF).run(count, rate))
    finally:
        if delivered:
            shutil.rmtree(directory, ignore_errors=True)
        elif any(directory.iterdir()):
            console.print(f"The logs of what was started are in {directory}.")
        else:
            directory.rmdir()
    return 0 if delivered else 1


class _Demo:
    """One run.

    Args:
        console: where it says what it does.
        directory: where the logs of what it starts go.
        conf: the directory with ``fluent-bit.conf``.
    """

    def __init__(self, console: Console, directory: Path, conf: Path) -> None:
        self._say = console.print
        self._directory = directory
        self._conf = conf
        self._published: Counter[str] = Counter()
        self._stop = asyncio.Event()
        self._died = False  # a program ended on its own; a log shipper took with it what it acknowledged

    async def run(self, count: int | None, rate: float) -> bool:
        """Return whether all that was published was delivered, to programs that lived until the end."""
        server = _find("nats-server")
        if server is None:
            raise RunFailed("nats-server is not installed; get it with: pip install 'nats-fluent[demo]'")
        stop = self._stop
        async with contextlib.AsyncExitStack() as stack:
            stack.enter_context(stopped_by_signals(stop))
            url = await stack.enter_async_context(self._nats_server(server))
            shipper = await stack.enter_async_context(self._log_shipper())
            settings = Settings(
                nats=NatsSettings(servers=(url,)),
                fluent=FluentSettings(url=(shipper,)),
                shutdown=ShutdownSettings(timeout=5.0),
            )
            self._say(
                "Publishing samples; Ctrl-C ends it." if count is None else f"Publishing {count} samples."
            )
            service = Service(settings)
            summary = await self._serve(service, self._publish(service, url, count, rate))
        self._tell(summary)
        return not self._died and summary.exit_code == 0 and summary.delivered == self._published.total()

    @contextlib.asynccontextmanager
    async def _nats_server(self, path: str) -> AsyncIterator[str]:
        """Run nats-server on a port that it chooses; yield its URL."""
        arguments = ["-a", "127.0.0.1", "-p", "-1", "--ports_file_dir", str(self._directory)]
        async with self._started("nats-server", path, *arguments) as process:
            ports = self._directory / f"nats-server_{process.pid}.ports"
            url = ""
            async for _ in self._patiently("nats-server", process):
                with contextlib.suppress(OSError, ValueError, LookupError):
                    url = json.loads(ports.read_text())["nats"][0]
                    break
            yield url

    @contextlib.asynccontextmanager
    async def _log_shipper(self) -> AsyncIterator[FluentUrl]:
        """Run Fluent Bit when there is one, and yield where records go; say which and why."""
        path, conf = shutil.which("fluent-bit"), self._conf / "fluent-bit.conf"
        if path is None or not conf.is_file():
            why = f"there is no {conf}" if path else "fluent-bit is not on PATH"
            self._say(f"Records go straight to stdout: {why}.")
            yield FluentUrl("stdout")
            return
        self._say(f"Records go to Fluent Bit ({path}), which does with them what {conf} says.")
        port, http_port = _free_ports(2)
        storage = self._directory / "storage"
        storage.mkdir()
        environment = {
            "FORWARD_LISTEN": "127.0.0.1",
            "FORWARD_PORT": str(port),
            "HTTP_PORT": str(http_port),
            "STORAGE_PATH": str(storage),
        }
        async with self._started("fluent-bit", path, "-c", str(conf), env=environment) as process:
            async for _ in self._patiently("fluent-bit", process):
                with contextlib.suppress(OSError):
                    _, writer = await asyncio.open_connection("127.0.0.1", port)
                    writer.close()
                    break
            yield FluentUrl("forward", "127.0.0.1", port)

    @contextlib.asynccontextmanager
    async def _started(
        self, name: str, path: str, *arguments: str, env: dict[str, str] | None = None
    ) -> AsyncIterator[asyncio.subprocess.Process]:
        """Run a program until the block ends; its stdout is ours, its stderr goes to a file."""
        with (self._directory / f"{name}.log").open("wb") as log:
            process = await asyncio.create_subprocess_exec(
                path,
                *arguments,
                stdin=asyncio.subprocess.DEVNULL,
                stderr=log,
                env=os.environ | (env or {}),
                start_new_session=True,  # Ctrl-C is for us; this ends when there is nothing left for it
            )
        told = asyncio.Event()
        watch = asyncio.create_task(self._watch(name, process, told), name=f"watch {name}")
        try:
            yield process
        finally:
            if process.returncode is None:
                told.set()
                with contextlib.suppress(ProcessLookupError):
                    process.terminate()
                await asyncio.wait([watch], timeout=ENDED_WITHIN)
            if not watch.done():
                with contextlib.suppress(ProcessLookupError):
                    process.kill()
            await watch

    async def _watch(self, name: str, process: asyncio.subprocess.Process, told: asyncio.Event) -> None:
        """Wait for its end; a log shipper that dies, also when it is told to end, takes with it what it holds."""
        code = await process.wait()
        if told.is_set() and (code >= 0 or code == -signal.SIGTERM):
            return
        how = "did not end in order, but" if told.is_set() else "ended on its own,"
        self._say(f"{name} {how} with exit code {code}.")
        self._died = True
        self._stop.set()

    async def _patiently(self, name: str, process: asyncio.subprocess.Process) -> AsyncIterator[None]:
        """Yield until the caller has what it waits for; raise RunFailed when that will not come."""
        log = self._directory / f"{name}.log"
        deadline = time.monotonic() + STARTED_WITHIN
        while process.returncode is None:
            yield
            if time.monotonic() > deadline:
                raise RunFailed(f"{name} does not listen after {STARTED_WITHIN:g} s; see {log}")
            await asyncio.sleep(0.02)
        raise RunFailed(f"{name} ended at once with exit code {process.returncode}; see {log}")

    async def _serve(self, service: Service, publish: Coroutine[None, None, None]) -> Summary:
        """Run the consumer while `publish` runs, and until all of it is delivered."""
        ended = asyncio.Event()
        serving = asyncio.create_task(service.serve(ended), name="serve")
        publishing = asyncio.create_task(publish, name="publish")
        try:
            await asyncio.wait([serving, publishing], return_when=asyncio.FIRST_COMPLETED)
            if publishing.done():
                publishing.result()
                await self._delivered(service, serving)
        finally:
            publishing.cancel()
            await asyncio.gather(publishing, return_exceptions=True)
            ended.set()
            summary = await serving
        return summary

    async def _publish(self, service: Service, url: str, count: int | None, rate: float) -> None:
        """Publish at that rate; return when the server has all of it."""
        stop = self._stop
        if not await self._ready(service):
            return
        client = Client(NatsSettings(), fatal=lambda _: stop.set())
        await client.connect([url], name="nats-fluent demo", allow_reconnect=False)
        try:
            start, number = time.monotonic(), 0
            while not stop.is_set() and (count is None or number < count):
                kind = sample(number, time.time_ns())
                await client.publish(kind.topic, kind.payload)
                self._published[kind.topic] += 1
                number += 1
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(stop.wait(), max(0.0, start + number / rate - time.monotonic()))
            await client.flush()
        except NatsError as error:
            raise RunFailed(f"publishing failed: {error}") from error
        finally:
            await client.close()

    async def _ready(self, service: Service) -> bool:
        """Wait until the consumer takes what is published; False when it is to stop before that."""
        ready = asyncio.create_task(service.ready(), name="ready")
        stopped = asyncio.create_task(self._stop.wait(), name="stop")
        try:
            await asyncio.wait([ready, stopped], return_when=asyncio.FIRST_COMPLETED)
            return ready.done()
        finally:
            ready.cancel()
            stopped.cancel()

    async def _delivered(self, service: Service, serving: asyncio.Task[Summary]) -> None:
        """Return when all of it is delivered, or is left to the consumer's own way of stopping."""
        seen, since = -1, time.monotonic()
        while (
            (delivered := service.account.delivered) < self._published.total()
            and not serving.done()
            and not self._stop.is_set()
            and time.monotonic() < since + DELIVERED_WITHIN
        ):
            if delivered != seen:
                seen, since = delivered, time.monotonic()
            await asyncio.sleep(0.02)

    def _tell(self, summary: Summary) -> None:
        table = Table("topic", "published", "received", box=None, pad_edge=False)
        for topic, published in self._published.items():
            table.add_row(topic, str(published), str(summary.received.get(topic, 0)))
        table.add_row("in all", str(self._published.total()), str(sum(summary.received.values())))
        self._say(table)
        self._say(
            f"delivered {summary.delivered}, of which undecodable {summary.undecodable}; "
            f"dropped {sum(summary.dropped.values())}, not acknowledged {summary.left}"
        )
        if summary.failure:
            self._say(summary.failure)


def _find(name: str) -> str | None:
    """Return the path of a program on PATH or beside this Python, where a wheel puts it."""
    return shutil.which(name) or shutil.which(name, path=sysconfig.get_path("scripts"))


def _free_ports(count: int) -> list[int]:
    """Return loopback ports that nothing listens on just now."""
    found: list[int] = []
    while len(found) < count:
        port = random.choice(PORTS)  # noqa: S311 - nobody gains by guessing it
        with contextlib.suppress(OSError), socket.socket() as listener:
            if port not in found:
                listener.bind(("127.0.0.1", port))
                found.append(port)
    return found
