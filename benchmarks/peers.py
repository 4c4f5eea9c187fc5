"""This program beside others that take from NATS: plain JSON, which each of them can read.

Each round runs each of them once, in turn. What arrived is counted where it arrived, and the clock runs until the last
of it did.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import shutil
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import stored
import workloads
from peer_counts import CountingRig, File, Files, settled
from peer_programs import FILE, FILES, NOT_CORE, PROGRAMS, Place, Program, python_of, reason
from rig import Failed, running, wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from peer_counts import Destination

T = TypeVar("T")

KIND = "plain"
COUNT = 200_000
"""Messages of a burst and of the stream: a few seconds of work for the fast ones, and more than they hold back."""
LIMIT = 5.0
"""Seconds for which a stream is drained, at most: who is not done has what it did in this time divided by it."""
AWAY = 3.0
"""Seconds for which messages are taken while there is nobody to send them to."""
RATES = (10_000, 20_000, 40_000, 80_000)
STEADY = 3.0
"""Seconds of each rate."""


# --- one program, once ----------------------------------------------------------------------------------------


def destination(program: Program, rig: CountingRig, place: Place) -> Destination:
    """Return what counts the records of a program, from here on."""
    if program.to == FILE:
        return File(place.file)
    if program.to == FILES:
        return Files(place.files)
    rig.reset()
    return rig


def peak(pid: int) -> int:
    """Return the bytes that a process and its children have had in memory, at most, each by itself; Linux."""
    status = Path(f"/proc/{pid}/status").read_text()
    children = Path(f"/proc/{pid}/task").glob("*/children")
    own = re.search(r"^VmHWM:\s+(\d+) kB$", status, re.MULTILINE)
    assert own
    return int(own[1]) * 1024 + sum(
        peak(int(child)) for each in children for child in each.read_text().split()
    )


@contextlib.contextmanager
def started(
    program: Program, rig: CountingRig, place: Place, python: Path
) -> Iterator[subprocess.Popen[bytes]]:
    """Run it until the block ends; what it wrote goes with it."""
    process = program.start(rig, place, python)
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        wait_until(lambda: rig.nats_says("varz")["connections"] == 0, "nobody is connected", within=20)
        shutil.rmtree(place.directory)


def _said(place: Place) -> str:
    log = place.directory / "said.log"
    return reason(log.read_text(errors="replace")) if log.exists() else ""


def _place(rig: CountingRig, durable: str = "") -> Place:
    directory = rig.directory / "place"
    shutil.rmtree(directory, ignore_errors=True)  # that of who did not start
    directory.mkdir()
    return Place(directory, durable)


def burst(program: Program, rig: CountingRig, python: Path, count: int, rate: float = 0) -> dict[str, float]:
    """Publish to it over core NATS, as fast as the server takes it or at a rate."""
    place = _place(rig)
    to = destination(program, rig, place)
    before = rig.nats_says("subsz")["num_subscriptions"]
    with started(program, rig, place, python) as process:

        def subscribed() -> bool:
            if process.poll() is not None:
                raise Failed(f"it ended: {_said(place)}")
            return bool(rig.nats_says("subsz")["num_subscriptions"] > before)

        wait_until(subscribed, f"{program.title} is subscribed", within=30)
        with rig.publishing(KIND, count, **({"rate": rate} if rate else {})) as publisher:
            said = json.loads(publisher.stdout.readline())
        found = settled(to, count)
        if process.poll() is not None:
            raise Failed(f"it ended: {_said(place)}")
        rss = peak(process.pid)
    seconds = found.last - said["began"]
    return {
        "rate": found.records / seconds if found.records else 0,
        "lost": count - found.records,
        "published": count / said["seconds"],
        "rss": rss,
    }


def looks(rig: CountingRig, until: float, every: float) -> Iterator[stored.Taken]:
    """Look at how far the stream is, again and again, until a time in seconds since 1970; once at least."""
    while True:
        yield stored.taken(rig)
        if time.time() >= until:
            return
        time.sleep(every)  # until the next look: the server has to be asked, on the cores of who is measured


def drain(program: Program, rig: CountingRig, python: Path, count: int) -> dict[str, float]:
    """Let it take the stream until it has acknowledged all of it, or the time is over."""
    place = _place(rig, "peer")
    if program.bound:
        asyncio.run(stored.bound(rig, place.durable))
    to = destination(program, rig, place)
    with forgotten(rig), started(program, rig, place, python) as process:
        began = time.time()
        for taken in looks(rig, began + 30, 0.01):
            if taken.sent or process.poll() is not None:
                break
            began = time.time()
        if not taken.sent:
            raise Failed(_said(place) or "it took nothing within 30 s")
        for taken in looks(rig, began + LIMIT, 0.02):
            if taken.acknowledged >= count:
                break
        ended = time.time()
        if process.poll() is not None:
            raise Failed(f"it ended after {taken.acknowledged:,} messages: {_said(place)}")
        rss = peak(process.pid)
        in_time = taken.acknowledged
        if in_time < count:
            process.terminate()
            process.wait(20)
            taken = stored.taken(rig)
        found = settled(to, taken.acknowledged)
    if in_time == count:
        ended = max(ended, found.last)
    return {
        "rate": min(in_time, found.records) / (ended - began),
        "missing": max(0, taken.acknowledged - found.records),
        "again": taken.again,
        "done": in_time,
        "rss": rss,
    }


@contextlib.contextmanager
def forgotten(rig: CountingRig) -> Iterator[None]:
    """Delete the consumers when the block ends."""
    try:
        yield
    finally:
        asyncio.run(stored.forget(rig))


def away(program: Program, rig: CountingRig, python: Path, count: int) -> int | None:
    """Return how many messages it acknowledges while there is nobody to send them to; None where that is a file."""
    if program.to in (FILE, FILES):
        return None
    place = _place(rig, "peer")
    rig.stop_shipper()
    with forgotten(rig):
        try:
            with started(program, rig, place, python) as process:
                for taken in looks(rig, time.time() + AWAY, 0.05):
                    if taken.acknowledged >= count:
                        break
                process.kill()  # or it waits for somebody to send to
        finally:
            rig.start_shipper()
    return taken.acknowledged


# --- all of them ----------------------------------------------------------------------------------------------


class Field:
    """The programs that can be run, and why the others cannot."""

    def __init__(self) -> None:
        self.left_out: dict[str, str] = {}
        pythons: dict[tuple[str, ...], Path] = {}
        for packages in dict.fromkeys(program.packages for program in PROGRAMS.values()):
            print(f"  an environment for {', '.join(packages) or 'nats-fluent'}", file=sys.stderr, flush=True)
            try:
                pythons[packages] = python_of(packages)
            except (Failed, OSError, subprocess.SubprocessError) as problem:
                self.left_out[f"{' and '.join(packages)}: not installed"] = str(problem)
        self._pythons = {
            name: pythons[program.packages]
            for name, program in PROGRAMS.items()
            if program.packages in pythons
        }

    def _out(self, name: str, what: str, why: str) -> None:
        self.left_out[f"{PROGRAMS[name].title}, to {PROGRAMS[name].to}: {what}"] = why

    def attempt(self, name: str, what: str, once: Callable[[Program, Path], T]) -> T | None:
        """Run a program; None where it failed, which is noted."""
        print(f"  {what}: {name}", file=sys.stderr, flush=True)
        try:
            return once(PROGRAMS[name], self._pythons[name])
        except (Failed, OSError, subprocess.SubprocessError) as problem:
            self._out(name, what, str(problem) or type(problem).__name__)
            return None

    def rounds(
        self, rounds: int, leg: str, once: Callable[[Program, Path], dict[str, float]]
    ) -> dict[str, list[dict[str, float]]]:
        """Run each program in turn, so many times; who fails is not run again."""
        found: dict[str, list[dict[str, float]]] = {
            name: [] for name in self._pythons if leg in PROGRAMS[name].legs
        }
        for _ in range(rounds):
            for name in [*found]:
                if one := self.attempt(name, leg, once):
                    found[name].append(one)
                else:
                    del found[name]
        return found


def summary(name: str, each: list[dict[str, float]]) -> dict[str, object]:
    """Return the medians of what is fast or slow, and the most of what is lost or held."""
    program = PROGRAMS[name]
    middle = {key: round(statistics.median(one[key] for one in each)) for key in each[0]}
    worst = {
        key: round(max(one[key] for one in each))
        for key in ("lost", "missing", "again", "rss")
        if key in each[0]
    }
    return {"title": program.title, "to": program.to, "arrives": program.arrives, **middle, **worst}


def peers(rounds: int, *, count: int = COUNT) -> dict[str, object]:
    """Core NATS at full speed, and a stream; each with the server's own default limits."""
    if not Path("/proc/self/status").exists():
        raise Failed("the memory of a process is read where Linux has it")
    field = Field()
    core: dict[str, dict[str, object]] = {}
    with running(CountingRig, max_pending="64MB") as rig:
        found = field.rounds(rounds, "core", lambda one, python: burst(one, rig, python, count))
        for name, each in found.items():
            core[name] = summary(name, each)
            if core[name]["lost"]:
                core[name]["without_loss"] = field.attempt(
                    name,
                    "core, steady",
                    lambda one, python: without_loss(
                        lambda rate: burst(one, rig, python, round(rate * STEADY), rate)["lost"]
                    ),
                )
    stream: dict[str, dict[str, object]] = {}
    with running(CountingRig, jetstream=True) as rig:
        asyncio.run(stored.make(rig))
        asyncio.run(stored.fill(rig, KIND, count))
        found = field.rounds(rounds, "jetstream", lambda one, python: drain(one, rig, python, count))
        for name, each in found.items():
            nobody = field.attempt(
                name, "jetstream, nobody there", lambda one, python: away(one, rig, python, count)
            )
            stream[name] = summary(name, each) | {"consumer": PROGRAMS[name].consumer, "away": nobody}
    not_core = {f"{PROGRAMS[name].title}: core": why for name, why in NOT_CORE.items()}
    return {
        "rounds": rounds,
        "publications": count,
        "bytes": workloads.mean_size(KIND),
        "limit": LIMIT,
        "core": core,
        "jetstream": stream,
        "left_out": not_core | field.left_out,
    }


def without_loss(lost: Callable[[float], float]) -> int:
    """Return the highest of the rates, from the lowest on, before one at which something is lost; 0 for none."""
    best = 0
    for rate in RATES:
        if lost(rate):
            break
        best = rate
    return best
