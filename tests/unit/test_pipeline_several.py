"""Several records of one publication: settled once, and the account stays exact."""
# ruff: noqa: ARG001 - a handler takes a publication

from __future__ import annotations

import asyncio

import pytest
from decoding import with_fields
from hypothesis import given
from hypothesis import strategies as st
from piping import GOOD, Pipe
from scripted import idle

from nats_fluent import Record, on
from nats_fluent.account import MOST_KINDS, MOST_NAME, OTHER, Account
from nats_fluent.delivery import Outcome
from nats_fluent.loader import handlers_of
from nats_fluent.record import Recorder
from nats_fluent.sections import RecordSettings
from nats_fluent.transforms import Transforming


def pipe_of(returned, **batch):
    """A pipeline whose handler returns, each time, the next of these."""
    values = iter(returned)

    @on.default
    def handler(publication):
        value = next(values)
        if isinstance(value, Exception):
            raise value
        return value

    recorder = Transforming(
        Recorder(RecordSettings(), "run", levels=None), handlers_of([("my.py", handler)]), levels=None
    )
    return Pipe(recorder=recorder, **({"max_records": 1} | batch))


def adds_up(account):
    gone = account.delivered + account.filtered + account.dropped + account.lost + account.returned
    return sum(account.received.values()) + account.recovered + account.extra == gone + account.held


async def test_it_is_settled_when_the_last_of_its_records_is():
    pipe = pipe_of([[{}, Record({}, tag="b"), {}]])
    async with pipe.running():
        pipe.receive(GOOD)
        await idle()
        assert pipe.ids() == ["run-1-0", "run-1-1", "run-1-2"]
        assert [chunk.tag for chunk in pipe.chunks] == ["aporeto.t", "b", "aporeto.t"]
        assert (pipe.account.extra, pipe.account.held) == (2, 3)
        for left in (2, 1, 0):
            assert pipe.outcomes == []
            pipe.pipeline.settled(pipe.chunks.pop(), Outcome.DELIVERED)
            assert pipe.account.held == left
        assert pipe.outcomes == [(0, Outcome.DELIVERED)]
        assert (pipe.account.delivered, pipe.pipeline.held_bytes) == (3, 0)
        assert adds_up(pipe.account)


async def test_a_publisher_that_waits_is_answered_once_all_are_there():
    pipe = pipe_of([[{}, {}]], answer_late=True)
    async with pipe.running():
        pipe.receive(with_fields(responseMode=1), reply="r", settled=False)
        await idle()
        pipe.pipeline.settled(pipe.chunks.pop(), Outcome.DELIVERED)
        await idle()
        assert pipe.acknowledged == []
        pipe.pipeline.settled(pipe.chunks.pop(), Outcome.DELIVERED)
        await idle()
        assert pipe.acknowledged == ["r"]


@pytest.mark.parametrize(
    ("outcomes", "all_in_all"),
    [
        ([Outcome.DELIVERED, Outcome.DELIVERED], Outcome.DELIVERED),
        ([Outcome.SPOOLED, Outcome.DELIVERED], Outcome.SPOOLED),
        ([Outcome.DELIVERED, Outcome.SPOOLED], Outcome.SPOOLED),
        ([Outcome.RETRY, Outcome.DELIVERED], Outcome.RETRY),
        ([Outcome.RETRY, Outcome.SPOOLED], Outcome.RETRY),
        ([Outcome.SPOOLED, Outcome.RETRY], Outcome.RETRY),
    ],
)
async def test_what_became_of_all_is_the_least_of_what_became_of_each(outcomes, all_in_all):
    pipe = pipe_of([[{}, {}]])
    async with pipe.running():
        pipe.receive(GOOD)
        await idle()
        for outcome in outcomes:
            ((settle, _, keys),) = pipe.chunks.pop().waiting
            settle(keys, outcome)
        assert pipe.outcomes == [(0, all_in_all)]


async def test_no_record_is_one_that_was_filtered():
    pipe = pipe_of([None, []])
    async with pipe.running():
        pipe.receive(GOOD, GOOD)
        await idle()
        assert pipe.outcomes == [(0, Outcome.FILTERED), (1, Outcome.FILTERED)]
        assert (pipe.account.filtered, pipe.account.held, pipe.pipeline.held_bytes) == (2, 0, 0)
        assert adds_up(pipe.account)


async def test_a_handler_that_fails_is_counted_and_told_of_and_loses_nothing():
    pipe = pipe_of([ValueError("no"), {}, 5])
    told = []
    pipe.pipeline._failed = told.append
    async with pipe.running():
        pipe.receive(GOOD, GOOD, GOOD)
        await idle()
        assert pipe.account.transform_errors == {"enforcer": 2}
        assert [each.handler for each in told] == ["my.py:handler"] * 2
        assert told[0].error.startswith("ValueError: no (")
        assert pipe.ids() == ["run-1", "run-2", "run-3"]
        pipe.settle()
        assert [outcome for _, outcome in pipe.outcomes] == [Outcome.DELIVERED] * 3
        assert pipe.account.extra == 0


async def test_what_a_stream_takes_back_takes_its_records_with_it():
    pipe = pipe_of([[{}, {}, {}], [{}, {}], {}])
    async with pipe.running():
        pipe.receive(GOOD, GOOD, GOOD)
        await idle()
        assert pipe.account.held == 6
        pipe.pipeline.settled(pipe.chunks.pop(0), Outcome.DELIVERED)
        for chunk in (pipe.chunks.pop(2), pipe.chunks.pop(2)):
            pipe.pipeline.settled(chunk, Outcome.DELIVERED)
        assert pipe.outcomes == [(1, Outcome.DELIVERED)]
        # Of the first publication two of three are left, and the third one.
        assert pipe.account.held == 3
        pipe.pipeline.returned(2)
        assert (pipe.account.held, pipe.account.returned, pipe.account.delivered) == (0, 2, 3)
        assert adds_up(pipe.account)


async def test_what_core_nats_does_not_take_back_is_left():
    pipe = pipe_of([[{}, {}, {}]], answer_late=True)
    async with pipe.running():
        pipe.receive(with_fields(responseMode=1), reply="r", settled=False)
        await idle()
        pipe.pipeline.settled(pipe.chunks.pop(), Outcome.DELIVERED)
        pipe.pipeline.returned(0)
        assert (pipe.account.held, pipe.account.extra) == (2, 2)


@given(
    sizes=st.lists(st.integers(0, 4), max_size=8),
    settled=st.randoms(use_true_random=False),
    some=st.integers(0, 30),
    max_records=st.integers(1, 3),
)
def test_the_account_adds_up_whatever_is_settled(sizes, settled, some, max_records):
    async def check():
        pipe = pipe_of([[{}] * size for size in sizes], max_records=max_records)
        async with pipe.running():
            pipe.receive(*[GOOD] * len(sizes))
            await idle()
            pipe.pipeline._batcher.flush()
            pipe.pipeline._wake()
            await idle()
            chunks = [*pipe.chunks]
            settled.shuffle(chunks)
            assert sum(chunk.count for chunk in chunks) == sum(sizes) == pipe.account.held
            for chunk in chunks[:some]:
                pipe.pipeline.settled(chunk, Outcome.DELIVERED)
                assert adds_up(pipe.account)
            numbers = [number for number, _ in pipe.outcomes]
            assert len(numbers) == len(set(numbers))
            pipe.pipeline.returned(len(sizes) - len(numbers))
            assert pipe.account.held == 0

    asyncio.run(check())


def test_what_fails_is_counted_by_a_bounded_number_of_names():
    account = Account()
    account.transform_failed("x" * (MOST_NAME + 1))
    for number in range(2 * MOST_KINDS):
        account.transform_failed(str(number))
    account.transform_failed("3")
    assert len(account.transform_errors) == MOST_KINDS
    assert account.transform_errors[OTHER] == MOST_KINDS + 2
    assert account.transform_errors["3"] == 2
