"""`nats-fluent run --workers 2`: they share the work, one endpoint answers for both, and none outlives the other."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
import urllib.request

import pytest
from building import publication
from commands import MonitoredNats, Running, pub
from faults_receivers import Taken
from programs import PATIENCE, started, wait_until
from taking import publish_raw
from watching import Watched

from nats_fluent import supervision, supervisor
from nats_fluent.addresses import FluentUrl
from nats_fluent.errors import SettingsError
from nats_fluent.sections import FluentSettings
from nats_fluent.settings import Settings

TOPIC = "squall-events"
RECEIVED = "nats_fluent_publications_received_total"
SUBSCRIPTIONS = 6
"""Of one worker."""


@pytest.fixture
def nats(tmp_path):
    with started(MonitoredNats(tmp_path)) as server:
        yield server


@pytest.fixture
def shipper(tmp_path):
    with Taken(tmp_path) as server:
        yield server


def workers(shipper, **more):
    return {
        "NATS_FLUENT_WORKERS": "2",
        "NATS_FLUENT_FLUENT_URL": f"forward://127.0.0.1:{shipper.port}",
    } | more


def publish(nats, numbers):
    publish_raw(nats.port, *(pub(TOPIC, publication({"ID": str(n)})) for n in numbers))


def arrived(shipper):
    return [int(record["content"]["entity"]["ID"]) for record in shipper.shipper.records()]


def connections(nats):
    """The names of the connections, by their numbers."""
    with urllib.request.urlopen(f"http://127.0.0.1:{nats.monitor}/connz", timeout=PATIENCE) as answer:
        return {each["cid"]: each["name"] for each in json.load(answer)["connections"] if "name" in each}


def each_of(running):
    return json.loads(running.ask("/status")[2])["facts"]["workers"]


def total(running, name, **labels):
    return sum(
        value
        for (found, *pairs), value in running.samples().items()
        if found == name and labels.items() <= set(pairs)
    )


def wait_total(running, name, value, **labels):
    """Wait for it: a worker that does not answer at once is shown as it was when it last did."""
    wait_until(lambda: total(running, name, **labels) == value, what=f"{name} is {value}")


def each_answering(running):
    """What each worker says of itself, once all answer at once."""
    found = []

    def answered():
        found[:] = each_of(running)
        return all(each.get("facts") for each in found)

    wait_until(answered, what="all workers answer")
    return found


def alive(pid):
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, 0)
        return True
    return False


def test_two_share_the_messages_one_may_die_and_both_end_in_order(tmp_path, nats, shipper):
    with started(Watched(tmp_path, nats, **workers(shipper))) as running:
        running.wait_up()
        assert sorted(connections(nats).values()) == ["nats-fluent-1", "nats-fluent-2"]
        publish(nats, range(10_000))
        wait_until(lambda: shipper.size() >= 10_000, what="all have arrived")
        assert sorted(arrived(shipper)) == list(range(10_000))
        wait_total(running, RECEIVED, 10_000)
        wait_total(running, "nats_fluent_records_acknowledged_total", 10_000)
        wait_total(running, "nats_fluent_worker_up", 2)
        received = [each["facts"]["topics"][TOPIC]["received"] for each in each_answering(running)]
        assert sum(received) == 10_000
        assert min(received) > 0
        assert total(running, "process_resident_memory_bytes") > 80e6

        first, second = (each["pid"] for each in each_of(running))
        os.kill(first, signal.SIGSTOP)
        try:
            wait_until(running.why, what="it is named")
            (reason,) = running.why().values()
            assert reason.startswith("worker 1: it has not answered for ")
            assert total(running, "nats_fluent_worker_up", worker="1") == 0
            assert total(running, RECEIVED) == 10_000
        finally:
            os.kill(first, signal.SIGCONT)
        running.wait_up()
        before = connections(nats).keys()
        os.kill(second, signal.SIGKILL)
        wait_until(lambda: before - connections(nats).keys(), what="its subscriptions are gone")
        publish(nats, range(10_000, 11_000))
        wait_until(lambda: shipper.size() >= 11_000, what="the other goes on")
        wait_total(running, RECEIVED, 11_000)
        wait_total(running, "nats_fluent_worker_restarts_total", 1, worker="2")
        running.wait_up()
        assert [each["pid"] == was for each, was in zip(each_of(running), (first, second), strict=True)] == [
            True,
            False,
        ]
        publish(nats, range(11_000, 12_000))
        wait_until(lambda: shipper.size() >= 12_000, what="both go on")
        wait_total(running, RECEIVED, 12_000)
        publish(nats, range(12_000, 13_000))
        assert running.stop() == 0
    assert sorted(arrived(shipper)) == list(range(13_000))
    log = running.log()
    (ended,) = [line for line in log if line["event"] == "a worker ended, and is started again"]
    assert (ended["worker"], ended["how"], ended["seconds"]) == (2, "signal 9", 1.0)
    stopped = [line for line in log if line["event"] == "stopped"]
    assert {line["worker"] for line in stopped} == {1, 2}
    assert sum(line["received"] for line in stopped) == 13_000 - received[1]
    assert log[-1]["event"] == "all workers have stopped"


def test_a_second_signal_does_not_wait(tmp_path, nats):
    nowhere = {
        "NATS_FLUENT_WORKERS": "2",
        "NATS_FLUENT_FLUENT_URL": "forward://127.0.0.1:1",
        "NATS_FLUENT_SHUTDOWN_TIMEOUT": "10m",
    }
    with started(Watched(tmp_path, nats, **nowhere)) as running:
        running.wait_subscribed(2 * SUBSCRIPTIONS)
        publish(nats, range(1000))
        pids = [each["pid"] for each in each_of(running)]
        running.process.send_signal(signal.SIGTERM)
        wait_until(lambda: "stopping" in running.events(), what="it is stopping")
        running.process.send_signal(signal.SIGINT)
        assert running.ended() != 0
    wait_until(lambda: not any(map(alive, pids)), what="no worker is left")


def test_when_the_supervisor_is_killed_workers_end_in_order_and_one_alone_takes_over_what_they_left(
    tmp_path, nats, shipper
):
    spool = {"NATS_FLUENT_SPOOL_MODE": "overflow", "NATS_FLUENT_SPOOL_DIR": str(tmp_path / "spool")}
    nowhere = workers(shipper, **spool) | {"NATS_FLUENT_FLUENT_URL": "forward://127.0.0.1:1"}
    running = Watched(tmp_path, nats, **nowhere)
    running.start()
    try:
        running.wait_subscribed(2 * SUBSCRIPTIONS)
        publish(nats, range(1000))
        wait_total(running, RECEIVED, 1000)
        pids = [each["pid"] for each in each_of(running)]
    finally:
        running.kill()
    wait_until(lambda: not any(map(alive, pids)), what="no worker is left")
    events = running.events()
    assert events.count("the supervisor is gone: stopping") == events.count("stopped") == 2
    assert {path.parent.name for path in tmp_path.glob("spool/*/*.chunk")} == {"worker-1", "worker-2"}
    (tmp_path / "one").mkdir()
    alone = workers(shipper, **spool) | {"NATS_FLUENT_WORKERS": "1"}
    with started(Running(tmp_path / "one", nats, **alone)) as running:
        wait_until(lambda: shipper.size() >= 1000, what="all have arrived")
        assert running.stop() == 0
    assert sorted(arrived(shipper)) == list(range(1000))
    assert running.events().count("took over from another spool") == 2
    assert not list(tmp_path.glob("spool/**/*.chunk"))


def test_what_no_worker_can_use_is_said_once(tmp_path, nats, shipper):
    (tmp_path / "file").write_text("")
    environ = workers(shipper, NATS_FLUENT_SPOOL_MODE="always", NATS_FLUENT_SPOOL_DIR=str(tmp_path / "file"))
    with started(Running(tmp_path, nats, **environ)) as running:
        assert running.ended() == 2
    said = [line for line in running.stderr.read_text().splitlines() if line.startswith("nats-fluent: ")]
    assert len(said) == len(set(said)) == 2  # each names a directory of its own
    assert all("spool.dir: cannot use" in line for line in said)


SETTINGS = Settings(workers=2, fluent=FluentSettings(url=(FluentUrl("forward", "127.0.0.1", 1),)))


async def test_a_worker_that_ends_again_and_again_ends_all(monkeypatch):
    monkeypatch.setattr(supervision, "FIRST", 0.001)
    monkeypatch.setattr(supervisor, "command", lambda _: [sys.executable, "-S", "-c", "raise SystemExit(7)"])
    assert await supervisor.Supervisor(SETTINGS).serve() == 1


async def test_a_worker_that_cannot_be_started_is_as_one_that_ended(monkeypatch):
    monkeypatch.setattr(supervision, "FIRST", 0.001)
    monkeypatch.setattr(supervisor, "command", lambda _: ["/nowhere"])
    assert await supervisor.Supervisor(SETTINGS).serve() == 1


async def test_settings_that_a_worker_cannot_use_are_an_error(monkeypatch):
    monkeypatch.setattr(supervisor, "command", lambda _: [sys.executable, "-S", "-c", "raise SystemExit(2)"])
    with pytest.raises(SettingsError):
        await supervisor.Supervisor(SETTINGS).serve()
