"""What this program was built from, for ``--version`` and for whoever reads a report of a fault."""

from __future__ import annotations

import platform
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as version_of
from importlib.util import find_spec
from typing import TYPE_CHECKING

from nats_fluent import __version__
from nats_fluent.settings import REVISION

if TYPE_CHECKING:
    from collections.abc import Mapping

LIBRARIES = ("nats-py", "msgspec", "ormsgpack", "uvloop")
"""Those that every publication goes through."""


def compiled() -> bool:
    """Return whether the package was built with a C compiler: whether what it makes is there."""
    return all(find_spec(f"nats_fluent.{part}") for part in ("_frames", "_splice"))


def lines(environ: Mapping[str, str]) -> list[str]:
    """Return what ``--version`` prints, a line each; the first is the name and the version alone.

    Args:
        environ: has the revision of the source, where the image was built with one.
    """
    libraries = ", ".join(f"{name} {_version(name)}" for name in LIBRARIES)
    found = [
        f"nats-fluent {__version__}",
        f"Python {platform.python_version()} ({platform.system()} {platform.machine()})",
        f"compiled part: {'yes' if compiled() else 'no'}",
        f"libraries: {libraries}",
    ]
    if revision := environ.get(REVISION, "").strip():
        found.append(f"revision: {revision}")
    return found


def _version(distribution: str) -> str:
    try:
        return version_of(distribution)
    except PackageNotFoundError:
        return "missing"
