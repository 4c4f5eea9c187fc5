"""Whether this program is live and ready, from facts; without I/O.

Live asks only whether this program moves, as what a restart does not mend is no reason for one. Ready asks whether
data flows, or would if some came: each part that keeps it from flowing is named, with the reason.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from collections.abc import Mapping

    from nats_fluent.facts import Facts, ShipperFacts

STALLED = 5.0
"""Seconds without an acknowledgement while chunks wait, after which the log shipper is not ready. A paused Fluent Bit
takes connections and answers nothing, so that only this shows it."""

LOOKS = 15.0
"""Seconds without a look of the watchdog, which is to come each second, after which this program is not live."""


class Part(msgspec.Struct, frozen=True, omit_defaults=True):
    """One part: whether it is as it should be, and why not."""

    ok: bool
    why: str = ""


class Health(msgspec.Struct, frozen=True):
    """The verdict, and each part by its name."""

    ok: bool
    parts: dict[str, Part]


def live(facts: Facts) -> Health:
    """Return whether this program moves; that it was asked at all shows that its event loop does.

    A worker that died is started again by the one that was asked; one that is silent, as a program that answers nobody.
    """
    if not facts.workers:
        return _health({"watchdog": _watchdog(facts)})
    silent = {
        each.number: f"it has not answered for {each.silent:.0f} s"
        for each in facts.workers
        if each.silent > LOOKS
    }
    still = {each.number: _watchdog(each.facts) for each in facts.workers if each.facts is not None}
    return _health({"watchdog": _of_workers(still), "workers": _of_workers(silent)})


def ready(facts: Facts) -> Health:
    """Return whether data flows, or would if some came; of several workers, to each of them."""
    if not facts.workers:
        return _health(_reasons(facts))
    found = {each.number: _reasons(each.facts) for each in facts.workers if each.facts is not None}
    names = dict.fromkeys(name for reasons in found.values() for name in reasons)
    parts = {
        name: _of_workers({number: reasons.get(name, "") for number, reasons in found.items()})
        for name in names
    }
    return _health({**parts, "workers": _of_workers({each.number: each.away for each in facts.workers})})


def _of_workers(reasons: Mapping[int, str]) -> str:
    return "; ".join(f"worker {number}: {why}" for number, why in reasons.items() if why)


def _reasons(facts: Facts) -> dict[str, str]:
    reasons = {
        "program": "" if facts.phase == "running" else f"it is {facts.phase}",
        "nats": _nats(facts),
        "log shipper": _shipper(facts.shipper),
    }
    if facts.spool is not None:
        trouble = facts.spool.trouble
        reasons["spool"] = f"it takes no chunks: {trouble}" if trouble else ""
    return reasons


def _watchdog(facts: Facts) -> str:
    ago = facts.watchdog.looked_ago
    return f"it has not looked for {ago:.0f} s" if ago is not None and ago > LOOKS else ""


def _health(reasons: dict[str, str]) -> Health:
    parts = {name: Part(not why, why) for name, why in reasons.items()}
    return Health(all(part.ok for part in parts.values()), parts)


def _nats(facts: Facts) -> str:
    nats = facts.nats
    if not nats.connected:
        return f"not connected: {nats.reason or 'no attempt has ended yet'}"
    if nats.silent:
        return f"connected, and it has not answered for {nats.silent:.0f} s"
    if nats.denied:
        return f"the server denies {', '.join(nats.denied)}"
    if not nats.subscribed and facts.phase != "stopping":  # which ends the subscriptions first
        waiting = facts.stream is not None
        return "connected, and waiting for JetStream" if waiting else "connected, and not subscribed yet"
    return ""


def _shipper(shipper: ShipperFacts) -> str:
    if not shipper.connected:
        return f"not connected: {shipper.reason or 'no attempt has ended yet'}"
    if shipper.stalled > STALLED:
        return (
            f"connected, and nothing was acknowledged for {shipper.stalled:.0f} s; "
            f"chunks that wait: {shipper.pending_chunks}"
        )
    return ""
