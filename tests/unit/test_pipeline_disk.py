"""What of the pipeline's budget and account is on disk, and what the end waits for."""

from __future__ import annotations

import asyncio

import pytest
from decoding import with_fields
from piping import GOOD, Pipe
from scripted import idle

from nats_fluent.delivery import CHUNK_BYTES, Chunk, Outcome
from nats_fluent.pipeline import DELIVERY_BYTES, SLICE

ASKING = with_fields(responseMode=1)


async def test_a_chunk_on_disk_takes_no_memory_and_is_as_good_as_delivered_for_who_waits():
    pipe = Pipe(max_records=1, answer_late=True)
    async with pipe.running():
        pipe.receive(ASKING, reply="r")
        await idle()
        (chunk,) = pipe.chunks
        pipe.pipeline.spooled(chunk)
        await idle()
        assert (pipe.pipeline.held_bytes, pipe.account.held, pipe.account.in_memory) == (0, 1, 0)
        assert (pipe.outcomes, pipe.acknowledged) == ([(0, Outcome.SPOOLED)], ["r"])
        again = Chunk(id=chunk.id, tag=chunk.tag, entries=chunk.entries, count=1)
        pipe.pipeline.loaded(again)
        assert (pipe.pipeline.held_bytes, pipe.account.in_memory) == (len(chunk.entries) + CHUNK_BYTES, 1)
        pipe.pipeline.settled(again, Outcome.DELIVERED)
        assert (pipe.pipeline.held_bytes, pipe.account.held, pipe.account.delivered) == (0, 0, 1)


async def test_the_end_does_not_wait_for_what_is_on_disk():
    pipe = Pipe(max_records=1)
    async with pipe.running():
        pipe.receive(GOOD)
        await idle()
        end = asyncio.create_task(pipe.pipeline.end())
        await idle()
        assert not end.done()
        pipe.pipeline.spooled(pipe.chunks.pop())
        await asyncio.wait_for(end, 10)
    assert pipe.account.held == 1


async def test_a_chunk_that_is_on_disk_and_in_memory_is_told_of_once():
    pipe = Pipe(max_records=1)
    async with pipe.running():
        pipe.receive(GOOD)
        await idle()
        (chunk,) = pipe.chunks
        pipe.pipeline.stored(chunk)
        assert pipe.outcomes == [(0, Outcome.SPOOLED)]
        assert (pipe.account.in_memory, pipe.pipeline.held_bytes) == (1, len(chunk.entries) + CHUNK_BYTES)
        pipe.settle()
        assert pipe.outcomes == [(0, Outcome.SPOOLED)]
        assert (pipe.account.delivered, pipe.account.held, pipe.pipeline.held_bytes) == (1, 0, 0)


async def test_what_an_earlier_process_left_is_held_and_may_be_lost():
    pipe = Pipe()
    pipe.pipeline.recovered(5)
    assert (pipe.account.held, pipe.account.spooled, pipe.account.in_memory) == (5, 5, 0)
    pipe.pipeline.lost(2)
    assert (pipe.account.held, pipe.account.spooled, pipe.account.lost) == (3, 3, 2)


async def test_what_is_kept_for_chunks_from_disk_is_not_for_what_arrives():
    room = len(GOOD) + DELIVERY_BYTES
    pipe = Pipe(buffer_bytes=2 * room, reserve=1)
    pipe.receive(GOOD, GOOD, settled=False)
    assert pipe.dropped == ["t.s"]
    pipe.pipeline.loaded(Chunk(id="c", tag="t", entries=b"x" * room, count=1))
    assert pipe.pipeline.held_bytes == 2 * room + CHUNK_BYTES


async def test_all_is_handed_over_before_it_is_settled():
    pipe = Pipe()
    async with pipe.running():
        pipe.receive(*[GOOD] * (SLICE + 1))
        handed_over = asyncio.create_task(pipe.pipeline.handed_over())
        await idle()
        assert not handed_over.done()  # the chunk is open
        end = asyncio.create_task(pipe.pipeline.end())
        await asyncio.wait_for(handed_over, 10)
        assert sum(chunk.count for chunk in pipe.chunks) == SLICE + 1
        assert not end.done()
        pipe.settle()
        await asyncio.wait_for(end, 10)


async def test_whoever_waits_for_the_end_goes_on_when_the_pipeline_dies():
    pipe = Pipe(max_records=1)

    def fail(_chunk):
        raise ZeroDivisionError("a bug")

    running = asyncio.create_task(
        pipe.pipeline.run(submit=fail, acknowledge=pipe.acknowledge), name="pipeline"
    )
    await idle()
    pipe.receive(GOOD)
    with pytest.raises(ZeroDivisionError):
        await running
    await pipe.pipeline.end()
    assert pipe.account.held == 1
