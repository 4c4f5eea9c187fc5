"""Events, which every part of this program may tell of; `logs` makes lines of them.

An event is a constant sentence, what varies is in fields. A field ``exc_info`` is as in `logging`.

structlog has the same and more. It imports rich wherever that is installed, and with it took 6 MB of memory that the
main job does not use.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

Level = Literal["debug", "info", "warning", "error"]
Take = Callable[[Level, str, dict[str, Any]], None]
"""Is handed the level, the event and its fields, which it may change."""


def _nowhere(_level: Level, _event: str, _fields: dict[str, Any]) -> None:
    """Take what is told before anybody listens."""


_take: Take = _nowhere


def direct(take: Take | None) -> Take:
    """Hand to `take` what is told from now on, None for nowhere; return what took it before."""
    global _take
    before, _take = _take, take or _nowhere
    return before


class Log:
    """Where events are told.

    Args:
        take: is handed each; by default whatever `direct` was given last.
    """

    __slots__ = ("_own",)

    def __init__(self, take: Take | None = None) -> None:
        self._own = take

    def debug(self, event: str, /, **fields: object) -> None:
        """Tell what helps to find a bug."""
        (self._own or _take)("debug", event, fields)

    def info(self, event: str, /, **fields: object) -> None:
        """Tell what is as it should be."""
        (self._own or _take)("info", event, fields)

    def warning(self, event: str, /, **fields: object) -> None:
        """Tell what heals by itself, or is tried again until it does."""
        (self._own or _take)("warning", event, fields)

    def error(self, event: str, /, **fields: object) -> None:
        """Tell what is lost, stands still or cannot go on."""
        (self._own or _take)("error", event, fields)
