"""On which event loops the integration tests run."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import uvloop

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import pytest


def pytest_asyncio_loop_factories(
    item: pytest.Item,
) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    """Run the tests of the source on both loops.

    The service runs on uvloop, `nats-fluent check` on asyncio's own. nats-py was written for the latter: they differ
    in what a write to a closed socket raises, and in when a closed socket is closed.
    """
    loops = {"asyncio": asyncio.new_event_loop}
    return loops | {"uvloop": uvloop.new_event_loop} if item.path.name.startswith("test_source_") else loops
