"""`nats-fluent tail`, as a user starts it, beside a consumer from which it must take nothing."""

from __future__ import annotations

import contextlib
import json
import signal
import subprocess
import time

import msgpack
import pytest
from commands import COMMAND, ENVIRON, MonitoredNats, Running, pub
from programs import PATIENCE, NatsServer, free_port, started, wait_until
from rich.cells import cell_len
from taking import publish_raw
from terminal import in_terminal

from nats_fluent.samples import sample


@pytest.fixture
def nats(tmp_path):
    with started(MonitoredNats(tmp_path)) as server:
        yield server


@contextlib.contextmanager
def tailing(server, *args, stdout=subprocess.PIPE):
    process = subprocess.Popen(
        [*COMMAND, "tail", *args],
        stdin=subprocess.DEVNULL,
        stdout=stdout,
        stderr=subprocess.PIPE,
        env=ENVIRON | {"NATS_FLUENT_NATS_SERVERS": server.url},
    )
    try:
        assert process.stderr.readline().startswith(b"Listening to ")
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate()


def samples(count):
    return [sample(number, time.time_ns()) for number in range(count)]


def publish(server, kinds):
    publish_raw(server.port, *(pub(kind.topic, kind.payload) for kind in kinds))


def test_it_takes_nothing_from_the_consumer(tmp_path, nats):
    with started(Running(tmp_path, nats)) as running:
        running.wait_subscribed()
        with tailing(nats, "--json", "--count", "100") as process:
            publish(nats, samples(100))
            shown, said = process.communicate(timeout=PATIENCE)
        assert (process.returncode, said) == (0, b"")
        wait_until(lambda: len(running.records()) == 100, what="the consumer has all of it")
        consumed = {
            (record["topic"], json.dumps(record["content"], sort_keys=True)) for record in running.records()
        }
    records = [json.loads(line) for line in shown.splitlines()]
    assert {
        (record["topic"], json.dumps(record["content"], sort_keys=True)) for record in records
    } == consumed
    assert len(records) == 100


def test_only_what_is_asked_for(nats):
    kinds = samples(60)
    with tailing(nats, "squall-events", "--json", "--operation", "update", "--count", "1") as process:
        publish(nats, kinds)
        shown, _ = process.communicate(timeout=PATIENCE)
    (record,) = map(json.loads, shown.splitlines())
    assert (record["topic"], record["operation"]) == ("squall-events", "update")


def test_lines_in_a_terminal_are_coloured_and_no_wider_than_it(nats):
    evil = msgpack.packb({"name": "\x1b]0;owned\x07\x1b[2J" + "\u8239" * 200, "operation": "create"})
    with in_terminal("tail", ">", "--count", "31", columns=60, NATS_FLUENT_NATS_SERVERS=nats.url) as terminal:
        terminal.wait_for("Listening to >; Ctrl-C ends it.")
        publish_raw(nats.port, pub("a.b", b"junk"), *(pub(k.topic, k.payload) for k in samples(29)))
        publish_raw(nats.port, pub("activities", evil))
        assert terminal.ended() == 0
        lines = terminal.lines()
    assert len(lines) == 32
    assert all(cell_len(line) <= 60 for line in lines)
    assert "\x1b[" in terminal.raw
    assert "\x1b]0" not in terminal.raw
    assert "\x1b[2J" not in terminal.raw


def test_ctrl_c_ends_it(nats):
    with in_terminal("tail", columns=100, NATS_FLUENT_NATS_SERVERS=nats.url) as terminal:
        terminal.wait_for("Listening to squall-events, activities, ")
        terminal.process.send_signal(signal.SIGINT)
        assert terminal.ended() == 0
    assert "Traceback" not in terminal.text


def test_a_reader_that_goes_away_ends_it_quietly(nats):
    with tailing(nats, ">") as process:
        process.stdout.close()
        publish(nats, samples(3))
        said = process.stderr.read()
        assert process.wait(PATIENCE) == 0
    assert said == b""


def test_it_says_what_it_could_not_show_and_ends_though_nobody_reads(nats):
    with tailing(nats, ">", "--json") as process:
        for _ in range(60):
            publish_raw(nats.port, pub("a", bytes(900_000)))
        line = process.stderr.readline().decode()
        process.terminate()
        assert process.wait(PATIENCE) == 0
    assert line.startswith("Cannot keep up: ")
    assert line.endswith(" publications are not shown, wanted or not.\n")


def test_it_waits_for_nats(tmp_path):
    server = NatsServer(tmp_path)
    process = subprocess.Popen(
        [*COMMAND, "tail", "--json", "--count", "1"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=ENVIRON | {"NATS_FLUENT_NATS_SERVERS": server.url},
    )
    try:
        assert b"cannot connect to NATS; trying again" in process.stderr.readline()
        with started(server):
            assert process.stderr.readline().startswith(b"Listening to ")
            publish(server, samples(1))
            shown, _ = process.communicate(timeout=PATIENCE)
        assert len(shown.splitlines()) == 1
        assert process.returncode == 0
    finally:
        if process.poll() is None:
            process.kill()
            process.communicate()


def test_bad_input_is_a_sentence():
    done = subprocess.run(
        [*COMMAND, "tail", "a..b", "--nats-servers", f"127.0.0.1:{free_port()}"],
        capture_output=True,
        check=False,
        env=ENVIRON,
        timeout=PATIENCE,
    )
    assert (done.returncode, done.stdout) == (2, b"")
    assert done.stderr.decode() == (
        "nats-fluent: SUBJECT: 'a..b' has a subject with an empty part; write it as in a.b.c.\n"
    )
