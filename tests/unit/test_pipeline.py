"""From deliveries to chunks and back: the counts, and the end, on a loop without network or sleep."""

from __future__ import annotations

import asyncio
import contextlib

import pytest
from building import Text, envelope, event, publication
from decoding import with_fields
from hypothesis import given, settings
from hypothesis import strategies as st
from piping import GOOD, Pipe
from scripted import idle

from nats_fluent.delivery import Outcome
from nats_fluent.forward.codec import read_entries
from nats_fluent.pipeline import SLICE

ASKING = with_fields(responseMode=1)


async def test_a_delivery_comes_out_as_a_record():
    pipe = Pipe(max_records=1)
    async with pipe.running():
        pipe.receive(GOOD)
        await idle()
        (chunk,) = pipe.chunks
        ((time_ns, record),) = read_entries(chunk.entries)
        assert (chunk.tag, chunk.id, chunk.count) == ("aporeto.t", "id1", 1)
        assert time_ns == 1560375482268588000
        assert (record["topic"], record["subject"], record["id"]) == ("t", "t.s", "run-1")
        assert pipe.account.held == 1
        assert pipe.outcomes == []
        pipe.settle()
        assert pipe.outcomes == [(0, Outcome.DELIVERED)]
        assert (pipe.account.delivered, pipe.account.held, pipe.pipeline.held_bytes) == (1, 0, 0)


async def test_order_is_kept_over_many_slices():
    pipe = Pipe(max_records=7)
    async with pipe.running():
        pipe.receive(*[GOOD] * (3 * SLICE + 5))
        await idle()
        end = asyncio.create_task(pipe.pipeline.end())
        await idle()
        assert pipe.ids() == [f"run-{n}" for n in range(1, 3 * SLICE + 6)]
        pipe.settle()
        await end
    assert [number for number, _ in pipe.outcomes] == list(range(3 * SLICE + 5))


async def test_others_run_between_slices():
    """A burst must not keep the loop from reading, and the sink from sending."""
    pipe = Pipe(max_records=1)
    pipe.receive(*[GOOD] * (3 * SLICE))
    task = asyncio.create_task(pipe.pipeline.run(submit=pipe.chunks.append, acknowledge=pipe.acknowledge))
    seen = []
    while len(pipe.chunks) < 3 * SLICE:
        await asyncio.sleep(0)
        seen.append(len(pipe.chunks))
    assert seen[-3:] == [SLICE, 2 * SLICE, 3 * SLICE]
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task


async def test_an_open_chunk_goes_when_its_time_is_up():
    pipe = Pipe(linger=0.001)
    gone = asyncio.Event()

    def submit(chunk):
        pipe.chunks.append(chunk)
        gone.set()

    task = asyncio.create_task(pipe.pipeline.run(submit=submit, acknowledge=pipe.acknowledge))
    for number in (1, 2):
        pipe.receive(GOOD)
        await asyncio.wait_for(gone.wait(), 10)
        gone.clear()
        assert pipe.ids()[-1] == f"run-{number}"
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task


async def test_an_open_chunk_waits_for_more():
    pipe = Pipe()
    async with pipe.running():
        pipe.receive(GOOD)
        await idle()
        pipe.receive(GOOD)
        await idle()
        assert pipe.chunks == []
        assert pipe.account.held == 2


# Counts


async def test_what_cannot_be_decoded_is_delivered_under_its_own_name():
    pipe = Pipe()
    async with pipe.running():
        pipe.receive(b"junk", GOOD, envelope(b"\xc1"), publication({"a": Text(b"\xff\xff")}))
        await idle()
        end = asyncio.create_task(pipe.pipeline.end())
        await idle()
        assert {chunk.tag: (chunk.count, chunk.undecodable) for chunk in pipe.chunks} == {
            "aporeto.undecodable": (2, 2),
            "aporeto.t": (2, 0),
        }
        assert (pipe.account.undecodable, pipe.account.delivered_undecodable) == (2, 0)
        pipe.settle()
        await end
    assert sorted(pipe.outcomes, key=lambda pair: pair[0]) == [
        (0, Outcome.UNDECODABLE),
        (1, Outcome.DELIVERED),
        (2, Outcome.UNDECODABLE),
        (3, Outcome.DELIVERED),
    ]
    account = pipe.account
    assert (account.delivered, account.undecodable, account.delivered_undecodable) == (4, 2, 2)
    assert account.replaced_bytes == 2


async def test_what_is_decoded_is_counted_by_what_it_is_about():
    pipe = Pipe(max_records=1)
    async with pipe.running():
        pipe.receive(*[GOOD] * 3, b"junk")
        await idle()
        records = [next(read_entries(chunk.entries))[1] for chunk in pipe.chunks]
    assert pipe.account.kinds == {("t", records[0]["identity"], records[0]["operation"]): 3}
    assert "identity" not in records[3]


async def test_what_was_given_back_is_not_delivered():
    pipe = Pipe(max_records=2)
    async with pipe.running():
        pipe.receive(GOOD, GOOD)
        await idle()
        pipe.settle(Outcome.RETRY)
    assert pipe.outcomes == [(0, Outcome.RETRY), (1, Outcome.RETRY)]
    assert (pipe.account.delivered, pipe.account.held, pipe.pipeline.held_bytes) == (0, 2, 0)


# Publishers that wait for an answer


@pytest.mark.parametrize(
    ("payload", "reply", "answered"),
    [
        (ASKING, "_INBOX.1", True),
        (ASKING, "", False),
        (GOOD, "_INBOX.1", False),
        (with_fields(responseMode=2), "_INBOX.1", False),
        (with_fields(responseMode=1, data=b"\xc1"), "_INBOX.1", True),
        (with_fields(responseMode=1, data=event({"a": "x" * 10**6})), "_INBOX.1", True),
        (b"junk", "_INBOX.1", False),
    ],
)
async def test_who_is_answered(payload, reply, answered):
    pipe = Pipe()
    async with pipe.running():
        pipe.receive(payload, reply=reply)
        await idle()
    assert pipe.acknowledged == ([reply] if answered else [])


async def test_each_is_answered_once_and_in_order():
    pipe = Pipe()
    async with pipe.running():
        for number in range(SLICE + 3):
            pipe.receive(ASKING, reply=f"_INBOX.{number}")
        await idle()
    assert pipe.acknowledged == [f"_INBOX.{number}" for number in range(SLICE + 3)]


async def test_what_is_dropped_is_not_answered():
    pipe = Pipe(buffer_bytes=10)
    async with pipe.running():
        pipe.receive(ASKING, reply="_INBOX.1")
        await idle()
    assert pipe.acknowledged == []


# The end


async def test_the_end_of_nothing():
    pipe = Pipe()
    async with pipe.running() as task:
        await asyncio.wait_for(pipe.pipeline.end(), 10)
        await asyncio.wait_for(task, 10)
    assert pipe.chunks == []


async def test_the_end_before_the_beginning():
    pipe = Pipe()
    await asyncio.wait_for(pipe.pipeline.end(), 10)
    await asyncio.wait_for(pipe.pipeline.run(submit=pipe.chunks.append, acknowledge=pipe.acknowledge), 10)


async def test_the_end_sends_what_is_open_and_waits_until_it_is_settled():
    pipe = Pipe()
    async with pipe.running() as task:
        pipe.receive(GOOD, GOOD, b"junk")
        await idle()
        assert pipe.chunks == []
        end = asyncio.create_task(pipe.pipeline.end())
        await idle()
        assert [chunk.count for chunk in pipe.chunks] == [2, 1]
        assert not task.done()
        first = pipe.chunks.pop(0)
        pipe.settle()
        await idle()
        assert not end.done()
        pipe.pipeline.settled(first, Outcome.DELIVERED)
        await asyncio.wait_for(end, 10)
    assert pipe.account.held == pipe.pipeline.held_bytes == 0


async def test_the_end_works_on_what_was_not_worked_on():
    pipe = Pipe()
    async with pipe.running():
        pipe.receive(*[GOOD] * (2 * SLICE))
        end = asyncio.create_task(pipe.pipeline.end())
        await idle()
        assert len(pipe.ids()) == 2 * SLICE
        pipe.settle()
        await asyncio.wait_for(end, 10)


async def test_the_end_does_not_wait_for_what_was_dropped():
    pipe = Pipe(buffer_bytes=10)
    async with pipe.running():
        pipe.receive(GOOD)
        await asyncio.wait_for(pipe.pipeline.end(), 10)


async def test_a_chunk_that_is_settled_before_the_end_is_no_end():
    pipe = Pipe(max_records=1)
    async with pipe.running() as task:
        pipe.receive(GOOD)
        await idle()
        pipe.settle()
        await idle()
        assert not task.done()
        pipe.receive(GOOD)
        await idle()
        assert len(pipe.chunks) == 1


# Who is answered when


async def test_a_publisher_is_answered_when_its_record_is_delivered():
    pipe = Pipe(max_records=1, answer_late=True)
    async with pipe.running():
        pipe.receive(ASKING, reply="r1")
        pipe.receive(ASKING, reply="r2", settled=False)
        await idle()
        assert pipe.acknowledged == []
        pipe.settle()
        await idle()
        assert pipe.acknowledged == ["r1", "r2"]
    assert pipe.outcomes == [(0, Outcome.DELIVERED)]


async def test_a_publisher_whose_record_is_given_back_is_not_answered():
    pipe = Pipe(max_records=1, answer_late=True)
    async with pipe.running():
        pipe.receive(ASKING, reply="r")
        await idle()
        pipe.settle(Outcome.RETRY)
        await idle()
        assert pipe.acknowledged == []


async def test_the_end_waits_until_the_last_publisher_is_answered():
    pipe = Pipe(answer_late=True)
    async with pipe.running():
        pipe.receive(ASKING, reply="r")
        end = asyncio.create_task(pipe.pipeline.end())
        await idle()
        pipe.settle()
        assert pipe.acknowledged == []
        await asyncio.wait_for(end, 10)
        assert pipe.acknowledged == ["r"]


# Anything, in any order


PAYLOADS = [GOOD, b"junk", ASKING, publication({"a": Text(b"\xff")}), publication({"a": "x" * 3000})]
STEPS = st.lists(
    st.tuples(st.just("receive"), st.integers(0, len(PAYLOADS) - 1), st.sampled_from(["a", "b"]))
    | st.tuples(st.just("idle"))
    | st.tuples(st.just("settle")),
    max_size=40,
)


@settings(max_examples=60)
@given(STEPS, st.integers(1, 4), st.integers(600, 20_000))
def test_the_account_adds_up(steps, max_records, buffer_bytes):
    async def main():
        pipe = Pipe(max_records=max_records, buffer_bytes=buffer_bytes)
        async with pipe.running():
            received = 0
            for step, *args in steps:
                match step:
                    case "receive":
                        payload, subject = args
                        pipe.receive(PAYLOADS[payload], subject=subject, topic=subject)
                        received += 1
                    case "idle":
                        await idle()
                    case "settle":
                        pipe.settle()
                account = pipe.account
                assert sum(account.received.values()) == received
                assert account.held == received - account.delivered - account.returned
                assert pipe.pipeline.held_bytes >= 0
                assert len(pipe.outcomes) == account.delivered + account.returned
            end = asyncio.create_task(pipe.pipeline.end())
            await idle()
            pipe.settle()
            await asyncio.wait_for(end, 10)
        assert pipe.account.held == pipe.pipeline.held_bytes == 0
        assert sorted(number for number, _ in pipe.outcomes) == list(range(received))

    asyncio.run(main())
