"""A stream in the memory of nats-server that takes all that is published."""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import TYPE_CHECKING

import workloads
from rig import WITHIN, Failed

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from nats.js import JetStreamContext
    from rig import Rig

STREAM = "BENCH"


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
