"""What this program says of itself: one line an event on stderr, as text, JSON or for Google Cloud Logging.

An event is a constant sentence, what varies is in fields. Standard output belongs to the records.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import re
import select
import sys
import traceback
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal, TextIO

import msgspec

from nats_fluent.errors import told
from nats_fluent.log import Log, direct

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from nats_fluent.log import Level

PIPE_BUF = 4096
"""Bytes that a pipe which can be written to takes without waiting: one page (Linux, pipe(7) and fs/pipe.c)."""

_SURROGATE = re.compile("[\ud800-\udfff]")
_LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}


def configure(
    *,
    format: Literal["text", "json", "stackdriver"],  # noqa: A002 - the setting's name
    level: Level,
    stream: TextIO | None = None,
    worker: int | None = None,
) -> None:
    """Send the events of this program, and warnings of the libraries, to `stream`; stderr if None.

    Each has the number of the worker, where there are several.

    A traceback is in the field ``traceback`` at level debug only; the field ``error`` names the exception
    at each.

    A line that the stream has no room for is dropped and counted. Who reads it may have stopped, as a log driver does
    whose own server is away, and to wait for that would stop the records.
    """
    form: Callable[[str, Level, str, dict[str, Any]], str]
    form = {"text": _text, "json": _json, "stackdriver": _stackdriver}[format]
    out = _out(stream or sys.stderr)
    lost = 0
    mark = {} if worker is None else {"worker": worker}

    def take(at: Level, event: str, fields: dict[str, Any]) -> None:
        nonlocal lost
        if _LEVELS[at] < _LEVELS[level]:
            return
        error = _exception(fields)
        fields |= mark
        if error is not None:
            fields["error"] = told(error)
            if level == "debug":
                fields["traceback"] = "".join(traceback.format_exception(error))
        line = form(datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ"), at, event, fields)
        # A stream that is gone must not stop the records, either. ValueError: it is closed.
        with contextlib.suppress(OSError, ValueError):
            if not out(f"{line}\n"):
                lost += 1
            elif lost:
                missing, lost = lost, 0
                Log().warning("lines of this log are missing: stderr was not read", lines=missing)
                lost = missing if lost else 0

    direct(take)
    libraries = logging.getLogger()
    libraries.handlers[:] = [_Libraries()]
    libraries.setLevel(logging.WARNING)


def _out(stream: TextIO | None) -> Callable[[str], bool]:
    """Return what writes a line, and returns whether there was room for it."""
    if stream is None:  # Python has none where the descriptor was closed before it began
        return lambda _: True
    try:
        return _Descriptor(stream.fileno()).write
    except (OSError, ValueError):  # it is in memory, or closed

        def write(line: str) -> bool:
            stream.write(line)
            stream.flush()
            return True

        return write


class _Descriptor:
    """Where lines are written without waiting; a regular file is taken for one that never waits.

    That the descriptor itself waits is not changed: others may have it, too.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._room = select.poll()
        self._room.register(descriptor, select.POLLOUT)
        self._torn = False

    def write(self, line: str) -> bool:
        """Write a line; what is longer than `PIPE_BUF` may be torn where its reader stops."""
        left = memoryview(("\n" * self._torn + line).encode("utf-8", "backslashreplace"))
        whole = len(left)
        while left:
            if not self._room.poll(0):
                self._torn = self._torn or len(left) < whole
                return False
            left = left[os.write(self._descriptor, left[:PIPE_BUF]) :]
        self._torn = False
        return True


def warn_of_settings(warnings: Iterable[str]) -> None:
    """Log what `settings.load` warns of."""
    for warning in warnings:
        Log().warning("a setting may not do what is meant", reason=warning)


class _Libraries(logging.Handler):
    """Passes on what libraries log, asyncio's lost exceptions first of all."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            text = record.getMessage()
        except Exception:  # noqa: BLE001 - it was called with arguments that do not fit; logging never raises for that
            text = str(record.msg)
        log = Log()
        (log.error if record.levelno >= logging.ERROR else log.warning)(
            "a library reports", library=record.name, text=text, exc_info=record.exc_info
        )


def _exception(fields: dict[str, Any]) -> BaseException | None:
    """Take ``exc_info`` out of the fields, in any of the forms that logging allows."""
    match fields.pop("exc_info", None):
        case BaseException() as error:
            return error
        case (_, BaseException() as error, _):
            return error
        case found:
            return sys.exc_info()[1] if found else None


def _text(time: str, level: Level, event: str, fields: dict[str, Any]) -> str:
    shown = "".join(f" {name}={_value(value)}" for name, value in fields.items())
    return f"{time} {level:<7} {event}{shown}"


def _value(value: object) -> str:
    """Return the value in one line, quoted unless it is plain, and with nothing that a terminal obeys."""
    text = str(value)
    if text and text.isprintable() and not set(text) & set(' "='):
        return text
    return "".join(each if each.isprintable() else json.dumps(each)[1:-1] for each in _encode(text))


def _json(time: str, level: Level, event: str, fields: dict[str, Any]) -> str:
    return _encode({"time": time, "level": level, "event": event} | fields)


def _stackdriver(time: str, level: Level, event: str, fields: dict[str, Any]) -> str:
    return _encode({"time": time, "severity": level.upper(), "message": event} | fields)


def _encode(value: object) -> str:
    try:
        return msgspec.json.encode(value, enc_hook=str).decode()
    except UnicodeEncodeError:  # the name of a file that is not UTF-8, as Python has it
        text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), default=str)
        return _SURROGATE.sub("\N{REPLACEMENT CHARACTER}", text)
