"""A spool takes over the chunks of directories that nobody uses any more: the number of workers was changed.

Each file is renamed, so that it is in one of the two directories whenever this ends: nothing is lost and nothing is
there twice.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from nats_fluent.errors import SettingsError
from nats_fluent.spool import Found, Spool

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path


class Inherited(NamedTuple):
    """What was taken over.

    Attributes:
        found: what the heir has, with it.
        from_: for each directory that had chunks, how many, and the records in them.
    """

    found: Found
    from_: dict[str, tuple[int, int]]


def inherit(heir: Spool, found: Found, orphans: Iterable[Path], *, fsync: bool) -> Inherited:
    """Move the chunks of each of the directories behind those of the heir.

    Args:
        heir: an open spool.
        found: what it had when it was opened.
        orphans: directories, of the same file system.
        fsync: whether what was moved survives a crash of the machine.

    Raises:
        SettingsError: a directory cannot be used, or a process has it: one of a run that has not ended.
    """
    gone: dict[str, tuple[int, int]] = {}
    for orphan in orphans:
        left = Spool(str(orphan), fsync=fsync)
        theirs = left.open()
        try:
            for number, stored in enumerate(theirs.chunks, start=found.next_number):
                left.path(stored.number).rename(heir.path(number))
                found.chunks.append(msgspec.structs.replace(stored, number=number))
            if fsync and theirs.chunks:
                for directory in (heir.directory, orphan):
                    _sync(directory)
        except OSError as error:
            raise SettingsError(
                f"spool.dir: cannot take over {orphan} ({error.strerror}); move its files to {heir.directory}, "
                "with numbers that follow"
            ) from error
        finally:
            left.close()
        aside = [(os.path.relpath(orphan / name, heir.directory), why) for name, why in theirs.aside]
        found = found._replace(
            next_number=found.next_number + len(theirs.chunks), aside=[*found.aside, *aside]
        )
        if theirs.chunks:
            gone[str(orphan)] = len(theirs.chunks), sum(stored.count for stored in theirs.chunks)
    return Inherited(found, gone)


def _sync(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
