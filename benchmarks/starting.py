"""From the start of the process to its subscriptions, and what it takes when nothing happens."""

from __future__ import annotations

import re
import statistics
import time
from datetime import datetime

from rig import running, wait_until

TOPICS = 6
"""The default topics, each a subscription in the queue group."""
_SUBSCRIBED = re.compile(r"(\d{4}/\d\d/\d\d \d\d:\d\d:\d\d\.\d+) \[TRC\].*<<- \[SUB \S+ nats-fluent \d+\]")


def start(rounds: int) -> dict[str, object]:
    """Seconds until nats-server has read the last subscription, by its own log."""
    found = []
    with running(trace=True) as rig:
        for turn in range(1, rounds + 1):
            consumer = rig.consumer()
            wanted = turn * TOPICS

            def subscriptions() -> list[str]:
                return _SUBSCRIBED.findall(rig.nats_log.read_text())

            wait_until(lambda wanted=wanted: len(subscriptions()) >= wanted, "it is subscribed")
            last = datetime.strptime(subscriptions()[wanted - 1], "%Y/%m/%d %H:%M:%S.%f").astimezone()
            found.append(last.timestamp() - consumer.spawned)
            consumer.stop()
    return {"seconds": round(statistics.median(found), 3), "rounds": rounds}


def idle(seconds: float) -> dict[str, object]:
    """The part of a core over a quiet time."""
    with running() as rig:
        consumer = rig.consumer()
        time.sleep(3)  # what a start leaves to do is not idleness
        before, began = consumer.cpu(), time.monotonic()
        time.sleep(seconds)  # the quiet time itself
        cpu = (consumer.cpu() - before) / (time.monotonic() - began)
        return {"cpu": round(cpu, 5), "seconds": seconds, "rss": consumer.rss()}
