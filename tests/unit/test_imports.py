"""What `nats-fluent run` imports: that is most of what it takes in memory before anything arrives, and of its start."""

from __future__ import annotations

import subprocess
import sys
import urllib.request

from commands import COMMAND, ENVIRON
from programs import free_port

PROGRAM = """\
import atexit, sys
before = set(sys.modules)  # what an environment imports into every program
atexit.register(lambda: print(*set(sys.modules) - before))
sys.argv[0] = "nats-fluent"
from nats_fluent.__main__ import main
main()
"""


def imported(*flags: str, until: str = "cannot connect to NATS", ask: tuple[str, ...] = ()) -> set[str]:
    """Run until a line of the log, ask for something, end it, and return the packages that are not Python's own."""
    command = [
        *COMMAND[:2],
        "-c",
        PROGRAM,
        "run",
        "--nats-servers",
        f"nats://127.0.0.1:{free_port()}",
        *flags,
    ]
    with subprocess.Popen(
        command, env=ENVIRON, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        try:
            said = next((line for line in process.stderr if until in line), "")
            for url in ask:
                with urllib.request.urlopen(url, timeout=10) as answer:
                    answer.read()
        finally:
            process.terminate()
        modules = process.stdout.read().split()
        assert said, process.stderr.read()
    return {name.partition(".")[0] for name in modules} - sys.stdlib_module_names


def test_what_no_setting_asks_for_is_not_imported():
    found = imported()
    assert "nats" in found
    assert not found & {"aiohttp", "nacl", "nkeys", "pydantic", "pygments", "rich", "typer"}
