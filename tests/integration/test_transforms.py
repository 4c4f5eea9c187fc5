"""Handlers on the whole way: from a stream by `nats-fluent run --transforms` to a log shipper."""

from __future__ import annotations

import subprocess

from building import publication
from commands import COMMAND, ENVIRON, Running
from forward_server import ForwardServer, Shipper, ack, silence, until
from programs import started
from streams import STREAM, StreamServer, operating

HANDLERS = """\
from nats_fluent import Record, on

@on("enforcer")
def enforcer(publication):
    name = publication.object().name
    return [{"name": name, "part": 1}, Record({"name": name, "part": 2}, tag="siem.enforcer")]

@on("namespace")
def namespace(publication):
    return {"name": publication.object().nmae}

@on("service")
def service(publication):
    return None
"""


async def test_several_records_are_acknowledged_once_and_one_that_fails_is_not_lost(tmp_path):
    (tmp_path / "my.py").write_text(HANDLERS)
    held, kept = [], True

    def answer(frame):
        if kept and frame.tag == "siem.enforcer":
            held.append(frame)
            return silence(frame)
        return ack(frame)

    with started(StreamServer(tmp_path)) as server:
        async with operating(server) as ops, ForwardServer(Shipper(answer=answer)) as shipper:
            await ops.make()
            for identity in ("enforcer", "namespace", "service"):
                payloads = (
                    publication({"ID": str(n), "name": str(n)}, "events.a", identity=identity)
                    for n in range(20)
                )
                await ops.publish("events.a", *payloads)
            running = Running(
                tmp_path,
                server,
                "--transforms",
                str(tmp_path / "my.py"),
                NATS_FLUENT_TOPICS="events.>",
                NATS_FLUENT_JETSTREAM_STREAM=STREAM,
                NATS_FLUENT_FLUENT_URL=f"forward://127.0.0.1:{shipper.port}",
                NATS_FLUENT_FLUENT_ACK_TIMEOUT="1s",
            )
            with started(running):
                await until(
                    lambda: len({record["id"] for frame in held for record in frame.records}) == 20,
                    what="the second half is sent",
                )
                # The first halves are delivered, and so are the others; yet none of these twenty is acknowledged.
                await ops.until(
                    lambda info: info["num_ack_pending"] == 20, what="the others are acknowledged"
                )
                kept = False
                info = await ops.settled(60)
                assert info["num_redelivered"] == 0
                assert running.stop() == 0
    ids = [record["id"] for record in shipper.shipper.records()]
    records = {record["id"]: record for record in shipper.shipper.records()}
    assert set(ids) == {
        *(f"EVENTS-{n}-{part}" for n in range(1, 21) for part in (0, 1)),
        *(f"EVENTS-{n}" for n in range(21, 41)),
    }
    assert (records["EVENTS-3-1"]["name"], records["EVENTS-3-1"]["part"]) == ("2", 2)
    failed = records["EVENTS-21"]
    assert failed["content"]["entity"]["name"] == "0"
    assert failed["transform_error"] == "NoField: there is no field 'nmae'; did you mean name? (my.py:10)"
    lines = running.log()
    assert [(line["handler"], line["level"]) for line in lines if line["event"] == "a handler fails"] == [
        ("my.py:namespace", "warning")
    ]
    stopped = lines[-1]
    assert {
        name: stopped[name] for name in ("received", "delivered", "filtered", "extra", "left", "returned")
    } == {
        "received": 60,
        "delivered": 60,
        "filtered": 20,
        "extra": 20,
        "left": 0,
        "returned": 0,
    }


def test_a_file_that_cannot_be_used_is_said_at_the_start(tmp_path):
    (tmp_path / "my.py").write_text("\ndef broken(:\n")
    for command in ("run", "check"):
        ended = subprocess.run(
            [*COMMAND, command, "--transforms", "my.py"],
            cwd=tmp_path,
            env=ENVIRON,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert (ended.returncode, ended.stderr.splitlines()[-1:]) == (
            2,
            ["nats-fluent: transforms: my.py:2: SyntaxError: invalid syntax."],
        )
