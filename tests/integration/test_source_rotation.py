"""Secrets and certificates that change while messages flow: taken up by the next connection, and nothing is lost."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from typing import TYPE_CHECKING

import nats
import pytest
import trustme
from operators import Operator
from programs import NatsServer, started
from streams import STREAM, Streams, StreamServer, StreamTaking, deliver
from taking import Certificates, settings_for, taking, until

from nats_fluent.options import Secret
from nats_fluent.sections import JetStreamSettings
from nats_fluent.source import connect
from nats_fluent.source.jetstream import JetStreamSource
from nats_fluent.topics import Topic

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

REFUSED = "cannot connect to NATS; trying again"
CONNECTED = "connected to NATS"


@pytest.fixture(autouse=True)
def quick_reconnects(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connect, "RECONNECT_WAIT", 0.05)
    monkeypatch.setattr(connect, "RECONNECT_JITTER", 0.0)


def reload(server: NatsServer, change: Callable[[str], str]) -> None:
    """Change the server's configuration, which it reads on SIGHUP; it ends connections that are no longer let in."""
    conf = server.stdout.parent / "nats-server.conf"
    conf.write_text(change(conf.read_text()))
    server.process.send_signal(signal.SIGHUP)


class Load:
    """A publisher that goes on until it is stopped; `published` are in the stream."""

    def __init__(self, streams: Streams) -> None:
        self.streams = streams
        self.published = 0
        self._stop = False

    async def run(self) -> None:
        while not self._stop:
            numbers = range(self.published, self.published + 50)
            await self.streams.publish("events.a", *(b"%d" % n for n in numbers))
            self.published += 50

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        task = asyncio.create_task(self.run(), name="load")
        try:
            yield
        finally:
            self._stop = True
            await task


async def test_a_password_and_a_certificate_are_rotated_and_nothing_is_lost(tmp_path: Path) -> None:
    certificates = Certificates(tmp_path)
    ca_of_clients = tmp_path / "clients.pem"
    certificates.ca.cert_pem.write_to_path(ca_of_clients)
    pem = certificates.server_file
    server = StreamServer(
        tmp_path,
        f'tls {{ cert_file: "{pem}", key_file: "{pem}", ca_file: "{ca_of_clients}", verify: true, timeout: 5 }}\n'
        "authorization { users: [{user: me, password: first-pw}, {user: all, password: all}] }",
    )
    password, phrase = tmp_path / "password", tmp_path / "phrase"
    password.write_text("first-pw")
    phrase.write_text("one")
    key_file = tmp_path / "client.key"
    key_file.write_bytes(certificates.key_file(form="TraditionalOpenSSL", passphrase="one").read_bytes())
    taken = StreamTaking(server)
    taken.before_receiving = deliver
    taken.source = JetStreamSource(
        settings_for(
            server,
            user="me",
            password=Secret(file=password),
            ca_file=certificates.ca_file,
            cert_file=certificates.cert_file,
            key_file=key_file,
            key_password=Secret(file=phrase),
        ),
        [Topic("events.>", "events")],
        # Acknowledgements that were on their way when the server ended the connection: it delivers again.
        jetstream=JetStreamSettings(stream=STREAM, ack_wait=2.0),
        receive=taken.receive,
        room=lambda: taken.room,
        log=taken.log,
    )
    with started(server):
        context = certificates.client_context()
        client = await nats.connect(server.url, tls=context, user="all", password="all")
        streams = Streams(client)
        await streams.make()
        load = Load(streams)
        async with load.running():
            await taken.source.start()
            await taken.wait_for(500)
            # The operator of NATS is first: the old password is refused from here on.
            reload(server, lambda text: text.replace("password: first-pw", "password: second-pw"))
            await taken.wait_log(REFUSED)
            password.write_text("second-pw")
            await taken.wait_log(CONNECTED, 2)
            await taken.wait_for(len(taken.deliveries) + 500)

            # Another CA for clients; that of the load is still let in. The files come one by one.
            new = trustme.CA()
            ca_of_clients.write_bytes(new.cert_pem.bytes())
            reload(server, lambda text: text.replace("password: second-pw", "password: third-pw"))
            password.write_text("third-pw")
            issued = new.issue_cert("client@nats.test")
            await until(
                lambda: "unknown ca" in repr(taken.lines(REFUSED)), what="the old certificate is refused"
            )
            certificates.cert_file.write_bytes(issued.cert_chain_pems[0].bytes())
            await until(
                lambda: "is not the key of" in repr(taken.lines(REFUSED)), what="a half-done rotation is said"
            )
            key_file.write_bytes(certificates.encrypted(issued, "two"))
            await until(
                lambda: "does not open" in repr(taken.lines(REFUSED)), what="the old passphrase is said"
            )
            phrase.write_text("two")
            await taken.wait_log(CONNECTED, 3)
            await taken.wait_for(len(taken.deliveries) + 500)
        await streams.settled(load.published)
        assert {int(payload) for payload in taken.payloads} == set(range(load.published))
        assert taken.lines("NATS cannot be used") == []
        assert not any(secret in repr(taken.logged) for secret in ("first-pw", "second-pw", "third-pw"))
        await taken.source.close()
        await client.close()


async def test_credentials_are_revoked_and_replaced(tmp_path: Path) -> None:
    operator = Operator()
    creds = tmp_path / "user.creds"
    creds.write_text(operator.user(revoked=True))
    good = operator.user()
    revoking = operator.config()
    with started(NatsServer(tmp_path, operator.config(revoke=False))) as server:
        async with taking(settings_for(server, creds=Secret(file=creds)), "activities") as taken:
            reload(server, lambda text: f"{text.partition('operator:')[0]}{revoking}")
            await taken.wait_log("lost the connection to NATS")
            await until(lambda: "refused the credentials" in repr(taken.lines(REFUSED)), what="being refused")
            creds.write_text("")
            await until(lambda: "is empty" in repr(taken.lines(REFUSED)), what="an empty file is said")
            creds.write_text(good)
            await taken.wait_log(CONNECTED, 2)


async def test_a_ca_is_replaced(tmp_path: Path) -> None:
    certificates = Certificates(tmp_path)
    with started(NatsServer(tmp_path, certificates.server_config())) as server:
        async with taking(settings_for(server, ca_file=certificates.ca_file), "activities") as taken:
            new = trustme.CA()
            issued = new.issue_cert("127.0.0.1")
            issued.private_key_and_cert_chain_pem.write_to_path(certificates.server_file)
            reload(server, lambda text: text)
            await until(
                lambda: b"Reloaded" in server.stderr.read_bytes(), what="the server has its new certificate"
            )
            await taken.source.reconnect()
            await taken.wait_log(REFUSED)
            new.cert_pem.write_to_path(certificates.ca_file)
            await taken.wait_log(CONNECTED, 2)
