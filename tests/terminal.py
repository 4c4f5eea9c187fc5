"""A command in a terminal of a given size: what it shows there, and what it says on stderr."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import re
import struct
import subprocess
import termios
import threading
from typing import TYPE_CHECKING

from commands import COMMAND, ENVIRON
from programs import PATIENCE, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

_ESCAPE = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


class Terminal:
    """What a command wrote to its terminal so far; the process is `process`."""

    def __init__(self, process: subprocess.Popen[bytes], master: int) -> None:
        self.process = process
        self._master = master
        self._read = bytearray()
        self._reader = threading.Thread(target=self._follow, daemon=True)
        self._reader.start()

    def _follow(self) -> None:
        # EIO is how Linux says that the other side was closed.
        with contextlib.suppress(OSError):
            while data := os.read(self._master, 65536):
                self._read += data

    @property
    def raw(self) -> str:
        """With the colours in it."""
        return bytes(self._read).decode("utf-8", "replace")

    @property
    def text(self) -> str:
        """What a person reads."""
        return _ESCAPE.sub("", self.raw).replace("\r\n", "\n")

    def type(self, text: str) -> None:
        os.write(self._master, text.encode())

    def lines(self) -> list[str]:
        return self.text.split("\n")[:-1]

    def wait_for(self, text: str) -> None:
        wait_until(lambda: text in self.text, what=f"the terminal shows {text!r}; it has {self.text!r}")

    def ended(self, within: float = PATIENCE) -> int:
        """The exit code, when all that was written has been read."""
        code = self.process.wait(within)
        self._reader.join(within)
        return code


@contextlib.contextmanager
def in_terminal(
    *args: str, columns: int, rows: int = 24, stderr: bool = True, stdin: bool = False, **environ: str
) -> Iterator[Terminal]:
    """`nats-fluent ARGS` with stdout, and with `stderr` and `stdin` these too, on a terminal of that size."""
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
    env = {name: value for name, value in ENVIRON.items() if name not in {"COLUMNS", "LINES", "NO_COLOR"}}
    process = subprocess.Popen(
        [*COMMAND, *args],
        stdin=slave if stdin else subprocess.DEVNULL,
        stdout=slave,
        stderr=slave if stderr else subprocess.PIPE,
        env=env | {"TERM": "xterm-256color"} | environ,
        start_new_session=True,
    )
    os.close(slave)
    terminal = Terminal(process, master)
    try:
        yield terminal
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
        if process.stderr is not None:
            process.stderr.close()
        terminal.ended()
        os.close(master)
