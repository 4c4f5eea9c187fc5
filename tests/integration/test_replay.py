"""`nats-fluent replay` as a user starts it, on a real stream."""

from __future__ import annotations

import asyncio
import datetime as dt
import json
import re
import signal
import subprocess

import pytest
from commands import COMMAND, ENVIRON
from forward_server import ForwardServer, Shipper, until
from programs import free_port, started
from streams import STREAM, StreamServer, operating
from terminal import in_terminal

from nats_fluent.samples import sample

COUNT = 60


@pytest.fixture
def server(tmp_path):
    with started(StreamServer(tmp_path)) as one:
        yield one


def environ(server, **more):
    return {
        "NATS_FLUENT_NATS_SERVERS": server.url,
        "NATS_FLUENT_JETSTREAM_STREAM": STREAM,
        "NATS_FLUENT_TOPICS": "events.>=events",
        "NATS_FLUENT_NATS_CONNECT_TIMEOUT": "1m",
    } | more


def replay(server, *args, **more):
    done = subprocess.run(
        [*COMMAND, "replay", *args],
        check=False,
        capture_output=True,
        env=ENVIRON | environ(server, **more),
        timeout=60,
    )
    done.stdout, done.stderr = done.stdout.decode(), done.stderr.decode()
    assert "Traceback" not in done.stderr
    return done


def begun(server, *args, **more):
    return subprocess.Popen(
        [*COMMAND, "replay", *args], stderr=subprocess.PIPE, env=ENVIRON | environ(server, **more)
    )


def sequences(done):
    return [json.loads(line)["sequence"] for line in done.stdout.splitlines()]


async def filled(ops, *, durable=True):
    """A stream with COUNT messages, every third in another subject; return the time in the middle."""
    await ops.make()
    if durable:
        await ops.make_consumer()
    for number in range(COUNT):
        if number == COUNT // 2:
            middle = dt.datetime.now(dt.UTC).isoformat()
        await ops.publish("events.b" if number % 3 == 2 else "events.a", sample(number, 10**18).payload)
    return middle


async def consumers(ops):
    return (await ops.ask(f"CONSUMER.NAMES.{STREAM}"))["consumers"] or []


async def test_parts_of_a_stream(server):
    async with operating(server) as ops:
        middle = await filled(ops)
        before = await ops.consumer()
        done = replay(server, "--from-sequence", "1")
        assert done.returncode == 0
        assert sequences(done) == list(range(1, COUNT + 1))
        assert {json.loads(line)["id"] for line in done.stdout.splitlines()} == {
            f"{STREAM}-{number}" for number in range(1, COUNT + 1)
        }
        first, last = done.stderr.splitlines()
        assert first == (
            f"Replaying {COUNT} messages of {STREAM} (events.>), sequences 1 to {COUNT}, to stdout:."
        )
        assert last == f"Done: {COUNT} records delivered; all up to sequence {COUNT} is acknowledged."
        some = replay(server, "--from-sequence", "11", "--until", "20")
        assert (some.returncode, sequences(some)) == (0, list(range(11, 21)))
        late = replay(server, "--since", middle)
        assert (late.returncode, sequences(late)) == (0, list(range(COUNT // 2 + 1, COUNT + 1)))
        early = replay(server, "--since", "1h", "--until", middle, "--subject", "events.b")
        assert (early.returncode, sequences(early)) == (0, list(range(3, COUNT // 2 + 1, 3)))
        assert await ops.consumer() | {"ts": 0} == before | {"ts": 0}
        assert await consumers(ops) == ["nats-fluent"]


async def test_a_dry_run_delivers_nothing(server):
    async with operating(server) as ops:
        await filled(ops, durable=False)
        done = replay(server, "--from-sequence", "1", "--until", "30", "--subject", "events.b", "--dry-run")
        assert (done.returncode, done.stdout) == (0, "")
        assert done.stderr == (
            f"Would replay 10 messages of {STREAM} (events.b), sequences 1 to 30, to stdout:.\n"
        )
        assert await consumers(ops) == []


async def test_what_comes_meanwhile_is_not_replayed(server):
    async with operating(server) as ops:
        await filled(ops, durable=False)
        with in_terminal(
            *("replay", "--from-sequence", "1", "--rate", "30"),
            columns=100,
            stderr=False,
            **environ(server),
        ) as terminal:
            terminal.wait_for('"sequence":5,')
            await ops.publish("events.a", b"new", b"newer")
            assert terminal.ended() == 0
        assert f'"sequence":{COUNT}' in terminal.text.replace("\n", "")
        assert f'"sequence":{COUNT + 1}' not in terminal.text.replace("\n", "")
        assert await consumers(ops) == []


async def test_the_bar_in_a_terminal(server):
    shipper = Shipper()
    async with operating(server) as ops, ForwardServer(shipper) as there:
        await filled(ops, durable=False)
        url = f"forward://127.0.0.1:{there.port}"
        with in_terminal(
            *("replay", "--from-sequence", "1", "--rate", "40"),
            columns=80,
            **environ(server, NATS_FLUENT_FLUENT_URL=url),
        ) as terminal:
            await until(lambda: terminal.process.poll() is not None, what="the replay has ended")
            assert terminal.ended() == 0
    assert re.search(rf"Replaying [━╸╺ ]+ \d+/{COUNT} (\d+|-)/s (\d:\d\d:\d\d|-:--:--)", terminal.text)
    assert f"Done: {COUNT} records delivered; all up to sequence {COUNT} is acknowledged.\n" in terminal.text
    assert [record["sequence"] for frame in shipper.frames for record in frame.records] == list(
        range(1, COUNT + 1)
    )


async def test_one_that_is_interrupted_goes_on_where_it_was(server):
    shipper = Shipper()
    async with operating(server) as ops, ForwardServer(shipper) as there:
        await filled(ops, durable=False)
        url = f"forward://127.0.0.1:{there.port}"
        # So slow that a test which is not scheduled for some seconds does not miss the end.
        process = begun(server, "--from-sequence", "1", "--rate", "4", NATS_FLUENT_FLUENT_URL=url)
        try:
            await until(lambda: len(shipper.frames) > 4, what="a few chunks")
            process.send_signal(signal.SIGINT)
            await until(lambda: process.poll() is not None, what="the replay has ended")
            said = process.stderr.read().decode().splitlines()[-1]
        finally:
            process.kill()
            process.communicate()
        assert process.returncode == 1
        delivered, floor, following = map(
            int,
            re.fullmatch(
                r"Stopped: (\d+) records delivered; all up to sequence (\d+) is acknowledged\. "
                r"Go on with --from-sequence (\d+)\.",
                said,
            ).groups(),
        )
        first = [record["sequence"] for frame in shipper.frames for record in frame.records]
        assert first == list(range(1, delivered + 1))
        # The server may be late to take in the last acknowledgements.
        assert 0 < floor <= delivered < COUNT
        assert following == floor + 1
        assert await consumers(ops) == []
        done = replay(server, "--from-sequence", str(following))
        assert done.returncode == 0
        assert sequences(done) == list(range(following, COUNT + 1))


async def test_bad_input_is_a_sentence(server):
    async with operating(server) as ops:
        gone = replay(server, "--from-sequence", "1")
        missing = f"nats-fluent: the stream {STREAM} is not there; it is not made by this program\n"
        assert (gone.returncode, gone.stderr) == (1, missing)
        await ops.make()
        await ops.publish("events.a", b"x")
        for args, code, said in (
            (("--from-sequence", "2"), 1, "there is nothing to replay: the stream EVENTS has no message of"),
            (("--from-sequence", "1", "--subject", "events.b"), 1, "there is nothing to replay"),
            (("--from-sequence", "1", "--subject", "other"), 1, "has none of the subjects other"),
            (("--since", "2999-01-01T00:00:00Z"), 2, "lies in the future"),
            ((), 2, "give one of --since and --from-sequence"),
            (("--since", "1h", "--from-sequence", "1"), 2, "give one of --since and --from-sequence"),
        ):
            done = replay(server, *args)
            assert (done.returncode, done.stdout) == (code, ""), args
            (line,) = done.stderr.splitlines()
            assert said in line
        assert await consumers(ops) == []
        down = replay(server, "--from-sequence", "1", NATS_FLUENT_NATS_SERVERS=f"127.0.0.1:{free_port()}")
        assert down.returncode == 1
        assert "NATS cannot be reached: " in down.stderr


async def test_a_work_queue_has_nothing_to_replay(server):
    async with operating(server) as ops:
        await ops.make(retention="workqueue")
        await ops.publish("events.a", b"x")
        done = replay(server, "--from-sequence", "1")
    assert done.returncode == 1
    assert f"the stream {STREAM} is a work queue: " in done.stderr


async def test_it_goes_on_through_a_restart_of_both_servers(server):
    shipper = Shipper()
    async with ForwardServer(shipper) as there:
        async with operating(server) as ops:
            await filled(ops, durable=False)
        process = begun(
            server,
            *("--from-sequence", "1", "--rate", "15"),
            NATS_FLUENT_FLUENT_URL=f"forward://127.0.0.1:{there.port}",
        )
        try:
            await until(lambda: len(shipper.frames) > 3, what="a few chunks")
            await there.stop()
            await asyncio.to_thread(server.kill)
            await asyncio.to_thread(server.start)
            await there.start()
            await until(lambda: process.poll() is not None, what="the replay has ended")
            said = process.stderr.read().decode()
        finally:
            process.kill()
            process.communicate()
    assert process.returncode == 0, said
    delivered = {record["id"] for frame in shipper.frames for record in frame.records}
    assert delivered == {f"{STREAM}-{number}" for number in range(1, COUNT + 1)}
