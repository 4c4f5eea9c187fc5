"""`nats-fluent run` with a spool: a log shipper that is away, a stop and a kill meanwhile, and a disk that is full."""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
from itertools import pairwise

import pytest
from building import event, publication
from commands import MonitoredNats, Running, pub
from decoding import with_fields
from forward_server import ForwardServer, Shipper, silence, until
from nats.errors import NoRespondersError
from programs import PATIENCE, started
from taking import publish_raw, publisher

from nats_fluent.spool import inspect

TOPIC = "squall-events"
ASKING = with_fields(responseMode=1)
MORE_THAN_THE_BUDGET = 4000
"""Records of about 480 bytes, for a budget of 400 kB."""


@pytest.fixture
def nats(tmp_path):
    with started(MonitoredNats(tmp_path)) as server:
        yield server


class Setting:
    """A log shipper that may be away, a spool, and one process after the other."""

    def __init__(self, directory, nats, *, mode="overflow", **environ):
        self.directory = directory
        self.nats = nats
        self.server = ForwardServer()
        self.spool = directory / "spool"
        self.runs = 0
        self.environ = {
            "NATS_FLUENT_FLUENT_URL": f"forward://127.0.0.1:{self.server.port}",
            "NATS_FLUENT_FLUENT_ACK_TIMEOUT": "2s",
            "NATS_FLUENT_SPOOL_DIR": str(self.spool),
            "NATS_FLUENT_SPOOL_MODE": mode,
            "NATS_FLUENT_BATCH_BUFFER_BYTES": "400KB",
            "NATS_FLUENT_BATCH_MAX_BYTES": "20KB",
            "NATS_FLUENT_RECORD_MAX_BYTES": "20KB",
            "NATS_FLUENT_BATCH_LINGER": "10ms",
        } | environ

    @contextlib.asynccontextmanager
    async def running(self, **environ):
        self.runs += 1
        directory = self.directory / f"run{self.runs}"
        directory.mkdir()
        with started(Running(directory, self.nats, **(self.environ | environ))) as run:
            await asyncio.to_thread(run.wait_subscribed)
            yield run

    async def publish(self, count, *, first=0, at_once=50):
        for start in range(first, first + count, at_once):
            numbers = range(start, min(start + at_once, first + count))
            commands = [pub(TOPIC, publication({"ID": str(n), "text": "x" * 200})) for n in numbers]
            await asyncio.to_thread(publish_raw, self.nats.port, *commands)

    async def publish_no_faster_than_the_disk(self, count):
        """So that no more than fits is in memory: the half that the sink holds, two chunks, and what is on its way."""
        for first in range(0, count, 50):
            await self.publish(50, first=first)
            await until(
                lambda published=first + 50: (published - self.on_disk()) * 480 < 240_000,
                what="what memory has no room for is on disk",
            )

    def on_disk(self):
        """Records in the spool."""
        return inspect(str(self.spool)).records

    def files(self):
        return sorted(self.spool.glob("*.chunk"))

    def delivered(self):
        """The numbers of the publications, each chunk that came twice counted once."""
        frames = {frame.chunk_id: frame for frame in self.server.shipper.frames}
        return [
            int(record["content"]["entity"]["ID"]) for frame in frames.values() for record in frame.records
        ]


def last(run):
    line = run.log()[-1]
    assert line["event"] == "stopped"
    came = line["received"] + line["recovered"]
    assert came == line["delivered"] + line["dropped"] + line["lost"] + line["spooled"] + line["left"]
    return line


async def stopped(run):
    code = await asyncio.to_thread(run.stop)
    return code, last(run)


async def test_more_than_memory_holds_waits_on_disk_and_arrives_in_order(tmp_path, nats):
    setting = Setting(tmp_path, nats)
    async with setting.running() as run:
        await setting.publish_no_faster_than_the_disk(MORE_THAN_THE_BUDGET)
        async with setting.server:
            await until(lambda: not setting.files(), what="the spool is empty", within=60)
            await setting.publish(100, first=MORE_THAN_THE_BUDGET)
            await until(lambda: not setting.files(), what="the spool is empty")
            code, line = await stopped(run)
    assert code == 0
    assert (line["received"], line["delivered"]) == (MORE_THAN_THE_BUDGET + 100, MORE_THAN_THE_BUDGET + 100)
    assert setting.delivered() == list(range(MORE_THAN_THE_BUDGET + 100))
    assert "dropped messages: they arrived faster than they were taken" not in run.events()


@pytest.mark.parametrize("mode", ["overflow", "always"])
async def test_what_a_process_leaves_the_next_one_sends_first(tmp_path, nats, mode):
    setting = Setting(tmp_path, nats, mode=mode, NATS_FLUENT_SHUTDOWN_TIMEOUT="10m")
    async with setting.running() as run:
        await setting.publish(400)  # which memory has room for
        code, line = await stopped(run)  # at once: nobody is there to wait for
        assert (code, line["spooled"], line["left"]) == (0, 400, 0)
        assert "left in the spool for the next process" in run.events()
    async with setting.running() as run:
        await setting.publish(50, first=400)
        async with setting.server:
            await until(lambda: len(setting.delivered()) == 450, what="all is delivered")
            code, line = await stopped(run)
    assert (code, line["recovered"], line["received"], line["delivered"]) == (0, 400, 50, 450)
    assert setting.delivered() == list(range(450))
    assert setting.files() == []


async def test_what_is_not_acknowledged_in_time_is_spooled_and_sent_again_with_the_same_ids(tmp_path, nats):
    setting = Setting(tmp_path, nats, NATS_FLUENT_SHUTDOWN_TIMEOUT="500ms")
    setting.server.shipper.answer = silence
    async with setting.server:
        async with setting.running() as run:
            await setting.publish(100)
            await until(lambda: setting.server.shipper.frames, what="something is sent")
            code, line = await stopped(run)
            assert (code, line["delivered"], line["spooled"]) == (0, 0, 100)
        unanswered = set(setting.server.shipper.chunk_ids())
        setting.server.shipper = Shipper()
        async with setting.running() as run:
            await until(lambda: len(setting.delivered()) == 100, what="all is delivered")
            assert (await stopped(run))[0] == 0
    assert unanswered <= set(setting.server.shipper.chunk_ids())
    assert setting.delivered() == list(range(100))


async def test_a_kill_loses_nothing_that_a_publisher_was_told_of(tmp_path, nats):
    setting = Setting(tmp_path, nats, mode="always")
    answered = set()

    async def ask(client, numbers):
        for number in numbers:
            payload = with_fields(responseMode=1, data=event({"ID": str(number)}))
            assert (await client.request(TOPIC, payload, timeout=PATIENCE)).data == b"ack"
            answered.add(number)

    async with setting.running() as run, publisher(nats) as client:
        asking = [asyncio.create_task(ask(client, range(first, 10**6, 20))) for first in range(20)]
        await until(lambda: len(answered) > 200, what="200 are answered")
        run.kill()  # while others wait
        for task in asking:
            task.cancel()
        failures = await asyncio.gather(*asking, return_exceptions=True)
        assert {type(failure) for failure in failures} <= {asyncio.CancelledError, NoRespondersError}
    async with setting.server, setting.running() as run:
        await until(lambda: not setting.files(), what="all that is on disk is delivered")
        code, line = await stopped(run)
    assert (code, line["recovered"]) == (0, line["delivered"])
    numbers = setting.delivered()
    assert answered <= set(numbers)
    assert len(set(numbers)) == len(numbers) == line["delivered"]


async def test_what_a_reader_of_stdout_did_not_take_is_kept(tmp_path, nats):
    setting = Setting(tmp_path, nats, NATS_FLUENT_FLUENT_URL="stdout:")
    directory = tmp_path / "gone"
    directory.mkdir()
    run = Running(directory, nats, **setting.environ)
    with (
        run.stderr.open("wb") as err,
        subprocess.Popen(  # noqa: ASYNC220 - it returns at once
            run.command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=err, env=run.env
        ) as run.process,
    ):
        try:
            await asyncio.to_thread(run.wait_subscribed)
            run.process.stdout.close()
            await setting.publish(10)
            assert await asyncio.to_thread(run.ended) == 1
        finally:
            run.process.kill()
    line = last(run)
    assert line["spooled"] + line["left"] == line["received"] > 0
    assert line["left"] == 0
    async with setting.running() as run:
        await until(lambda: not setting.files(), what="the spool is empty")
        assert (await stopped(run))[1]["delivered"] == line["spooled"]
    assert [record["content"]["entity"]["ID"] for record in run.records()] == [
        str(number) for number in range(line["spooled"])
    ]


async def test_an_answer_waits_for_the_disk_and_not_for_the_log_shipper(tmp_path, nats):
    setting = Setting(tmp_path, nats, mode="always")
    async with setting.running() as run, publisher(nats) as client:
        assert (await client.request(TOPIC, ASKING, timeout=15)).data == b"ack"
        assert len(setting.files()) == 1
        assert (await stopped(run))[1]["spooled"] == 1


async def test_an_answer_on_delivery_comes_when_the_stop_has_spooled_the_record(tmp_path, nats):
    setting = Setting(tmp_path, nats, NATS_FLUENT_NATS_ACK="delivered")
    async with setting.running() as run, publisher(nats) as client:
        asking = asyncio.create_task(client.request(TOPIC, ASKING, timeout=PATIENCE))
        other = asyncio.create_task(client.request(TOPIC, ASKING, timeout=PATIENCE))
        await client.flush()
        await setting.publish(1)
        await until(lambda: len(run.log()) > 1, what="it runs")
        assert not asking.done()
        assert (await stopped(run))[1]["spooled"] == 3
        assert [answer.data for answer in await asyncio.gather(asking, other)] == [b"ack", b"ack"]


async def test_a_full_spool_leaves_it_to_memory_and_then_what_comes_is_counted(tmp_path, nats):
    setting = Setting(tmp_path, nats, NATS_FLUENT_SPOOL_MAX_BYTES="200KB")
    async with setting.running() as run:
        await setting.publish(MORE_THAN_THE_BUDGET)
        assert sum(file.stat().st_size for file in setting.files()) <= 200_000
        async with setting.server:
            await until(lambda: not setting.files(), what="the spool is empty")
            # Only then has memory room for what comes.
            await until(
                lambda: "the spool takes chunks again" in run.events(), what="nothing waits in memory"
            )
            await setting.publish(100, first=MORE_THAN_THE_BUDGET)
            code, line = await stopped(run)
    assert code == 0
    numbers = setting.delivered()
    assert line["received"] == MORE_THAN_THE_BUDGET + 100
    assert line["dropped"] == line["received"] - len(numbers) > 100
    assert line["delivered"] == len(numbers)
    assert all(one < other for one, other in pairwise(numbers))
    assert numbers[:100] == list(range(100))  # the newest are dropped
    assert numbers[-100:] == list(range(MORE_THAN_THE_BUDGET, MORE_THAN_THE_BUDGET + 100))
    assert run.events().count("cannot spool: memory holds what it can, and then what comes is dropped") == 1
    assert run.events().count("the spool takes chunks again") == 1


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 300 kB."""
    directory = tmp_path / "disk"
    directory.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=300k", "tmpfs", str(directory)],
        capture_output=True,
        check=False,
        text=True,
    )
    if mounted.returncode:
        pytest.skip(f"cannot mount a small file system: {mounted.stderr.strip()}")
    yield directory
    subprocess.run(["umount", "-l", str(directory)], check=True)


async def test_a_disk_that_is_full(tmp_path, nats, small_disk):
    setting = Setting(tmp_path, nats, mode="always")
    setting.spool = small_disk / "spool"
    setting.environ["NATS_FLUENT_SPOOL_DIR"] = str(setting.spool)
    async with setting.running() as run:
        await setting.publish(MORE_THAN_THE_BUDGET)
        code, line = await stopped(run)
        assert (code, line["left"] > 0) == (1, True)
        assert "could not spool what the log shipper did not take" in run.events()
        reasons = {entry["reason"] for entry in run.log() if entry["event"].startswith("cannot spool")}
        assert reasons == {"[Errno 28] No space left on device"}
        spooled = line["spooled"]
    async with setting.server, setting.running() as run:
        await until(lambda: not setting.files(), what="the spool is empty")
        code, line = await stopped(run)
    assert (code, line["recovered"], line["delivered"]) == (0, spooled, spooled)
    numbers = setting.delivered()
    assert len(numbers) == spooled
    assert all(one < other for one, other in pairwise(numbers))
    assert numbers[:100] == list(range(100))


async def test_two_processes_on_one_directory(tmp_path, nats):
    setting = Setting(tmp_path, nats)
    async with setting.running() as run:
        directory = tmp_path / "other"
        directory.mkdir()
        other = Running(directory, nats, **setting.environ)
        with started(other):
            assert await asyncio.to_thread(other.ended) == 2
        assert other.stderr.read_text() == (
            f"nats-fluent: spool.dir: {setting.spool} is in use by another process (pid {run.process.pid}); "
            "give each a directory of its own\n"
        )


async def test_torn_and_foreign_files_stop_nothing(tmp_path, nats):
    setting = Setting(tmp_path, nats)
    async with setting.running() as run:
        await setting.publish(100)
        assert (await stopped(run))[1]["spooled"] == 100
    first, *_ = setting.files()
    torn = setting.spool / "0000000000009000.chunk"
    torn.write_bytes(first.read_bytes()[:-1])
    (setting.spool / "README").write_text("mine")
    async with setting.server, setting.running() as run:
        await until(lambda: not setting.files(), what="the spool is empty")
        code, line = await stopped(run)
    assert (code, line["recovered"], line["delivered"]) == (0, 100, 100)
    assert {"set aside a file of the spool", "files in the spool that are not its own"} <= set(run.events())
    left = sorted(path.name for path in setting.spool.iterdir())
    assert left == ["0000000000009000.chunk.bad", "README", "lock"]


async def test_a_chunk_that_rots_on_disk_is_counted_as_lost(tmp_path, nats):
    setting = Setting(tmp_path, nats)
    async with setting.running() as run:
        await setting.publish(100, at_once=10)
        await stopped(run)
    rotten = setting.files()[0]
    content = bytearray(rotten.read_bytes())
    content[-1] ^= 1
    rotten.write_bytes(content)
    async with setting.server, setting.running() as run:
        await until(lambda: not setting.files(), what="the spool is empty")
        code, line = await stopped(run)
    assert code == 0
    assert line["recovered"] == 100 == line["lost"] + line["delivered"]
    assert line["lost"] > 0
    assert rotten.with_name(rotten.name + ".bad").exists()
