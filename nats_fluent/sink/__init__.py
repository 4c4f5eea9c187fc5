"""Where chunks go: a log shipper over the Forward protocol, or stdout."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nats_fluent.sink.common import OnSettled, Sink, SinkStats
from nats_fluent.sink.forward import ForwardSink
from nats_fluent.sink.stdout import StdoutSink

if TYPE_CHECKING:
    from nats_fluent.log import Log
    from nats_fluent.sections import FluentSettings

__all__ = ["ForwardSink", "OnSettled", "Sink", "SinkStats", "StdoutSink", "open_sink"]


def open_sink(settings: FluentSettings, on_settled: OnSettled, *, log: Log | None = None) -> Sink:
    """Return the sink that the settings name; it does nothing before its ``run``.

    Args:
        settings: the section ``fluent``.
        on_settled: called once for each chunk, with what became of it.
        log: one line per change of state; the sink's own logger by default.

    Raises:
        SettingsError: a certificate or key file cannot be used.
    """
    if any(url.scheme == "stdout" for url in settings.url):
        return StdoutSink(on_settled=on_settled)
    return ForwardSink(settings, on_settled=on_settled, log=log)
