"""The command `nats-fluent run`: what it prints, and how it ends."""

from __future__ import annotations

import signal
import subprocess

import pytest
from building import publication
from commands import ENVIRON, MonitoredNats, Running, pub
from programs import PATIENCE, free_port, started, wait_until
from taking import publish_raw

TOPIC = "squall-events"


@pytest.fixture
def nats(tmp_path):
    with started(MonitoredNats(tmp_path)) as server:
        yield server


def publish(nats, count, *, first=0):
    publish_raw(nats.port, *(pub(TOPIC, publication({"ID": str(n)})) for n in range(first, first + count)))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_after_all_is_printed(tmp_path, nats, number):
    with started(Running(tmp_path, nats)) as running:
        running.wait_subscribed()
        publish(nats, 2000)
        running.process.send_signal(number)
        assert running.ended() == 0
    records = running.records()
    assert [record["content"]["entity"]["ID"] for record in records] == [str(n) for n in range(2000)]
    assert len({record["id"] for record in records}) == 2000
    stopped = running.log()[-1]
    assert stopped["event"] == "stopped"
    assert (stopped["received"], stopped["delivered"], stopped["left"]) == (2000, 2000, 0)


def test_two_runs_have_ids_of_their_own(tmp_path, nats):
    prefixes = set()
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        with started(Running(tmp_path / name, nats)) as running:
            running.wait_subscribed()
            publish(nats, 3)
            assert running.stop() == 0
        ids = [record["id"] for record in running.records()]
        assert [each.partition("-")[2] for each in ids] == ["1", "2", "3"]
        prefixes |= {each.partition("-")[0] for each in ids}
    assert len(prefixes) == 2


def nowhere():
    return {
        "NATS_FLUENT_FLUENT_URL": f"forward://127.0.0.1:{free_port()}",
        "NATS_FLUENT_SHUTDOWN_TIMEOUT": "10m",
    }


@pytest.mark.parametrize("second", [signal.SIGINT, signal.SIGTERM])
def test_a_second_signal_does_not_wait(tmp_path, nats, second):
    """The first waits for the log shipper, for up to ten minutes here."""
    with started(Running(tmp_path, nats, **nowhere())) as running:
        running.wait_subscribed()
        publish(nats, 3)
        running.process.send_signal(signal.SIGINT)
        wait_until(lambda: "stopping" in running.events(), what="it is stopping")
        assert running.running()
        running.process.send_signal(second)
        assert running.ended() != 0


def test_what_is_left_is_counted_and_the_exit_code_says_so(tmp_path, nats):
    environ = nowhere() | {"NATS_FLUENT_SHUTDOWN_TIMEOUT": "300ms"}
    with started(Running(tmp_path, nats, **environ)) as running:
        running.wait_subscribed()
        publish(nats, 7)
        assert running.stop() == 1
    stopped = running.log()[-1]
    assert (stopped["event"], stopped["left"], stopped["level"]) == ("stopped", 7, "error")


def test_a_reader_of_stdout_that_goes_away_ends_it_with_a_sentence(tmp_path, nats):
    running = Running(tmp_path, nats)
    with (
        running.stderr.open("wb") as err,
        subprocess.Popen(
            running.command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=err, env=running.env
        ) as process,
    ):
        running.process = process
        try:
            running.wait_subscribed()
            publish(nats, 1)
            assert process.stdout.readline().startswith(b'{"topic":"squall-events"')
            process.stdout.close()  # as `| head -1` does
            publish(nats, 1, first=1)
            assert process.wait(PATIENCE) == 1
        finally:
            process.kill()
    failed = [line for line in running.log() if line["event"] == "failed"]
    assert [line["reason"] for line in failed] == [
        "stdout: cannot write records ([Errno 32] Broken pipe); is its reader still there?"
    ]
    assert "Traceback" not in running.stderr.read_text()


def test_topics_and_tag_from_flags(tmp_path, nats):
    with started(Running(tmp_path, nats, "--topics", "events.>=all")) as running:
        running.wait_subscribed(1)
        publish_raw(nats.port, pub("events.a", publication({})), pub("events.b.c", b"junk"))
        assert running.stop() == 0
    first, second = running.records()
    assert (first["topic"], first["subject"]) == ("all", "events.a")
    assert (second["topic"], second["subject"], second["size"]) == ("all", "events.b.c", 4)
    assert "NATS_FLUENT_TOPICS" not in ENVIRON
