"""A Forward sink without sockets: a scripted stream, and a clock that stands still."""

from __future__ import annotations

import asyncio
import contextlib
import random

import msgpack
from forward_server import CLOSE, Peer, Shipper

from nats_fluent.addresses import FluentUrl
from nats_fluent.delivery import Chunk, Outcome
from nats_fluent.errors import ServerUnavailable
from nats_fluent.forward.codec import entry
from nats_fluent.sections import FluentSettings
from nats_fluent.sink import ForwardSink

ONE = FluentUrl("forward", "one", 24224)
TWO = FluentUrl("forward", "two", 24224)


def chunk(name, *, records=1):
    entries = b"".join(entry(10**18 + n, msgpack.packb({"n": n})) for n in range(records))
    return Chunk(id=name, tag="t", entries=entries, count=records)


class Clock:
    """Seconds that pass when a test says so."""

    def __init__(self):
        self.now = 1000.0
        self.sleeping = []

    def __call__(self):
        return self.now

    async def sleep(self, seconds):
        waiter = asyncio.get_running_loop().create_future()
        self.sleeping.append((self.now + seconds, waiter))
        await waiter

    async def advance(self, seconds):
        self.now += seconds
        for due, waiter in self.sleeping:
            if due <= self.now and not waiter.done():
                waiter.set_result(None)
        self.sleeping = [(due, waiter) for due, waiter in self.sleeping if not waiter.done()]
        await idle()


async def idle():
    """Let every task run until it waits."""
    for _ in range(60):
        await asyncio.sleep(0)


class ScriptedStream:
    def __init__(self, shipper):
        self.peer = Peer(shipper)
        self.incoming = asyncio.Queue()
        self.closed = False
        self.answer(self.peer.opened())

    def answer(self, answers):
        for answer in answers:
            self.incoming.put_nowait(b"" if answer == CLOSE else answer)

    async def read(self):
        data = await self.incoming.get()
        if isinstance(data, Exception):
            raise data
        return data

    def write(self, buffers):
        self.answer(self.peer.receive(b"".join(buffers)))

    async def drain(self):
        await asyncio.sleep(0)

    async def close(self):
        self.closed = True


class Upper(random.Random):
    """Always the longest wait."""

    def uniform(self, _low, high):
        return high


class Rig:
    """A sink, its servers, and what came of it."""

    def __init__(self, *, urls=(ONE,), **settings):
        self.clock = Clock()
        self.shippers = {url: Shipper() for url in urls}
        self.down = set()
        self.dialled = []
        self.streams = []
        self.settled = []
        self.sink = ForwardSink(
            FluentSettings(url=urls, **({"ack_timeout": 30.0, "connect_timeout": 5.0} | settings)),
            on_settled=lambda chunk, outcome: self.settled.append((chunk.id, outcome)),
            rng=Upper(1),
            dial=self.dial,
            clock=self.clock,
            sleep=self.clock.sleep,
        )

    @property
    def shipper(self):
        return self.shippers[ONE]

    @property
    def stats(self):
        return self.sink.stats

    async def dial(self, url, _settings):
        self.dialled.append(url)
        if url in self.down:
            raise ServerUnavailable("cannot connect: refused")
        self.streams.append(ScriptedStream(self.shippers[url]))
        return self.streams[-1]

    @contextlib.asynccontextmanager
    async def running(self):
        task = asyncio.create_task(self.sink.run())
        await idle()
        try:
            yield task
        finally:
            task.cancel()
            await asyncio.wait([task])
            assert all(stream.closed for stream in self.streams)
            assert not self.stats.connected

    async def submit(self, *names):
        for name in names:
            self.sink.submit(chunk(name))
        await idle()

    def delivered(self):
        assert all(outcome is Outcome.DELIVERED for _, outcome in self.settled)
        return [name for name, _ in self.settled]
