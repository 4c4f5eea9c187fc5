"""The Forward sink: chunks to a log shipper, at least once.

One connection at a time, several chunks unacknowledged on it. When it fails, all of these are sent again
first, in their order and with their ids, to the same server or the next one.
"""

from __future__ import annotations

import asyncio
import platform
import random
import time
from collections import deque
from typing import TYPE_CHECKING, Protocol

from nats_fluent.delivery import Outcome
from nats_fluent.errors import (
    ForwardError,
    HandshakeRefused,
    LocalProtocolError,
    ServerUnavailable,
    SettingsError,
)
from nats_fluent.forward.codec import encoder
from nats_fluent.forward.connection import (
    Acknowledged,
    Failed,
    ForwardConnection,
    State,
    UnknownAcknowledgement,
)
from nats_fluent.forward.handshake import Credentials
from nats_fluent.log import Log
from nats_fluent.sink.common import SinkStats
from nats_fluent.sink.stream import dial as open_stream
from nats_fluent.sink.stream import tls_context

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from nats_fluent.addresses import FluentUrl
    from nats_fluent.delivery import Chunk
    from nats_fluent.forward.connection import Event
    from nats_fluent.sections import FluentSettings
    from nats_fluent.sink.common import OnSettled
    from nats_fluent.sink.stream import Stream

BACKOFF_FIRST = 0.1
"""Seconds, at most, before the second round over all servers."""
BACKOFF_MAX = 5.0
"""Seconds, at most, before any round. Meanwhile memory fills, so it is no longer than what spares the log shipper."""
STUCK_AFTER = 5
"""Connections in a row that ended with the same chunk unacknowledged, before a warning names it: one or two
are a restart."""
SALT_BYTES = 16
"""As the server's nonce has."""


class Dial(Protocol):
    """How a connection is opened."""

    def __call__(self, url: FluentUrl, settings: FluentSettings) -> Awaitable[Stream]:
        """Return the open connection, or raise ServerUnavailable."""


def backoff(rounds: int, rng: random.Random) -> float:
    """Return how many seconds to wait after so many rounds (1, 2, ...) over all servers failed.

    Exponential with full jitter, so that many clients of one server do not return together.
    """
    # 2 ** 20 is far beyond the longest wait, and no float overflows.
    return rng.uniform(0, min(BACKOFF_MAX, BACKOFF_FIRST * 2 ** min(rounds - 1, 20)))


class _OnlyOneError(Exception):
    """Not an error: the server takes one message per connection, and has acknowledged it."""


class ForwardSink:
    """Sends chunks to the servers of `settings.url`, one at a time, and stays with one that works.

    Args:
        settings: the section ``fluent``.
        on_settled: called once for each chunk, when the server acknowledged it.
        log: one line per change of state; its own logger by default.
        rng: for the salt and the waits.
        dial: opens a connection.
        clock: seconds, never going back.
        sleep: waits so many seconds of `clock`.

    Raises:
        SettingsError: a certificate or key file cannot be used.
    """

    def __init__(
        self,
        settings: FluentSettings,
        *,
        on_settled: OnSettled,
        log: Log | None = None,
        rng: random.Random | None = None,
        dial: Dial = open_stream,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        if any(url.tls for url in settings.url):
            tls_context(settings)
        self.stats = SinkStats()
        self._settings = settings
        self._on_settled = on_settled
        self._rng = rng or random.SystemRandom()
        self._dial = dial
        self._clock = clock
        self._sleep = sleep
        self._log = log or Log()
        self._encode = encoder(settings.mode, settings.compress)
        self._in_thread = settings.compress != "off"
        # In order: first what was sent and is to be sent again (`_again` of them), then what was not sent.
        self._waiting: deque[Chunk] = deque()
        self._again = 0
        self._wake = asyncio.Event()
        self._sent_at: dict[str, float] = {}
        self._pending = 0
        self._pending_chunks = 0
        # Failures since the last acknowledgement, and what was logged of them.
        self._failed = 0
        self._said: set[tuple[FluentUrl, type[ForwardError]]] = set()
        self._stuck = ("", 0)

    @property
    def pending(self) -> int:
        """Records that were submitted and are not acknowledged."""
        return self._pending

    @property
    def pending_chunks(self) -> int:
        """Chunks that were submitted and are not acknowledged."""
        return self._pending_chunks

    def submit(self, chunk: Chunk) -> None:
        """Take a chunk, to be sent after those before it; never blocks."""
        self._waiting.append(chunk)
        self._pending += chunk.count
        self._pending_chunks += 1
        self.stats.waits()
        self._wake.set()

    def unsettled(self) -> list[Chunk]:
        """Return the chunks that are not acknowledged, in order; for when :meth:`run` has ended."""
        return list(self._waiting)

    async def run(self) -> None:
        """Send what is submitted until cancelled; a server that fails is tried again for ever."""
        servers = self._settings.url
        turn = 0
        try:
            while True:
                url = servers[turn % len(servers)]
                try:
                    await self._serve(url)
                except LocalProtocolError:
                    raise  # a bug, which no other connection heals
                except ForwardError as error:
                    self._down(url, error)
                    turn += 1
                    if self._failed % len(servers) == 0:
                        await self._sleep(backoff(self._failed // len(servers), self._rng))
        finally:
            self.stats.connected = False

    async def _serve(self, url: FluentUrl) -> None:
        """Use one connection until it fails, or until it carried all that the server allows on one."""
        connection = ForwardConnection(self._credentials(), encode=self._encode)
        stream: Stream | None = None
        try:
            try:
                async with asyncio.timeout(self._settings.connect_timeout):
                    stream = await self._dial(url, self._settings)
                    await self._shake_hands(connection, stream)
            except TimeoutError as error:
                raise self._too_slow(connection, connected=stream is not None) from error
            self._ready(url)
            await self._exchange(url, connection, stream)
        finally:
            back = connection.unacknowledged()
            connection.close()
            self._waiting.extendleft(reversed(back))
            self._again += len(back)
            if stream is not None:
                await stream.close()

    def _credentials(self) -> Credentials | None:
        """Read the secrets, which may have changed since the last connection."""
        s = self._settings
        if s.shared_key is None:
            return None
        try:
            return Credentials(
                hostname=s.hostname or platform.node(),
                shared_key=s.shared_key.get(),
                salt=self._rng.randbytes(SALT_BYTES).hex(),
                user=s.user or "",
                password=s.password.get() if s.password else "",
            )
        except SettingsError as error:
            raise ServerUnavailable(f"cannot connect: {error}") from error

    async def _shake_hands(self, connection: ForwardConnection, stream: Stream) -> None:
        while connection.state is not State.READY:
            self._handle(connection.receive_data(await stream.read()))
            if data := connection.data_to_send():
                stream.write([data])

    def _too_slow(self, connection: ForwardConnection, *, connected: bool) -> ServerUnavailable:
        within = f"within {self._settings.connect_timeout:g} s"
        if not connected:
            return ServerUnavailable(f"cannot connect: no connection {within}")
        return ServerUnavailable(
            f"connected, but {connection.state.value} in vain {within}; "
            "has the server a shared key too, or is its input paused?"
        )

    async def _exchange(self, url: FluentUrl, connection: ForwardConnection, stream: Stream) -> None:
        """Send and read at once, until one of the tasks ends them all."""
        failure: BaseException | None = None
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._write(connection, stream), name=f"forward-write {url}")
                tasks.create_task(self._read(connection, stream), name=f"forward-read {url}")
                tasks.create_task(self._watch(connection), name=f"forward-watch {url}")
        except* _OnlyOneError:
            pass
        except* ForwardError as errors:
            failure = errors.exceptions[0]
        if failure is not None:
            raise failure

    async def _write(self, connection: ForwardConnection, stream: Stream) -> None:
        while True:
            while not (
                self._waiting and connection.may_send and connection.in_flight < self._settings.window
            ):
                self._wake.clear()
                await self._wake.wait()
            chunk = self._waiting[0]
            frame = (await asyncio.to_thread(self._encode, chunk)) if self._in_thread else self._encode(chunk)
            # From here to the write nothing waits: the chunk is in `_waiting` or on the connection.
            now = self._sent_at[chunk.id] = self._clock()
            buffers = connection.send_chunk(chunk, now=now, frame=frame)
            self._waiting.popleft()
            self.stats.chunks_sent += 1
            self.stats.bytes_sent += sum(map(len, buffers))
            if self._again:
                self._again -= 1
                self.stats.chunks_resent += 1
            stream.write(buffers)
            await stream.drain()

    async def _read(self, connection: ForwardConnection, stream: Stream) -> None:
        while True:
            self._handle(connection.receive_data(await stream.read()))
            self._wake.set()
            if connection.finished:
                raise _OnlyOneError

    async def _watch(self, connection: ForwardConnection) -> None:
        """Fail when an acknowledgement is overdue."""
        timeout = self._settings.ack_timeout
        while not connection.overdue(now := self._clock(), timeout):
            # What is sent while this sleeps is not due before it wakes.
            oldest = connection.oldest_sent()
            await self._sleep(timeout if oldest is None else oldest + timeout - now)
        raise ServerUnavailable(f"no acknowledgement within {timeout:g} s; is the server's input paused?")

    def _handle(self, events: list[Event]) -> None:
        for event in events:
            match event:
                case Acknowledged(chunk):
                    self._acknowledged(chunk)
                case UnknownAcknowledgement():
                    self.stats.unknown_acks += 1
                case Failed(error):
                    raise error

    def _acknowledged(self, chunk: Chunk) -> None:
        self.stats.chunks_acknowledged += 1
        self.stats.records_acknowledged += chunk.count
        self._pending -= chunk.count
        self._pending_chunks -= 1
        self.stats.acknowledgement.add(self._clock() - self._sent_at.pop(chunk.id))
        self.stats.moves(waiting=self._pending_chunks > 0)
        if not self.stats.connected:
            self._up()
        self._failed = 0
        self._on_settled(chunk, Outcome.DELIVERED)

    def _ready(self, url: FluentUrl) -> None:
        self.stats.connections += 1
        self.stats.server = str(url)
        # A paused Fluent Bit takes connections and answers nothing: after a failure only an acknowledgement
        # says that it is back, where there is something to acknowledge.
        if not self.stats.connected and not self._again:
            self._up()

    def _up(self) -> None:
        self.stats.connected = True
        self.stats.reason = ""
        self._said.clear()
        self._log.info("connected to the log shipper", server=self.stats.server, failures=self._failed)

    def _down(self, url: FluentUrl, error: ForwardError) -> None:
        self._failed += 1
        self.stats.failures += 1
        self.stats.reason = str(error)
        was_connected, self.stats.connected = self.stats.connected, False
        # Once for each server and kind of failure, until it is back.
        if (url, type(error)) not in self._said:
            self._said.add((url, type(error)))
            fields = {"server": str(url), "reason": str(error), "pending_chunks": self._pending_chunks}
            if isinstance(error, HandshakeRefused):
                self._log.error("refused by the log shipper", **fields)
            elif was_connected:
                self._log.warning("lost the log shipper", **fields)
            else:
                self._log.warning("cannot reach the log shipper", **fields)
        if self._again:
            self._count_stuck(self._waiting[0])

    def _count_stuck(self, chunk: Chunk) -> None:
        last, times = self._stuck
        times = times + 1 if chunk.id == last else 1
        self._stuck = (chunk.id, times)
        if times == STUCK_AFTER:
            self._log.warning(
                "a chunk is sent again and again and not acknowledged",
                chunk=chunk.id,
                tag=chunk.tag,
                times=times,
                records=chunk.count,
                bytes=len(chunk.entries),
                hint="the server's Buffer_Max_Size may be less than the chunk, or its input is paused",
            )
