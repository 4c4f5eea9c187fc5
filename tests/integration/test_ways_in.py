"""Every way into NATS, right, wrong and missing: real servers, one attempt each, and the page that says so."""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING

import nats
import ways_in
from operators import Operator
from programs import NatsServer, started
from taking import settings_for, taking
from ways_in import World

from nats_fluent import check
from nats_fluent.options import Secret
from nats_fluent.settings import DEFAULT_TOPICS, Settings
from nats_fluent.topics import Topic

if TYPE_CHECKING:
    from pathlib import Path


async def test_each_way_in_right_wrong_and_missing(tmp_path: Path) -> None:
    """NATS_FLUENT_WRITE=1 writes the table of docs/security.md."""
    with World(tmp_path) as world:
        cases = list(world.cases())
        said = await asyncio.gather(*map(world.said, cases))
        texts = [text for _, text in said]
        entered = [text.startswith("connected") for text in texts]
        assert entered == [case.enters for case in cases], said
        secrets = {
            each.get() for case in cases for each in case.settings.values() if isinstance(each, Secret)
        }
        assert not [text for text in texts if any(secret in text for secret in secrets - {"right"})]
        tls = [case.scheme in {"tls", "wss"} or "ca_file" in case.settings for case in cases if case.enters]
        assert [text == "connected, with TLS" for text in texts if text.startswith("connected")] == tls
        table = ways_in.table(cases, said)
        if os.environ.get("NATS_FLUENT_WRITE"):
            ways_in.write(table)
        there, made = ways_in.comparable(ways_in.documented()), ways_in.comparable(table)
        assert there == made, "run this test with NATS_FLUENT_WRITE=1"

        steps = await steps_of(world, "jwt", "nats", {"creds": Secret(world.creds["right"])})
        assert steps["login"].startswith("with the credentials of U")
        steps = await steps_of(world, "tls", "wss", {"ca_file": world.certificates.ca_file})
        assert "certificate for 127.0.0.1, localhost" in steps["TLS"]
        steps = await steps_of(world, "tls", "wss", {})
        assert "; it shows a certificate for 127.0.0.1, localhost" in steps["TLS"]
        steps = await steps_of(world, "first", "nats", {"tls_first": "on"})
        assert "; it shows a certificate for 127.0.0.1, localhost" in steps["TLS"]


async def steps_of(world: World, server: str, scheme: str, settings: dict[str, object]) -> dict[str, str]:
    """What `check --connect` says of NATS, by step."""
    case = ways_in.Case("", "", server, settings, scheme=scheme)
    attempts = await check.try_servers(Settings(nats=world.settings(case)), timeout=20)
    return {attempt.step: attempt.detail for attempt in attempts if attempt.server == "NATS"}


async def test_one_of_six_subjects_is_denied_and_the_other_five_go_on(tmp_path: Path) -> None:
    operator = Operator()
    denied, *others = DEFAULT_TOPICS
    key = Secret(operator.user(sub={"deny": [denied]}))
    everything = tmp_path / "publisher.creds"
    everything.write_text(operator.user())
    with started(NatsServer(tmp_path, operator.config())) as server:
        topics = [Topic(name, name) for name in DEFAULT_TOPICS]
        async with taking(settings_for(server, creds=key), *topics) as taken:
            await taken.wait_log("NATS denies a subscription")
            client = await nats.connect(server.url, user_credentials=str(everything))
            for round_number in range(20):
                for name in DEFAULT_TOPICS:
                    await client.publish(name, b"%d" % round_number)
            await client.close()
            await taken.wait_for(100)
            assert taken.lines("NATS denies a subscription") == [{"subject": denied}]
            for name in others:
                of = [delivery.payload for delivery in taken.deliveries if delivery.topic == name]
                assert of == [b"%d" % n for n in range(20)]
