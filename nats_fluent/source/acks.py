"""Messages of a stream that are handed on and not settled, and what the server is told of them. Without I/O.

Sources: ADR-15 (JetStream subscribe workflow) and ADR-13 (pull consumers) for the words ``+ACK``, ``-NAK``, ``+WPI``
and ``+TERM`` and for the subject that they are sent to; nats-server's `ackReplyInfo` for its two forms::

    $JS.ACK.<stream>.<consumer>.<delivered>.<stream seq>.<consumer seq>.<time>.<pending>
    $JS.ACK.<domain>.<account>.<stream>.<consumer>.<delivered>.<stream seq>.<consumer seq>.<time>.<pending>[.<token>]
"""

from __future__ import annotations

from collections import deque
from itertools import repeat
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

DELIVERED = b"+ACK"
TERMINATED = b"+TERM"
AT_WORK = b"+WPI"
AGAIN = b"-NAK"

RETRY_FIRST = 1.0
"""Seconds before the server sends again what was given back, after the first delivery; each further one doubles it."""

RETRY_MOST = 60.0
"""Seconds, the longest such wait."""

PORTION = 500
"""Answers that are put together, and dropped, as one."""

REMEMBERED = 20_000
"""Messages that are known again after they were delivered; up to twice as many are."""

_NS = 1_000_000_000
_SHORT = 9
_LONG = 11
_NUMBERS = 5
"""Tokens behind the consumer's name."""

CONSUMERS = 64
"""Beginnings that are remembered. There is one, or a few when the consumer is made again under another name."""


Key = int
"""What tells a message from all others that a stream of that name ever had."""


Place = tuple[str, int, int, int, int, Key]
"""What the reply subject of a message says: the stream, the message's number in it, how often it was delivered (this
time included), when the stream took it (nanoseconds since 1970), how many messages the consumer has still to deliver,
and the message's key: its number and its time, as a stream that was deleted and made again counts from 1 again."""


class Places:
    """Reads reply subjects. What those of one consumer begin with is looked at once."""

    def __init__(self) -> None:
        self._streams: dict[str, str] = {}

    def read(self, reply: str) -> Place | None:
        """Read the reply subject of a message, None when it is not one of JetStream's."""
        try:
            front, delivered, number, _, time, pending = reply.rsplit(".", _NUMBERS)
            stream, sequence, time_ns = self._streams[front], int(number), int(time)
            deliveries = 1 if delivered == "1" else int(delivered)
            return stream, sequence, deliveries, time_ns, int(pending), sequence << 64 | time_ns
        except (KeyError, ValueError):
            return self._read(reply)

    def _read(self, reply: str) -> Place | None:
        tokens = reply.split(".")
        if len(tokens) == _SHORT:
            at = 2
        elif len(tokens) >= _LONG:
            at = 4
        else:
            return None
        if tokens[0] != "$JS" or tokens[1] != "ACK":
            return None
        try:
            delivered, sequence, _, time_ns, pending = map(int, tokens[at + 2 : at + 7])
        except ValueError:
            return None
        if len(tokens) == at + 7:  # no token behind the numbers
            if len(self._streams) >= CONSUMERS:
                self._streams.clear()
            self._streams[".".join(tokens[:-_NUMBERS])] = tokens[at]
        return tokens[at], sequence, delivered, time_ns, pending, sequence << 64 | time_ns


def again(deliveries: int) -> bytes:
    """Return what asks for another delivery, later the more often there was one."""
    seconds = min(RETRY_FIRST * 2 ** min(deliveries - 1, 16), RETRY_MOST)
    return b'%s {"delay":%d}' % (AGAIN, int(seconds * _NS))


def publish(subjects: Sequence[str], payload: bytes) -> bytes:
    r"""Return the protocol's commands, one for each subject: ``PUB <subject> <#bytes>\r\n<payload>\r\n``."""
    end = b" %d\r\n%s\r\n" % (len(payload), payload)
    return b"PUB " + (end + b"PUB ").join([subject.encode() for subject in subjects]) + end


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

    def hold(self, keys: Sequence[Key], replies: Sequence[str], now: float) -> set[int]:
        """Note messages that arrived, by their keys and reply subjects; return the indexes of those not new."""
        held, when = self._held, now + self.ack_wait / 2
        fresh = {*keys}
        if (
            len(fresh) == len(keys)
            and held.keys().isdisjoint(
                fresh
            )  # a view goes through the fewer of the two, a set through all of a dict
            and fresh.isdisjoint(self._delivered)
            and fresh.isdisjoint(self._delivered_before)
        ):
            held.update(zip(keys, zip(replies, repeat(when)), strict=False))
            return set()
        known = set()
        for at, (key, reply) in enumerate(zip(keys, replies, strict=True)):
            if self.was_delivered(key):
                known.add(at)
                continue
            if held.pop(key, None) is not None:
                known.add(at)
            held[key] = (reply, when)
        return known

    def was_delivered(self, key: Key) -> bool:
        """Whether the message was delivered a short while ago."""
        return key in self._delivered or key in self._delivered_before

    def settle(self, keys: Sequence[Key], *, delivered: bool) -> list[str]:
        """Hold these messages no more, and return the reply subjects of those that were held."""
        pop = self._held.pop
        found = [pop(key, None) for key in keys]
        if delivered:
            if len(self._delivered) >= self._remembered:
                self._delivered_before, self._delivered = self._delivered, set()
            self._delivered.update(keys)
        return [held[0] for held in found if held is not None]

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
        self._waiting: deque[tuple[bytes, int]] = deque()
        self._count = 0
        self.most = most
        self.dropped = 0

    def __len__(self) -> int:
        return self._count

    def add(self, replies: Sequence[str], answer: bytes) -> None:
        """Queue an answer to each of these."""
        for at in range(0, len(replies), PORTION):
            portion = replies[at : at + PORTION]
            while self._waiting and self._count + len(portion) > self.most:
                self.dropped += self._next()[1]
            self._waiting.append((publish(portion, answer), len(portion)))
            self._count += len(portion)

    def take(self, count: int) -> bytes:
        """Return the next commands as one: about so many, as a portion is not divided."""
        taken = []
        while self._waiting and count > 0:
            commands, answers = self._next()
            count -= answers
            taken.append(commands)
        return b"".join(taken)

    def _next(self) -> tuple[bytes, int]:
        commands, answers = self._waiting.popleft()
        self._count -= answers
        return commands, answers
