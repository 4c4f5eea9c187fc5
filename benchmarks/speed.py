"""How fast: publications a second beside others, a steady rate and a burst without loss."""

from __future__ import annotations

import asyncio
import json
import statistics
import time

import stored
import workloads
from rig import Rig, running, wait_until

CORE = ("bare", "naive", "nats_fluent")
PULLS = ("bare_pull", "fluent_pull")

COUNTS = {
    "event": 100_000,
    "flow": 100_000,
    "activity": 60_000,
    "object": 1_500,
    "mix": 60_000,
    "json": 60_000,
}
"""Publications of a burst: a second or two of this consumer's work."""


def core(rounds: int, *, kinds: dict[str, int] | None = None) -> dict[str, object]:
    """Core NATS, one process: each contender in turn, on each kind."""
    found = {}
    with running() as rig:
        for kind, count in (kinds or COUNTS).items():
            figures = _rounds(rig, CORE, kind, count, rounds)
            found[kind] = _compared(figures, CORE) | {
                "bytes": workloads.mean_size(kind),
                "publications": count,
            }
    return {"kinds": found, "rounds": rounds, "shipper": rig.shipper_is}


def _rounds(rig: Rig, names: tuple[str, ...], kind: str, count: int, rounds: int) -> dict[str, list[float]]:
    figures: dict[str, list[float]] = {name: [] for name in names}
    for _ in range(rounds):
        for name in names:
            figures[name].append(rig.measure(name, kind, count))
    return figures


def _compared(figures: dict[str, list[float]], names: tuple[str, ...]) -> dict[str, object]:
    """Return the medians, and the median of what the last is to each other one within a round."""
    last = names[-1]
    return {name: round(statistics.median(values)) for name, values in figures.items()} | {
        f"to_{name}": round(
            statistics.median(ours / other for ours, other in zip(figures[last], figures[name], strict=True)),
            3,
        )
        for name in names[:-1]
    }


def jetstream(rounds: int, *, count: int = 50_000) -> dict[str, object]:
    """A stream in the server's memory, filled before: each contender drains it, and acknowledges each message."""
    found = {}
    with running(jetstream=True) as rig:
        for kind in ("event", "mix"):
            asyncio.run(stored.make(rig))
            asyncio.run(stored.fill(rig, kind, count))
            figures: dict[str, list[float]] = {name: [] for name in PULLS}
            for turn in range(rounds):
                for name in PULLS:
                    durable = f"{name}-{turn}"
                    with rig.contender(name, kind, count, durable=durable) as process:
                        taken = rig.result(process)["seconds"]
                    asyncio.run(stored.acknowledged(rig, durable, count))
                    figures[name].append(count / taken)
            found[kind] = _compared(figures, PULLS) | {"publications": count}
            asyncio.run(stored.remove(rig))
    return {"kinds": found, "rounds": rounds}


def unpaced(count: int = 200_000) -> dict[str, object]:
    """A burst as fast as the server takes it, with the settings of a fresh installation and a spool to overflow to."""
    return _without_loss(count, None)


def paced(rate: float = 40_000, seconds: float = 20.0) -> dict[str, object]:
    """The recorded traffic at a steady rate."""
    return _without_loss(round(rate * seconds), rate)


def _without_loss(count: int, rate: float | None) -> dict[str, object]:
    """Return what became of each publication. The server has its own default limits."""
    with running(max_pending="64MB") as rig:
        spool = rig.directory / "spool"
        spool.mkdir()
        consumer = rig.consumer(spool_mode="overflow", spool_dir=spool)
        behind = 0
        with rig.publishing("mix", count, **({"rate": rate} if rate else {})) as publisher:
            while publisher.poll() is None:
                if rate:
                    behind = max(behind, rig.nats_says("varz")["in_msgs"] - rig.arrived())
                time.sleep(0.1)  # between two looks
            took = json.loads(publisher.stdout.read())["seconds"]
        published = time.monotonic()
        last = -1

        def settled() -> bool:
            nonlocal last
            before, last = last, rig.arrived()
            return last >= count or last == before

        wait_until(settled, "no more records arrive", every=1.0)
        drained = time.monotonic() - published
        account = consumer.stop()
        slow = rig.nats_says("varz")["slow_consumers"]
        return {
            "published": count,
            "published_a_second": round(count / took),
            **{name: account[name] for name in ("received", "delivered", "dropped", "spooled", "lost")},
            "arrived": rig.arrived(),
            "cut_off_by_the_server": slow,
            **({"most_behind": behind} if rate else {"seconds_until_all_arrived": round(took + drained, 1)}),
        }
