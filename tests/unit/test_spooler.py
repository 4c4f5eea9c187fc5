"""What is said and counted when the disk fails, and what waits for what at the end."""

from __future__ import annotations

import asyncio
import contextlib
import errno

import pytest
from logged import capturing_log
from piping import Pipe
from scripted import idle

from nats_fluent.delivery import CHUNK_BYTES, Chunk, Outcome, Waiting
from nats_fluent.errors import SettingsError
from nats_fluent.sections import BatchSettings, FluentSettings, SpoolSettings
from nats_fluent.settings import Settings
from nats_fluent.spooler import Spooler


def fail(error):
    def failing(*_):
        raise OSError(error, "as the test wants it")

    return failing


class Desk:
    """A spooler between a pipeline and a list in the place of the sink."""

    def __init__(self, directory, *, mode="always", max_bytes=1 << 30, buffer_bytes=1 << 20):
        self.directory = directory
        self.settings = Settings(
            spool=SpoolSettings(mode=mode, dir=str(directory), max_bytes=max_bytes, fsync="off"),
            batch=BatchSettings(buffer_bytes=buffer_bytes, max_bytes=100_000),
            fluent=FluentSettings(window=1),
        )
        self.pipe = Pipe()
        self.account = self.pipe.account
        self.sink = []
        self.log, self.logged = capturing_log()
        self.now = 1000.0
        self.outcomes = []
        self.spooler = Spooler(
            self.settings, self.pipe.pipeline, submit=self.sink.append, log=self.log, clock=lambda: self.now
        )
        self.spool = self.spooler._spool

    async def __aenter__(self):
        await self.spooler.open()
        return self

    async def __aexit__(self, *_):
        self.spooler.close()

    def submit(self, *names, size=100):
        for name in names:
            self.account.received["t"] += 1
            waiting = [Waiting(lambda _, outcome: self.outcomes.append(outcome), Outcome.DELIVERED, [None])]
            chunk = Chunk(id=name, tag="t", entries=b"x" * size, count=1, waiting=waiting)
            self.pipe.pipeline._charge(chunk, 0.0)
            self.spooler.submit(chunk)

    def acknowledge(self, count=1):
        for _ in range(count):
            self.spooler.settled(self.sink.pop(0), Outcome.DELIVERED)

    def steps(self):
        while step := self.spooler.next_step():
            self.spooler.done(step, self.spooler.work(step))

    def files(self):
        return sorted(path.name for path in self.directory.iterdir() if path.name != "lock")

    def events(self):
        return [line["event"] for line in self.logged]

    def ids(self):
        return [chunk.id for chunk in self.sink]


async def left_behind(directory, *names):
    """As an earlier process that ended with these undelivered."""
    async with Desk(directory) as desk:
        desk.submit(*names)
        desk.steps()
        assert len(desk.files()) == len(names)


async def test_what_is_found_comes_first_and_is_counted(tmp_path):
    await left_behind(tmp_path, "1", "2", "3")
    (tmp_path / "0000000000000002.chunk").write_bytes(b"NFCHUNK")
    (tmp_path / "README").write_text("mine")
    async with Desk(tmp_path) as desk:
        desk.submit("4")
        assert desk.sink == []
        desk.steps()
        desk.acknowledge()
        desk.steps()
        desk.acknowledge()
        desk.steps()
        assert desk.ids() == ["4"]
        account = desk.account
        assert (account.recovered, account.delivered, account.held, account.spooled) == (2, 2, 1, 0)
    assert [(line["event"], line["log_level"]) for line in desk.logged] == [
        ("set aside a file of the spool", "error"),
        ("files in the spool that are not its own", "warning"),
        ("found in the spool", "info"),
    ]
    assert desk.logged[0]["file"] == f"{tmp_path}/0000000000000002.chunk"
    assert desk.logged[0]["reason"] == "torn: it ends after 7 bytes, in the header"
    assert desk.logged[1]["files"] == ["README"]
    assert (desk.logged[2]["chunks"], desk.logged[2]["records"]) == (2, 2)


async def test_a_directory_that_another_has(tmp_path, monkeypatch):
    monkeypatch.setattr("nats_fluent.spool.LOCK_WITHIN", 0.0)
    async with Desk(tmp_path):
        with pytest.raises(SettingsError, match="in use by another process"):
            await Desk(tmp_path).spooler.open()


@pytest.mark.parametrize("error", [errno.EIO, errno.ENOENT])
async def test_a_chunk_that_cannot_be_read_is_lost_and_counted(tmp_path, error):
    await left_behind(tmp_path, "1", "2")
    async with Desk(tmp_path) as desk:
        read = desk.spool.read
        desk.spool.read = lambda stored: fail(error)() if stored.number == 1 else read(stored)
        desk.steps()
        assert desk.ids() == ["2"]
        account = desk.account
        assert (account.recovered, account.lost, account.held, account.spooled) == (2, 1, 1, 0)
        assert desk.events()[-1] == "lost a chunk of the spool; its file is set aside"
        assert desk.logged[-1]["records"] == 1
        assert desk.files() == ["0000000000000001.chunk.bad", "0000000000000002.chunk"]


async def test_a_chunk_that_cannot_be_read_just_now_is_read_later(tmp_path):
    await left_behind(tmp_path, "1")
    async with Desk(tmp_path) as desk:
        read, desk.spool.read = desk.spool.read, fail(errno.EMFILE)
        desk.steps()
        assert (desk.sink, desk.account.lost, desk.files()) == ([], 0, ["0000000000000001.chunk"])
        assert desk.events()[-1] == "cannot read the spool, will try again"
        desk.spool.read = read
        desk.now += 1
        desk.steps()
        assert desk.ids() == ["1"]


async def test_a_full_disk_is_said_once_and_its_end_too(tmp_path):
    async with Desk(tmp_path, mode="overflow", buffer_bytes=4 * (100 + CHUNK_BYTES)) as desk:
        write, desk.spool.write = desk.spool.write, fail(errno.ENOSPC)
        desk.submit("1", "2", "3", "4")
        for _ in range(3):
            desk.steps()
            desk.now += 1
        assert desk.events() == ["cannot spool: memory holds what it can, and then what comes is dropped"]
        assert desk.logged[0]["reason"] == "[Errno 28] as the test wants it"
        assert (desk.outcomes, desk.account.in_memory) == ([], 4)
        desk.spool.write = write
        desk.steps()
        assert desk.events()[1:] == ["the spool takes chunks again"]
        assert desk.outcomes == [Outcome.SPOOLED] * 2
        assert (desk.account.in_memory, desk.account.spooled) == (2, 2)


async def test_that_chunks_are_sent_unwritten_is_said(tmp_path):
    async with Desk(tmp_path, mode="always") as desk:
        desk.spool.write = fail(errno.ENOSPC)
        for name in ("1", "2"):
            desk.submit(name)
            desk.steps()
            desk.now += 2
        assert desk.ids() == ["1", "2"]
        assert desk.events() == ["cannot spool: memory holds what it can, and then what comes is dropped"]


async def test_the_limit_is_named_when_it_is_the_reason(tmp_path):
    async with Desk(tmp_path, max_bytes=4096) as desk:
        desk.submit("1", "2")
        desk.steps()
        assert (desk.ids(), desk.outcomes) == (["1"], [Outcome.SPOOLED])
        assert desk.logged[0]["reason"] == "spool.max_bytes are on disk"


async def test_what_cannot_be_removed_is_said_and_tried_again_at_the_end(tmp_path):
    async with Desk(tmp_path) as desk:
        remove, desk.spool.remove = desk.spool.remove, fail(errno.EIO)
        desk.submit("1")
        desk.steps()
        desk.acknowledge()
        desk.steps()
        assert desk.events() == ["cannot remove what was delivered: it will be sent again after a restart"]
        assert desk.files() == ["0000000000000001.chunk"]
        desk.spool.remove = remove
    assert desk.files() == []


@contextlib.asynccontextmanager
async def running(desk):
    task = asyncio.create_task(desk.spooler.run())
    await idle()
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def test_the_end_waits_for_what_is_still_to_come_and_until_it_is_on_disk(tmp_path):
    async with Desk(tmp_path, mode="overflow") as desk, running(desk):
        desk.submit("1")
        desk.spooler.stop_loading()
        stowing = asyncio.create_task(desk.spooler.stow())
        await idle()
        desk.submit("2")
        await idle()
        assert not stowing.done()
        desk.pipe.pipeline._handed_over.set()
        await asyncio.wait_for(stowing, 15)
        assert desk.files() == ["0000000000000001.chunk", "0000000000000002.chunk"]
        assert (desk.account.spooled, desk.account.in_memory) == (2, 0)
        assert desk.outcomes == [Outcome.SPOOLED] * 2
        (line,) = desk.logged
        assert (line["event"], line["chunks"], line["records"]) == (
            "left in the spool for the next process",
            2,
            2,
        )


async def test_the_end_of_nothing(tmp_path):
    async with Desk(tmp_path) as desk, running(desk):
        desk.pipe.pipeline._handed_over.set()
        await asyncio.wait_for(desk.spooler.stow(), 15)
    assert desk.logged == []


async def test_the_end_on_a_full_disk_says_what_is_left(tmp_path):
    async with Desk(tmp_path, mode="overflow") as desk, running(desk):
        desk.spool.write = fail(errno.ENOSPC)
        desk.submit("1", "2")
        desk.pipe.pipeline._handed_over.set()
        await asyncio.wait_for(desk.spooler.stow(), 15)
        assert (desk.account.in_memory, desk.outcomes, desk.files()) == (2, [], [])
        assert desk.logged[-1]["event"] == "could not spool what the log shipper did not take"
        assert desk.logged[-1]["records"] == 2


async def test_what_failed_is_tried_again_without_anything_else_happening(tmp_path, monkeypatch):
    monkeypatch.setattr("nats_fluent.backlog.RETRY", 0.01)
    async with Desk(tmp_path, mode="overflow", buffer_bytes=150) as desk:
        loop = asyncio.get_running_loop()
        desk.spooler._clock = loop.time
        write, desk.spool.write = desk.spool.write, fail(errno.ENOSPC)
        desk.submit("1", "2")
        on_disk = asyncio.Event()
        desk.outcomes = []
        spooled, failed = desk.pipe.pipeline.spooled, desk.spooler._backlog.not_written

        def not_written(now):
            desk.spool.write = write
            failed(now)

        def now_spooled(chunk):
            spooled(chunk)
            on_disk.set()

        desk.spooler._backlog.not_written = not_written
        desk.pipe.pipeline.spooled = now_spooled
        async with running(desk):
            await asyncio.wait_for(on_disk.wait(), 15)
        assert desk.files() == ["0000000000000002.chunk"]
