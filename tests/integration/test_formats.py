"""Messages that are no publications, from a nats-server to a log shipper."""

from __future__ import annotations

import asyncio
import json

from forward_server import ForwardServer, Shipper, until
from programs import PATIENCE, NatsServer, started
from taking import hpub, publish_raw

from nats_fluent.addresses import FluentUrl
from nats_fluent.runtime import Service
from nats_fluent.sections import BatchSettings, FluentSettings, NatsSettings, RecordSettings
from nats_fluent.settings import Settings
from nats_fluent.topics import Match, Topic

TOPICS = (
    Topic(
        "orders.*.*",
        "orders",
        format="json",
        time="at",
        key="id",
        operation="subject:3",
        exclude=Match(operation=("dropped",)),
    ),
    Topic("logs.>", "logs", format="text"),
    Topic("shop.>", "shop", format="cloudevents"),
)
EVENT = {
    "specversion": "1.0",
    "id": "A-1",
    "source": "/shop/eu",
    "type": "order.placed",
    "time": "2018-04-05T17:31:00Z",
}


def pub(subject, payload):
    return b"PUB %s %d\r\n%s\r\n" % (subject.encode(), len(payload), payload)


async def test_json_text_and_cloudevents_arrive(tmp_path):
    headers = "".join(f"ce-{name}: {value}\r\n" for name, value in EVENT.items())
    block = f"NATS/1.0\r\n{headers}Content-Type: application/json\r\n\r\n".encode()
    messages = (
        pub("orders.eu.created", b'{"id":7,"at":1700000000123,"password":"x"}'),
        pub("orders.eu.dropped", b"{}"),
        pub("orders.eu.created", b"{no"),
        pub("logs.a", "es wäre\n".encode()),
        hpub("shop.eu", block, b'{"total":12.5}'),
        pub("shop.eu", json.dumps(EVENT).encode()),
    )
    shipper = Shipper()
    with started(NatsServer(tmp_path)) as nats:
        async with ForwardServer(shipper) as server:
            settings = Settings(
                nats=NatsSettings(servers=(nats.url,)),
                topics=TOPICS,
                fluent=FluentSettings(url=(FluentUrl("forward", "127.0.0.1", server.port),)),
                batch=BatchSettings(linger=0.01),
                record=RecordSettings(tag="{topic}.{operation}"),
            )
            service, stop = Service(settings), asyncio.Event()
            task = asyncio.create_task(service.serve(stop))
            try:
                await asyncio.wait_for(service.ready(), PATIENCE)
                await asyncio.to_thread(publish_raw, nats.port, *messages)
                await until(lambda: service.account.delivered == 5, what="all are delivered")
            finally:
                stop.set()
                summary = await task
    assert (summary.filtered, summary.undecodable, summary.exit_code) == (1, 1, 0)
    records = {}
    for frame in shipper.frames:
        for record in frame.records:
            records.setdefault((frame.tag, record["subject"]), []).append(record)
    (order,) = records["orders.created", "orders.eu.created"]
    assert order["content"] == {"id": 7, "at": 1700000000123, "password": "***"}
    assert (order["key"], order["timestamp"]) == ("7", "2023-11-14T22:13:20.123Z")
    (broken,) = records["undecodable", "orders.eu.created"]
    assert broken["error"].startswith("payload: not JSON")
    (line,) = records["logs.none", "logs.a"]
    assert (line["content"], line["key"]) == ("es wäre\n", "logs.a")
    binary, structured = records["shop.none", "shop.eu"]
    assert binary["content"] == {**EVENT, "datacontenttype": "application/json", "data": {"total": 12.5}}
    assert structured["content"] == EVENT
    for record in (binary, structured):
        assert (record["identity"], record["key"]) == ("order.placed", "/shop/eu")
        assert record["timestamp"] == EVENT["time"]
