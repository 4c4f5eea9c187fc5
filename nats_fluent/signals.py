"""The signals that end a program: the first one asks for the end, the second one does not wait for it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from typing import TYPE_CHECKING

from nats_fluent.log import Log

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_SIGNALS = (signal.SIGTERM, signal.SIGINT)


@contextlib.contextmanager
def stopped_by_signals(stop: asyncio.Event, *, second: Callable[[], None] | None = None) -> Iterator[None]:
    """Set `stop` on the first SIGTERM or SIGINT; the second one does what it would do without this.

    Args:
        stop: what is set.
        second: what is called before the second does that.
    """
    loop = asyncio.get_running_loop()
    log = Log()

    def stopping(number: signal.Signals) -> None:
        log.info("stopping", signal=number.name)
        stop.set()
        for each in _SIGNALS:
            loop.remove_signal_handler(each)
            if second is not None:
                loop.add_signal_handler(each, ending, each)

    def ending(number: signal.Signals) -> None:
        assert second is not None
        second()
        loop.remove_signal_handler(number)
        os.kill(os.getpid(), number)

    for each in _SIGNALS:
        loop.add_signal_handler(each, stopping, each)
    try:
        yield
    finally:
        for each in _SIGNALS:
            loop.remove_signal_handler(each)
