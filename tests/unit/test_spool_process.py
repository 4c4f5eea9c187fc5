"""One process after the other on one directory: only what was in memory alone is lost, and the account is exact."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import shutil
import tempfile
from collections import Counter
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from logged import capturing_log
from piping import Pipe

from nats_fluent.backlog import BLOCK, HEAD, RETRY, Stored, footprint
from nats_fluent.delivery import CHUNK_BYTES, Chunk, Outcome, Waiting
from nats_fluent.errors import SpoolError
from nats_fluent.sections import BatchSettings, FluentSettings, SpoolSettings
from nats_fluent.settings import Settings
from nats_fluent.spool import decode
from nats_fluent.spooler import Spooler, reserved

ROOM = 1 << 30


class Clock:
    def __init__(self):
        self.now = 1000.0

    def __call__(self):
        return self.now


class Process(RuleBasedStateMachine):
    """One process after the other on one directory, ended in order or killed; one step at a time, in any order."""

    @initialize(
        mode=st.sampled_from(["overflow", "always"]),
        window=st.integers(1, 3),
        buffer_bytes=st.sampled_from([8_000, 40_000]),
        max_bytes=st.sampled_from([3 * BLOCK, 8 * BLOCK, ROOM]),
    )
    def begin(self, mode, window, buffer_bytes, max_bytes):
        self.directory = tempfile.mkdtemp()
        self.clock = Clock()
        self.settings = Settings(
            spool=SpoolSettings(mode=mode, dir=self.directory, max_bytes=max_bytes, fsync="off"),
            batch=BatchSettings(max_bytes=5_000, buffer_bytes=buffer_bytes),
            fluent=FluentSettings(window=window),
        )
        self.submitted = 0
        self.told = set()  # by the process, that it is delivered or on disk
        self.given = Counter()  # to the log shipper
        self.damaged = set()
        self.may_be_gone = set()  # with a process that was killed, or at the end of one on a full disk
        self.may_come_twice = set()
        self.start()

    def start(self):
        self.sink, self.out, self.delivered = [], None, []
        self.full = False
        batch = self.settings.batch
        self.pipe = Pipe(
            buffer_bytes=batch.buffer_bytes, max_bytes=batch.max_bytes, reserve=reserved(self.settings)
        )
        self.pipeline = self.pipe.pipeline
        self.log, self.logged = capturing_log()
        self.spooler = Spooler(self.settings, self.pipeline, submit=self.send, log=self.log, clock=self.clock)
        asyncio.run(self.spooler.open())
        self.write = self.spooler._spool.write
        self.spooler._spool.write = self.write_unless_full

    def write_unless_full(self, number, chunk):
        if self.full:
            raise OSError(errno.ENOSPC, "No space left on device")
        return self.write(number, chunk)

    def send(self, chunk):
        stored = isinstance(self.spooler._backlog._sent[chunk], Stored)
        if self.settings.spool.mode == "always" and not stored:
            # Only what the disk does not take.
            room = self.settings.spool.max_bytes - self.spooler._backlog.disk_bytes
            assert self.full or self.spooler._trouble or room < footprint(len(chunk.entries) + HEAD + 1)
        self.sink.append(chunk)

    @property
    def account(self):
        return self.pipeline.account

    @rule(size=st.integers(1, 5_000))
    def submit(self, size):
        if self.pipeline.room < size + CHUNK_BYTES:
            return  # the pipeline drops it
        self.submitted += 1
        number = self.submitted
        self.account.received["t"] += 1

        def settle(_keys, outcome):
            assert outcome in {Outcome.DELIVERED, Outcome.SPOOLED}
            assert str(number) not in self.told  # once
            self.told.add(str(number))

        chunk = Chunk(
            id=str(number),
            tag="t",
            entries=b"x" * size,
            count=1,
            waiting=[Waiting(settle, Outcome.DELIVERED, [None])],
        )
        self.pipeline._charge(chunk, 0.0)
        self.spooler.submit(chunk)

    @rule()
    def do(self):
        """The thread does the next step; the loop learns of it later."""
        if self.out is None and (step := self.spooler.next_step()):
            self.out = (step, self.spooler.work(step))

    @rule()
    def learn(self):
        if self.out is not None:
            out, self.out = self.out, None
            self.spooler.done(*out)

    @rule(count=st.integers(1, 4))
    def acknowledge(self, count):
        for _ in range(min(count, len(self.sink))):
            chunk = self.sink.pop(0)
            assert self.given[chunk.id] == 0 or chunk.id in self.may_come_twice
            self.given[chunk.id] += 1
            self.delivered.append(int(chunk.id))
            self.spooler.settled(chunk, Outcome.DELIVERED)

    @rule(full=st.booleans())
    def fill_the_disk(self, full):
        self.full = full

    @rule()
    def wait(self):
        self.clock.now += RETRY

    @precondition(lambda self: self.files())
    @rule(data=st.data())
    def damage(self, data):
        path = data.draw(st.sampled_from(self.files()))
        content = path.read_bytes()
        with contextlib.suppress(SpoolError):  # it is damaged already
            self.damaged.add(decode(content).id)
        path.write_bytes(content[: data.draw(st.integers(0, max(len(content) - 1, 0)))])

    @rule()
    def kill(self):
        """What the thread has done is done, and what was in memory alone is gone."""
        self.note_those_in_memory()
        self.may_come_twice |= set(self.given)  # where the file was not removed yet
        self.spooler.close()
        self.start()

    @rule()
    def end(self):
        self.learn()
        asyncio.run(self.stop())
        if self.spooler._backlog.given_up:
            self.note_those_in_memory()
        else:
            assert self.account.in_memory == self.pipeline.held_bytes == 0
        self.spooler.close()
        self.start()

    async def stop(self):
        self.spooler.stop_loading()
        self.pipeline._handed_over.set()
        self.spooler._wake, self.spooler._idle = asyncio.Event(), asyncio.Event()  # of this loop
        running = asyncio.create_task(self.spooler.run())
        self.sink.clear()
        await asyncio.wait_for(self.spooler.stow(), 30)
        running.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await running

    def note_those_in_memory(self):
        everything = {str(number) for number in range(1, self.submitted + 1)}
        self.may_be_gone |= everything - self.told

    def files(self):
        return sorted(Path(self.directory).glob("*.chunk"))

    @invariant()
    def what_is_delivered_is_in_order(self):
        assert self.delivered == sorted(set(self.delivered))

    @invariant()
    def the_account_is_exact(self):
        account, backlog = self.account, self.spooler._backlog
        came = sum(account.received.values()) + account.recovered
        assert came == account.delivered + account.lost + account.held
        assert account.delivered == len(self.delivered)
        assert account.spooled == backlog.chunks_on_disk
        assert 0 <= account.in_memory <= came
        batch = self.settings.batch
        alone = max(0, batch.max_bytes - reserved(self.settings))  # one is loaded however large it is
        assert 0 <= self.pipeline.held_bytes <= batch.buffer_bytes + alone
        assert (self.pipeline.held_bytes == 0) == (account.in_memory == 0)

    @invariant()
    def the_disk_has_its_limit(self):
        sizes = [footprint(path.stat().st_size) for path in self.files()]
        assert sum(sizes) <= self.settings.spool.max_bytes

    def teardown(self):
        if not hasattr(self, "directory"):
            return
        try:
            self.full = False
            for _ in range(20 * self.submitted + 50):
                self.do()
                self.learn()
                self.acknowledge(2)
                self.wait()
            assert (self.account.held, self.sink, self.files()) == (0, [], [])
            everything = {str(number) for number in range(1, self.submitted + 1)}
            assert everything - set(self.given) <= self.may_be_gone | self.damaged
            assert self.told - set(self.given) <= self.damaged
        finally:
            self.spooler.close()
            shutil.rmtree(self.directory)


TestProcess = Process.TestCase
TestProcess.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
