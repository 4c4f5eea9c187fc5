"""What a supervisor and a worker say to each other over a pair of sockets.

The supervisor begins with an order, a frame: the worker's number and its settings. Then it asks (`ASK`) how the worker
is, and tells it to end (`STOP`), in one byte each. The worker sends frames, each a `Said`. A frame is the length in 4
bytes, most significant first, and so many bytes. When one of the two is gone, the other reads the end of the stream:
also after SIGKILL, and on every system.
"""

from __future__ import annotations

import asyncio
import pickle
import socket
import struct
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from nats_fluent.facts import Facts  # noqa: TC001 - msgspec reads the annotations

if TYPE_CHECKING:
    from nats_fluent.settings import Settings

ASK, STOP = b"?", b"."

_LENGTH = struct.Struct(">I")


class Order(NamedTuple):
    """What a worker is to be."""

    number: int
    settings: Settings


class Said(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a worker says: how it is, or what is wrong with its settings."""

    facts: Facts | None = None
    problems: tuple[str, ...] = ()


_READ = msgspec.msgpack.Decoder(Said)


def ordered(order: Order) -> bytes:
    """Return the frame of an order. The settings hold secrets: they are for a pair of sockets, and no argument."""
    return _frame(pickle.dumps(order))


def take_order(channel: socket.socket) -> Order:
    """Read the order, and nothing behind it; blocks.

    Raises:
        EOFError: there is none.
    """
    order: Order = pickle.loads(_take(channel, _LENGTH.unpack(_take(channel, _LENGTH.size))[0]))  # noqa: S301 - from who started this
    return order


def _take(channel: socket.socket, size: int) -> bytes:
    data = channel.recv(size, socket.MSG_WAITALL)
    if len(data) < size:
        raise EOFError
    return data


def said(what: Said) -> bytes:
    """Return the frame of what a worker says."""
    return _frame(msgspec.msgpack.encode(what))


async def hear(reader: asyncio.StreamReader) -> Said | None:
    """Return what the worker says next; None when it is gone."""
    try:
        (length,) = _LENGTH.unpack(await reader.readexactly(_LENGTH.size))
        return _READ.decode(await reader.readexactly(length))
    except (asyncio.IncompleteReadError, OSError):
        return None


def _frame(data: bytes) -> bytes:
    return _LENGTH.pack(len(data)) + data
