from __future__ import annotations

import asyncio
import contextlib
import io
import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import msgpack
import pytest
from forward_server import until

from nats_fluent.delivery import Chunk, Outcome
from nats_fluent.errors import RunFailed, SettingsError
from nats_fluent.forward.codec import entry
from nats_fluent.sink import StdoutSink


def chunk(name, *records):
    entries = b"".join(entry(10**18, msgpack.packb(record)) for record in records)
    return Chunk(id=name, tag="t", entries=entries, count=len(records))


@contextlib.asynccontextmanager
async def running(sink):
    task = asyncio.create_task(sink.run())
    try:
        yield task
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def test_each_record_is_one_line_as_it_is():
    records = [
        {
            "z": 1,
            "a": "\u00e9\u2028\n",
            "n": None,
            "t": True,
            "f": 0.1,
            "e": 1e300,
            "big": 2**63 - 1,
            "u": 2**64 - 1,
        },
        {"deep": {"list": [1, [2.5, {}], ""]}},
        {},
    ]
    out, settled = io.BytesIO(), []
    sink = StdoutSink(on_settled=lambda *what: settled.append(what), stream=out)
    one = chunk("a", *records)
    sink.submit(one)
    assert (sink.pending, sink.pending_chunks) == (3, 1)
    async with running(sink):
        await until(lambda: settled)
        assert sink.stats.connected
    assert settled == [(one, Outcome.DELIVERED)]
    lines = out.getvalue().split(b"\n")
    assert lines.pop() == b""
    assert [json.loads(line) for line in lines] == records
    assert [list(json.loads(line)) for line in lines] == [list(record) for record in records]
    assert "\u00e9".encode() in lines[0]
    assert (sink.pending, sink.pending_chunks, sink.unsettled()) == (0, 0, [])
    assert sink.stats.records_acknowledged == 3
    assert sink.stats.bytes_sent == len(out.getvalue())
    assert not sink.stats.connected


async def test_chunks_are_written_in_order():
    out, settled = io.BytesIO(), []
    sink = StdoutSink(on_settled=lambda chunk, _: settled.append(chunk.id), stream=out)
    async with running(sink):
        for n in range(50):
            sink.submit(chunk(str(n), {"n": n}))
            await asyncio.sleep(0)
        await until(lambda: len(settled) == 50)
    assert settled == [str(n) for n in range(50)]
    assert [json.loads(line)["n"] for line in out.getvalue().splitlines()] == list(range(50))


async def test_a_slow_reader_does_not_stop_the_loop():
    class Slow(io.BytesIO):
        writing, gate = threading.Event(), threading.Event()

        def write(self, data):
            self.writing.set()
            self.gate.wait()
            return super().write(data)

    out, settled = Slow(), []
    sink = StdoutSink(on_settled=lambda *what: settled.append(what), stream=out)
    async with running(sink):
        sink.submit(chunk("a", {}))
        try:
            await until(out.writing.is_set)  # which the loop would not come to see
            assert not settled
        finally:
            out.gate.set()
        await until(lambda: settled)


async def test_a_reader_that_has_gone_ends_the_run():
    read, write = os.pipe()
    os.close(read)
    with os.fdopen(write, "wb", buffering=0) as out:
        sink = StdoutSink(on_settled=lambda *_: pytest.fail("settled"), stream=out)
        one = chunk("a", {})
        sink.submit(one)
        with pytest.raises(RunFailed, match=r"^stdout: cannot write records \(.*Broken pipe"):
            await sink.run()
    assert sink.unsettled() == [one]
    assert (sink.stats.failures, sink.stats.connected) == (1, False)


async def test_a_stream_that_is_closed_ends_the_run():
    out = io.BytesIO()
    out.close()
    sink = StdoutSink(on_settled=lambda *_: pytest.fail("settled"), stream=out)
    sink.submit(chunk("a", {}))
    with pytest.raises(RunFailed, match="closed file"):
        await sink.run()


async def test_a_record_that_is_no_msgpack_is_a_bug_and_not_a_reader_that_has_gone():
    sink = StdoutSink(on_settled=lambda *_: pytest.fail("settled"), stream=io.BytesIO())
    sink.submit(Chunk(id="a", tag="t", entries=b"\xc1", count=1))
    with pytest.raises(msgpack.FormatError):
        await sink.run()


def test_stdout_is_where_it_writes_unless_told_otherwise(capfdbinary):
    async def main():
        sink = StdoutSink(on_settled=lambda *_: task.cancel())
        sink.submit(chunk("a", {"n": 1}))
        task = asyncio.create_task(sink.run())
        with contextlib.suppress(asyncio.CancelledError):
            await task

    asyncio.run(main())
    assert capfdbinary.readouterr().out == b'{"n":1}\n'


async def test_a_stream_that_does_not_wait_is_waited_for():
    read, write = os.pipe()
    os.set_blocking(write, False)
    line, settled, seen = b'{"much":"%b"}\n' % (b"x" * 300_000), [], bytearray()
    with os.fdopen(write, "wb", buffering=0) as out:
        sink = StdoutSink(on_settled=lambda *what: settled.append(what), stream=out)
        sink.submit(chunk("a", {"much": "x" * 300_000}))
        async with running(sink):
            while len(seen) < len(line):  # and no further: nothing more comes
                seen += await asyncio.to_thread(os.read, read, 1 << 16)
            await until(lambda: settled)
    os.close(read)
    assert seen == line


def test_without_a_stdout_there_is_no_sink(monkeypatch):
    monkeypatch.setattr(sys, "stdout", None)
    with pytest.raises(SettingsError, match="stdout: is closed"):
        StdoutSink(on_settled=lambda *_: None)


STALLED = """
import asyncio, sys
from nats_fluent.delivery import Chunk
from nats_fluent.forward.codec import entry
from nats_fluent.sink import StdoutSink

async def main():
    sink = StdoutSink(on_settled=lambda *_: None)
    large = entry(10**18, b"\\x81\\xa1a\\xda\\xff\\xff" + b"x" * 65535)
    sink.submit(Chunk(id="a", tag="t", entries=9 * large, count=9))
    running = asyncio.create_task(sink.run())
    await asyncio.to_thread(sys.stdin.read, 1)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)

asyncio.run(main())
"""


def test_a_reader_that_stalls_does_not_keep_the_process_from_its_end():
    with subprocess.Popen(
        [sys.executable, "-c", STALLED],
        cwd=Path(__file__).parents[2],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as process:
        try:
            assert process.stdout.read(1) == b"{"  # and no more: the pipe is full
            process.stdin.write(b".")
            process.stdin.close()
            assert process.wait(60) == 0
        finally:
            process.kill()
