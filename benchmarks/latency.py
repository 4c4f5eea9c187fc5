"""How long from publication to acknowledgement, for each publication.

The publisher notes when it wrote each one, on the clock that all processes of a machine share; the consumer, when the
log shipper acknowledged the chunk that has its record. The first second is warm-up.
"""

from __future__ import annotations

import json
import statistics
from array import array

from rig import Rig, running

RATE = 5_000
RATES = (1_000, 5_000, 10_000, 20_000)
LINGERS = ("100ms", "50ms", "20ms", "5ms", "1ms")
DEFAULT = ""


def by_linger(rounds: int, seconds: float, *, kind: str = "mix") -> dict[str, object]:
    """At 5,000 a second, with the default of batch.linger and with others; and what a burst makes of these."""
    from speed import COUNTS  # noqa: PLC0415 - the modules of measurements know no more of each other

    with running() as rig:
        found = {
            linger or "default": _median([_once(rig, kind, RATE, seconds, linger) for _ in range(rounds)])
            | {
                "burst": round(
                    statistics.median(
                        rig.measure("nats_fluent", kind, COUNTS[kind], **_linger(linger))
                        for _ in range(rounds)
                    )
                )
            }
            for linger in (DEFAULT, *LINGERS)
        }
    return {"lingers": found, "rate": RATE, "kind": kind, "rounds": rounds}


def by_rate(rounds: int, seconds: float, *, kind: str = "mix") -> dict[str, object]:
    """With the default settings, at several rates."""
    with running() as rig:
        found = {
            str(rate): _median([_once(rig, kind, rate, seconds, DEFAULT) for _ in range(rounds)])
            for rate in RATES
        }
    return {"rates": found, "kind": kind, "rounds": rounds}


def _linger(linger: str) -> dict[str, str]:
    return {"linger": linger} if linger else {}


def _median(rounds: list[dict[str, float]]) -> dict[str, float]:
    return {name: round(statistics.median(each[name] for each in rounds), 3) for name in rounds[0]}


def _once(rig: Rig, kind: str, rate: float, seconds: float, linger: str) -> dict[str, float]:
    """Return milliseconds, chunks a second, and the part of a core that the consumer took."""
    count = round(rate * (seconds + 1))
    stamps, settled = rig.directory / "stamps", rig.directory / "settled"
    with (
        rig.contender("latency", kind, count, settled=settled, **_linger(linger)) as process,
        rig.publishing(kind, count, rate=rate, stamps=stamps) as publisher,
    ):
        said = rig.result(process)
        took = json.loads(publisher.stdout.read())["seconds"]
    sent, done = array("q", stamps.read_bytes()), array("q", settled.read_bytes())
    pairs = [*zip(sent, done, strict=True)][int(rate) :]
    waited = sorted((after - before) / 1e6 for before, after in pairs)
    return {
        "p50_ms": waited[len(waited) // 2],
        "p99_ms": waited[len(waited) * 99 // 100],
        "max_ms": waited[-1],
        "chunks_a_second": said["chunks"] / said["seconds"],
        "cpu": said["cpu"],
        "published_a_second": count / took,
    }
