"""What was held goes back to the system once most of it is not held any more."""

from __future__ import annotations

import mmap
import os
from pathlib import Path

import pytest

from nats_fluent.freed import FEW, MUCH, Freed, give_back


def resident():
    """Bytes of this process that are in memory."""
    return int(Path("/proc/self/statm").read_bytes().split()[1]) * mmap.PAGESIZE


@pytest.fixture
def given():
    """How often something was given back, and what watches that."""
    times = []
    return times, Freed(lambda: times.append(1))


def test_it_is_given_back_once_when_most_is_gone(given):
    times, freed = given
    for held in (0, MUCH, MUCH // 2, MUCH // FEW):
        freed.look(held)
    assert not times
    for held in (MUCH // FEW - 1, 0, 0):
        freed.look(held)
    assert len(times) == 1


def test_and_again_after_the_next_time(given):
    times, freed = given
    for held in (MUCH, 0, 3 * MUCH, 0, 2 * MUCH, MUCH, 1):
        freed.look(held)
    assert len(times) == 3


def test_little_is_not_looked_for(given):
    times, freed = given
    for held in (MUCH - 1, 0) * 3:
        freed.look(held)
    assert not times


def test_the_c_library_gives_it_back():
    names = getattr(os, "confstr_names", {})
    if "CS_GNU_LIBC_VERSION" not in names or not os.confstr("CS_GNU_LIBC_VERSION"):
        give_back()
        pytest.skip("the C library is not glibc, whose way this is; that it does no harm was tried")
    blocks = [(b"x" * large, b"x" * (large // 100)) for large in [100_000] * 1_000]
    kept = [small for _, small in blocks]
    before = resident()
    del blocks  # what has none of the kept ones above it, the allocator gives back itself
    give_back()
    assert before - resident() > 80_000_000
    assert len(kept) == 1_000
