"""The ports that tests give to programs: nobody else has them meanwhile."""

from __future__ import annotations

import random
import subprocess
import sys
from pathlib import Path

import ports
import pytest

HERE = Path(ports.__file__).parent
ASKS = "import ports, sys; print(ports.free_port(), flush=True); sys.stdin.read()"


def test_a_port_is_of_one_process_until_that_ends(monkeypatch):
    pick = random.randint
    picked = iter(())
    monkeypatch.setattr(ports.random, "randint", lambda *between: next(picked, None) or pick(*between))
    with subprocess.Popen(
        [sys.executable, "-c", ASKS], cwd=HERE, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as other:
        theirs = int(other.stdout.readline())
        picked = iter([theirs, theirs])
        assert ports.free_port() != theirs
    picked = iter([theirs])
    assert ports.free_port() == theirs


def test_a_port_is_given_once(monkeypatch):
    first, second = ports.free_port(), ports.free_port()
    assert second != first
    fresh = iter([first, second])
    monkeypatch.setattr(ports.random, "randint", lambda *_: next(fresh))
    with pytest.raises(StopIteration):
        ports.free_port()


def test_a_port_on_which_something_listens_is_not_given():
    taken = ports.free_port()
    with ports.socket.create_server(("127.0.0.1", taken)):
        assert not ports._is_free(taken)
    assert ports._is_free(taken)
