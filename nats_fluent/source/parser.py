"""The messages of a NATS connection, straight from what was read to whoever takes them.

nats-py parses with a regular expression for each kind of line and two deletions from a buffer for each message,
then makes a Msg, parses headers (keeping one value of each), passes a queue and wakes a task. That is most of what
a message costs. Here the two kinds of message frames are read in place; all other lines go to nats-py's parser.
Those of a whole read are read as one in C (``_frames.c``), where the package was built with a C compiler, as far as
they are what nats-server writes; at anything else it stops, and what is here decides.

Source of the frames: NATS client protocol, ``MSG <subject> <sid> [reply-to] <#bytes>`` and
``HMSG <subject> <sid> [reply-to] <#header bytes> <#total bytes>``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from nats.errors import Error, ProtocolError
from nats.protocol.parser import AWAITING_CONTROL_LINE, Parser

from nats_fluent.compiled import frames

if TYPE_CHECKING:
    from nats.aio.client import Client

Message = tuple[Any, str, str, bytes, bytes | None]
"""The mark of its subscription, subject, reply subject (or an empty string), payload, header block as it came."""

Taker = Callable[[list[Message]], None]
"""Called with all messages that one read brought, in their order."""

MAX_LINE = 1024 * 1024
"""Bytes of a line that has no end yet. The server's lines are short, but for INFO with a large cluster's URLs."""

MAX_MESSAGE = 65 << 20
"""Bytes of one message. A nats-server lets `max_payload` be 64 MB at most (its documentation), and adds headers."""

_DIGITS = 18
"""Of a number in a frame, at most."""

_CRLF = b"\r\n"


def _read(line: bytes) -> tuple[int, str, str, int, int]:
    """Read what stands before a message: its subscription, subject and reply subject, bytes of headers and of all.

    Raises:
        ProtocolError: it is neither.
    """
    kind, *fields = line.split()
    head = 0
    if kind == b"HMSG":
        if len(fields) < 4 or not _is_number(fields[-2]):
            raise ProtocolError
        head = int(fields.pop(-2))
    if not 3 <= len(fields) <= 4 or not (_is_number(fields[1]) and _is_number(fields[-1])):
        raise ProtocolError
    size = int(fields[-1])
    if not head <= size <= MAX_MESSAGE:
        raise ProtocolError
    reply = fields[2].decode("utf-8", "replace") if len(fields) == 4 else ""
    return int(fields[1]), fields[0].decode("utf-8", "replace"), reply, head, size


class FrameParser(Parser):
    """nats-py's parser, which hands messages of the subscriptions in `marks` on without it.

    Args:
        client: gets all the rest, as with nats-py's own.
        take: gets the messages, before anything that came behind them is looked at.

    Attributes:
        marks: by subscription id, what its messages are marked with.
        read: bytes that came, on all connections.
    """

    def __init__(self, client: Client, take: Taker) -> None:
        self._take = take
        self.marks: dict[int, Any] = {}
        self.read = 0
        super().__init__(client)

    def reset(self) -> None:
        """Forget what was read in part: another connection begins."""
        super().reset()
        # What stands before the end of a frame, in the pieces in which it was read: a payload of many reads is put
        # together once.
        self._pieces: list[bytes] = []
        self._held = self._wanted = 0

    async def parse(self, data: bytes = b"") -> None:
        """Take in what was read.

        Raises:
            ProtocolError: what no server sends.
        """
        self.read += len(data)
        if self._pieces:
            self._pieces.append(data)
            self._held += len(data)
            if self._held < self._wanted:
                return
            data = b"".join(self._pieces)
            self._pieces.clear()
        self._wanted = 0
        client: Any = self.nc
        marks = self.marks
        messages: list[Message] = []
        end = len(data)
        at = 0
        try:
            while at < end:
                if frames is not None and (at := frames(data, at, marks, messages)) == end:
                    break
                line_end = data.find(_CRLF, at)
                if line_end < 0:
                    if end - at > MAX_LINE:
                        raise ProtocolError
                    break
                line = data[at:line_end]
                if not line.startswith((b"MSG ", b"HMSG ")):
                    at = line_end + 2
                    self._hand_on(messages)
                    await self._other(line + _CRLF)
                    continue
                sid, subject, reply, head, size = _read(line)
                start = line_end + 2
                stop = start + size
                if stop + 2 > end:
                    self._wanted = stop + 2 - at
                    break
                at = stop + 2
                headers = data[start : start + head] if head else None
                payload = data[start + head : stop]
                if sid in marks:
                    messages.append((marks[sid], subject, reply, payload, headers))
                else:
                    self._hand_on(messages)
                    fields = line.split()
                    await client._process_msg(  # noqa: SLF001
                        sid, fields[1], fields[3] if reply else b"", payload, headers
                    )
        finally:
            self._hand_on(messages)
        if at < end:
            self._pieces.append(data[at:])
            self._held = end - at

    def _hand_on(self, messages: list[Message]) -> None:
        """Hand on what was read, and begin with none again."""
        if messages:
            stats = self.nc.stats
            stats["in_msgs"] += len(messages)
            stats["in_bytes"] += sum([len(payload) for _, _, _, payload, _ in messages])
            taken = messages.copy()
            messages.clear()
            self._take(taken)

    async def _other(self, line: bytes) -> None:
        """Hand a line that is no message to nats-py.

        Raises:
            ProtocolError: it does not know what to do with it.
        """
        try:
            await super().parse(line)
        except (Error, OSError):
            raise
        # INFO that is no JSON, or not of the form that nats-py expects.
        except Exception as error:
            raise ProtocolError from error
        if self.buf or self.state != AWAITING_CONTROL_LINE:  # as if it were the beginning of something
            raise ProtocolError


def _is_number(field: bytes) -> bool:
    return field.isdigit() and len(field) <= _DIGITS
