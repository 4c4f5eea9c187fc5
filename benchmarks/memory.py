"""Memory: at a steady rate, and while the log shipper is away, whatever arrives meanwhile."""

from __future__ import annotations

import statistics
import time
from typing import NamedTuple

from rig import Failed, Rig, free_port, running, wait_until

BUDGET = 256 << 20
"""The default of batch.buffer_bytes."""
RATES = {"small": 40_000, "event": 30_000, "object": 400}
"""What is published a second during an outage."""
BEYOND = 5.0
"""Seconds for which it is published when the budget is full."""
EVERY = 0.2
"""Seconds between two samples: each asks `ps`, or the endpoint, which takes from the cores of what is measured."""


class Sample(NamedTuple):
    seconds: float
    rss: int
    held: int


def steady(seconds: float, rate: float = 20_000) -> dict[str, object]:
    """The recorded traffic at a steady rate; how it grows over half an hour is for soak.py."""
    with running() as rig:
        consumer = rig.consumer()
        begin = consumer.rss()
        count = round(rate * seconds)
        with rig.publishing("mix", count, rate=rate) as publisher:
            wait_until(rig.arrived, "the first record arrives")
            began, used, found = time.monotonic(), consumer.cpu(), []
            while publisher.poll() is None:
                found.append(consumer.rss())
                time.sleep(EVERY)  # until the next sample, which takes from the cores of what is measured
            lasted = time.monotonic() - began
            cpu = (consumer.cpu() - used) / lasted
        wait_until(lambda: rig.arrived() >= count, "all records arrive")
        account = consumer.stop()
    half = len(found) // 2
    return {
        "rate": round(count / lasted),
        "seconds": round(lasted, 1),
        "rss_begin": begin,
        "rss_median": round(statistics.median(found)),
        "rss_max": max(found),
        "rss_growth": round(statistics.median(found[half:]) - statistics.median(found[:half])),
        "cpu": round(cpu, 3),
        "dropped": account["dropped"],
    }


def outage() -> dict[str, object]:
    """Stop Fluent Bit, publish until the budget is full and for five seconds more, and start it again."""
    found = {}
    for kind, rate in RATES.items():
        with running() as rig:
            found[kind] = _outage(rig, kind, rate)
    return {"budget": BUDGET, "kinds": found}


def _outage(rig: Rig, kind: str, rate: int) -> dict[str, object]:
    consumer = rig.consumer(http_listen=f"127.0.0.1:{free_port()}")
    samples: list[Sample] = []
    began = time.monotonic()

    def look() -> dict[str, int]:
        metrics = consumer.metrics()
        samples.append(Sample(round(time.monotonic() - began, 2), consumer.rss(), metrics["buffer_bytes"]))
        time.sleep(EVERY)  # until the next sample, which takes from the cores of what is measured
        return metrics

    def dropped(metrics: dict[str, int]) -> int:
        return metrics.get("publications_dropped_total", 0)

    for _ in range(5):
        look()
    before = samples[-1].rss
    rig.stop_shipper()
    away = time.monotonic() - began
    with rig.publishing(kind, rate * 120, rate=rate) as publisher:
        while not dropped(look()):
            if publisher.poll() is not None:
                raise Failed(f"the budget was not filled with {kind}")
        full = time.monotonic()
        while time.monotonic() < full + BEYOND:
            look()
        publisher.kill()
    lost = dropped(look())
    rig.start_shipper()
    back = time.monotonic() - began
    wait_until(lambda: look()["buffer_bytes"] == 0, "all that was held is delivered")
    for _ in range(10):
        look()
    account = consumer.stop()
    return {
        "rss_before": before,
        "rss_max": max(sample.rss for sample in samples),
        "held_max": max(sample.held for sample in samples),
        "rss_after": samples[-1].rss,
        "away": round(away, 1),
        "back": round(back, 1),
        "dropped": lost,
        "adds_up": account["received"] == account["delivered"] + account["dropped"],
        "samples": samples,
    }
