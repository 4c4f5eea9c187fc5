"""What `nats-fluent run` imports: most of the memory that it takes before anything arrives, and of its start."""

from __future__ import annotations

import subprocess
import sys
import urllib.request

import pytest
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
USUAL = {"fluent", "msgpack", "msgspec", "nats", "nats_fluent", "ormsgpack", "uvloop"}
"""The packages that the main job cannot do without; one more is memory in every process, so it needs a reason."""
BY_OTHERS = {"cython_runtime", "typing_extensions"}
"""Small ones that some releases of these import."""


def imported(*flags: str, ask: tuple[str, ...] = ()) -> set[str]:
    """Run until NATS, which is not there, was tried; ask for something, end it, and return the packages."""
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
            said = next((line for line in process.stderr if "cannot connect to NATS" in line), "")
            for url in ask:
                with urllib.request.urlopen(url, timeout=10) as answer:
                    answer.read()
        finally:
            process.terminate()
        modules = process.stdout.read().split()
        assert said, process.stderr.read()
    packages = {name.partition(".")[0] for name in modules if not name.startswith("_cython_")}
    assert "nats" in packages
    return packages - sys.stdlib_module_names - BY_OTHERS


def test_what_no_setting_asks_for_is_not_imported():
    assert imported() <= USUAL


def test_the_endpoint_needs_two_packages_more():
    address = f"127.0.0.1:{free_port()}"
    asked = tuple(f"http://{address}{path}" for path in ("/", "/livez", "/metrics"))
    assert imported("--http-listen", address, ask=asked) <= USUAL | {"h11", "prometheus_client"}


@pytest.mark.parametrize(
    "flags",
    [
        ["--jetstream-stream", "EVENTS", "--jetstream-durable", "nats-fluent"],
        ["--spool-mode", "overflow", "--spool-dir", "{directory}"],
    ],
)
def test_nor_is_more_for_a_stream_a_spool_or_a_log_shipper(tmp_path, flags):
    shipper = f"forward://127.0.0.1:{free_port()}"
    assert imported("--fluent-url", shipper, *(flag.format(directory=tmp_path) for flag in flags)) <= USUAL
