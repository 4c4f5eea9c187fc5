"""What the program does before it knows its settings."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

LOOKS = """
import os, stat, sys
from nats_fluent.__main__ import _open_missing
_open_missing()
null = os.stat(os.devnull)
found = [os.path.samestat(os.fstat(each), null) and os.get_inheritable(each) for each in range(3)]
sys.exit(0 if found == [True] * 3 else 1)
"""


def test_what_was_closed_is_no_number_for_a_socket():
    """libuv aborts where a socket has one of these numbers."""
    closed = f'exec "{sys.executable}" -c "$0" <&- >&- 2>&-'
    subprocess.run(["/bin/sh", "-c", closed, LOOKS], check=True, cwd=Path(__file__).parents[2], timeout=60)
