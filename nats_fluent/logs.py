"""What this program says of itself: one line an event on stderr, as text, JSON or for Google Cloud Logging.

An event is a constant sentence, what varies is in fields. Standard output belongs to the records.
"""

from __future__ import annotations

import contextlib
import logging
import sys
import traceback
from typing import TYPE_CHECKING, Any, Literal, TextIO

import msgspec
import structlog

if TYPE_CHECKING:
    from collections.abc import Iterable, MutableMapping

    from structlog.typing import EventDict, Processor, WrappedLogger

_LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}


def configure(
    *,
    format: Literal["text", "json", "stackdriver"],  # noqa: A002 - the setting's name
    level: Literal["debug", "info", "warning", "error"],
    stream: TextIO | None = None,
    worker: int | None = None,
) -> None:
    """Send the events of this program, and warnings of the libraries, to `stream`; stderr if None.

    Each has the number of the worker, where there are several.

    A traceback is in the field ``traceback`` at level debug only; the field ``error`` names the exception
    at each.
    """
    render: dict[str, Processor] = {"text": _text, "json": _json, "stackdriver": _stackdriver}
    marks: list[Processor] = []
    if worker is not None:

        def mark(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
            event["worker"] = worker
            return event

        marks.append(mark)
    structlog.configure(
        processors=[
            *marks,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True, key="time"),
            _name_exception if level != "debug" else _show_exception,
            render[format],
        ],
        wrapper_class=structlog.make_filtering_bound_logger(_LEVELS[level]),
        logger_factory=_Lines(stream or sys.stderr),
        cache_logger_on_first_use=False,
    )
    libraries = logging.getLogger()
    libraries.handlers[:] = [_Libraries()]
    libraries.setLevel(logging.WARNING)


def warn_of_settings(warnings: Iterable[str]) -> None:
    """Log what `settings.load` warns of."""
    for warning in warnings:
        structlog.get_logger().warning("a setting may not do what is meant", reason=warning)


class _Lines:
    """Writes lines; is its own factory. A stream that is gone or full must not stop the records."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def __call__(self, *_: object) -> _Lines:
        return self

    def msg(self, line: str) -> None:
        # ValueError: the stream is closed.
        with contextlib.suppress(OSError, ValueError):
            self._stream.write(f"{line}\n")
            self._stream.flush()

    debug = info = warning = error = critical = msg


class _Libraries(logging.Handler):
    """Passes on what libraries log, asyncio's lost exceptions first of all."""

    def emit(self, record: logging.LogRecord) -> None:
        structlog.get_logger().log(
            record.levelno,
            "a library reports",
            library=record.name,
            text=record.getMessage(),
            exc_info=record.exc_info,
        )


def _name_exception(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    if error := _exception(event):
        event["error"] = f"{type(error).__name__}: {error}"
    return event


def _show_exception(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    if error := _exception(event):
        event["error"] = f"{type(error).__name__}: {error}"
        event["traceback"] = "".join(traceback.format_exception(error))
    return event


def _exception(event: MutableMapping[str, Any]) -> BaseException | None:
    """Take ``exc_info`` out of the event, in any of the forms that logging allows."""
    match event.pop("exc_info", None):
        case BaseException() as error:
            return error
        case (_, BaseException() as error, _):
            return error
        case found:
            return sys.exc_info()[1] if found else None


def _text(_: WrappedLogger, __: str, event: EventDict) -> str:
    time, level, what = event.pop("time"), event.pop("level"), event.pop("event")
    fields = "".join(f" {name}={_value(value)}" for name, value in event.items())
    return f"{time} {level:<7} {what}{fields}"


def _value(value: object) -> str:
    """Return the value in one line, quoted unless it is plain."""
    text = str(value)
    return text if text and text.isprintable() and not set(text) & set(' "=') else _encode(text)


def _json(_: WrappedLogger, __: str, event: EventDict) -> str:
    first = {"time": event.pop("time"), "level": event.pop("level"), "event": event.pop("event")}
    return _encode(first | dict(event))


def _stackdriver(_: WrappedLogger, __: str, event: EventDict) -> str:
    severity = event.pop("level").upper()
    first = {"time": event.pop("time"), "severity": severity, "message": event.pop("event")}
    return _encode(first | dict(event))


def _encode(value: object) -> str:
    return msgspec.json.encode(value, enc_hook=str).decode()
