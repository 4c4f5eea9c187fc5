"""What a test sees of the log: each event as a dict, with its level as `log_level`."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from nats_fluent.log import Log, direct

if TYPE_CHECKING:
    from collections.abc import Iterator

    from nats_fluent.log import Take


def _into(entries: list[dict]) -> Take:
    return lambda level, event, fields: entries.append({"event": event, "log_level": level} | fields)


def capturing_log() -> tuple[Log, list[dict]]:
    """A log of its own, and the list of what it was told."""
    entries: list[dict] = []
    return Log(_into(entries)), entries


@contextlib.contextmanager
def captured() -> Iterator[list[dict]]:
    """The list of what every log without a place of its own is told meanwhile."""
    entries: list[dict] = []
    before = direct(_into(entries))
    try:
        yield entries
    finally:
        direct(before)
