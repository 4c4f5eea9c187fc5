"""Finds the handlers that the settings name: in files, and in packages that are installed."""

from __future__ import annotations

import importlib.util
import sys
import traceback
from importlib.metadata import entry_points
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

from nats_fluent.errors import SettingsError
from nats_fluent.options import nearest
from nats_fluent.transforms import Handlers, Transforming

if TYPE_CHECKING:
    from collections.abc import Iterable

    from nats_fluent.record import Maker, Recorder
    from nats_fluent.settings import Settings

GROUP = "nats_fluent.transforms"
"""The group of the entry points: each names a module with handlers, or one handler."""


def with_transforms(recorder: Recorder, settings: Settings, *, levels: int | None) -> Maker:
    """Return the recorder, with the handlers that the settings name if they name any.

    Raises:
        SettingsError: as of `load`.
    """
    if not settings.transforms:
        return recorder
    return Transforming(recorder, load(settings.transforms), levels=levels)


def load(names: Iterable[str]) -> Handlers:
    """Load handlers.

    Args:
        names: of files that end in ``.py``, or of entry points.

    Raises:
        SettingsError: there is no such file or entry point, it cannot be imported, or it has no handler.
    """
    return handlers_of(
        [(Path(name).name, _file(name)) if name.endswith(".py") else (name, _entry(name)) for name in names]
    )


def handlers_of(found: Iterable[tuple[str, object]], others: Handlers | None = None) -> Handlers:
    """Return the handlers in modules, or that are given themselves.

    Args:
        found: each with its name.
        others: handlers that are there already.

    Raises:
        SettingsError: there is none in one of them, or two are for the same publications.
    """
    handlers = others if others is not None else Handlers()
    for name, each in found:
        there = list(vars(each).values()) if isinstance(each, ModuleType) else [each]
        if not sum(handlers.add(function, name) for function in there):
            raise SettingsError(f"transforms: {name} has no handler; write @on(...) above a function.")
    return handlers


def _file(name: str) -> ModuleType:
    path = Path(name)
    # Two files may have the same name, and neither may stand in for a module that is imported elsewhere.
    full = f"nats_fluent_transforms.{path.stem}_{abs(hash(path.resolve())):x}"
    spec = importlib.util.spec_from_file_location(full, path)
    assert spec is not None, name  # there is a loader for .py
    assert spec.loader is not None, name
    module = importlib.util.module_from_spec(spec)
    sys.modules[full] = module  # dataclasses look themselves up there
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        del sys.modules[full]
        raise SettingsError(f"transforms: {_said(name, error)}.") from error
    return module


def _said(name: str, error: BaseException) -> str:
    """Return what kept a file from being imported, with the line of that file."""
    if isinstance(error, FileNotFoundError | IsADirectoryError | PermissionError) and not _lines(name, error):
        return f"{name}: cannot be read ({error.strerror}); name a file of Python that can be"
    if isinstance(error, SyntaxError) and error.filename is not None:
        file = name if error.filename == _full(name) else error.filename
        return f"{file}:{error.lineno}: {type(error).__name__}: {error.msg}"
    lines = _lines(name, error)
    where = f"{name}:{lines[-1]}" if lines else name
    return f"{where}: {type(error).__name__}: {error}".rstrip(".: ")


def _lines(name: str, error: BaseException) -> list[int | None]:
    return [
        frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == _full(name)
    ]


def _full(name: str) -> str:
    """Return the name that the import system gives to a file."""
    return str(Path(name).absolute())


def _entry(name: str) -> object:
    known = {entry.name: entry for entry in entry_points(group=GROUP)}
    if name not in known:
        hint = nearest(name, known) or "; name a file that ends in .py, or an entry point that is installed"
        raise SettingsError(f"transforms: there is no entry point {name!r} in the group {GROUP}{hint}.")
    try:
        return known[name].load()
    except (Exception, SystemExit) as error:
        raise SettingsError(f"transforms: {name}: {type(error).__name__}: {error}.") from error
