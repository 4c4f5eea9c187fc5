"""The HTTP endpoint of `nats-fluent run`, with each part broken in turn."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import time

import pytest
from building import publication
from commands import COMMAND, ENVIRON, MonitoredNats, pub
from programs import free_port, started, wait_until
from streams import STREAM, Streams, StreamServer
from taking import publish_raw, publisher
from watching import HEALED, Watched

TOPIC = "squall-events"


@pytest.fixture
def nats(tmp_path):
    with started(MonitoredNats(tmp_path)) as server:
        yield server


@pytest.fixture
def watched(tmp_path, nats):
    with started(Watched(tmp_path, nats)) as running:
        running.wait_up()
        yield running


def publish(nats, count, *, size=0):
    payload = publication({"ID": "1", "text": "x" * size})
    publish_raw(nats.port, *[pub(TOPIC, payload)] * count)
    return len(payload) * count


def to(shipper, **environ):
    return {"NATS_FLUENT_FLUENT_URL": f"forward://127.0.0.1:{shipper.port}"} | environ


# What is broken is named, and what is healed is not


def test_nats_that_is_down_and_comes_back(nats, watched):
    nats.stop()
    assert watched.wait_why("nats")["nats"].startswith("not connected: ")
    assert watched.samples()["nats_fluent_ready", ("part", "nats")] == 0
    nats.start()
    watched.wait_why()
    assert watched.samples()["nats_fluent_nats_reconnects_total",] == 1


def test_a_subscription_that_is_denied(tmp_path):
    server = MonitoredNats(tmp_path)
    with (tmp_path / "nats-server.conf").open("a") as conf:
        conf.write(
            'authorization { users: [{user: u, password: p, permissions: {subscribe: {deny: "activities"}}}] }\n'
        )
    signed_in = {"NATS_FLUENT_NATS_USER": "u", "NATS_FLUENT_NATS_PASSWORD": "p"}
    with started(server), started(Watched(tmp_path, server, **signed_in)) as running:
        wait_until(lambda: "NATS denies a subscription" in running.stderr.read_text(), what="it is denied")
        assert running.wait_why("nats") == {"nats": "the server denies activities"}


def test_a_log_shipper_that_is_down_and_comes_back(tmp_path, nats, fluent_bit):
    with started(Watched(tmp_path, nats, **to(fluent_bit))) as running:
        running.wait_up()
        fluent_bit.stop()
        assert "log shipper" in running.wait_why("log shipper")
        publish(nats, 3)
        fluent_bit.start()
        running.wait_why()
        wait_until(
            lambda: running.facts()["shipper"]["records_acknowledged"] == 3,
            within=HEALED,
            what="all is delivered",
        )


def test_a_log_shipper_that_is_paused_takes_connections_and_is_not_ready(tmp_path, nats, fluent_bit):
    with started(Watched(tmp_path, nats, **to(fluent_bit))) as running:
        running.wait_up()
        os.kill(fluent_bit.process.pid, signal.SIGSTOP)
        try:
            publish(nats, 3)
            reason = running.wait_why("log shipper")["log shipper"]
            assert re.fullmatch(
                r"connected, and nothing was acknowledged for \d+ s; chunks that wait: 1", reason
            )
            found = running.samples()
            assert found["nats_fluent_shipper_connected",] == 1
            assert found["nats_fluent_stalled_seconds",] > 5
            assert found["nats_fluent_buffer_oldest_seconds",] > 5
        finally:
            os.kill(fluent_bit.process.pid, signal.SIGCONT)
        running.wait_why()
        assert running.samples()["nats_fluent_stalled_seconds",] == 0


def test_a_spool_that_is_full(tmp_path, nats, fluent_bit):
    spool = {
        "NATS_FLUENT_SPOOL_MODE": "always",
        "NATS_FLUENT_SPOOL_DIR": str(tmp_path / "spool"),
        "NATS_FLUENT_SPOOL_MAX_BYTES": "200k",
        "NATS_FLUENT_BATCH_MAX_BYTES": "50k",
        "NATS_FLUENT_BATCH_BUFFER_BYTES": "1M",
        "NATS_FLUENT_RECORD_MAX_BYTES": "20k",
    }
    with started(Watched(tmp_path, nats, **to(fluent_bit, **spool))) as running:
        running.wait_up()
        fluent_bit.stop()
        running.wait_why("log shipper")
        publish(nats, 500, size=1000)
        reasons = running.wait_why("log shipper", "spool")
        assert reasons["spool"] == "it takes no chunks: spool.max_bytes are on disk"
        assert 100_000 < running.samples()["nats_fluent_spool_bytes",] <= 200_000
        fluent_bit.start()
        running.wait_why()
        wait_until(
            lambda: running.facts()["shipper"]["records_acknowledged"] == 500,
            within=HEALED,
            what="all is delivered",
        )


def test_a_disk_that_takes_nothing(tmp_path, nats, fluent_bit):
    directory = tmp_path / "spool"
    spool = {"NATS_FLUENT_SPOOL_MODE": "always", "NATS_FLUENT_SPOOL_DIR": str(directory)}
    with started(Watched(tmp_path, nats, **to(fluent_bit, **spool))) as running:
        running.wait_up()
        fluent_bit.stop()
        running.wait_why("log shipper")
        shutil.rmtree(directory)
        publish(nats, 3)
        assert running.wait_why("log shipper", "spool")["spool"].startswith("it takes no chunks: [Errno 2]")
        directory.mkdir()

        def healed():
            publish(nats, 1)  # it is tried with what comes, once a second
            return set(running.why()) == {"log shipper"}

        wait_until(healed, within=HEALED, what="the spool is ready")


def test_a_stop_is_not_ready_and_is_live_until_it_ends(tmp_path, nats):
    nowhere = {
        "NATS_FLUENT_FLUENT_URL": f"forward://127.0.0.1:{free_port()}",
        "NATS_FLUENT_SHUTDOWN_TIMEOUT": "60s",
    }
    with started(Watched(tmp_path, nats, **nowhere)) as running:
        running.wait_subscribed()
        publish(nats, 3)
        running.process.send_signal(signal.SIGTERM)
        reasons = running.wait_why("program", "log shipper")
        assert reasons["program"] == "it is stopping"
        running.kill()


# What is counted


def test_the_metrics_are_the_account(nats, watched):
    size = publish(nats, 10_000)
    publish_raw(nats.port, *[pub("activities", b"junk")] * 7)
    found = {}

    def delivered():
        found.update(watched.samples())
        return found["nats_fluent_records_acknowledged_total",] == 10_007

    wait_until(delivered, what="all is acknowledged")
    assert watched.stop() == 0
    stopped = watched.log()[-1]
    received = {
        key[1][1]: value
        for key, value in found.items()
        if key[0] == "nats_fluent_publications_received_total" and value
    }
    assert received == {TOPIC: 10_000, "activities": 7}
    assert stopped["received"] == sum(received.values())
    assert stopped["delivered"] == found["nats_fluent_records_acknowledged_total",]
    assert stopped["undecodable"] == 7
    assert found["nats_fluent_publications_undecodable_total", ("topic", "activities")] == 7
    assert found["nats_fluent_publications_decoded_total",] == 10_000
    assert found["nats_fluent_publications_received_bytes_total", ("topic", TOPIC)] == size
    chunks = found["nats_fluent_chunks_acknowledged_total",]
    assert chunks == found["nats_fluent_acknowledgement_seconds_count",]
    assert chunks == found["nats_fluent_end_to_end_seconds_count",]
    assert chunks == found["nats_fluent_chunks_sent_total",] >= 21
    # The samples are from 2019, the junk from now.
    assert found["nats_fluent_end_to_end_seconds_bucket", ("le", "3600.0")] < chunks
    assert found["nats_fluent_acknowledgement_seconds_bucket", ("le", "+Inf")] == chunks
    for idle in (
        "buffer_bytes",
        "buffer_records",
        "pending_chunks",
        "stalled_seconds",
        "buffer_oldest_seconds",
    ):
        assert found[f"nats_fluent_{idle}",] == 0
    assert abs(found["nats_fluent_last_acknowledged_timestamp_seconds",] - time.time()) < 60


def test_what_is_dropped_is_counted_by_topic(tmp_path, nats):
    small = {
        "NATS_FLUENT_FLUENT_URL": f"forward://127.0.0.1:{free_port()}",
        "NATS_FLUENT_BATCH_BUFFER_BYTES": "100k",
        "NATS_FLUENT_BATCH_MAX_BYTES": "50k",
        "NATS_FLUENT_RECORD_MAX_BYTES": "20k",
        "NATS_FLUENT_SHUTDOWN_TIMEOUT": "1ms",
    }
    with started(Watched(tmp_path, nats, **small)) as running:
        running.wait_subscribed()
        publish(nats, 1000)
        wait_until(
            lambda: running.samples()["nats_fluent_publications_received_total", ("topic", TOPIC)] == 1000,
            what="all is received",
        )
        found = running.samples()
        dropped = found["nats_fluent_publications_dropped_total", ("reason", "buffer_full"), ("topic", TOPIC)]
        assert dropped > 500
        assert dropped == running.facts()["dropped_subjects"][TOPIC]
        assert dropped + found["nats_fluent_buffer_records",] == 1000
        running.stop()
    assert running.log()[-1]["dropped"] == dropped


async def test_the_lag_of_a_stream(tmp_path):
    small = {
        "NATS_FLUENT_JETSTREAM_STREAM": STREAM,
        "NATS_FLUENT_JETSTREAM_MAX_ACK_PENDING": "100",
        "NATS_FLUENT_FLUENT_URL": f"forward://127.0.0.1:{free_port()}",
        "NATS_FLUENT_SHUTDOWN_TIMEOUT": "1ms",
    }
    server = StreamServer(tmp_path)
    with started(server):
        async with publisher(server) as client:
            streams = Streams(client)
            await streams.make(TOPIC)
            await streams.publish(TOPIC, *[publication({"ID": "1"})] * 300)

        def held():
            with started(Watched(tmp_path, server, **small)) as running:
                running.wait_why("log shipper")
                wait_until(
                    lambda: running.samples()["nats_fluent_jetstream_ack_pending",] == 100,
                    what="as much is held as may be",
                )
                assert running.samples()["nats_fluent_jetstream_pending",] == 200
                running.stop()

        def again():
            (tmp_path / "again").mkdir()
            with started(Watched(tmp_path / "again", server, **small)) as running:
                running.wait_why("log shipper")
                wait_until(
                    lambda: running.samples()["nats_fluent_jetstream_redelivered_total",] == 100,
                    what="what was given back came again",
                )

        await asyncio.to_thread(held)
        await asyncio.to_thread(again)


# What is asked


def test_what_each_path_is(watched):
    for path, kind in (
        ("/", "text/html; charset=utf-8"),
        ("/livez", "application/json"),
        ("/readyz", "application/json"),
        ("/healthz", "application/json"),
        ("/status", "application/json"),
        ("/metrics", "text/plain; version=0.0.4; charset=utf-8"),
    ):
        status, headers, body = watched.ask(path)
        assert (status, headers["Content-Type"]) == (200, kind), path
        assert headers["Cache-Control"] == "no-store"
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Server"] == "nats-fluent"
        assert body
        assert watched.ask(path, method="HEAD")[::2] == (200, b"")
        assert watched.ask(path, method="POST")[0] == 405
    kind = watched.ask("/metrics", Accept="application/openmetrics-text; version=1.0.0")[1]["Content-Type"]
    assert kind.startswith("application/openmetrics-text; version=1.0.0")


def test_the_page_asks_for_nothing_from_elsewhere(watched):
    _, headers, body = watched.ask("/")
    policy = dict(rule.split(" ", 1) for rule in headers["Content-Security-Policy"].split("; "))
    assert policy["default-src"] == "'none'"
    assert policy["connect-src"] == "'self'"
    assert re.fullmatch(r"'sha256-[\w+/=]+'", policy["script-src"])
    assert re.fullmatch(r"'sha256-[\w+/=]+'", policy["style-src"])
    assert b"://" not in body


@pytest.mark.parametrize(
    "path", ["/nothing", "/status.html", "/../setup.cfg", "//etc/passwd", "/%2e%2e/x", "/readyz/"]
)
def test_no_other_path_is_there(watched, path):
    status, _, body = watched.ask(path)
    assert (status, body) == (404, b"404: Not Found")


def test_a_request_has_its_bounds(watched):
    assert watched.ask("/readyz", X="y" * 20_000)[0] == 400
    assert watched.ask("/" + "a" * 20_000)[0] == 400
    with socket.create_connection(("127.0.0.1", watched.http), timeout=5) as garbage:
        garbage.sendall(b"\x16\x03\x01\x02\x00no HTTP\r\n\r\n")
        assert b" 400 " in garbage.makefile("rb").readline()
    assert watched.why() == {}
    assert watched.stop() == 0
    assert all(line["level"] == "info" for line in watched.log()), watched.log()


def test_drain_ends_it_as_a_signal_does(nats, watched):
    publish(nats, 20)
    wait_until(lambda: watched.facts()["topics"][TOPIC]["received"] == 20, what="all is received")
    status, _, body = watched.ask("/drain", method="POST")
    assert (status, json.loads(body)) == (202, {"draining": True})
    assert watched.ended() == 0
    assert watched.log()[-1]["delivered"] == 20
    assert "stopping" in watched.events()


@pytest.mark.parametrize(
    "headers",
    [{"Origin": "http://x.example"}, {"X_Forwarded_For": "10.1.2.3"}, {"Forwarded": "for=10.1.2.3"}],
)
def test_drain_is_for_this_host_alone(watched, headers):
    status, _, body = watched.ask("/drain", method="POST", **headers)
    assert status == 403
    assert json.loads(body) == {"draining": False, "why": "only this host may ask for it"}
    assert watched.ask("/drain")[0] == 405
    assert watched.why() == {}


# What cannot be


def refused(nats, listen):
    done = subprocess.run(
        [*COMMAND, "run", "--http-listen", listen, "--nats-servers", nats.url],
        env=ENVIRON,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 2
    return done.stderr


def test_a_port_that_is_taken_is_said_in_a_sentence(nats):
    assert refused(nats, f"127.0.0.1:{nats.port}") == (
        f"nats-fluent: http.listen: cannot listen on 127.0.0.1:{nats.port} (address already in use); "
        "give another address with NATS_FLUENT_HTTP_LISTEN, or off.\n"
    )


def test_an_address_that_is_not_one_is_said_in_a_sentence(nats):
    assert refused(nats, "9464") == (
        "nats-fluent: flag --http-listen: '9464' is not an address; "
        "write 127.0.0.1:9464, 0.0.0.0:9464 for every address of this host, or off.\n"
    )


def test_without_the_setting_nothing_listens(tmp_path, nats):
    with started(Watched(tmp_path, nats, NATS_FLUENT_HTTP_LISTEN="off")) as running:
        running.wait_subscribed()
        with pytest.raises(ConnectionRefusedError):
            running.ask("/livez")
