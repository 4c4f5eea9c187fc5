"""What the fuzzers began with and kept is as it should be; those of the HTTP endpoint need a socket, elsewhere."""

from __future__ import annotations

import importlib
import random

import pytest
from fuzz import engine

WITHOUT_SOCKET = [name for name in engine.TARGETS if name != "http_requests"]


@pytest.mark.parametrize("name", WITHOUT_SOCKET)
def test_what_was_found_is_as_it_should_be(name):
    target = importlib.import_module(f"fuzz.{name}")
    inputs = engine.begin(target, name)
    assert (engine.CORPUS / f"{name}.msgpack.xz").exists()
    for data in inputs:
        target.check(data)


@pytest.mark.parametrize("name", WITHOUT_SOCKET)
def test_so_is_what_is_near_to_it(name):
    target = importlib.import_module(f"fuzz.{name}")
    rng = random.Random(name)
    inputs = engine.begin(target, name)
    for _ in range(30):
        target.check(engine.changed(rng.choice(inputs), rng.choice(inputs), rng))
