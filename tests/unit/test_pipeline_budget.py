"""The budget of the pipeline: what it charges, keeps room for, gives back and drops."""

from __future__ import annotations

import asyncio

from building import Time, publication
from piping import GOOD, Pipe
from scripted import idle

from nats_fluent.delivery import CHUNK_BYTES, Outcome
from nats_fluent.pipeline import DELIVERY_BYTES, SLICE


async def test_what_finds_the_budget_full_is_dropped_and_counted_by_subject():
    room = len(GOOD) + DELIVERY_BYTES
    pipe = Pipe(buffer_bytes=2 * room)
    pipe.receive(GOOD, GOOD, subject="a", settled=False)
    pipe.receive(GOOD, subject="b", settled=False)
    pipe.receive(GOOD, subject="c", topic="other", settled=False)
    pipe.receive(GOOD, subject="b", settled=False)
    assert pipe.dropped == ["b", "c", "b"]
    assert pipe.account.received == {"t": 4, "other": 1}
    assert (pipe.account.dropped, pipe.account.held) == (3, 2)
    assert pipe.pipeline.held_bytes == 2 * room
    assert pipe.pipeline.room == 0


async def test_what_can_come_again_is_given_back_when_the_budget_is_full():
    room = len(GOOD) + DELIVERY_BYTES
    pipe = Pipe(buffer_bytes=room)
    pipe.receive(GOOD, GOOD)
    assert pipe.dropped == []
    assert pipe.outcomes == [(1, Outcome.RETRY)]
    assert (pipe.account.returned, pipe.account.dropped, pipe.account.held) == (1, 0, 1)


async def test_a_budget_that_is_filled_to_the_last_byte():
    room = len(GOOD) + DELIVERY_BYTES
    pipe = Pipe(buffer_bytes=room)
    pipe.receive(GOOD, settled=False)
    assert pipe.dropped == []
    pipe = Pipe(buffer_bytes=room - 1)
    pipe.receive(GOOD, settled=False)
    assert pipe.dropped == ["t.s"]


async def test_what_is_going_to_grow_has_its_room_kept():
    """Times are 15 bytes in a publication, and 32 as text."""
    payload = publication({"ID": "1", "times": [Time(1_560_375_482, 123_456_789)] * 200})
    fits = 1000 * len(payload)
    pipe = Pipe(buffer_bytes=fits)
    async with pipe.running():
        pipe.receive(*[payload] * SLICE)
        await idle()
        pipe.receive(*[payload] * 1000)
        assert pipe.account.returned
        await idle()
        assert pipe.pipeline.waiting == 0
        assert 0.95 * fits < pipe.pipeline.held_bytes < 1.01 * fits


async def test_room_comes_back_when_a_chunk_is_settled():
    pipe = Pipe(buffer_bytes=len(GOOD) + DELIVERY_BYTES, max_records=1)
    async with pipe.running():
        pipe.receive(GOOD)
        await idle()
        pipe.receive(GOOD)
        assert pipe.account.returned == 1
        pipe.settle()
        pipe.receive(GOOD)
        assert pipe.account.returned == 1
        await idle()
        pipe.settle()
    assert pipe.outcomes == [(1, Outcome.RETRY), (0, Outcome.DELIVERED), (2, Outcome.DELIVERED)]
    assert pipe.pipeline.held_bytes == 0


async def test_what_waits_for_its_acknowledgement_holds_what_its_record_takes():
    pipe = Pipe(max_records=2)
    async with pipe.running():
        pipe.receive(GOOD, b"junk")
        pipe.receive(b"junk")
        await idle()
        end = asyncio.create_task(pipe.pipeline.end())
        await idle()
        assert pipe.pipeline.held_bytes == sum(len(chunk.entries) + CHUNK_BYTES for chunk in pipe.chunks)
        pipe.settle()
        await end
    assert pipe.pipeline.held_bytes == 0
