"""docs/logs.md and the code say the same: each line, its levels and its fields."""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from pathlib import Path
from typing import NamedTuple

import pytest

import nats_fluent
from nats_fluent.settings import CATALOGUE

PAGE = Path(__file__).parents[2] / "docs" / "logs.md"
LEVELS = {"debug", "info", "warning", "error"}
BEYOND = {"critical", "exception", "fatal", "warn", "msg", "log"}
SPREAD = {
    # Fields that a call spreads from a dict, which is made elsewhere.
    "refused by the log shipper": {"server", "reason", "pending_chunks"},
    "lost the log shipper": {"server", "reason", "pending_chunks"},
    "cannot reach the log shipper": {"server", "reason", "pending_chunks"},
    "taking from JetStream": {"done"},
}


class Call(NamedTuple):
    event: str
    levels: frozenset[str]
    fields: frozenset[str]
    spreads: bool


def is_log(node: ast.expr) -> bool:
    """Whether it is a logger: `log`, `_log`, `self._log`, or `Log()`."""
    match node:
        case ast.Name(id=name) | ast.Attribute(attr=name):
            return name.strip("_").endswith("log")
        case ast.Call(func=ast.Name(id="Log")):
            return True
    return False


def methods(func: ast.expr) -> set[str]:
    """The methods of a logger that a call may call."""
    match func:
        case ast.Attribute(value=value, attr=name) if is_log(value):
            return {name} & (LEVELS | BEYOND)
        case ast.IfExp(body=body, orelse=orelse):
            return methods(body) | methods(orelse)
    return set()


def calls(source: str, where: str) -> list[Call]:
    found = []
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.Call) or not (names := methods(node.func)):
            continue
        event = node.args[0]
        assert names <= LEVELS, f"{where}:{node.lineno}: a level that is not one of the settings"
        assert isinstance(event, ast.Constant), f"{where}:{node.lineno}: what varies belongs into a field"
        assert isinstance(event.value, str)
        fields = {"error" if each.arg == "exc_info" else each.arg for each in node.keywords if each.arg}
        spreads = any(each.arg is None for each in node.keywords)
        found.append(Call(event.value, frozenset(names), frozenset(fields), spreads))
    return found


def of_the_code() -> dict[str, tuple[set[str], set[str]]]:
    lines: dict[str, tuple[set[str], set[str]]] = defaultdict(lambda: (set(), set()))
    root = Path(nats_fluent.__file__).parent
    for path in sorted(root.rglob("*.py")):
        for call in calls(path.read_text("utf-8"), path.name):
            levels, fields = lines[call.event]
            levels |= call.levels
            fields |= call.fields
            if call.spreads:
                assert call.event in SPREAD, f"{path.name}: say in SPREAD which fields {call.event!r} has"
                fields |= SPREAD[call.event]
    return dict(lines)


def of_the_page() -> dict[str, tuple[set[str], set[str]]]:
    lines = {}
    for row in PAGE.read_text("utf-8").splitlines():
        cells = re.split(r"\s*\|\s*", row.strip().removeprefix("|").removesuffix("|").strip())
        if len(cells) != 4 or cells[0] in ("line", "---"):
            continue
        event, levels, fields, what = cells
        assert event not in lines, f"{event!r} is there twice"
        assert what.endswith("."), event
        lines[event] = (set(levels.split(", ")), set(re.findall(r"`([a-z_]+)`", fields)))
    return lines


def test_the_page_has_every_line_with_its_levels_and_fields_and_no_other():
    code, page = of_the_code(), of_the_page()
    assert len(code) > 30
    assert page.keys() - code.keys() == set(), "the page has lines that the code has not"
    assert code.keys() - page.keys() == set(), "the code has lines that the page has not"
    assert page == code


def test_the_settings_that_the_page_names_are_there():
    names = set(re.findall(r"NATS_FLUENT_[A-Z_]+", PAGE.read_text("utf-8")))
    assert len(names) > 5
    assert names <= {option.env for option in CATALOGUE}


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("log.info('a', x=1)", [Call("a", frozenset({"info"}), frozenset({"x"}), spreads=False)]),
        (
            "(self._log.error if bad else self._log.info)('b', **f)",
            [Call("b", frozenset({"info", "error"}), frozenset(), spreads=True)],
        ),
        (
            "Log().warning('c', exc_info=e)",
            [Call("c", frozenset({"warning"}), frozenset({"error"}), spreads=False)],
        ),
        ("dialog.show('d'); self.info('e'); catalogue.info", []),
    ],
)
def test_log_calls_are_found(source, found):
    assert calls(source, "here") == found


@pytest.mark.parametrize("source", ["log.info(f'a {b}')", "self._log.warning(text)", "log.exception('a')"])
def test_lines_that_are_not_to_be(source):
    with pytest.raises(AssertionError, match="here:1: "):
        calls(source, "here")
