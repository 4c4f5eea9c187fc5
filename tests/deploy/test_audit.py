"""constraints/audit.py: a vulnerability fails, and what cannot be known is said and does not."""

from __future__ import annotations

import functools
import importlib.util
import json
import shutil
from pathlib import Path

import pytest

FILE = Path(__file__).parents[2] / "constraints" / "audit.py"
SPEC = importlib.util.spec_from_file_location("audit", FILE)
audit = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(audit)

GOOD = {"name": "a", "version": "1", "vulns": []}
BAD = {"name": "b", "version": "2", "vulns": [{"id": "PYSEC-1", "fix_versions": ["2.1"]}]}
UNMENDED = {"name": "c", "version": "3", "vulns": [{"id": "PYSEC-2", "fix_versions": []}]}
UNKNOWN = {"name": "d", "skip_reason": "not found"}


@pytest.mark.parametrize(
    ("packages", "bad", "line"),
    [
        ([GOOD], False, "no known vulnerability in 1 packages"),
        ([GOOD, UNKNOWN], False, "no known vulnerability in 1 packages; nothing is known of d"),
        ([GOOD, BAD], True, "VULNERABLE\n  b 2: PYSEC-1, mended in 2.1"),
        ([UNMENDED, UNKNOWN], True, "VULNERABLE\n  c 3: PYSEC-2, mended in no release"),
        ([UNKNOWN], False, "SKIPPED, nothing is known of any of 1 packages: not found"),
    ],
)
def test_what_was_found_is_judged(packages, bad, line):
    assert audit.judged(json.dumps({"dependencies": packages}), "") == (bad, line)


@pytest.mark.parametrize(("said", "why"), [("a\nno network\n", "no network"), ("", "pip-audit said nothing")])
def test_without_an_answer_nothing_is_known(said, why):
    assert audit.judged("", said) == (False, f"SKIPPED, nothing is known: {why}")


def test_an_index_that_does_not_answer_is_not_waited_for(monkeypatch):
    monkeypatch.setattr(audit.sys, "executable", shutil.which("sleep"))
    monkeypatch.setattr(audit.subprocess, "run", functools.partial(sleeps, audit.subprocess.run))
    monkeypatch.setattr(audit, "PATIENCE", 0.01)
    assert audit.audited(FILE) == (False, "SKIPPED, nothing is known: no answer within 0.01 s")


def sleeps(run, command, **how):
    return run([command[0], "60"], **how)


def test_all_that_the_dockerfile_installs_is_asked_for():
    assert {path.name for path in FILE.parent.glob("*.txt")} == set(audit.FILES)
