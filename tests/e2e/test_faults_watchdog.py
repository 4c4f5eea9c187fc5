"""A process that cannot go on ends, and one that was only stopped does not."""

from __future__ import annotations

import json
import signal
import time

from faults import STOPPED
from faults_inside import BLOCKS, WORKS_NOTHING, made_to
from programs import PATIENCE, wait_until, whole_lines

ALL = ("event loop", "nats", "pipeline", "sink")
PINGS = {"NATS_FLUENT_NATS_PING_INTERVAL": "1s"}
"""Sooner than a watchdog without patience looks whether NATS was heard."""


def logged(running):
    """The lines of its log, without the stacks that follow them."""
    return [json.loads(line) for line in whole_lines(running.stderr) if line.startswith(b"{")]


def test_a_part_that_cannot_be_restarted_ends_the_process(tmp_path):
    """The event loop goes round, and nothing is worked on."""
    with made_to(WORKS_NOTHING, "pipeline")(tmp_path, NATS_FLUENT_SHUTDOWN_TIMEOUT="1s") as world:
        world.flowing()
        world.stuck.touch()
        assert world.running.ended(within=PATIENCE) == 1
        failed, stopped = (line for line in logged(world.running) if line["event"] in {"failed", "stopped"})
        assert failed["reason"] == "pipeline: it had something to do, and did nothing for 3 s"
        assert stopped["left"] == stopped["received"] - stopped["delivered"] > 0


def test_a_blocked_event_loop_ends_the_process_and_says_where(tmp_path):
    with made_to(BLOCKS, *ALL)(tmp_path, **PINGS) as world:
        world.flowing()
        world.stuck.touch()
        assert world.running.ended(within=PATIENCE) == 1
        said = world.running.stderr.read_text()
        assert "nats-fluent: the event loop stood still for 3 s; the threads are here:" in said
        assert "in blocked\n" in said
        assert "in run_forever" in said or "in run" in said


def test_a_process_that_was_stopped_for_a_while_goes_on(tmp_path):
    with made_to(BLOCKS, *ALL)(tmp_path, **PINGS) as world:
        world.flowing()
        process = world.running.process
        process.send_signal(signal.SIGSTOP)
        time.sleep(5)  # longer than the watchdog's patience: this time is the fault
        process.send_signal(signal.SIGCONT)
        world.flowing()
        world.load.stop()
        assert world.running.stop(within=STOPPED) == 0
        assert "a part stands still, and is restarted" not in [
            line["event"] for line in logged(world.running)
        ]


def test_a_log_shipper_that_is_away_is_none_of_its_business(tmp_path):
    with made_to(BLOCKS, *ALL)(tmp_path, **PINGS) as world:
        world.flowing()
        with world.biting():
            world.receiver.program.kill()
        world.load.stop()
        since = time.monotonic()
        wait_until(
            lambda: time.monotonic() - since > 5, what="more time than the patience of the watchdog passes"
        )
        world.receiver.start_again()
        assert world.running.stop(within=STOPPED) == 0
        assert "a part stands still, and is restarted" not in [
            line["event"] for line in logged(world.running)
        ]
