"""What every table of the report is made with."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


def table(head: Iterable[object], rows: Iterable[Iterable[object]]) -> str:
    """Return a table of Markdown: the first column is text, and the others are figures."""
    head = [*map(str, head)]
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *([*map(str, row)] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def mb(size: float) -> str:
    return f"{size / 1e6:.0f} MB"
