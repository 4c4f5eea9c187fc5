"""One of several workers: ``python -m nats_fluent.worker DESCRIPTOR``, as the supervisor starts it.

It does what `nats-fluent run` does, and ends in order when its supervisor says so or is gone.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import sys
from typing import TYPE_CHECKING

import uvloop

from nats_fluent import logs
from nats_fluent.channel import ASK, STOP, Said, said, take_order
from nats_fluent.errors import NatsFluentError, SettingsError
from nats_fluent.log import Log
from nats_fluent.runtime import Service
from nats_fluent.signals import stopped_by_signals

if TYPE_CHECKING:
    from nats_fluent.settings import Settings

LAST_WORDS = 5.0
"""Seconds for a supervisor that hangs to read them."""


def main(descriptor: int) -> int:
    """Take the order, work, and return the exit code."""
    channel = socket.socket(fileno=descriptor)
    try:
        order = take_order(channel)
    except EOFError:
        return 1
    log = order.settings.log
    logs.configure(format=log.format, level=log.level, worker=order.number)
    try:
        return uvloop.run(_work(order.settings, channel))
    except NatsFluentError as error:
        Log().error("failed", reason=str(error))
        return 1


async def _work(settings: Settings, channel: socket.socket) -> int:
    channel.setblocking(False)
    reader, writer = await asyncio.open_unix_connection(sock=channel)
    stop = asyncio.Event()
    try:
        with stopped_by_signals(stop):
            service = Service(settings)
            listening = asyncio.create_task(_listen(reader, writer, service, stop))
            try:
                summary = await service.serve(stop)
            finally:
                listening.cancel()
            writer.write(said(Said(facts=service.facts())))
            return summary.exit_code
    except SettingsError as error:
        writer.write(said(Said(problems=error.problems)))
        return 2
    finally:
        writer.close()
        with contextlib.suppress(OSError, TimeoutError):
            async with asyncio.timeout(LAST_WORDS):
                await writer.wait_closed()


async def _listen(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, service: Service, stop: asyncio.Event
) -> None:
    """Answer the supervisor, for as long as there is one."""
    log = Log()
    with contextlib.suppress(OSError):
        while question := await reader.read(1):
            if question == ASK:
                writer.write(said(Said(facts=service.facts())))
            elif question == STOP and not stop.is_set():
                stop.set()
    if not stop.is_set():
        log.error("the supervisor is gone: stopping")
        stop.set()


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1])))
