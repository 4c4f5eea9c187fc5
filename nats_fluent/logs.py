"""What this program says of itself: one line an event on stderr, as text, JSON or for Google Cloud Logging.

An event is a constant sentence, what varies is in fields. Standard output belongs to the records.
"""

from __future__ import annotations

import contextlib
import logging
import sys
import traceback
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal, TextIO

import msgspec

from nats_fluent.log import Log, direct

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from nats_fluent.log import Level

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
    """
    form: Callable[[str, Level, str, dict[str, Any]], str]
    form = {"text": _text, "json": _json, "stackdriver": _stackdriver}[format]
    stream = stream or sys.stderr
    mark = {} if worker is None else {"worker": worker}

    def take(at: Level, event: str, fields: dict[str, Any]) -> None:
        if _LEVELS[at] < _LEVELS[level]:
            return
        error = _exception(fields)
        fields |= mark
        if error is not None:
            fields["error"] = f"{type(error).__name__}: {error}"
            if level == "debug":
                fields["traceback"] = "".join(traceback.format_exception(error))
        line = form(datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ"), at, event, fields)
        # A stream that is gone or full must not stop the records. ValueError: it is closed.
        with contextlib.suppress(OSError, ValueError):
            stream.write(f"{line}\n")
            stream.flush()

    direct(take)
    libraries = logging.getLogger()
    libraries.handlers[:] = [_Libraries()]
    libraries.setLevel(logging.WARNING)


def warn_of_settings(warnings: Iterable[str]) -> None:
    """Log what `settings.load` warns of."""
    for warning in warnings:
        Log().warning("a setting may not do what is meant", reason=warning)


class _Libraries(logging.Handler):
    """Passes on what libraries log, asyncio's lost exceptions first of all."""

    def emit(self, record: logging.LogRecord) -> None:
        log = Log()
        (log.error if record.levelno >= logging.ERROR else log.warning)(
            "a library reports", library=record.name, text=record.getMessage(), exc_info=record.exc_info
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
    """Return the value in one line, quoted unless it is plain."""
    text = str(value)
    return text if text and text.isprintable() and not set(text) & set(' "=') else _encode(text)


def _json(time: str, level: Level, event: str, fields: dict[str, Any]) -> str:
    return _encode({"time": time, "level": level, "event": event} | fields)


def _stackdriver(time: str, level: Level, event: str, fields: dict[str, Any]) -> str:
    return _encode({"time": time, "severity": level.upper(), "message": event} | fields)


def _encode(value: object) -> str:
    return msgspec.json.encode(value, enc_hook=str).decode()
