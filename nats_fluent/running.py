"""The main job as the command line asks for it, without what reads a command line.

typer brings click, pydantic and rich, which are for help and for what is typed wrong. The main job would hold their
memory for as long as it runs.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from nats_fluent.settings import CATALOGUE, load

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


class Given(NamedTuple):
    """What the flags say.

    Attributes:
        config: the file with settings.
        flags: by `Option.param`, as `settings.load` takes them.
    """

    config: Path | None
    flags: Mapping[str, str]


def read(args: Sequence[str]) -> Given | None:
    """Read flags with a value each; None for anything else, such as ``--help`` or what is typed wrong."""
    params = {option.flag: option.param for option in CATALOGUE}
    config: Path | None = None
    flags: dict[str, str] = {}
    rest = iter(args)
    for arg in rest:
        flag, equals, value = arg.partition("=")
        if not equals:
            value = next(rest, "-")
        if value.startswith("-"):  # there is no value, or what looks like another flag
            return None
        if flag == "--config":
            config = Path(value)
        elif flag in params:
            flags[params[flag]] = value
        else:
            return None
    return Given(config, flags)


def run(config: Path | None, flags: Mapping[str, str | None]) -> int:
    """Take publications and deliver their records until SIGTERM or Ctrl-C; return the exit code.

    Raises:
        SettingsError: with every problem of the settings.
        NatsFluentError: it could not go on.
    """
    settings, warnings, _ = load(flags=flags, environ=os.environ, file=config)
    from nats_fluent import logs  # noqa: PLC0415 - asyncio, nats and TLS; settings that are wrong do without

    logs.configure(format=settings.log.format, level=settings.log.level)
    logs.warn_of_settings(warnings)
    if settings.workers > 1:
        from nats_fluent import supervisor  # noqa: PLC0415 - of no use to one alone

        return supervisor.run(settings)
    from nats_fluent import runtime  # noqa: PLC0415 - of no use to the supervisor

    return runtime.run(settings)
