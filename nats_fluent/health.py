"""Whether this program is live and ready, from facts; without I/O.

Live asks only whether this program moves, as what a restart does not mend is no reason for one. Ready asks whether
data flows, or would if some came: each part that keeps it from flowing is named, with the reason.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
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
    """Return whether this program moves; that it was asked at all shows that its event loop does."""
    ago = facts.watchdog.looked_ago
    late = ago is not None and ago > LOOKS
    return _health({"watchdog": f"it has not looked for {ago:.0f} s" if late else ""})


def ready(facts: Facts) -> Health:
    """Return whether data flows, or would if some came."""
    reasons = {
        "program": "" if facts.phase == "running" else f"it is {facts.phase}",
        "nats": _nats(facts),
        "log shipper": _shipper(facts.shipper),
    }
    if facts.spool is not None:
        trouble = facts.spool.trouble
        reasons["spool"] = f"it takes no chunks: {trouble}" if trouble else ""
    return _health(reasons)


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
