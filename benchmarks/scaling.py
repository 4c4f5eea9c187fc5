"""How much several processes of one queue group or durable do, to what one does.

On shared cores, and each on a part of a core of its own.
"""

from __future__ import annotations

import asyncio
import statistics
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import cores
import stored
from rig import Failed, Rig, cpu, find, free_port, running, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rig import Consumer

PART = 0.15
"""Of a core for each process that is held: four take less than one core, which leaves one for the servers."""
EACH = 100_000
"""Publications for each process that is held: some seven seconds of its work."""
AT_LEAST = 2.0
"""Seconds; Fluent Bit counts once a second."""
RATE = 60_000
"""A second, for a stream: what comes faster than it can store, and nobody waits for, is thrown away."""
DURABLE = "scale"
SCHEDSTAT = Path("/proc/self/schedstat")
CALM = 0.95
"""Of the records: then the first of the processes may have none left, as the shares are random."""


class Case(NamedTuple):
    """What takes a burst.

    Attributes:
        name: as in the table.
        processes: members of the queue group, or of the durable consumer.
        parts: how many parts of a core they have.
        supervised: whether they are workers of one program.
        stream: whether they take from a stream.
    """

    name: str
    processes: int
    parts: int
    supervised: bool = True
    stream: bool = False

    @property
    def one(self) -> Case:
        """What it is compared with."""
        return STREAM_ONE if self.stream else ONE


ONE = Case("1 process", 1, 1)
STREAM_ONE = Case("1 process, of a stream", 1, 1, stream=True)
CASES = (
    ONE,
    Case("2 workers", 2, 2),
    Case("3 workers", 3, 3),
    Case("4 workers", 4, 4),
    Case("2 replicas", 2, 2, supervised=False),
    Case("2 workers on the part of one", 2, 1),
    STREAM_ONE,
    Case("2 workers, of a stream", 2, 2, stream=True),
    Case("2 replicas, of a stream", 2, 2, supervised=False, stream=True),
)


class Look(NamedTuple):
    """What there is at a moment.

    Attributes:
        at: seconds.
        arrived: records, in Fluent Bit.
        used: seconds of a core, for each process.
    """

    at: float
    arrived: int
    used: list[float]


class Drained(NamedTuple):
    """How a burst was taken.

    Attributes:
        rate: records that arrived in Fluent Bit a second, while all processes were busy.
        full: of its part of a core, what the process used then that used least.
        cpu: seconds of a core for 100,000 records, from the first publication until the last record arrived.
        uneven: how far the share of a process was from an even one, at most.
    """

    rate: float
    full: float
    cpu: dict[str, float]
    uneven: float


def scale(rounds: int, *, workers: tuple[int, ...] = (1, 2, 3), count: int = 100_000) -> dict[str, object]:
    """One program with so many workers: the recorded traffic, until all records are delivered."""
    rates: dict[int, list[float]] = {number: [] for number in workers}
    used: dict[int, list[dict[str, float]]] = {number: [] for number in workers}
    with running() as rig:
        for _ in range(rounds):
            for number in workers:
                rate, cpu_used = _together(rig, number, count)
                rates[number].append(rate)
                used[number].append(cpu_used)
    return {
        "processes": {str(number): round(statistics.median(each)) for number, each in rates.items()},
        "to_one": {
            str(number): round(statistics.median(_ratios(each, rates[workers[0]])), 2)
            for number, each in rates.items()
        },
        "cpu": {str(number): _medians(each) for number, each in used.items()},
        "rounds": rounds,
        "held": apart(rounds),
    }


def _ratios(each: list[float], one: list[float]) -> list[float]:
    return [rate / alone for rate, alone in zip(each, one, strict=True)]


def _program(rig: Rig, workers: int, **settings: object) -> Consumer:
    """Return one, when each of its workers is ready; if nothing else is said, with room for all of a burst."""
    settings = {"batch_buffer_bytes": "2GB", "http_listen": f"127.0.0.1:{free_port()}"} | settings
    consumer = rig.consumer(workers=workers, **settings)
    wait_until(lambda: consumer.status()["ready"]["ok"], "each worker is ready")
    return consumer


class _Meter:
    """Seconds of a core that the programs use from here on; of none, where the system does not count them."""

    def __init__(self, rig: Rig, consumers: list[Consumer]) -> None:
        self.workers = [pid for consumer in consumers for pid in consumer.workers()]
        own = [consumer.process.pid for consumer in consumers]
        supervisors = {} if own == self.workers else {"supervisor": own}
        self._of = {"workers": self.workers} | supervisors | rig.servers()
        self._before = self._read()

    def _read(self) -> dict[str, float]:
        if not SCHEDSTAT.exists():
            return {}
        return {name: sum(map(cpu, pids)) for name, pids in self._of.items()}

    def used(self, count: int) -> dict[str, float]:
        """Return them for 100,000 of so many records."""
        return {name: (now - self._before[name]) / count * 100_000 for name, now in self._read().items()}


def _medians(each: list[dict[str, float]]) -> dict[str, float]:
    return {name: round(statistics.median(one[name] for one in each), 3) for name in each[0]}


def _together(rig: Rig, number: int, count: int) -> tuple[float, dict[str, float]]:
    """Return publications a second, by the program's endpoint, asked 20 times a second, and what used the cores."""
    consumer, before = _program(rig, number), rig.arrived() if rig.fluent_bit else 0
    meter = _Meter(rig, [consumer])

    def delivered() -> int:
        found: int = consumer.status()["facts"]["shipper"]["records_acknowledged"]
        return found

    with rig.publishing("mix", count):
        wait_until(delivered, "the first record is delivered")
        began, first = time.monotonic(), delivered()
        wait_until(lambda: delivered() >= count, "the last record is delivered", every=0.05)
        taken = time.monotonic() - began
    if rig.fluent_bit:  # what it has taken costs it something yet
        wait_until(lambda: rig.arrived() - before >= count, "Fluent Bit has counted all records", every=0.1)
    used = meter.used(count)
    consumer.stop()
    return (count - first) / taken, used


# --- each on a part of a core of its own ----------------------------------------------------------------------


def _base() -> Path:
    if find("fluent-bit") is None:
        raise Failed("fluent-bit is not on PATH, and is what counts here")
    return cores.place()


def apart(rounds: int) -> dict[str, object]:
    """Hold each process to a part of a core, so that it is as full with others as it is alone."""
    try:
        base = _base()
    except Failed as problem:
        print(f"processes on a part of a core: left out: {problem}", file=sys.stderr, flush=True)
        return {"left_out": str(problem)}
    figures: dict[Case, list[Drained]] = {case: [] for case in CASES}
    for _ in range(rounds):
        for case in CASES:
            # Servers of its own: what they have to tidy up after another burst would count.
            with running(jetstream=case.stream) as rig:
                figures[case].append((_of_a_stream if case.stream else _drained)(rig, case, base))
    return {
        "part": PART,
        "period_ms": cores.PERIOD / 1000,
        "cases": {case.name: summed_up(each, figures[case.one]) for case, each in figures.items()},
        "rounds": rounds,
    }


def summed_up(each: list[Drained], one: list[Drained]) -> dict[str, object]:
    """Return medians, and ratios to the one process of the same round."""
    ratios = _ratios([this.rate for this in each], [this.rate for this in one])
    return {
        "arrived": round(statistics.median(this.rate for this in each)),
        "to_one": round(statistics.median(ratios), 2),
        "to_one_least": round(min(ratios), 2),
        "to_one_most": round(max(ratios), 2),
        "full": round(min(this.full for this in each), 3),
        "cpu": _medians([this.cpu for this in each]),
        "uneven": round(max(this.uneven for this in each), 4),
    }


def _of_a_stream(rig: Rig, case: Case, base: Path) -> Drained:
    asyncio.run(stored.make(rig))
    settings = {
        "jetstream_stream": stored.STREAM,
        "jetstream_durable": DURABLE,
        "batch_buffer_bytes": "256MB",
    }
    found = _drained(rig, case, base, **settings)
    asyncio.run(stored.acknowledged(rig, DURABLE, case.parts * EACH))
    return found


def _drained(rig: Rig, case: Case, base: Path, **settings: object) -> Drained:
    """Publish a burst, and look at those who take it whenever Fluent Bit has counted again."""
    together = case.processes if case.supervised else 1
    consumers = [_program(rig, together, **settings) for _ in range(case.processes // together)]
    meter, looks = _Meter(rig, consumers), list[Look]()
    count = case.parts * EACH

    def all_arrived() -> bool:
        arrived = rig.arrived()
        if not looks or arrived > looks[-1].arrived:
            looks.append(Look(time.monotonic(), arrived, [cpu(pid) for pid in meter.workers]))
        return arrived >= count

    each_alone = case.parts == case.processes
    with cores.held([[pid] for pid in meter.workers] if each_alone else [meter.workers], PART, base=base):
        with rig.publishing("mix", count, **({"rate": RATE} if case.stream else {})):
            pass
        wait_until(all_arrived, "all records arrive")
        used = meter.used(count)
        for consumer in consumers:
            consumer.stop()
    rate, busy = busiest(looks, count)
    accounts = [account for consumer in consumers for account in consumer.accounts()]
    received = [account["received"] for account in accounts]
    if len(received) != case.processes or sum(received) != count or any(each["dropped"] for each in accounts):
        raise Failed(f"{case.name}: of {count} publications: {accounts}")
    even = count / case.processes
    return Drained(
        rate=rate,
        full=(min(busy) if each_alone else sum(busy)) / PART,
        cpu=used,
        uneven=max(abs(each - even) for each in received) / even,
    )


def busiest(looks: list[Look], count: int) -> tuple[float, list[float]]:
    """Return records a second, and of a core for each process, while each of them had something to do.

    Args:
        looks: the first at any time when all was published, each other one when Fluent Bit had counted anew.
        count: of publications.

    Raises:
        Failed: that was not long enough.
    """
    calm = [look for look in looks[1:] if look.arrived <= CALM * count]
    if not calm or calm[-1].at - calm[0].at < AT_LEAST:
        seen = [(round(look.at - looks[0].at, 1), look.arrived) for look in looks]
        raise Failed(f"less than {AT_LEAST:g} s of work for {count} publications: {seen}")
    at = [look.at for look in calm]

    def slope(values: Iterable[float]) -> float:
        return statistics.linear_regression(at, [*values]).slope

    return slope(look.arrived for look in calm), [
        *map(slope, zip(*(look.used for look in calm), strict=True))
    ]
