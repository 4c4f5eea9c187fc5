"""The table of docs/operate.md: what is seen of each part that is broken, held to the test that breaks it."""

from __future__ import annotations

import fcntl
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable

ROOT = Path(__file__).parents[1]
DOC = ROOT / "docs" / "operate.md"
BEGIN, END = "<!-- faults: held by the tests -->\n", "<!-- end of faults -->\n"
HEAD = (
    "| what is broken | `/readyz`, and the page | `/metrics` | the log says | what to do |\n"
    "| --- | --- | --- | --- | --- |\n"
)
READY = "it stays ready"

_METRIC = re.compile(r"nats_fluent_\w+(\{[^}]*\})? (>|=) (\d+)")


class Fault(NamedTuple):
    """One part that is broken.

    Attributes:
        broken: what, in the words of the page; a row's key.
        part: which part of /readyz is to name it; empty when it stays ready.
        says: what the reason is once the first moments are over.
        metrics: what is to be so, as ``name{labels} = number`` or ``name > number``.
        line: what the log is to say.
        do: what the reader is to do.
        breaks: breaks it.
        heals: mends it; None where the next fault builds on this one, or nothing is to be mended.
        back: what the log says when that has helped; empty for nothing.
        also: further parts that are named.
        may: those that are named as well when the look comes late.
        alert: the alert that comes of it, besides that of what is not ready.
    """

    broken: str
    part: str
    says: str
    metrics: tuple[str, ...]
    line: str
    do: str
    breaks: Callable[..., object]
    heals: Callable[..., object] | None = None
    back: str = ""
    also: tuple[str, ...] = ()
    may: tuple[str, ...] = ()
    alert: str = ""


def holds(condition: str, samples: dict[tuple[object, ...], float]) -> bool:
    """Whether a condition on a metric is so; False while the metric is not there."""
    match = _METRIC.fullmatch(condition)
    assert match, condition
    name = condition.partition("{")[0].partition(" ")[0]
    labels = tuple(sorted(re.findall(r'(\w+)="([^"]*)"', match[1] or "")))
    value = samples.get((name, *labels))
    if value is None:
        return False
    return value > float(match[3]) if match[2] == ">" else value == float(match[3])


def conditions(fault: Fault) -> list[str]:
    """The metrics of a fault, with those of the parts that it names."""
    parts = [fault.part, *fault.also] if fault.part else []
    return [*(f'nats_fluent_ready{{part="{part}"}} = 0' for part in parts), *fault.metrics]


def plain(sentence: str) -> str:
    """A sentence without what differs from run to run."""
    sentence = re.sub(r"127\.0\.0\.1:\d+", "127.0.0.1:24224", sentence)
    sentence = re.sub(r"'/\S*/(spool/\S+?)'", r"'/var/lib/\1'", sentence)
    sentence = re.sub(r"\d{16}\.chunk", "0000000000000001.chunk", sentence)
    sentence = re.sub(r"for \d+ s\b", "for 6 s", sentence)
    return re.sub(r"wait: \d+", "wait: 1", sentence)


def row(fault: Fault, reason: str, level: str) -> str:
    seen = f"`{fault.part}`: {plain(reason)}" if fault.part else READY
    if fault.also:
        seen += f" (and `{'`, `'.join(fault.also)}`)"
    metrics = "<br>".join(f"`{each}`" for each in conditions(fault))
    alerts = [*(["NatsFluentNotReady"] if fault.part else []), *filter(None, [fault.alert])]
    if alerts:
        metrics += f"<br>alert {', '.join(alerts)}"
    cells = (fault.broken, seen, metrics, f"{level}: {fault.line}", fault.do)
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |\n"


def hold(line: str, order: list[str]) -> None:
    """Hold a row to that of the page; or write it there, when ``NATS_FLUENT_WRITE`` is set."""
    if not os.environ.get("NATS_FLUENT_WRITE"):
        assert line in documented(), (
            f"docs/operate.md says something else; NATS_FLUENT_WRITE=1 writes:\n{line}"
        )
        return
    with DOC.open("r+") as file:
        fcntl.flock(file, fcntl.LOCK_EX)  # several tests write rows of the one page
        text = file.read()
        head, begin, rest = text.partition(BEGIN)
        _, end, tail = rest.partition(END)
        assert begin, "docs/operate.md has no place for the rows"
        assert end, "docs/operate.md has no end of the rows"
        rows = {key(each): each for each in documented(text)} | {key(line): line}
        kept = "".join(rows[name] for name in order if name in rows)
        file.seek(0)
        file.write(f"{head}{begin}{HEAD}{kept}{end}{tail}")
        file.truncate()


def key(line: str) -> str:
    return line.removeprefix("| ").partition(" | ")[0]


def documented(text: str | None = None) -> list[str]:
    """The rows of the page."""
    table = (text if text is not None else DOC.read_text()).partition(BEGIN)[2].partition(END)[0]
    return table.splitlines(keepends=True)[2:]
