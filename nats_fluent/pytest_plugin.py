"""A fixture for pytest: ``pytest_plugins = ["nats_fluent.pytest_plugin"]`` in conftest.py.

It is not there by itself where this package is installed: pytest would import it, and rewrite the whole package,
in each test run of whoever has it for another reason.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from nats_fluent.testing import Sidecar

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.fixture
def sidecar() -> Callable[..., Sidecar]:
    """Return what makes a `nats_fluent.testing.Sidecar`; arguments as there."""
    return Sidecar
