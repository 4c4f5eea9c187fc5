"""A run with a fault: NATS, the consumer and a log shipper under a steady load, and the account of what came out.

`world` starts them; a fault (faults_of.py) breaks one thing, waits until that has bitten, and heals it; `World.finish`
lets all that can come come, and holds the counts to what each part says of itself.
"""

from __future__ import annotations

import contextlib
import json
import urllib.request
from typing import NamedTuple

from commands import MonitoredNats, Running
from faults_load import SUBJECT, Count, Load, ask, count
from faults_receivers import Printed
from programs import PATIENCE, NatsServer, free_port, started, wait_until

STREAM = "FAULTS"
NAME = DURABLE = "nats-fluent"
"""Of the connection, and of the durable consumer, when nothing else is set."""
SETTINGS = {
    "NATS_FLUENT_TOPICS": "faults",
    "NATS_FLUENT_BATCH_MAX_RECORDS": "100",
    "NATS_FLUENT_BATCH_LINGER": "20ms",
    "NATS_FLUENT_SHUTDOWN_TIMEOUT": "60s",
}
STREAM_SETTINGS = {"NATS_FLUENT_JETSTREAM_STREAM": STREAM, "NATS_FLUENT_JETSTREAM_ACK_WAIT": "3s"}
STOPPED = 2 * PATIENCE
"""Seconds for a consumer to end: it may take all of those to deliver, and then some to write and to close."""
LAME_DUCK = 'lame_duck_duration: "30s"\nlame_duck_grace_period: "100ms"\n'
"""The shortest duration that nats-server allows; it ends as soon as its clients are gone."""
ENDS = ("delivered", "dropped", "returned", "left", "spooled", "lost")
"""In one of these is each record that was received, or recovered from the spool."""
ACCOUNT = ("received", "recovered", *ENDS)


class Nats(MonitoredNats):
    """A nats-server that says what it sent to whom; its configuration goes with it over a restart."""

    def __init__(self, directory, config=""):
        self.monitor = free_port()
        config = f'http: "127.0.0.1:{self.monitor}"\n{config}\n'
        NatsServer.__init__(self, directory, config, port=free_port())

    def ask(self, path):
        with urllib.request.urlopen(f"http://127.0.0.1:{self.monitor}/{path}", timeout=PATIENCE) as answer:
            return json.load(answer)

    def taking(self):
        """How many subscriptions the consumers have."""
        found = self.ask("connz?subs=1")["connections"]
        return sum(len(each.get("subscriptions_list", ())) for each in found if each.get("name") == NAME)

    def connected(self):
        """How many connections the consumers have."""
        return sum(each.get("name") == NAME for each in self.ask("connz")["connections"])

    def sent(self):
        """Messages sent on each connection of a consumer that has ended, in the order of their start."""
        found = self.ask("connz?state=closed&sort=start&limit=10000")["connections"]
        return [each["out_msgs"] for each in found if each.get("name") == NAME]


class World:
    """All that runs, and the load on it."""

    def __init__(self, directory, nats, receiver, *, stream, environ):
        self.directory = directory
        self.nats = nats
        self.receiver = receiver
        self.stream = stream
        self.environ = SETTINGS | {"NATS_FLUENT_FLUENT_URL": f"forward://127.0.0.1:{receiver.port}"} | environ
        self.consumers = []
        self.starts = 0
        """How often one of them was started."""
        self.stack = contextlib.ExitStack()
        self.load = None
        self.spool = None
        """The directory of the spool, as this process sees it."""
        self.killed = None
        """Which consumer was killed, and could not say what became of everything."""

    def consumer(self, name="run", *, command=None, **environ):
        """Start a consumer, and return it when it takes messages."""
        directory = self.directory / name
        directory.mkdir()
        running = Running(directory, self.nats, **self.environ, **environ)
        running.command = command(running.command) if command else running.command
        self.consumers.append(running)
        self.stack.enter_context(started(running))
        self.starts += 1
        self.wait_taking(running)
        return running

    def start_again(self):
        """Start the consumer again, once something was published that none of its kind was there for."""
        wait_until(lambda: self.nats.connected() == self._alive(), what="NATS knows that it has gone")
        self.load.wait_confirmed()
        self.running.start()
        self.starts += 1
        self.wait_taking(self.running)

    def _alive(self):
        return sum(each.running() for each in self.consumers)

    @property
    def running(self):
        return self.consumers[0]

    def wait_taking(self, running):
        """Wait until the consumer, which was just started, takes messages."""
        wanted = self._alive()

        def taking():
            asking = consumer_info(self.nats).get("num_waiting", 0)
            return (asking if self.stream else self.nats.taking()) >= wanted

        wait_until(taking, what=f"{wanted} consumers take messages")
        assert running.running(), running.stderr.read_text()

    def flowing(self, more=1000):
        """Wait until so many more publications have come out."""
        enough = self.receiver.size() + more
        wait_until(lambda: self.receiver.size() >= enough, what="records come out")

    def said(self, event, since=0, *, running=None):
        """How often that line was logged after the first `since` lines."""
        return (running or self.running).events()[since:].count(event)

    @contextlib.contextmanager
    def biting(self, event="lost the log shipper"):
        """Break something in the block; returns when the consumer has noticed."""
        before = len(self.running.events())
        yield
        wait_until(lambda: self.said(event, before), what=f"it says {event!r}")

    def kill(self, running):
        running.kill()
        assert self.killed is None
        self.killed = self.consumers.index(running)

    def settle(self):
        """Stop the load, and wait until all that can come has come."""
        self.load.stop()
        if self.stream:
            wait_until(lambda: drained(self.nats), within=STOPPED, what="the stream is acknowledged")
        if self.spool:
            wait_until(lambda: not self.spooled(), within=STOPPED, what="the spool is empty")
        for running in self.consumers:
            if running.running():
                running.stop(within=STOPPED)
        self.receiver.finish()

    def spooled(self):
        """How many chunks are on disk."""
        return len(list(self.spool.glob("*.chunk")))

    def account(self):
        """What the consumers said when they stopped, added up."""
        total = dict.fromkeys(ACCOUNT, 0)
        for running in self.consumers:
            for line in running.log():
                if line["event"] == "stopped":
                    for name in total:
                        total[name] += line[name]
        return total


class Result(NamedTuple):
    """Of one run.

    Attributes:
        count: what became of what was published.
        account: what the consumers said of it when they stopped.
        not_received: what was published while nobody was subscribed.
        died_with: what was lost beyond that: the server sent it to a consumer that was killed.
    """

    count: Count
    account: dict[str, int]
    not_received: int = 0
    died_with: int = 0


def consumer_info(nats):
    """What the server knows of the durable consumer; empty while there is none."""
    for account in nats.ask("jsz?consumers=1").get("account_details", ()):
        for stream in account.get("stream_detail", ()):
            for consumer in stream.get("consumer_detail") or ():
                if consumer["name"] == DURABLE:
                    return consumer
    return {}


def drained(nats):
    info = consumer_info(nats)
    return info and not info["num_pending"] and not info["num_ack_pending"]


@contextlib.contextmanager
def world(directory, *, receiver=Printed, stream=False, nats=None, command=None, **environ):
    """NATS, a consumer and a receiver, with publications on their way."""
    config = f'jetstream {{ store_dir: "{directory / "store"}" }}\n{LAME_DUCK}' if stream else ""
    server = nats or Nats(directory, config)
    with contextlib.ExitStack() as stack:
        if nats is None:
            stack.enter_context(started(server))
        if stream:
            create_stream(server)
            environ = STREAM_SETTINGS | environ
        found = World(
            directory, server, stack.enter_context(receiver(directory)), stream=stream, environ=environ
        )
        stack.enter_context(found.stack)
        found.consumer(command=command)
        found.load = stack.enter_context(Load(server.port, stream=stream))
        yield found


def create_stream(nats):
    stream = {"name": STREAM, "subjects": [SUBJECT], "storage": "file"}
    assert "error" not in ask(nats.port, f"STREAM.CREATE.{STREAM}", stream)


def run(found, fault):
    """Load, the fault, load again; then the counts, held to each other."""
    found.flowing()
    fault(found)
    found.flowing()
    found.settle()
    counted, account = count(found.load, found.receiver.arrivals()), found.account()
    assert account["received"] + account["recovered"] == sum(account[name] for name in ENDS)
    if found.stream:
        # What is delivered again is received again: published and received are not to be the same.
        return Result(counted, account)
    if found.killed is None:
        result = Result(counted, account, not_received=counted.published - account["received"])
        assert len(counted.lost) == result.not_received + account["dropped"] + account["left"], (
            len(counted.lost),
            result,
        )
        return result
    # A process that was killed says nothing; the server knows what it sent to it, and to the others.
    # It notes a connection that ended a moment after it has closed it.
    wait_until(
        lambda: len(found.nats.sent()) == found.starts, what="NATS says what it sent on each connection"
    )
    sent = found.nats.sent()
    to_killed = sent.pop(found.killed)
    assert account["received"] == sum(sent)
    not_received = counted.published - sum(sent) - to_killed
    died_with = len(counted.lost) - not_received
    assert died_with >= 0
    return Result(counted, account, not_received=not_received, died_with=died_with)
