"""The HTTP endpoint of `nats-fluent run`: what it counts, what can be asked, and what cannot."""

from __future__ import annotations

import asyncio
import json
import re
import socket
import subprocess
import time

import pytest
from building import publication
from commands import COMMAND, ENVIRON, MonitoredNats, pub
from programs import PATIENCE, free_port, started, wait_until
from streams import STREAM, Streams, StreamServer
from taking import publish_raw, publisher
from watching import Watched

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
    with socket.create_connection(("127.0.0.1", watched.http), timeout=PATIENCE) as garbage:
        garbage.sendall(b"\x16\x03\x01\x02\x00no HTTP\r\n\r\n")
        assert b" 400 " in garbage.makefile("rb").readline()
    assert watched.why() == {}
    assert watched.stop() == 0
    assert all(line["level"] == "info" for line in watched.log()), watched.log()


def test_a_client_may_ask_for_much_at_once_and_say_that_it_is_all(watched):
    request = b"GET /%s HTTP/1.1\r\nHost: a\r\n\r\n"
    with socket.create_connection(("127.0.0.1", watched.http), timeout=PATIENCE) as client:
        client.sendall(b"".join(request % path for path in (b"metrics", b"livez", b"x") * 200))
        client.shutdown(socket.SHUT_WR)
        with client.makefile("rb") as answers:
            said = answers.read()
    assert re.findall(rb"HTTP/1\.1 (\d{3}) ", said) == [b"200", b"200", b"404"] * 200


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
        timeout=PATIENCE,
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
