"""A part of a core for some processes, by Linux's control groups: its scheduler stops them when they have used it.

So several processes can each be as full as they get on a machine that has no core for each of them.
https://docs.kernel.org/scheduler/sched-bwc.html has version 1, cgroup-v2.html beside it version 2.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import TYPE_CHECKING

from rig import Failed, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

ROOT = Path("/sys/fs/cgroup")
PERIOD = 10_000
"""Microseconds. A process is stopped when it has used its part of them, and goes on with the next ones."""


def place(root: Path = ROOT) -> Path:
    """Return the directory for groups that can be held.

    Raises:
        Failed: there is none, with the reason.
    """
    if (root / "cgroup.controllers").exists():
        found = root
        if "cpu" not in (root / "cgroup.subtree_control").read_text().split():
            raise Failed(f"{root}/cgroup.subtree_control does not have cpu")
    elif (root / "cpu/cpu.cfs_quota_us").exists():
        found = root / "cpu"
    else:
        raise Failed(f"no control groups for cores at {root}, which is where Linux has them")
    if not os.access(found, os.W_OK):
        raise Failed(f"{found} cannot be written, which takes root")
    return found


def limits(base: Path, part: float) -> dict[str, str]:
    """Return what goes to which file of a group."""
    quota = round(part * PERIOD)
    if (base / "cgroup.controllers").exists():
        return {"cpu.max": f"{quota} {PERIOD}"}
    return {"cpu.cfs_period_us": str(PERIOD), "cpu.cfs_quota_us": str(quota)}


@contextlib.contextmanager
def held(groups: Iterable[Iterable[int]], part: float, *, base: Path) -> Iterator[None]:
    """Hold each group of processes to such a part of a core, all of its processes together, until the block ends."""
    made: list[Path] = []
    try:
        for number, pids in enumerate(groups):
            group = base / f"nats-fluent-{os.getpid()}-{number}"
            group.mkdir()
            made.append(group)
            for name, value in limits(base, part).items():
                (group / name).write_text(value)
            for pid in pids:
                (group / "cgroup.procs").write_text(str(pid))
        yield
    finally:
        for group in made:
            for pid in (group / "cgroup.procs").read_text().split():
                with contextlib.suppress(ProcessLookupError):
                    (base / "cgroup.procs").write_text(pid)
            wait_until(lambda group=group: _removed(group), f"{group} is removed")


def _removed(group: Path) -> bool:
    """Remove a group, unless a process that was killed is not gone."""
    with contextlib.suppress(OSError):
        group.rmdir()
    return not group.exists()
