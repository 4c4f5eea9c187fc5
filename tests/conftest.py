"""Fixtures that start the real programs, each on a free loopback port and ended with the test."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import hypothesis
import pytest
from programs import FluentBit, NatsServer, started

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

# A proxy of this machine's is not for what the tests start on it, whoever asks: urllib takes it for loopback, too.
for name in ("no_proxy", "NO_PROXY"):
    os.environ[name] = ",".join([*filter(None, [os.environ.get(name)]), "127.0.0.1", "localhost"])

# Nor are a terminal's width and colours for what is compared.
for name in ("TERM", "COLUMNS", "LINES", "FORCE_COLOR", "NO_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE"):
    os.environ.pop(name, None)

# A busy machine is no reason to fail: nothing is timed. A few examples, and the same in each run, so that what fails is
# the change; what these miss, `tox -e fuzz` looks for, and `pytest --hypothesis-profile search tests/unit`.
UNTIMED = {"deadline": None, "suppress_health_check": [hypothesis.HealthCheck.too_slow]}
hypothesis.settings.register_profile("nats-fluent", **UNTIMED, max_examples=40, derandomize=True)
hypothesis.settings.register_profile("search", **UNTIMED, max_examples=1000, derandomize=False)
hypothesis.settings.load_profile("nats-fluent")


@pytest.fixture
def nats_server(tmp_path: Path) -> Iterator[NatsServer]:
    """A plain nats-server."""
    with started(NatsServer(tmp_path)) as server:
        yield server


@pytest.fixture
def fluent_bit(tmp_path: Path) -> Iterator[FluentBit]:
    """A Fluent Bit that prints what it gets over Forward as JSON lines, the time as `date`."""
    with started(FluentBit(tmp_path)) as server:
        yield server
