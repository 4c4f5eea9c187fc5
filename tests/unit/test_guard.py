"""The watchdog at work: what it restarts, what it ends, and how long it waits."""

from __future__ import annotations

import asyncio

import pytest
from logged import capturing_log
from programs import wait_until
from taking import until

from nats_fluent import guard
from nats_fluent.addresses import FluentUrl
from nats_fluent.errors import RunFailed
from nats_fluent.guard import Guard, Restartable, limits
from nats_fluent.log import Log
from nats_fluent.sections import FluentSettings, NatsSettings
from nats_fluent.settings import Settings
from nats_fluent.sink.forward import BACKOFF_MAX
from nats_fluent.source.connect import RECONNECT_JITTER, RECONNECT_WAIT
from nats_fluent.watchdog import Limit, Sign


@pytest.mark.parametrize(
    ("ping", "connect", "ack"), [(15.0, 5.0, 30.0), (0.1, 0.1, 0.1), (600.0, 60.0, 900.0)]
)
def test_patience_is_longer_than_whatever_may_take_its_time(ping, connect, ack):
    url = (FluentUrl("forward", "127.0.0.1", 24224),)
    found = limits(
        Settings(
            nats=NatsSettings(ping_interval=ping, connect_timeout=connect),
            fluent=FluentSettings(url=url, connect_timeout=connect, ack_timeout=ack),
        )
    )
    # nats-py gives up a server at the ping after two that it left unanswered.
    assert found["nats"].patience > max(3 * ping, RECONNECT_WAIT + RECONNECT_JITTER + connect)
    assert found["sink"].patience > max(ack, BACKOFF_MAX + connect)
    assert {name for name, limit in found.items() if limit.restarts} == {"nats", "sink"}


def test_standard_output_may_be_blocked_for_ever():
    assert limits(Settings()).keys() == {"nats", "pipeline"}


class Part:
    """Runs until cancelled; notes each time."""

    def __init__(self):
        self.begun = self.ended = 0

    async def run(self):
        self.begun += 1
        try:
            await asyncio.Event().wait()
        finally:
            self.ended += 1


async def turns(count=10):
    for _ in range(count):
        await asyncio.sleep(0)


async def test_a_part_is_begun_again_and_ends_when_it_is_cancelled():
    part = Part()
    restartable = Restartable(part.run)
    await restartable.restart()  # before it runs: nothing
    task = asyncio.create_task(restartable.run())
    for count in (1, 2, 3):
        await turns()
        assert (part.begun, part.ended, task.done()) == (count, count - 1, False)
        assert not restartable.ended
        await restartable.restart()
    await turns()
    task.cancel()
    await turns()
    assert task.cancelled()
    assert (part.begun, part.ended) == (4, 4)
    assert restartable.ended


async def test_a_part_that_ends_or_fails_does_so_for_good():
    async def nothing():
        pass

    async def fail():
        raise RunFailed("no")

    await Restartable(nothing).run()
    restartable = Restartable(fail)
    with pytest.raises(RunFailed, match="no"):
        await restartable.run()
    assert restartable.ended
    await restartable.restart()  # after it has ended: nothing


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(guard, "EVERY", 0.001)


async def test_a_part_that_stands_still_is_restarted_once_and_then_ends_the_run():
    restarted = []

    async def restart():
        restarted.append("nats")

    still = Sign(busy=True, tried=0, done=0)
    log, logged = capturing_log()
    watching = Guard(
        {"nats": Limit(0.01, restarts=True)},
        signs=lambda: {"nats": still, "other": still},
        restarts={"nats": restart},
        log=log,
    )
    with pytest.raises(RunFailed) as caught:
        await asyncio.wait_for(watching.run(), 15)
    assert str(caught.value) == "nats: it had something to do, and did nothing for 0.01 s"
    assert restarted == ["nats"]
    assert [line["event"] for line in logged] == ["a part stands still, and is restarted"]


@pytest.fixture
def left(monkeypatch):
    """Why the process would have ended."""
    reasons = []
    monkeypatch.setattr(guard, "leave", reasons.append)
    return reasons


@pytest.fixture
def watching():
    watching = Guard({}, signs=dict, restarts={}, log=Log())
    watching.start()
    yield watching
    watching.close()
    assert not watching._thread.is_alive()


@pytest.fixture
def impatient(monkeypatch):
    """It is read when the thread starts."""
    monkeypatch.setattr(guard, "BLOCKED", 0.01)


@pytest.mark.usefixtures("impatient")
async def test_a_loop_that_stands_still_ends_the_process(left, watching):
    task = asyncio.create_task(watching.run())
    await turns()
    wait_until(lambda: left, what="it is noticed")  # this blocks the loop
    task.cancel()
    assert left[0] == "the event loop stood still for 0.01 s"


async def test_a_process_that_does_not_end_is_ended(left, watching):
    task = asyncio.create_task(watching.run())
    watching.end_within(0.01)
    await until(lambda: left, what="it is noticed")
    task.cancel()
    assert left[0] == "it was to end, and did not"


async def test_a_loop_that_goes_round_is_left_alone(left, watching):
    looks = 0

    def signs():
        nonlocal looks
        looks += 1
        return {}

    watching._signs = signs
    task = asyncio.create_task(watching.run())
    await until(lambda: looks > 50, what="it has looked often")
    task.cancel()
    assert left == []
