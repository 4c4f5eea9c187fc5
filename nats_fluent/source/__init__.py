"""Where messages come from: the only importers of nats-py."""

from __future__ import annotations

import sys
from importlib import import_module
from typing import TYPE_CHECKING

# nats-py imports aiohttp, 10 MB of memory, where it is installed, for a websocket in whose place `websocket.py` is; and
# does without where it is not. None for a module is Python's way to say that there is none: its reference, "The module
# cache".
if "aiohttp" not in sys.modules:
    sys.modules["aiohttp"] = None  # type: ignore[assignment]
    try:
        import_module("nats.aio.transport")
    finally:
        del sys.modules["aiohttp"]

from nats_fluent.source.core import CoreSource
from nats_fluent.source.jetstream import JetStreamSource

if TYPE_CHECKING:
    from collections.abc import Callable

    from nats_fluent.delivery import Delivery
    from nats_fluent.log import Log
    from nats_fluent.settings import Settings
    from nats_fluent.source.base import Source


def open_source(
    settings: Settings,
    *,
    receive: Callable[[list[Delivery]], None],
    room: Callable[[], int],
    log: Log | None = None,
) -> Source:
    """Return the source that the settings ask for: JetStream with a stream, else core NATS.

    Args:
        settings: which servers, subjects and stream.
        receive: called with the messages of a read; must not block.
        room: the bytes of memory that are free, beyond which a stream is asked for no more.
        log: one line per change of state; its own logger by default.

    Raises:
        SettingsError: a TLS file cannot be used.
    """
    if settings.jetstream.stream:
        return JetStreamSource(
            settings.nats,
            settings.topics,
            jetstream=settings.jetstream,
            receive=receive,
            room=room,
            log=log,
        )
    return CoreSource(settings.nats, settings.topics, receive=receive, log=log)
