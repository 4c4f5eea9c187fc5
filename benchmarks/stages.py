"""What each stage of a publication's way costs, in nanoseconds and in instructions, and a guard on the latter.

    python benchmarks/stages.py                    nanoseconds: the best of so many rounds
    python benchmarks/stages.py --instructions     instructions as well, counted by valgrind
    python benchmarks/stages.py --check            fail when a stage takes over 10% more instructions than baseline.json
    python benchmarks/stages.py --update           write baseline.json, for this Python

The instructions of fixed inputs are the same on a busy machine as on a quiet one. All stages run in one process under
callgrind; before and after what is measured it calls `os.getppid`, at which callgrind writes its counters and sets them
to zero (--dump-before). So neither the start of Python nor the making of the inputs is counted. What another build of
Python, or another processor family, takes is another number: where these differ from those of the baseline, the check
says so and does nothing.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from importlib.metadata import version
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, NamedTuple

import msgpack
import msgspec
import workloads

from nats_fluent import publication, runtime
from nats_fluent.batch import Batcher
from nats_fluent.delivery import Delivery, Outcome
from nats_fluent.forward.codec import entry
from nats_fluent.forward.connection import ForwardConnection
from nats_fluent.pipeline import Pipeline
from nats_fluent.record import FORWARD_LEVELS, Recorder
from nats_fluent.sections import BatchSettings, NatsSettings, RecordSettings
from nats_fluent.source import acks
from nats_fluent.source.core import CoreSource
from nats_fluent.source.parser import FrameParser
from nats_fluent.topics import Topic

if TYPE_CHECKING:
    from collections.abc import Callable

BASELINE = Path(__file__).with_name("baseline.json")
ALLOWED = 0.10
"""Part by which a stage may grow."""
READ = 64 * 1024
"""Bytes of a read from NATS."""
BATCH = BatchSettings(linger=3600.0)
"""As by default, but that no chunk is closed by the clock: valgrind is some 50 times slower."""
NOW_NS = 1_560_375_482_268_588_123
SUBJECT = "squall-events"


# --- the stages: each makes its inputs, and returns what is measured ------------------------------------------


def _deliveries(kind: str, first: int, count: int) -> list[Delivery]:
    return [
        Delivery(subject, subject, payload) for subject, payload in workloads.publications(kind, count, first)
    ]


def _reads(kind: str, first: int, count: int) -> list[bytes]:
    data = workloads.frames(kind, count, first)
    return [data[at : at + READ] for at in range(0, len(data), READ)]


def _parser(kind: str, receive: Callable[[Delivery], None]) -> FrameParser:
    """Return what takes the reads of a connection apart, with core NATS's own taker behind it."""
    subjects = workloads.subjects(kind)
    source = CoreSource(NatsSettings(), [Topic(each, each) for each in subjects], receive=receive)
    parser = FrameParser(SimpleNamespace(stats=defaultdict(int)))
    parser.takers.update((number, source._taker(each)) for number, each in enumerate(subjects, 1))  # noqa: SLF001
    return parser


def _pipeline() -> Pipeline:
    def dropped(_subject: str) -> None:
        raise AssertionError("the budget is full")

    recorder = Recorder(RecordSettings(), "stages", levels=FORWARD_LEVELS)
    return Pipeline(BATCH, recorder, new_chunk_id=runtime.new_chunk_id, dropped=dropped)


def _chunks(kind: str, first: int, count: int) -> list:
    recorder = Recorder(RecordSettings(), "stages", levels=FORWARD_LEVELS)
    batcher = Batcher(BATCH, runtime.new_chunk_id)
    for delivery in _deliveries(kind, first, count):
        made = recorder.record(delivery, NOW_NS)
        batcher.add(made.tag, entry(made.time_ns, made.packed), 0.0)
    batcher.flush()
    return [*batcher.ready]


def read(kind: str, first: int, count: int) -> Callable[[], object]:
    """Frames of a connection to deliveries."""
    parser, reads = _parser(kind, [].append), _reads(kind, first, count)

    async def run() -> None:
        for data in reads:
            await parser.parse(data)

    def measured() -> None:
        coroutine = run()
        try:
            coroutine.send(None)
        except StopIteration:
            return
        raise AssertionError("the parser waited")

    return measured


def receive(kind: str, first: int, count: int) -> Callable[[], object]:
    """A delivery to the inbox: account and budget."""
    take, deliveries = _pipeline().receive, _deliveries(kind, first, count)

    def measured() -> None:
        for delivery in deliveries:
            take(delivery)

    return measured


def record(kind: str, first: int, count: int) -> Callable[[], object]:
    """A delivery to an encoded record."""
    make = Recorder(RecordSettings(), "stages", levels=FORWARD_LEVELS).record
    deliveries = _deliveries(kind, first, count)

    def measured() -> None:
        for delivery in deliveries:
            make(delivery, NOW_NS)

    return measured


def batch(kind: str, first: int, count: int) -> Callable[[], object]:
    """A record to its entry in a chunk, and the entries to chunks."""
    make = Recorder(RecordSettings(), "stages", levels=FORWARD_LEVELS).record
    records = [make(delivery, NOW_NS) for delivery in _deliveries(kind, first, count)]
    batcher = Batcher(BATCH, runtime.new_chunk_id)

    def measured() -> None:
        for made in records:
            batcher.add(made.tag, entry(made.time_ns, made.packed), 0.0)
        batcher.flush()

    return measured


def encode(kind: str, first: int, count: int) -> Callable[[], object]:
    """A chunk to what is written to the log shipper."""
    connection, chunks = ForwardConnection(), _chunks(kind, first, count)

    def measured() -> None:
        for chunk in chunks:
            connection.send_chunk(chunk, now=0.0)

    return measured


def ack(kind: str, first: int, count: int) -> Callable[[], object]:
    """The log shipper's acknowledgement of a chunk, to the account."""
    pipeline, connection = _pipeline(), ForwardConnection()
    answers = []
    for chunk in _chunks(kind, first, count):
        connection.send_chunk(chunk, now=0.0)
        answers.append(msgpack.packb({"ack": chunk.id}))

    def measured() -> None:
        for answer in answers:
            for event in connection.receive_data(answer):
                pipeline.settled(event.chunk, Outcome.DELIVERED)

    return measured


def jetstream(_kind: str, first: int, count: int) -> Callable[[], object]:
    """What JetStream takes besides: the message's place, the note that it is held, and the answer to the server."""
    replies = [
        f"$JS.ACK.EVENTS.nats-fluent.1.{number}.{number}.{NOW_NS + number}.0"
        for number in range(first + 1, first + count + 1)
    ]
    unsettled, outgoing = acks.Unsettled(30.0), acks.Outgoing(1_000_000)

    def settle(key: acks.Key, _outcome: Outcome) -> None:
        outgoing.add(acks.publish(unsettled.settle(key, delivered=True), acks.DELIVERED))

    def measured() -> None:
        settles = []
        for reply in replies:
            key = acks.place(reply).key
            unsettled.hold(key, reply, 0.0)
            settles.append(acks.Settled(settle, key))
        for each in settles:
            each(Outcome.DELIVERED)
        outgoing.take(count)

    return measured


def whole(kind: str, first: int, count: int) -> Callable[[], object]:
    """All of these on an event loop, from the frames to the account; without the sockets."""
    pipeline, connection = _pipeline(), ForwardConnection()
    parser, reads = _parser(kind, pipeline.receive), _reads(kind, first, count)

    def submit(chunk: object) -> None:
        connection.send_chunk(chunk, now=0.0)
        for event in connection.receive_data(msgpack.packb({"ack": chunk.id})):
            pipeline.settled(event.chunk, Outcome.DELIVERED)

    async def acknowledge(_reply: str) -> None:
        raise AssertionError("nobody asked")

    async def run() -> None:
        working = asyncio.create_task(pipeline.run(submit=submit, acknowledge=acknowledge))
        for data in reads:
            await parser.parse(data)
            await asyncio.sleep(0)
        await pipeline.end()
        await working

    loop = asyncio.new_event_loop()

    def measured() -> None:
        loop.run_until_complete(run())
        loop.close()
        if pipeline.account.delivered != count:
            raise AssertionError(pipeline.account.delivered)

    return measured


class Stage(NamedTuple):
    make: Callable[[str, int, int], Callable[[], object]]
    kind: str
    publications: int

    @property
    def name(self) -> str:
        return f"{self.make.__name__} {self.kind}"


STAGES = [
    Stage(read, "event", 1000),
    Stage(read, "object", 40),
    Stage(receive, "event", 1000),
    Stage(record, "event", 500),
    Stage(record, "flow", 500),
    Stage(record, "activity", 300),
    Stage(record, "object", 10),
    Stage(record, "mix", 600),
    Stage(record, "json", 300),
    Stage(batch, "event", 1000),
    Stage(encode, "event", 5000),
    Stage(ack, "event", 5000),
    Stage(jetstream, "event", 1000),
    Stage(whole, "event", 500),
    Stage(whole, "mix", 600),
]


# --- measuring -------------------------------------------------------------------------------------------------


def _ready(stage: Stage, turn: int) -> Callable[[], object]:
    """Make inputs that were not there before, and let nothing of that be seen in what follows."""
    measured = stage.make(stage.kind, turn * stage.publications, stage.publications)
    gc.collect()
    gc.freeze()
    return measured


def nanoseconds(rounds: int) -> dict[str, float]:
    """Return, for each stage, the nanoseconds for a publication, of the best round."""
    found: dict[str, float] = {}
    for turn in range(rounds + 1):  # the first is warm-up
        for stage in STAGES:
            measured = _ready(stage, turn)
            began = time.perf_counter_ns()
            measured()
            taken = (time.perf_counter_ns() - began) / stage.publications
            if turn:
                found[stage.name] = min(taken, found.get(stage.name, taken))
            gc.unfreeze()
    return {name: round(value, 1) for name, value in found.items()}


def marked() -> None:
    """Run every stage once warm, between two marks; to be run under callgrind."""
    for stage in STAGES:
        _ready(stage, 0)()
        measured = _ready(stage, 1)
        os.getppid()
        measured()
        os.getppid()
        gc.unfreeze()


def instructions() -> dict[str, float]:
    """Return, for each stage, the instructions for a publication."""
    with tempfile.TemporaryDirectory() as directory:
        command = [
            *("valgrind", "--tool=callgrind", "--dump-before=getppid", "--combine-dumps=no"),
            *(f"--callgrind-out-file={directory}/out", sys.executable, "-s", __file__, "--marked"),
        ]
        if shutil.which("setarch"):
            command = ["setarch", "-R", *command]  # addresses are hashes of what has no other
        environ = {
            name: value for name, value in os.environ.items() if name in ("PATH", "PYTHONPATH", "VIRTUAL_ENV")
        }
        environ |= {"PYTHONHASHSEED": "0", "PYTHONDONTWRITEBYTECODE": "1"}
        done = subprocess.run(command, env=environ, capture_output=True, text=True, check=False)
        parts = {
            int(file.name.rpartition(".")[2]): int(
                re.search(r"^(?:totals|summary): (\d+)", file.read_text("latin-1"), re.MULTILINE)[1]
            )
            for file in Path(directory).glob("out.*")
        }
    if done.returncode or len(parts) < 2 * len(STAGES):
        sys.exit(f"valgrind: exit code {done.returncode}, {len(parts)} dumps\n{done.stderr[-2000:]}")
    return {
        stage.name: round(parts[2 * number + 2] / stage.publications, 1)
        for number, stage in enumerate(STAGES)
    }


# --- the guard ------------------------------------------------------------------------------------------------


def decoder() -> str:
    """Say whether the compiled part of the decoder is there."""
    return "Python" if publication.splice is None else "compiled"


def holds_for() -> dict[str, str]:
    """Return what the numbers of a baseline hold for."""
    return {
        "python": f"{platform.python_implementation()} {sys.version}",
        "machine": f"{platform.system()} {platform.machine()} {' '.join(platform.libc_ver())}",
        "decoder": decoder(),
        **{name: version(name) for name in ("msgpack", "msgspec", "ormsgpack", "nats-py")},
    }


def grown(before: dict[str, float], now: dict[str, float]) -> list[str]:
    """Return a sentence for each stage that takes over 10% more, or that only one of them has."""
    problems = [f"{name}: not in baseline.json" for name in now.keys() - before.keys()]
    problems += [f"{name}: in baseline.json, and no stage" for name in before.keys() - now.keys()]
    for name in now.keys() & before.keys():
        if now[name] > before[name] * (1 + ALLOWED):
            growth = now[name] / before[name] - 1
            problems.append(
                f"{name}: {now[name]:,.0f} instructions, {growth:+.1%} ({before[name]:,.0f} before)"
            )
    return sorted(problems)


def _skip(reason: str) -> None:
    required = os.environ.get("NATS_FLUENT_REQUIRE", "").split(",")
    if "valgrind" in map(str.strip, required):
        sys.exit(f"{reason} (NATS_FLUENT_REQUIRE asks for it)")
    print(f"skipped: {reason}")
    sys.exit(0)


def check() -> None:
    baseline = json.loads(BASELINE.read_text())
    if shutil.which("valgrind") is None:
        _skip("valgrind not found: install it so that `valgrind` is on PATH")
    here = holds_for()
    other = [
        f"{name} is {here[name]!r}, not {baseline[name]!r}" for name in here if here[name] != baseline[name]
    ]
    if other:
        _skip("baseline.json is not for this machine: " + "; ".join(other))
    found = instructions()
    for name, count in found.items():
        before = baseline["stages"].get(name)
        print(f"{name:20} {count:>14,.1f}" + (f" {count / before - 1:>+8.1%}" if before else ""))
    if problems := grown(baseline["stages"], found):
        sys.exit("\n".join(problems))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=15, help="of nanoseconds (default 15)")
    parser.add_argument("--instructions", action="store_true", help="count these, too")
    parser.add_argument("--check", action="store_true", help="compare the instructions with baseline.json")
    parser.add_argument("--update", action="store_true", help="write baseline.json")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--marked", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.marked:
        marked()
    elif given.check:
        check()
    elif given.update:
        BASELINE.write_text(json.dumps(holds_for() | {"stages": instructions()}, indent=2) + "\n")
    else:
        counted = instructions() if given.instructions else {}
        taken = nanoseconds(given.rounds)
        if given.json:
            print(msgspec.json.encode({"nanoseconds": taken, "instructions": counted}).decode())
            return
        for name, ns in taken.items():
            print(
                f"{name:20} {ns:>12,.1f} ns" + (f" {counted[name]:>14,.1f} instructions" if counted else "")
            )


if __name__ == "__main__":
    main()
