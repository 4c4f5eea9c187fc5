"""What the tests of JetStream share: a nats-server with a store, its API as plain requests, and a source."""

from __future__ import annotations

import asyncio
import contextlib
import json
from typing import TYPE_CHECKING, Any

from programs import PATIENCE, NatsServer
from taking import Taking, publisher, settings_for, until

from nats_fluent.delivery import Outcome
from nats_fluent.sections import JetStreamSettings
from nats_fluent.source.jetstream import JetStreamSource
from nats_fluent.topics import Topic

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    import nats

    from nats_fluent.delivery import Delivery

STREAM, DURABLE = "EVENTS", "nats-fluent"
ROOM = 64 << 20


class StreamServer(NatsServer):
    """A nats-server with JetStream; what it stores outlives it in the directory."""

    def __init__(self, directory: Path, config: str = "", *, port: int | None = None) -> None:
        super().__init__(
            directory, f'jetstream {{ store_dir: "{directory / "store"}" }}\n{config}', port=port
        )


class Streams:
    """JetStream's API, as an operator uses it."""

    def __init__(self, client: nats.NATS) -> None:
        self.client = client

    async def ask(self, subject: str, body: object = None) -> dict[str, Any]:
        data = json.dumps(body).encode() if body is not None else b""
        answer = json.loads((await self.client.request(f"$JS.API.{subject}", data, timeout=PATIENCE)).data)
        assert "error" not in answer, answer
        return answer

    async def make(self, *subjects: str, name: str = STREAM, **more: object) -> None:
        config = {"name": name, "subjects": list(subjects) or ["events.>"], "storage": "file"} | more
        await self.ask(f"STREAM.CREATE.{name}", config)

    async def make_consumer(self, **config: object) -> dict[str, Any]:
        whole = {
            "durable_name": DURABLE,
            "ack_policy": "explicit",
            "ack_wait": 30 * 10**9,
            "max_ack_pending": 20_000,
            "deliver_policy": "all",
        } | config
        body = {"stream_name": STREAM, "config": whole}
        return await self.ask(f"CONSUMER.CREATE.{STREAM}.{DURABLE}", body)

    async def consumer(self, name: str = STREAM) -> dict[str, Any]:
        return await self.ask(f"CONSUMER.INFO.{name}.{DURABLE}")

    async def until(
        self, ready: Callable[[dict[str, Any]], object], *, what: str, within: float = PATIENCE
    ) -> dict[str, Any]:
        """Return what the API says of the consumer once that is as wished."""
        deadline = asyncio.get_running_loop().time() + within
        while True:
            info = await self.consumer()
            if ready(info):
                return info
            assert asyncio.get_running_loop().time() < deadline, f"{what}: {info}"
            await asyncio.sleep(0.02)

    async def publish(self, subject: str, *payloads: bytes) -> None:
        """Publish, and return when the stream has them."""
        for at in range(0, len(payloads), 500):
            await asyncio.gather(
                *(
                    self.client.request(subject, payload, timeout=PATIENCE)
                    for payload in payloads[at : at + 500]
                )
            )

    async def settled(self, count: int, *, within: float = PATIENCE) -> dict[str, Any]:
        """Return once the consumer has nothing to deliver and is acknowledged up to `count`."""
        return await self.until(
            lambda info: (
                not (info["num_ack_pending"] or info["num_pending"])
                and info["ack_floor"]["stream_seq"] >= count
            ),
            what=f"acknowledged up to {count}",
            within=within,
        )


@contextlib.asynccontextmanager
async def operating(server: NatsServer) -> AsyncIterator[Streams]:
    """A client of the operator's."""
    async with publisher(server) as client:
        yield Streams(client)


class StreamTaking(Taking):
    """A JetStream source, what it handed on, and what it logged."""

    def __init__(self, server: NatsServer, *topics: str | Topic, **jetstream: object) -> None:
        super().__init__(settings_for(server))
        self.room = ROOM
        nats_settings = settings_for(server)
        self.source = JetStreamSource(
            nats_settings,
            [topic if isinstance(topic, Topic) else Topic(topic, topic) for topic in topics]
            or [Topic("events.>", "events")],
            jetstream=JetStreamSettings(**({"stream": STREAM} | jetstream)),
            receive=self.receive,
            room=lambda: self.room,
            log=self.log,
        )

    @property
    def numbers(self) -> list[int]:
        return [delivery.sequence for delivery in self.deliveries]

    async def wait_settled(self) -> None:
        await until(lambda: not self.source.unsettled, what="all is settled")


@contextlib.asynccontextmanager
async def pulling(
    server: NatsServer,
    *topics: str | Topic,
    subscribed: bool = True,
    before: Callable[[Delivery], None] | None = None,
    **jetstream: object,
) -> AsyncIterator[StreamTaking]:
    """A started JetStream source, closed with the block; `before` sees each delivery, the first included."""
    taken = StreamTaking(server, *topics, **jetstream)
    if before is not None:
        taken.before_receiving = before
    await taken.source.start()
    try:
        if subscribed:
            await asyncio.wait_for(taken.source.wait_subscribed(), PATIENCE)
        yield taken
    finally:
        await taken.source.close()


def payloads(number: int, *, size: int = 0) -> list[bytes]:
    """So many, each its number and then `size` bytes."""
    return [b"%d" % n + b"x" * size for n in range(number)]


def deliver(delivery: Delivery) -> None:
    """Settle it as if the log shipper had it."""
    delivery.settled(Outcome.DELIVERED)
