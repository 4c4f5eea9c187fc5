"""The faults: each breaks one thing under load, waits for a fact that says that it has bitten, and heals it."""

from __future__ import annotations

import contextlib
import shutil
import signal
import subprocess
from pathlib import Path

import forward_server
import pytest
from faults import DURABLE, LAME_DUCK, STOPPED, STREAM, Nats, consumer_info, world
from faults_load import RATE, SUBJECT, ask
from programs import PATIENCE, free_port, started, wait_until

# --- the log shipper ---


def fluent_bit_killed(world):
    with world.biting():
        world.receiver.program.kill()
    world.receiver.start_again()


def fluent_bit_told_to_stop(world):
    with world.biting():
        assert world.receiver.program.stop(within=STOPPED) == 0
    world.receiver.start_again()


def fluent_bit_hangs(world):
    """For longer than the consumer waits for an acknowledgement."""
    process = world.receiver.program.process
    with world.biting():
        process.send_signal(signal.SIGSTOP)
    process.send_signal(signal.SIGCONT)


def fluent_bit_paused(world):
    """By its own limit: it takes connections, and reads nothing from them."""
    with world.biting():
        world.receiver.refusing = True
        wait_until(world.receiver.paused, what="its input is paused")
    world.receiver.refusing = False
    wait_until(lambda: not world.receiver.paused(), what="its input goes on")


def connection_cut(world):
    """Twice, after the first bytes of a chunk of 10 KB or more."""
    server = world.receiver.server

    async def cut():
        server.cut = [1_000, 4_000]
        await server.stop()
        await server.start()

    with world.biting():
        world.receiver.call(cut())
    wait_until(lambda: not server.cut, what="both connections are cut")


def acknowledgement_lost(world):
    answered(world, forward_server.close, forward_server.ack, forward_server.close)


def acknowledgement_unknown(world):
    answered(world, *[forward_server.unknown] * 3)


def garbage_answered(world):
    answered(world, forward_server.garbage, forward_server.ack, forward_server.nack)


def answered(world, *answers):
    """The next chunks are taken, and answered so."""
    shipper = world.receiver.shipper
    shipper.first = list(answers)
    wait_until(lambda: not shipper.first, what="the answers are given")


# --- NATS ---


@contextlib.contextmanager
def paused(program):
    """A program that does nothing in the block."""
    program.process.send_signal(signal.SIGSTOP)
    try:
        yield
    finally:
        program.process.send_signal(signal.SIGCONT)


def nats_killed(world):
    with world.biting("lost the connection to NATS"):
        world.nats.kill()
    with world.biting("connected to NATS"), paused(world.running):
        world.nats.start()
        world.load.wait_confirmed()  # while nobody is subscribed


def nats_hangs(world):
    """For longer than the consumer waits for the answers to its pings."""
    with world.biting("lost the connection to NATS"):
        world.nats.process.send_signal(signal.SIGSTOP)
    with world.biting("connected to NATS"):
        world.nats.process.send_signal(signal.SIGCONT)


def nats_lame_duck(world):
    """The consumer's server lets its clients go; the other one of the cluster stays."""
    with world.biting("connected to NATS"):
        world.leaving.process.send_signal(signal.SIGUSR2)


class Member(Nats):
    """One of a cluster, which knows of the subscriptions on the other."""

    def taking(self):
        routes = self.ask("routez?subs=1")["routes"]
        return super().taking() + sum(route.get("subscriptions_list", []).count(SUBJECT) for route in routes)


@contextlib.contextmanager
def two_servers(directory, **environ):
    """A cluster of two: the load is on one, the consumer on the other, which knows the first."""
    leaving, staying = directory / "leaving", directory / "staying"
    for each in (leaving, staying):
        each.mkdir()
    routes = [free_port(), free_port()]
    pair = [
        Member(
            each,
            f"server_name: {each.name}\n{LAME_DUCK}"
            f'cluster {{ name: faults, listen: "127.0.0.1:{route}", pool_size: -1,'
            f" routes: [{', '.join(f'nats://127.0.0.1:{port}' for port in routes)}] }}",
        )
        for each, route in zip((leaving, staying), routes, strict=True)
    ]
    with started(pair[0]), started(pair[1]):
        wait_until(lambda: all(each.ask("routez")["num_routes"] for each in pair), what="they are a cluster")
        first = {"NATS_FLUENT_NATS_SERVERS": pair[0].url}
        with world(directory, nats=pair[1], **first, **environ) as found:
            found.leaving = pair[0]
            yield found


def nats_lame_duck_alone(world):
    """There is no other server: it lets its clients go, ends, and is started again."""
    with world.biting("lost the connection to NATS"):
        world.nats.process.send_signal(signal.SIGUSR2)
    assert world.nats.process.wait(PATIENCE) == 0
    with world.biting("connected to NATS"):
        world.nats.start()


def consumer_deleted(world):
    """On the server, by somebody else, while it is in use."""
    with world.biting("JetStream ended a pull; looking at the consumer"):
        answer = ask(world.nats.port, f"CONSUMER.DELETE.{STREAM}.{DURABLE}", {})
        assert answer["success"], answer


def stream_purged(world):
    """Of what the consumer has, and Fluent Bit has not taken yet: a moment later all would be acknowledged."""
    process = world.receiver.program.process
    process.send_signal(signal.SIGSTOP)
    wait_until(lambda: consumer_info(world.nats)["num_ack_pending"] > 500, what="messages are held")
    with world.load.held():
        wait_until(lambda: not consumer_info(world.nats)["num_pending"], what="all are with the consumer")
        answer = ask(world.nats.port, f"STREAM.PURGE.{STREAM}", {})
        assert answer["purged"] > 500, answer
    process.send_signal(signal.SIGCONT)


# --- this program ---


def consumer_killed(world):
    world.kill(world.running)
    world.start_again()


def consumer_told_to_stop(world):
    """Under all that the load can publish."""
    with world.load.as_fast_as_it_goes():
        world.flowing(5000)
        world.running.stop(within=STOPPED)
        world.start_again()


def member_killed(world):
    """One of two that share the messages."""
    other = world.consumer("other")
    world.flowing()
    world.kill(other)


# --- the spool ---

SPOOL = {"NATS_FLUENT_RECORD_MAX_BYTES": "50kB", "NATS_FLUENT_BATCH_MAX_BYTES": "100kB"}
SMALL_MEMORY = {"NATS_FLUENT_BATCH_BUFFER_BYTES": "8MB"}
FILLS_HALF = 8_000
"""Publications that take 4.6 MB of it (577 bytes each, measured): over the half where the spool begins, and under the
6 MB that are not kept for what is loaded from there."""


@contextlib.contextmanager
def spooling(directory, **environ):
    """With a spool, whose mode is in the environment."""
    spool = directory / "spool"
    spool.mkdir()
    with world(directory, NATS_FLUENT_SPOOL_DIR=str(spool), **SPOOL, **environ) as found:
        found.spool = spool
        yield found


@contextlib.contextmanager
def on_a_small_disk(directory, **environ):
    """The spool is on a disk of half a megabyte, which the consumer alone sees."""
    spool = directory / "spool"
    spool.mkdir()
    mount = f"mount -t tmpfs -o size=512k none '{spool}'"
    own = ["unshare", "--map-root-user", "--mount", "sh", "-c"]
    if (
        shutil.which("unshare") is None
        or subprocess.run([*own, mount], check=False, capture_output=True).returncode
    ):
        pytest.skip("this user may not mount a tmpfs in a namespace of its own")

    def command(given):
        return [*own, f'{mount} && exec "$@"', "sh", *given]

    with world(directory, command=command, NATS_FLUENT_SPOOL_DIR=str(spool), **SPOOL, **environ) as found:
        found.spool = Path(f"/proc/{found.running.process.pid}/root{spool}")
        yield found


def fluent_bit_away(world):
    """Until a hundred chunks are on disk."""
    with world.biting():
        world.receiver.program.kill()
    # So slowly that what is left of memory lasts as long as a busy disk takes for a file.
    with world.load.at(200, first=FILLS_HALF):
        wait_until(lambda: world.spooled() >= 20, what="chunks are on disk")
        world.receiver.start_again()
        wait_until(lambda: not world.spooled(), what="all is sent")


def both_killed(world):
    """Fluent Bit, and then the consumer, which holds what Fluent Bit did not take."""
    with world.biting():
        world.receiver.program.kill()
    wait_until(lambda: world.spooled() >= 20, what="chunks are on disk")
    world.kill(world.running)
    assert world.spooled()
    world.start_again()
    world.receiver.start_again()


def told_to_stop_without_fluent_bit(world):
    with world.biting():
        world.receiver.program.kill()
    # As fast as it goes; but what is in memory is to be on disk in time, be that however slow.
    with world.load.at(RATE, first=10_000):
        wait_until(lambda: world.spooled() >= 20, what="chunks are on disk")
        assert world.running.stop(within=STOPPED) == 0
    assert world.spooled()
    world.start_again()
    world.receiver.start_again()


def spool_full(world):
    with world.biting("cannot spool: memory holds what it can, and then what comes is dropped"):
        world.receiver.program.kill()
    world.receiver.start_again()


def spool_and_memory_full(world):
    event = "dropped messages: they arrived faster than they were taken"
    with world.biting(event), world.load.as_fast_as_it_goes():
        world.receiver.program.kill()
        wait_until(lambda: world.said(event), what="memory is full")
    world.receiver.start_again()
