"""Messages of a stream that are handed on and not settled, and what the server is told of them. Without I/O.

Sources: ADR-15 (JetStream subscribe workflow) and ADR-13 (pull consumers) for the words ``+ACK``, ``-NAK``, ``+WPI``
and ``+TERM`` and for the subject that they are sent to; nats-server's `ackReplyInfo` for its two forms::

    $JS.ACK.<stream>.<consumer>.<delivered>.<stream seq>.<consumer seq>.<time>.<pending>
    $JS.ACK.<domain>.<account>.<stream>.<consumer>.<delivered>.<stream seq>.<consumer seq>.<time>.<pending>[.<token>]
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from collections.abc import Callable

    from nats_fluent.delivery import Outcome

DELIVERED = b"+ACK"
TERMINATED = b"+TERM"
AT_WORK = b"+WPI"
AGAIN = b"-NAK"

RETRY_FIRST = 1.0
"""Seconds before the server sends again what was given back, after the first delivery; each further one doubles it."""

RETRY_MOST = 60.0
"""Seconds, the longest such wait."""

REMEMBERED = 20_000
"""Messages that are known again after they were delivered; up to twice as many are."""

_NS = 1_000_000_000
_SHORT = 9
_LONG = 11


Key = int
"""What tells a message from all others that a stream of that name ever had: see `Place.key`."""


class Place(msgspec.Struct, frozen=True, gc=False):
    """What the reply subject of a message says.

    Attributes:
        stream: the stream.
        sequence: the message's number in it.
        deliveries: how often it was delivered, this time included.
        time_ns: when the stream took it, nanoseconds since 1970.
        pending: messages that the consumer has still to deliver.
    """

    stream: str
    sequence: int
    deliveries: int
    time_ns: int
    pending: int

    @property
    def key(self) -> Key:
        """The message: its number and its time, as a stream that was deleted and made again counts from 1 again."""
        return self.sequence << 64 | self.time_ns


def place(reply: str) -> Place | None:
    """Read the reply subject of a message; None when it is not one of JetStream's."""
    tokens = reply.split(".")
    if len(tokens) == _SHORT:
        at = 2
    elif len(tokens) >= _LONG:
        at = 4
    else:
        return None
    if tokens[0] != "$JS" or tokens[1] != "ACK":
        return None
    stream, _, delivered, sequence, _, time_ns, pending = tokens[at : at + 7]
    try:
        return Place(stream, int(sequence), int(delivered), int(time_ns), int(pending))
    except ValueError:
        return None


def again(deliveries: int) -> bytes:
    """Return what asks for another delivery, later the more often there was one."""
    seconds = min(RETRY_FIRST * 2 ** min(deliveries - 1, 16), RETRY_MOST)
    return b'%s {"delay":%d}' % (AGAIN, int(seconds * _NS))


def publish(subject: str, payload: bytes) -> bytes:
    r"""Return the protocol's command: ``PUB <subject> <#bytes>\r\n<payload>\r\n``."""
    return b"PUB %s %d\r\n%s\r\n" % (subject.encode(), len(payload), payload)


class Settled(msgspec.Struct, gc=False):
    """What a delivery is settled with; a `functools.partial` would be one more for the garbage collector to look at."""

    settle: Callable[[Key, Outcome], None]
    key: Key

    def __call__(self, outcome: Outcome) -> None:
        """Say what became of the delivery."""
        self.settle(self.key, outcome)


class Unsettled:
    """The messages that were handed on, until each is settled.

    One that comes again meanwhile, because the server did not hear of it for too long, is known as the one that is
    here: it is answered under its newest reply subject, and not handed on twice. So is one that was delivered a short
    while ago: its answer was lost on the way, or forgotten by a server that was killed.

    Args:
        ack_wait: seconds for which the server waits to hear of a message.
        remembered: how many of the delivered are known again, at least.
    """

    def __init__(self, ack_wait: float, *, remembered: int = REMEMBERED) -> None:
        self.ack_wait = ack_wait
        self._remembered = remembered
        # Two, of which the older is forgotten as a whole: the first key of a dict that lost its first ones is dear.
        self._delivered: set[Key] = set()
        self._delivered_before: set[Key] = set()
        # In the order of when the server is to hear of each; one that it heard of goes to the end.
        self._held: dict[Key, tuple[str, float]] = {}

    def __len__(self) -> int:
        return len(self._held)

    def hold(self, key: Key, reply: str, now: float) -> bool:
        """Note a message that arrived; return whether it is a new one."""
        if key in self._delivered or key in self._delivered_before:
            return False
        held = self._held
        known = held.pop(key, None)
        held[key] = (reply, now + self.ack_wait / 2)
        return known is None

    def was_delivered(self, key: Key) -> bool:
        """Whether the message was delivered a short while ago."""
        return key in self._delivered or key in self._delivered_before

    def settle(self, key: Key, *, delivered: bool) -> str:
        """Hold a message no more, and return its reply subject; empty when it was not held."""
        held = self._held.pop(key, None)
        if held is None:
            return ""
        if delivered:
            if len(self._delivered) >= self._remembered:
                self._delivered_before, self._delivered = self._delivered, set()
            self._delivered.add(key)
        return held[0]

    def due(self, now: float) -> list[str]:
        """Return the reply subjects of those that the server is to hear of now."""
        held = self._held
        late: list[tuple[Key, str]] = []
        for key, (reply, when) in held.items():
            if when > now:
                break
            late.append((key, reply))
        for key, reply in late:
            del held[key]
            held[key] = (reply, now + self.ack_wait / 2)
        return [reply for _, reply in late]

    def clear(self) -> list[str]:
        """Forget all, and return their reply subjects."""
        replies = [reply for reply, _ in self._held.values()]
        self._held.clear()
        return replies


class Outgoing:
    """What waits to be sent to the server, so much of it as may wait; beyond that the oldest goes.

    An answer that is not sent costs a delivery of its message more, and no message.

    Args:
        most: answers that may wait.

    Attributes:
        dropped: answers that were not sent.
    """

    def __init__(self, most: int) -> None:
        self._waiting: deque[bytes] = deque()
        self.most = most
        self.dropped = 0

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, command: bytes) -> None:
        """Queue a command."""
        if len(self._waiting) >= self.most:
            self._waiting.popleft()
            self.dropped += 1
        self._waiting.append(command)

    def take(self, count: int) -> bytes:
        """Return the next commands, so many at most, as one."""
        waiting = self._waiting
        return b"".join([waiting.popleft() for _ in range(min(count, len(waiting)))])
