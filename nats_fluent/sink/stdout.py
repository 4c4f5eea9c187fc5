"""The stdout sink: each record as one JSON object on a line, and nothing else."""

from __future__ import annotations

import asyncio
import select
import sys
import threading
import time
from collections import deque
from concurrent.futures import Future
from typing import TYPE_CHECKING, BinaryIO

import msgspec

from nats_fluent.delivery import Outcome
from nats_fluent.errors import RunFailed, SettingsError
from nats_fluent.forward.codec import read_entries
from nats_fluent.sink.common import SinkStats

if TYPE_CHECKING:
    from nats_fluent.delivery import Chunk
    from nats_fluent.sink.common import OnSettled


class StdoutSink:
    """Prints the records of each chunk, in order; a chunk is settled when it is written and flushed.

    Args:
        on_settled: called once for each chunk.
        stream: where to; stdout, unbuffered, when not given. What a buffer keeps when its reader is gone would be
            tried again as the interpreter ends, and make that exit with 120.

    Raises:
        SettingsError: there is no stdout.
    """

    def __init__(self, *, on_settled: OnSettled, stream: BinaryIO | None = None) -> None:
        self.stats = SinkStats(server="stdout:")
        if stream is None and sys.stdout is None:  # it was closed before Python began
            raise SettingsError("fluent.url: stdout: is closed; leave it open, or give a log shipper.")
        self._stream = stream or open(sys.stdout.fileno(), "wb", buffering=0, closefd=False)  # noqa: SIM115
        self._on_settled = on_settled
        self._waiting: deque[Chunk] = deque()
        self._wake = asyncio.Event()
        self._pending = 0

    @property
    def pending(self) -> int:
        """Records that were submitted and are not written."""
        return self._pending

    @property
    def pending_chunks(self) -> int:
        """Chunks that were submitted and are not written."""
        return len(self._waiting)

    def submit(self, chunk: Chunk) -> None:
        """Take a chunk, to be written after those before it; never blocks."""
        self._waiting.append(chunk)
        self._pending += chunk.count
        self.stats.waits()
        self._wake.set()

    def unsettled(self) -> list[Chunk]:
        """Return the chunks that are not settled, in order; the first may be written, in part or whole."""
        return list(self._waiting)

    async def run(self) -> None:
        """Write what is submitted until cancelled.

        Raises:
            RunFailed: the stream takes no more; its reader has gone, or the disk is full.
        """
        self.stats.connections += 1
        self.stats.connected = True
        try:
            while True:
                while not self._waiting:
                    self._wake.clear()
                    await self._wake.wait()
                # A thread, because a pipe blocks for as long as its reader likes.
                began = time.monotonic()
                written = await self._in_thread(self._waiting[0])
                self.stats.acknowledgement.add(time.monotonic() - began)
                self._settle(self._waiting.popleft(), written)
        except RunFailed:
            self.stats.failures += 1
            raise
        finally:
            self.stats.connected = False

    async def _in_thread(self, chunk: Chunk) -> int:
        """Write in a thread that the end of the process does not wait for, as it does for one of asyncio's."""
        done: Future[int] = Future()
        done.set_running_or_notify_cancel()

        def write() -> None:
            try:
                done.set_result(self._write(chunk))
            except BaseException as error:  # noqa: BLE001 - raised where it is waited for
                done.set_exception(error)

        threading.Thread(target=write, name="stdout", daemon=True).start()
        return await asyncio.wrap_future(done)

    def _write(self, chunk: Chunk) -> int:
        lines = bytearray()
        for _, record in read_entries(chunk.entries):
            lines += msgspec.json.encode(record)
            lines += b"\n"
        try:
            left = memoryview(lines)
            while left:
                written: int | None = self._stream.write(left)
                if written is None:  # it does not wait, as somebody else who has it wants it to
                    select.select([], [self._stream], [])
                    continue
                left = left[written:]
            self._stream.flush()
        except (OSError, ValueError) as error:
            raise RunFailed(f"stdout: cannot write records ({error}); is its reader still there?") from error
        return len(lines)

    def _settle(self, chunk: Chunk, written: int) -> None:
        self.stats.chunks_sent += 1
        self.stats.bytes_sent += written
        self.stats.chunks_acknowledged += 1
        self.stats.records_acknowledged += chunk.count
        self._pending -= chunk.count
        self.stats.moves(waiting=bool(self._waiting))
        self._on_settled(chunk, Outcome.DELIVERED)
