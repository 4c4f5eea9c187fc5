"""A stream in the memory of nats-server that takes all that is published."""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import TYPE_CHECKING, NamedTuple

import workloads
from rig import WITHIN, Failed

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from nats.js import JetStreamContext
    from rig import Rig

STREAM = "BENCH"


class Taken(NamedTuple):
    """How far a consumer is.

    Attributes:
        sent: up to which message.
        acknowledged: up to which message all are.
        again: how many were sent more than once.
    """

    sent: int
    acknowledged: int
    again: int


@contextlib.asynccontextmanager
async def _connected(rig: Rig) -> AsyncIterator[JetStreamContext]:
    import nats  # noqa: PLC0415 - for this alone

    client = await nats.connect(rig.nats_url)
    try:
        yield client.jetstream()
    finally:
        await client.close()


async def make(rig: Rig) -> None:
    async with _connected(rig) as jetstream:
        await jetstream.add_stream(name=STREAM, subjects=workloads.subjects("mix"), storage="memory")


async def remove(rig: Rig) -> None:
    async with _connected(rig) as jetstream:
        await jetstream.delete_stream(STREAM)


async def fill(rig: Rig, kind: str, count: int) -> None:
    with rig.publishing(kind, count):
        pass
    deadline = time.monotonic() + WITHIN
    async with _connected(rig) as jetstream:
        while (await jetstream.stream_info(STREAM)).state.messages < count:
            if time.monotonic() > deadline:
                raise Failed("the stream does not hold what was published")
            await asyncio.sleep(0.1)


async def acknowledged(rig: Rig, durable: str, count: int) -> None:
    """Fail unless the server knows every message as acknowledged; then delete the consumer."""
    async with _connected(rig) as jetstream:
        info = await jetstream.consumer_info(STREAM, durable)
        if info.ack_floor.stream_seq != count:
            raise Failed(f"{durable}: the server has {info.ack_floor} as acknowledged, not {count}")
        await jetstream.delete_consumer(STREAM, durable)


async def bound(rig: Rig, durable: str) -> None:
    """Make a consumer to pull from, for who only binds to one."""
    async with _connected(rig) as jetstream:
        await jetstream.add_consumer(
            STREAM, durable_name=durable, ack_policy="explicit", max_ack_pending=10_000
        )


async def forget(rig: Rig) -> None:
    """Delete all consumers."""
    async with _connected(rig) as jetstream:
        for consumer in await jetstream.consumers_info(STREAM):
            await jetstream.delete_consumer(STREAM, consumer.name)


def taken(rig: Rig) -> Taken:
    """Return what the one consumer has done; nothing, where there is none."""
    said = rig.nats_says("jsz?accounts=1&streams=1&consumers=1")
    consumers = said["account_details"][0]["stream_detail"][0].get("consumer_detail") or []
    if not consumers:
        return Taken(0, 0, 0)
    sent = consumers[0]["delivered"]
    again = sent["consumer_seq"] - sent["stream_seq"]
    return Taken(sent["stream_seq"], consumers[0]["ack_floor"]["stream_seq"], again)
