"""The rows of the fault matrix: what is expected of each, and the page that tells what a run of it counted."""

from __future__ import annotations

import platform
import re
import subprocess
import time
from typing import TYPE_CHECKING, Any, NamedTuple

import faults
import ways
from faults_receivers import Printed
from programs import find

from nats_fluent import __version__

if TYPE_CHECKING:
    from collections.abc import Callable

DOC = ways.ROOT / "docs" / "faults.md"
BEGIN, END = "<!-- results: written by the tests -->\n", "<!-- end of results -->\n"


CORE, STREAM, SPOOL = "core", "JetStream", "core, spool"
"""The modes."""


class Row(NamedTuple):
    """One run of the matrix.

    Attributes:
        fault: what breaks, in the words of the documentation.
        mode: how the consumer takes and keeps what is published.
        run: the fault.
        receiver: where the records end up.
        world: what starts all of it.
        environ: settings of the consumer.
        lost: whether something is lost, as it must be for the fault to have bitten; else nothing may be. None where
            it is chance, and counted.
        duplicated: the same for what comes twice.
        reordered: whether something may come out of order; else nothing may.
    """

    fault: str
    mode: str
    run: Callable[..., None]
    receiver: type = Printed
    world: Callable[..., Any] = faults.world
    environ: dict[str, str] = {}  # noqa: RUF012 - nobody writes to it
    lost: bool | None = False
    duplicated: bool | None = False
    reordered: bool = False

    def judge(self, result: faults.Result) -> None:
        """Hold what was counted to what is expected; that the counts agree with each other `faults.run` has shown."""
        counted = result.count
        assert self.lost in {bool(counted.lost), None}, counted
        assert self.duplicated in {bool(counted.duplicated), None}, counted
        assert counted.new_ids == 0
        assert self.reordered or counted.reordered == 0, counted


def line(row: Row, result: faults.Result) -> str:
    counted, account = result.count, result.account
    said = [f"{name} {number:,}" for name, number in account.items() if number]
    if result.not_received:
        said.append(f"nobody subscribed {result.not_received:,}")
    if result.died_with:
        said.append(f"died with the process {result.died_with:,}")
    figures = (counted.published, len(counted.lost), counted.duplicated, counted.reordered)
    cells = [row.fault, row.mode, *(f"{figure:,}" for figure in figures), ", ".join(said)]
    return f"| {' | '.join(cells)} |\n"


def versions() -> str:
    found = {
        "nats-fluent": __version__,
        "Fluent Bit": _version("fluent-bit", "--version"),
        "nats-server": _version("nats-server", "--version"),
        "Python": platform.python_version(),
    }
    return ", ".join(f"{name} {version}" for name, version in found.items())


def _version(program: str, flag: str) -> str:
    said = subprocess.run([find(program), flag], check=True, capture_output=True, text=True, timeout=30)
    return re.search(r"v(\d+\.\d+\.\d+)", said.stdout + said.stderr)[1]


def write(rows: list[Row], results: dict[tuple[Callable[..., None], str], faults.Result]) -> None:
    """Put the results of a whole run into the page; a run of a part of the matrix is none."""
    missing = [row.fault for row in rows if (row.run, row.mode) not in results]
    assert not missing, f"not written, these did not run to their end: {missing}"
    text = DOC.read_text()
    head, begin, rest = text.partition(BEGIN)
    _, end, tail = rest.partition(END)
    assert begin, f"{DOC} has no place for the results"
    assert end, f"{DOC} has no end of the results"
    day = time.strftime("%Y-%m-%d", time.gmtime())
    table = (
        f"{versions()}; {day}.\n\n"
        "| fault | mode | published | lost | duplicated | reordered | what the counters say |\n"
        "| --- | --- | ---: | ---: | ---: | ---: | --- |\n"
    )
    table += "".join(line(row, results[row.run, row.mode]) for row in rows)
    DOC.write_text(f"{head}{begin}{table}{end}{tail}")


def documented(text: str) -> list[tuple[str, str]]:
    """Fault and mode of each row of the page."""
    table = text.partition(BEGIN)[2].partition(END)[0]
    rows = [row.split(" | ") for row in table.splitlines() if row.startswith("| ")]
    return [(row[0].removeprefix("| "), row[1]) for row in rows[2:]]
