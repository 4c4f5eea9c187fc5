"""Faults within this program: code that the command loads before its own, by way of Python's ``sitecustomize``."""

from __future__ import annotations

import contextlib
import struct
import time
from datetime import datetime

from commands import ENVIRON
from faults import world
from programs import wait_until


def loading(directory, code):
    """The environment of a command that runs this code first."""
    site = directory / "site"
    site.mkdir()
    (site / "sitecustomize.py").write_text(code)
    return {"PYTHONPATH": f"{site}:{ENVIRON['PYTHONPATH']}"}


# --- the clock ---


def clock_jumps(world):
    """An hour ahead, and two back, as the times of the records say."""
    for seconds in (3600, -3600):
        world.clock.jump(seconds)
        wait_until(lambda: world.clock.seen(world.receiver.last()), what="the records show it")
    assert world.said("lost the log shipper") == world.said("lost the connection to NATS") == 0


class Clock:
    """The wall clock of a consumer: what Python tells it, and a number of seconds in a file.

    Only `time.time` and `time.time_ns`, and only of this process: to set the machine's clock takes privileges, and
    everything on it would see it. Neither asyncio nor uvloop reads it.
    """

    def __init__(self, directory):
        self._file = directory / "offset"
        self._offset = 0
        self._file.write_bytes(bytes(8))
        self.environ = loading(
            directory,
            "import mmap, struct, time\n"
            f"with open({str(self._file)!r}, 'rb') as file:\n"
            "    ahead = mmap.mmap(file.fileno(), 8, access=mmap.ACCESS_READ)\n"
            "real, real_ns = time.time, time.time_ns\n"
            "time.time = lambda: real() + struct.unpack('q', ahead)[0]\n"
            "time.time_ns = lambda: real_ns() + struct.unpack('q', ahead)[0] * 10**9\n",
        )

    def jump(self, offset):
        self._offset = offset
        with self._file.open("r+b") as file:
            file.write(struct.pack("q", offset))

    def seen(self, last):
        """Whether the record was made after the jump."""
        off = datetime.fromisoformat(last.timestamp).timestamp() - time.time() - self._offset
        return abs(off) < 600


@contextlib.contextmanager
def own_clock(directory, **environ):
    clock = Clock(directory)
    with world(directory, **clock.environ, **environ) as found:
        found.clock = clock
        yield found


# --- parts that stand still ---

LIMITS = """
import asyncio, pathlib
from nats_fluent import guard, runtime
from nats_fluent.pipeline import Pipeline
from nats_fluent.sink import forward
from nats_fluent.sink.forward import ForwardSink
from nats_fluent.sink.stream import NetworkStream
from nats_fluent.source.client import Client
from nats_fluent.source.parser import FrameParser
from nats_fluent.watchdog import Limit

stuck = pathlib.Path({flag!r}).exists
guard.EVERY, guard.BLOCKED = 0.1, 3 if "event loop" in {impatient} else 600
forward.BACKOFF_MAX = 1.0
parts = {{"nats": True, "pipeline": False, "sink": True}}
runtime.limits = lambda settings: {{
    name: Limit(3.0 if name in {impatient} else 600.0, restarts) for name, restarts in parts.items()
}}
"""
"""A watchdog that is less patient with some, though more than the waits between two attempts are long, and a function
that says when to stand still."""

READS_NOTHING = """
parse = FrameParser.parse

async def nothing(self, data=b""):
    if not stuck():
        await parse(self, data)

async def never_gives_up(self):
    while True:
        await asyncio.sleep(0.5)
        await self._send_ping()

FrameParser.parse, Client._ping_interval = nothing, never_gives_up
"""

HEARS_NOTHING = """
read = NetworkStream.read

async def nothing(self):
    data = await read(self)
    while stuck():
        await asyncio.sleep(0.05)
    return data

async def never_overdue(self, connection):
    await asyncio.Event().wait()

NetworkStream.read, ForwardSink._watch = nothing, never_overdue
"""

WORKS_NOTHING = """
work = Pipeline._work

def nothing(self, *now):
    if not stuck():
        work(self, *now)

Pipeline._work = nothing
"""

BLOCKS = """
import time
work = Pipeline._work

def blocked(self, *now):
    while stuck():
        time.sleep(0.01)  # the fault: the event loop stands still
    work(self, *now)

Pipeline._work = blocked
"""


def made_to(code, *impatient):
    """A world whose consumer has this fault while a file is there, and a watchdog with no patience for these parts."""

    @contextlib.contextmanager
    def make(directory, **environ):
        flag = directory / "stuck"
        loaded = loading(directory, LIMITS.format(flag=str(flag), impatient=impatient) + code)
        with world(directory, **loaded, **environ) as found:
            found.stuck = flag
            yield found

    return make


def nats_not_read(world):
    with world.biting("a part stands still, and is restarted"):
        world.stuck.touch()
        world.load.wait_confirmed()  # which it reads before it is restarted
    world.stuck.unlink()


def acknowledgements_not_heard(world):
    with world.biting("a part stands still, and is restarted"):
        world.stuck.touch()
    world.stuck.unlink()
