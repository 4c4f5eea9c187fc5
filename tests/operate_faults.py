"""What can be broken, how, what is to be seen of it, and how it is mended: the rows of docs/operate.md."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import signal
from functools import partial
from typing import NamedTuple

from building import publication
from commands import MonitoredNats, pub
from operate_doc import Fault
from programs import FluentBit, Program, wait_until
from streams import DURABLE, STREAM, Streams, StreamServer
from taking import publish_raw, publisher
from watching import HEALED, SOON, Watched

TOPIC = "squall-events"
SMALL = {
    "NATS_FLUENT_BATCH_BUFFER_BYTES": "1M",
    "NATS_FLUENT_BATCH_MAX_BYTES": "50k",
    "NATS_FLUENT_RECORD_MAX_BYTES": "20k",
}
SIGNED_IN = {"NATS_FLUENT_NATS_USER": "u", "NATS_FLUENT_NATS_PASSWORD": "p"}


class World(NamedTuple):
    """All that can be broken."""

    nats: MonitoredNats
    shipper: FluentBit
    running: Watched

    def publish(self, count, *, size=0):
        publish_raw(self.nats.port, *[pub(TOPIC, publication({"ID": "1", "text": "x" * size}))] * count)

    def wait_delivered(self):
        """Wait until all that came is acknowledged, or was counted as dropped."""

        def delivered():
            facts = self.running.facts()
            came = sum(topic["received"] for topic in facts["topics"].values())
            dropped = sum(topic["dropped"] for topic in facts["topics"].values())
            return came == facts["shipper"]["records_acknowledged"] + dropped

        wait_until(delivered, within=HEALED, what="all is delivered")


def pause(program: Program):
    os.kill(program.process.pid, signal.SIGSTOP)


def go_on(program: Program):
    os.kill(program.process.pid, signal.SIGCONT)


# Core NATS


def cut_off(world):
    """Read nothing while more comes than the server keeps."""
    pause(world.running)
    try:
        world.publish(40, size=900_000)

        def ended():
            return not world.nats.subscriptions()

        wait_until(ended, within=SOON, what="the server ends the connection")
    finally:
        go_on(world.running)


NATS = (
    Fault(
        "NATS is down",
        "nats",
        r"Connection refused",
        ("nats_fluent_nats_connected = 0",),
        "lost the connection to NATS",
        "Start NATS, or mend `NATS_FLUENT_NATS_SERVERS`. Core NATS keeps nothing meanwhile; a stream does.",
        lambda world: world.nats.stop(),
        lambda world: world.nats.start(),
        "connected to NATS",
    ),
    Fault(
        "NATS hangs: it is paused, or the network swallows what is sent",
        "nats",
        r"it has not answered for \d+ s",
        ("nats_fluent_nats_connected = 1", "nats_fluent_nats_silent_seconds > 5"),
        "NATS does not answer",
        "Look at the server. nats-fluent gives the connection up only when nats-py's own pings are unanswered, 15 s "
        "apart by `NATS_FLUENT_NATS_PING_INTERVAL`.",
        lambda world: pause(world.nats),
        lambda world: go_on(world.nats),
        "NATS answers again",
    ),
    Fault(
        "nats-fluent reads too slowly, and NATS ends its connection",
        "",
        "",
        ("nats_fluent_nats_cut_off_total = 1",),
        "NATS ended the connection and went on running",
        "Look for `Slow Consumer` in the log of NATS: what it held is lost, but from a stream. Give nats-fluent more "
        "CPU or more replicas, and NATS a larger `max_pending`.",
        cut_off,
        alert="NatsFluentCutOff",
    ),
)


# The log shipper


def shipper_back(world):
    world.shipper.start()
    world.running.wait_why()
    world.wait_delivered()


def overflow(world):
    world.publish(3000, size=1000)


def shipper_goes_on(world):
    go_on(world.shipper)
    world.wait_delivered()


def stop(world):
    """Stop it while there is something left to deliver."""
    shipper_paused(world)
    wait_until(lambda: world.running.facts()["shipper"]["pending_chunks"], what="a chunk waits")
    world.running.process.send_signal(signal.SIGTERM)


def shipper_paused(world):
    pause(world.shipper)
    world.publish(3)


SHIPPER = (
    Fault(
        "the log shipper is paused, and chunks wait",
        "log shipper",
        r"nothing was acknowledged for",
        ("nats_fluent_shipper_connected = 1", "nats_fluent_stalled_seconds > 5"),
        "the log shipper does not acknowledge",
        "Look at its own log: its input is paused (`Mem_Buf_Limit`), its disk is slow, or it hangs. Nothing is lost as "
        "long as memory, and the spool, have room.",
        shipper_paused,
        shipper_goes_on,
        "the log shipper acknowledges again",
        alert="NatsFluentStandsStill",
    ),
    Fault(
        "the log shipper is down",
        "log shipper",
        r"refused",
        ("nats_fluent_shipper_connected = 0",),
        "lost the log shipper",
        "Start it, or mend `NATS_FLUENT_FLUENT_URL`. `nats-fluent check --connect` names the step that fails.",
        lambda world: world.shipper.stop(),
    ),
    Fault(
        "memory is full: the log shipper is away or slow, and there is no spool",
        "log shipper",
        r"refused",
        ('nats_fluent_publications_dropped_total{reason="buffer_full",topic="squall-events"} > 0',),
        "dropped messages: they arrived faster than they were taken",
        "These are lost. Bring the log shipper back; a larger `NATS_FLUENT_BATCH_BUFFER_BYTES`, a spool or a stream "
        "loses less: see [delivery.md](delivery.md).",
        overflow,
        shipper_back,
        "connected to the log shipper",
        alert="NatsFluentDrops",
    ),
    Fault(
        "nats-fluent is stopping",
        "program",
        r"",
        (),
        "stopping",
        "Nothing: it delivers what it holds and ends. Traffic goes to another replica meanwhile.",
        stop,
        may=("log shipper",),  # which is paused, and after five seconds that shows
    ),
)


# The spool


def spool_full(world):
    world.shipper.stop()
    world.running.wait_why("log shipper")
    world.publish(500, size=1000)


def spool_gone(world):
    # What was delivered is removed a moment later, and would be missed by what removes the directory.
    wait_until(lambda: not list(world.running.spool.glob("*.chunk*")), what="what was delivered is removed")
    shutil.rmtree(world.running.spool)
    world.publish(1)


def spool_back(world):
    world.running.spool.mkdir()

    def healed():
        world.publish(1)  # it is tried with what comes, once a second
        return not world.running.why()

    wait_until(healed, within=HEALED, what="the spool is ready")
    world.wait_delivered()


SPOOL = (
    Fault(
        "the spool is full",
        "spool",
        r"spool\.max_bytes",
        ("nats_fluent_spool_bytes > 100000", "nats_fluent_spool_oldest_seconds > 0"),
        "cannot spool: memory holds what it can, and then what comes is dropped",
        "Bring the log shipper back, or raise `NATS_FLUENT_SPOOL_MAX_BYTES`.",
        spool_full,
        shipper_back,
        "the spool takes chunks again",
        also=("log shipper",),
        alert="NatsFluentSpoolFills",
    ),
    Fault(
        "the spool's directory is gone, or cannot be written",
        "spool",
        r"\[Errno 2\]",
        (),
        "cannot spool: memory holds what it can, and then what comes is dropped",
        "Mend the disk or the mount. In mode `always` records are delivered meanwhile, without the spool's promise.",
        spool_gone,
        spool_back,
        "the spool takes chunks again",
    ),
)


# JetStream


def operate(world, work):
    async def main():
        async with publisher(world.nats) as client:
            await work(Streams(client))

    asyncio.run(main())


def make_stream(streams):
    return streams.make(TOPIC)


JETSTREAM = (
    Fault(
        "the consumer was deleted",
        "",
        "",
        ("nats_fluent_nats_subscribed = 1",),
        "JetStream ended a pull; looking at the consumer",
        "Nothing: it is made again, and goes on where it was. With `NATS_FLUENT_JETSTREAM_CREATE=bind`, nats-fluent "
        "ends instead, with `failed` in the log and exit code 1, until somebody makes it.",
        partial(operate, work=lambda streams: streams.ask(f"CONSUMER.DELETE.{STREAM}.{DURABLE}")),
        back="taking from JetStream",
    ),
    Fault(
        "the stream was deleted",
        "nats",
        r"waiting for JetStream",
        ("nats_fluent_nats_connected = 1", "nats_fluent_nats_subscribed = 0"),
        "waiting for JetStream",
        "Make it again; nats-fluent makes no streams. The log line has the reason.",
        partial(operate, work=lambda streams: streams.ask(f"STREAM.DELETE.{STREAM}")),
        partial(operate, work=make_stream),
        "taking from JetStream",
    ),
)


# Who may do what


def permit(world, denied):
    conf = world.nats.conf
    may = f'permissions: {{subscribe: {{deny: "{denied}"}}}}' if denied else ""
    rest = conf.read_text().partition("authorization")[0]
    conf.write_text(f"{rest}authorization {{ users: [{{user: u, password: p, {may}}}] }}\n")
    if world.nats.running():
        world.nats.process.send_signal(signal.SIGHUP)


def permit_all(world):
    permit(world, "")
    world.nats.stop()  # a subscription that was denied is tried with the next connection
    world.nats.start()


DENIED = (
    Fault(
        "NATS denies a subject",
        "nats",
        r"denies activities",
        ("nats_fluent_nats_subscribed = 1",),
        "NATS denies a subscription",
        "Let the user subscribe there and restart nats-fluent, as NATS does not say that it may now; or take the "
        "topic out of `NATS_FLUENT_TOPICS`. The other topics flow.",
        lambda world: permit(world, "activities"),
        permit_all,
        "connected to NATS",
    ),
)


def other_key(world, shared):
    if world.shipper.running():
        world.shipper.stop()
    conf = world.shipper.conf
    conf.write_text(re.sub(r"Shared_Key .*", f"Shared_Key {shared}", conf.read_text()))
    world.shipper.start()


KEY = (
    Fault(
        "the log shipper refuses the shared key",
        "log shipper",
        r"shared",
        ("nats_fluent_shipper_connected = 0",),
        "refused by the log shipper",
        "Make `NATS_FLUENT_FLUENT_SHARED_KEY` and the `Shared_Key` of its input the same. It is tried again by itself, "
        "with the file of `..._SHARED_KEY_FILE` read anew.",
        lambda world: other_key(world, "another"),
        lambda world: other_key(world, "the key"),
        "connected to the log shipper",
    ),
)

WORLDS = {
    "nats": (NATS, {}),
    "shipper": (SHIPPER, SMALL | {"NATS_FLUENT_SHUTDOWN_TIMEOUT": "60s"}),
    "spool": (SPOOL, SMALL | {"NATS_FLUENT_SPOOL_MODE": "always", "NATS_FLUENT_SPOOL_MAX_BYTES": "200k"}),
    "jetstream": (
        JETSTREAM,
        {"NATS_FLUENT_JETSTREAM_STREAM": STREAM},
    ),
    "denied": (DENIED, SIGNED_IN),
    "key": (KEY, {"NATS_FLUENT_FLUENT_SHARED_KEY": "the key"}),
}
ORDER = [fault.broken for faults, _ in WORLDS.values() for fault in faults]


def nats_of(name, directory):
    if name == "jetstream":
        return StreamServer(directory)
    # The server keeps little for a slow consumer, and soon gives up what it has begun to write to it.
    more = "max_pending: 2MB\nwrite_deadline: 1s" if name == "nats" else ""
    if name == "denied":
        more = "authorization { users: [{user: u, password: p}] }"
    return MonitoredNats(directory, more)
