"""Loopback ports that a test may have for as long as its process lives: nothing else takes them meanwhile.

A port that the system picked and that is given back at once is anybody's: the next test process that asks for one may
get it before the program is started that it is for, and so may a program that connects to another while that one is
down.
"""

from __future__ import annotations

import contextlib
import fcntl
import functools
import os
import random
import socket
import tempfile
from pathlib import Path

FIRST, LAST = 10_000, 31_999
"""Below the ports that systems take for outgoing connections, and for whoever asks for any (32,768 and up on Linux)."""

_ours: set[int] = set()


def free_port() -> int:
    """A loopback TCP port that nothing listens on, and that no other test gets."""
    while True:
        port = random.randint(FIRST, LAST)
        if port not in _ours and _claim(port) and _is_free(port):
            _ours.add(port)
            return port


def _claim(port: int) -> bool:
    """Lock the byte that stands for the port until this process ends."""
    try:
        fcntl.lockf(_register(), fcntl.LOCK_EX | fcntl.LOCK_NB, 1, port)
    except (BlockingIOError, PermissionError):
        return False
    return True


@functools.cache
def _register() -> int:
    """A file that all test processes of this user have open; it stays empty."""
    path = Path(tempfile.gettempdir()) / f"nats-fluent-test-ports-{os.getuid()}"
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)


def _is_free(port: int) -> bool:
    with socket.socket() as listener, contextlib.suppress(OSError):
        listener.bind(("127.0.0.1", port))
        return True
    return False
