"""The contenders, each in a process of its own: says "ready" when it is subscribed, and prints what it took as JSON.

bare            nats-py with a callback that only counts, on uvloop: no consumer that uses nats-py can be faster
naive           the script that one would write: nats-py callback, msgpack, a walk over the values, fluent-logger
nats_fluent     this consumer, until the log shipper acknowledged the last record
bare_pull       nats-py, on uvloop: pulls of 500 messages of a stream into an inbox, and +ACK for each
fluent_pull     this consumer on that stream: each message is acknowledged after its record was delivered
latency         this consumer, and for each publication when the log shipper acknowledged it
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import sys
import time
from array import array
from pathlib import Path
from typing import TYPE_CHECKING

import workloads

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from nats_fluent.delivery import Delivery
    from nats_fluent.runtime import Service

STREAM = "BENCH"
PULL = 500
"""Messages of one pull; two are under way at any time."""


def say_ready() -> None:
    print("ready", flush=True)


def finish(began: float, **more: object) -> None:
    print(json.dumps({"seconds": time.perf_counter() - began, **more}), flush=True)


async def bare(given: argparse.Namespace) -> None:
    import nats  # noqa: PLC0415 - each contender loads only what it needs

    connection = await nats.connect(given.nats)
    done = asyncio.get_running_loop().create_future()
    seen = 0
    began = 0.0

    async def on_message(_message: object) -> None:
        nonlocal seen, began
        if not seen:
            began = time.perf_counter()
        seen += 1
        if seen == given.count:
            done.set_result(None)

    for subject in workloads.subjects(given.kind):
        await connection.subscribe(subject, cb=on_message, pending_msgs_limit=0, pending_bytes_limit=0)
    await connection.flush()
    say_ready()
    await done
    finish(began)
    await connection.close()


async def naive(given: argparse.Namespace) -> None:
    import msgpack  # noqa: PLC0415
    import nats  # noqa: PLC0415
    from fluent import sender  # noqa: PLC0415

    def walk(value: object) -> object:
        if isinstance(value, dict):
            return {str(key): walk(item) for key, item in value.items()}
        if isinstance(value, list):
            return [walk(item) for item in value]
        if isinstance(value, msgpack.Timestamp):
            return value.to_datetime().isoformat()
        if isinstance(value, bytes):
            return value.decode("utf-8", "replace")
        return value

    async def failed(error: Exception) -> None:  # or nats-py prints it, and goes on
        done.set_exception(error)

    connection = await nats.connect(given.nats, error_cb=failed)
    log = sender.FluentSender("aporeto", host="127.0.0.1", port=given.forward, nanosecond_precision=True)
    done = asyncio.get_running_loop().create_future()
    seen = 0
    began = 0.0

    async def on_message(message: object) -> None:
        nonlocal seen, began
        if not seen:
            began = time.perf_counter()
        publication = msgpack.unpackb(message.data)
        read = json.loads if publication["encoding"] == "application/json" else msgpack.unpackb
        content = read(publication["data"])
        if content.get("entity"):
            content["entity"] = read(content["entity"]) if read is msgpack.unpackb else content["entity"]
        when = content.get("timestamp")
        ns = when.to_unix_nano() if isinstance(when, msgpack.Timestamp) else time.time_ns()
        log.emit_with_time(message.subject, sender.EventTime.from_unix_nano(ns), walk(content))
        seen += 1
        if seen == given.count:
            done.set_result(None)

    for subject in workloads.subjects(given.kind):
        await connection.subscribe(subject, cb=on_message, pending_msgs_limit=0, pending_bytes_limit=0)
    await connection.flush()
    say_ready()
    await done
    finish(began)
    log.close()
    await connection.close()


def service(given: argparse.Namespace, **more: str) -> Service:
    from nats_fluent import logs, runtime, settings  # noqa: PLC0415

    logs.configure(format="text", level="warning")
    loaded = settings.load(
        flags={},
        environ={
            "NATS_FLUENT_NATS_SERVERS": given.nats,
            "NATS_FLUENT_FLUENT_URL": f"forward://127.0.0.1:{given.forward}",
            "NATS_FLUENT_BATCH_BUFFER_BYTES": "2GB",
            **({"NATS_FLUENT_BATCH_LINGER": given.linger} if given.linger else {}),
            **more,
        },
        file=None,
    )
    return runtime.Service(loaded.settings)


@contextlib.asynccontextmanager
async def serving(one: Service) -> AsyncIterator[float]:
    """Run it; give the time of the first publication, and fail when not all is delivered."""
    stop = asyncio.Event()
    task = asyncio.create_task(one.serve(stop), name="serve")
    await one.ready()
    say_ready()
    while not one.account.received:  # noqa: ASYNC110 - it polls so as to add nothing to what is measured
        await asyncio.sleep(0.001)
    yield time.perf_counter()
    stop.set()
    summary = await task
    if summary.exit_code or sum(summary.dropped.values()) or summary.undecodable:
        sys.exit(f"not all delivered: {summary}")


async def nats_fluent(given: argparse.Namespace) -> None:
    one = service(given)
    async with serving(one) as began:
        while one.account.delivered < given.count:  # noqa: ASYNC110
            await asyncio.sleep(0.005)
        finish(began)


async def bare_pull(given: argparse.Namespace) -> None:
    import nats  # noqa: PLC0415

    connection = await nats.connect(given.nats)
    await connection.jetstream().add_consumer(
        STREAM, durable_name=given.durable, ack_policy="explicit", max_ack_pending=20_000
    )
    inbox = connection.new_inbox()
    ask = f"$JS.API.CONSUMER.MSG.NEXT.{STREAM}.{given.durable}"
    done = asyncio.get_running_loop().create_future()
    seen = 0
    began = 0.0

    async def on_message(message: object) -> None:
        nonlocal seen, began
        if not message.reply:
            return  # the end of a pull
        if not seen:
            began = time.perf_counter()
        seen += 1
        await connection.publish(message.reply, b"+ACK")
        if seen % PULL == 0:
            await pull()
        if seen == given.count:
            done.set_result(None)

    async def pull() -> None:
        await connection.publish(ask, b'{"batch":%d,"expires":30000000000}' % PULL, reply=inbox)

    await connection.subscribe(inbox, cb=on_message, pending_msgs_limit=0, pending_bytes_limit=0)
    await connection.flush()
    say_ready()
    await pull()
    await pull()
    await done
    await connection.flush()
    finish(began)
    await connection.close()


async def fluent_pull(given: argparse.Namespace) -> None:
    one = service(given, NATS_FLUENT_JETSTREAM_STREAM=STREAM, NATS_FLUENT_JETSTREAM_DURABLE=given.durable)
    async with serving(one) as began:
        while one.account.delivered < given.count:  # noqa: ASYNC110
            await asyncio.sleep(0.005)
        finish(began)


async def latency(given: argparse.Namespace) -> None:
    """Publications come in the order in which one publisher sent them: the n-th here is its n-th."""
    from nats_fluent.delivery import Delivery  # noqa: PLC0415

    one = service(given)
    settled = array("q", bytes(8 * given.count))
    receive = one._source._receive  # noqa: SLF001 - between source and pipeline, where nothing else is
    number = 0

    def settle(numbers: list[int], _outcome: object) -> None:
        now = time.monotonic_ns()
        for at in numbers:
            settled[at] = now

    def wrapped(deliveries: list[Delivery]) -> None:
        nonlocal number
        receive(
            [
                Delivery(each.topic, each.subject, each.payload, "", None, settle, at)
                for at, each in enumerate(deliveries, number)
            ]
        )
        number += len(deliveries)

    one._source._receive = wrapped  # noqa: SLF001
    async with serving(one) as began:
        used = time.process_time()
        while one.account.delivered < given.count:  # noqa: ASYNC110
            await asyncio.sleep(0.05)
        cpu = (time.process_time() - used) / (time.perf_counter() - began)
        given.settled.write_bytes(settled.tobytes())
        finish(began, cpu=cpu, chunks=one._sink.stats.chunks_acknowledged)  # noqa: SLF001


CONTENDERS = {each.__name__: each for each in (bare, naive, nats_fluent, bare_pull, fluent_pull, latency)}


def main() -> None:
    import uvloop  # noqa: PLC0415

    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("name", choices=CONTENDERS)
    parser.add_argument("--kind", choices=workloads.KINDS, required=True)
    parser.add_argument("--count", type=int, required=True)
    parser.add_argument("--nats", required=True)
    parser.add_argument("--forward", type=int, required=True)
    parser.add_argument("--linger", help="in place of the default")
    parser.add_argument("--durable", default="bench")
    parser.add_argument("--settled", type=Path, help="file for the times of the acknowledgements")
    given = parser.parse_args()
    uvloop.run(CONTENDERS[given.name](given))


if __name__ == "__main__":
    main()
