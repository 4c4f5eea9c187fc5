"""When to ask a pull consumer for messages, and for how many. Without I/O: time is a parameter.

Up to two pulls are open, each with an inbox of its own, so that what arrives is counted for the pull that asked for
it: the second is opened when the first has brought half, and the server never waits for us. A pull ends with its last
message or with a status message; one that is silent for longer than its heartbeats allow, and every one when the
connection is lost, is given up together with its inbox.

Source: ADR-13 (JetStream pull consumers), and what nats-server 2.15.1 was seen to answer.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import msgspec

if TYPE_CHECKING:
    from collections.abc import Callable

    from nats_fluent.source.consumer import Limits

BATCH = 1000
"""Messages that one pull asks for, at most."""

PULL_BYTES = 16 << 20
"""Bytes that one pull asks for, at most: what two bring must fit into what a nats-server keeps for a slow reader before
it closes the connection (64 MB, its `max_pending`)."""

EXPIRES = 30.0
"""Seconds after which the server ends a pull."""

HEARTBEAT = 5.0
"""Seconds between two heartbeats of a pull that brings nothing; the server takes at most half of `EXPIRES`."""

SILENCE = 2.5
"""Heartbeats that may be missed, and a bit."""

PULLS = 2
"""Pulls that may be open at once."""

OVERHEAD = 256
"""Bytes that a message is charged in memory besides its payload (`nats_fluent.pipeline.DELIVERY_BYTES`)."""

SHARE = 0.75
"""How much of the free memory is asked for: the record of what cannot be decoded has its payload in base64, 4/3 of it.
Other records take about what their messages are charged."""

BACK_OFF_FIRST = 0.1
"""Seconds to wait after a pull that the server would not have; each further one doubles it."""

BACK_OFF_MOST = 5.0
"""Seconds, the longest such wait."""

_NS = 1_000_000_000
_HEARTBEAT, _EXPIRED, _CONFLICT = 100, 408, 409
_LARGER = "message size exceeds maxbytes"
_NO_MATTER = ("server shutdown", "leadership change", "batch completed")
"""Conflicts after which the same consumer is there, or soon is."""


class Ask(NamedTuple):
    """A pull to send.

    Attributes:
        pull: its number.
        batch: messages that it asks for.
        max_bytes: bytes that it asks for; 0 for no limit.
        expires: seconds.
        heartbeat: seconds.
    """

    pull: int
    batch: int
    max_bytes: int
    expires: float
    heartbeat: float

    @property
    def request(self) -> bytes:
        """What is sent to the server."""
        request = {
            "batch": self.batch,
            "expires": round(self.expires * _NS),
            "idle_heartbeat": round(self.heartbeat * _NS),
        }
        if self.max_bytes:
            request["max_bytes"] = self.max_bytes
        return msgspec.json.encode(request)


class _Pull:
    """One that is open."""

    __slots__ = ("ask", "began", "bytes", "got", "heard")

    def __init__(self, ask: Ask, now: float) -> None:
        self.ask = ask
        self.began = self.heard = now
        self.got = 0
        self.bytes = 0


class PullWindow:
    """Decides on pulls.

    Args:
        limits: what the consumer allows.
        room: the bytes of memory that are free.
        unsettled: how many messages were handed on and are not settled.

    Attributes:
        doubt: why the consumer should be looked at before anything is asked of it; empty when it need not be.
            `trusted` ends it.
        too_small: bytes that a pull asked for when the next message was larger; 0 when none was.
    """

    def __init__(self, limits: Limits, *, room: Callable[[], int], unsettled: Callable[[], int]) -> None:
        self._limits = limits
        self._room = room
        self._unsettled = unsettled
        self._open: dict[int, _Pull] = {}
        self._count = 0
        self._failures = 0
        self._not_before = 0.0
        self.doubt = "not looked at yet"
        self.too_small = 0

    @property
    def asked(self) -> int:
        """Messages that open pulls have still to bring."""
        return sum(pull.ask.batch - pull.got for pull in self._open.values())

    @property
    def well(self) -> bool:
        """Whether the last pull that was heard of did not fail."""
        return not self._failures

    def is_open(self, number: int) -> bool:
        """Whether that pull is open."""
        return number in self._open

    def ask(self, now: float) -> Ask | None:
        """Return the next pull to send, which is open from now on; None when it is not the time."""
        opened = self._open.values()
        if self.doubt or now < self._not_before or len(opened) >= PULLS:
            return None
        if any(2 * pull.got < pull.ask.batch for pull in opened):
            return None
        limits, unsettled = self._limits, self._unsettled()
        free = int(max(self._room(), 0) * SHARE) - sum(_reserved(pull) for pull in opened)
        allowed = limits.max_ack_pending - unsettled - self.asked
        most = min(BATCH, limits.max_ack_pending, limits.max_batch or BATCH)
        batch = min(most, allowed, free // (2 * OVERHEAD))
        if not opened and not unsettled:
            batch = max(batch, 1)  # there will never be more room
        if batch < 1 or (opened and batch < max(most // 4, 1)):
            return None  # while something is on its way, a small pull can become a larger one
        max_bytes = max((free - batch * OVERHEAD) // (PULLS - len(opened)), 1)  # some is for the other pull
        max_bytes = min(max_bytes, PULL_BYTES, limits.max_bytes or PULL_BYTES)
        if max_bytes <= self.too_small:
            if opened or unsettled:
                return None  # there will be more room
            batch, max_bytes = 1, limits.max_bytes  # there is no more; the server's max_payload bounds it
        expires = min(EXPIRES, limits.max_expires or EXPIRES)
        self._count += 1
        ask = Ask(self._count, batch, max_bytes, expires, min(HEARTBEAT, expires / 2))
        self._open[ask.pull] = _Pull(ask, now)
        return ask

    def taken(self, number: int, count: int, size: int, now: float) -> bool:
        """Count messages, of `size` bytes in all, for the pull that brought them; return whether `ask` may say more."""
        pull = self._open.get(number)
        if pull is None:
            return False
        pull.got += count
        pull.bytes += size
        pull.heard = now
        batch = pull.ask.batch
        if pull.got >= batch:
            self._close(number)
            return True
        return 2 * pull.got >= batch and len(self._open) < PULLS

    def status(self, number: int, code: int, text: str, now: float) -> None:
        """Take in a status message that the pull got; those of a pull that is not open mean nothing.

        Args:
            number: the pull.
            code: of the status: 100, 408, 409, 503, ...
            text: the server's words.
            now: seconds on a clock that never goes back.
        """
        pull = self._open.get(number)
        if pull is None:
            return
        pull.heard = now
        if code == _HEARTBEAT:
            self._failures = 0
            return
        self._close(number)
        words = text.lower()
        if code == _CONFLICT and words.startswith(_LARGER):
            if not pull.got:
                self.too_small = max(self.too_small, pull.ask.max_bytes)
                if not pull.ask.max_bytes or pull.ask.max_bytes == self._limits.max_bytes:
                    self._failed(now)  # the consumer's own limit: only who set it can raise it
        elif code == _EXPIRED:
            if not pull.got and now - pull.began < pull.ask.expires / 2:
                self._failed(now)
        else:
            self._failed(now)
            if not (code == _CONFLICT and words.startswith(_NO_MATTER)):
                self.doubt = f"{code} {text}".strip()

    def silent(self, now: float) -> list[int]:
        """Give up the pulls that were not heard of for too long, and return them: their inboxes must go."""
        gone = [
            number for number, pull in self._open.items() if now - pull.heard > SILENCE * pull.ask.heartbeat
        ]
        for number in gone:
            del self._open[number]
        if gone:
            self._failed(now)
            self.doubt = "no heartbeat"
        return gone

    def lost(self) -> None:
        """Give up all pulls: the connection is gone, and the server has forgotten them."""
        self._open.clear()
        self._failures = 0
        self._not_before = 0.0

    def trusted(self, limits: Limits) -> None:
        """Go on: the consumer was looked at, and is as it should be."""
        self._limits = limits
        self.doubt = ""

    def deadline(self, now: float) -> float:
        """Return by when `silent` and `ask` should be tried again, though nothing was heard of."""
        when = [pull.heard + SILENCE * pull.ask.heartbeat for pull in self._open.values()]
        if self._not_before > now:
            when.append(self._not_before)
        return min(when, default=now + HEARTBEAT)

    def _close(self, number: int) -> None:
        pull = self._open.pop(number)
        if pull.got:
            self.too_small = 0
            self._failures = 0

    def _failed(self, now: float) -> None:
        self._not_before = now + min(BACK_OFF_FIRST * 2 ** min(self._failures, 16), BACK_OFF_MOST)
        self._failures += 1


def _reserved(pull: _Pull) -> int:
    """Bytes of memory that the pull may still fill."""
    return max(pull.ask.max_bytes - pull.bytes, 0) + (pull.ask.batch - pull.got) * OVERHEAD
