"""The settings as a table: each with its value, which of a secret is not shown, and where that came from."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from rich.table import Table

from nats_fluent.settings import CATALOGUE

if TYPE_CHECKING:
    from nats_fluent.settings import Loaded


class Row(NamedTuple):
    """One setting: its key, its value as text without secrets, and where that came from."""

    key: str
    value: str
    origin: str


def table(loaded: Loaded) -> Table:
    """Return the table; what is a default is dim."""
    shown = Table("setting", "value", "from", box=None, pad_edge=False)
    for row in rows(loaded):
        shown.add_row(*row, style="dim" if row.origin == "default" else "")
    return shown


def rows(loaded: Loaded) -> list[Row]:
    """List every setting; of a secret only whether it is there, and in which file."""
    found = []
    for option in CATALOGUE:
        value = getattr(loaded.settings, option.section)
        if option.name:
            if not hasattr(value, option.name):
                continue  # the file of a secret, which is shown with the secret
            value = getattr(value, option.name)
        found.append(Row(option.key, option.show(value), loaded.origins[option.key]))
    return found
