"""What each worker gets of the settings, where there are several: its own name, directory and part of what is limited.

A limit of a setting is one of the whole: a container has one memory and a volume has one size, however many processes
share them.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from nats_fluent.sections import SpoolSettings
    from nats_fluent.settings import Settings

DIRECTORY = "worker-"
"""What the name of a worker's directory begins with, below ``spool.dir``; its number follows."""


def share(settings: Settings, number: int) -> Settings:
    """Return the settings of one worker.

    Args:
        settings: those of the whole, with `workers` above 1.
        number: of the worker, from 1.
    """
    replace, count = msgspec.structs.replace, settings.workers
    spool = settings.spool
    return replace(
        settings,
        nats=replace(settings.nats, name=f"{settings.nats.name}-{number}"),
        batch=replace(settings.batch, buffer_bytes=settings.batch.buffer_bytes // count),
        spool=replace(
            spool,
            dir=str(Path(spool.dir) / f"{DIRECTORY}{number}") if spool.dir else "",
            max_bytes=max(spool.max_bytes // count, 1),
        ),
        http=replace(settings.http, listen="off"),
    )


def spools(settings: Settings) -> list[SpoolSettings]:
    """Return the spool of each process, and those that one of them would take over."""
    spool, count = settings.spool, settings.workers
    own = [spool] if count == 1 else [share(settings, number).spool for number in range(1, count + 1)]
    left = orphans(Path(own[0].dir), count)
    return [*own, *(msgspec.structs.replace(own[0], dir=str(path)) for path in left)]


def orphans(directory: Path, workers: int) -> list[Path]:
    """Return the directories from which a process takes over what a run with another number of workers left.

    Args:
        directory: that of its own spool.
        workers: the setting.
    """
    if workers == 1:
        return _workers(directory, beyond=0)
    if directory.name != f"{DIRECTORY}1":
        return []
    return [directory.parent, *_workers(directory.parent, beyond=workers)]


def _workers(base: Path, *, beyond: int) -> list[Path]:
    found = []
    for path in base.glob(f"{DIRECTORY}*"):
        number = path.name.removeprefix(DIRECTORY)
        if number.isdecimal() and number.isascii() and int(number) > beyond and path.is_dir():
            found.append((int(number), path))
    return [path for _, path in sorted(found)]
