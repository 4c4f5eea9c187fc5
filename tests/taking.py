"""What the tests of the source share: a source with its log, raw publications, certificates."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import ssl
from typing import TYPE_CHECKING

import nats
import pytest
import trustme
from cryptography.hazmat.primitives import serialization
from logged import capturing_log
from programs import PATIENCE

from nats_fluent.sections import NatsSettings
from nats_fluent.source.core import CoreSource
from nats_fluent.topics import Topic

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from programs import NatsServer

    from nats_fluent.delivery import Delivery


async def until(ready: Callable[[], object], *, what: str, within: float = PATIENCE) -> None:
    """Let the loop run until `ready` is true; fail with `what` after `within` seconds."""
    deadline = asyncio.get_running_loop().time() + within
    while not ready():
        if asyncio.get_running_loop().time() > deadline:
            pytest.fail(f"not within {within} s: {what}")
        await asyncio.sleep(0.01)


class Taking:
    """A source, what it handed on, and what it logged."""

    def __init__(self, settings: NatsSettings, *topics: str | Topic) -> None:
        self.deliveries: list[Delivery] = []
        self.before_receiving: Callable[[Delivery], None] = lambda _: None
        self.log, self.logged = capturing_log()
        self.source = CoreSource(
            settings,
            [topic if isinstance(topic, Topic) else Topic(topic, topic) for topic in topics],
            receive=self.receive,
            log=self.log,
        )

    def receive(self, deliveries: list[Delivery]) -> None:
        for delivery in deliveries:
            self.before_receiving(delivery)
            self.deliveries.append(delivery)

    @property
    def payloads(self) -> list[bytes]:
        return [delivery.payload for delivery in self.deliveries]

    def events(self) -> list[str]:
        return [entry["event"] for entry in self.logged]

    def lines(self, event: str) -> list[dict]:
        """The fields of each line with that text."""
        return [
            {name: value for name, value in entry.items() if name not in {"event", "log_level"}}
            for entry in self.logged
            if entry["event"] == event
        ]

    async def wait_for(self, count: int) -> None:
        await until(lambda: len(self.deliveries) >= count, what=f"{count} deliveries")

    async def wait_log(self, event: str, count: int = 1) -> None:
        await until(lambda: len(self.lines(event)) >= count, what=f"{count} times {event!r} in the log")


@contextlib.asynccontextmanager
async def taking(
    settings: NatsSettings, *topics: str | Topic, subscribed: bool = True
) -> AsyncIterator[Taking]:
    """A started source, closed with the block."""
    source = Taking(settings, *topics)
    await source.source.start()
    try:
        if subscribed:
            await asyncio.wait_for(source.source.wait_subscribed(), PATIENCE)
        yield source
    finally:
        await source.source.close()


@contextlib.asynccontextmanager
async def publisher(server: NatsServer, **options: object) -> AsyncIterator[nats.NATS]:
    """A plain nats-py client."""
    client = await nats.connect(server.url, max_reconnect_attempts=1, **options)
    try:
        yield client
    finally:
        await client.close()


def publish_raw(port: int, *commands: bytes) -> None:
    """Send protocol commands as they are, and return when the server has processed them."""
    with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE) as connection:
        stream = connection.makefile("rb")
        options = json.loads(stream.readline().removeprefix(b"INFO "))
        assert options["headers"]
        connection.sendall(b'CONNECT {"verbose":false,"headers":true}\r\n' + b"".join(commands) + b"PING\r\n")
        while True:
            line = stream.readline()
            assert not line.startswith(b"-ERR"), line
            if line in {b"PONG\r\n", b""}:
                assert line, "the server closed the connection"
                return


def hpub(subject: str, headers: bytes, payload: bytes) -> bytes:
    """The command that publishes a header block as it is."""
    return b"HPUB %s %d %d\r\n%s%s\r\n" % (
        subject.encode(),
        len(headers),
        len(headers) + len(payload),
        headers,
        payload,
    )


class Certificates:
    """A CA, a server certificate for 127.0.0.1, and a client certificate with its key in several forms."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.ca = trustme.CA()
        self.ca_file = directory / "ca.pem"
        self.ca.cert_pem.write_to_path(self.ca_file)
        self.server_file = directory / "server.pem"
        self.ca.issue_cert("127.0.0.1", "localhost").private_key_and_cert_chain_pem.write_to_path(
            self.server_file
        )
        client = self.ca.issue_cert("client@nats-fluent.test")
        self.cert_file = directory / "client.pem"
        client.cert_chain_pems[0].write_to_path(self.cert_file)
        self._key = serialization.load_pem_private_key(client.private_key_pem.bytes(), None)

    def server_config(self, *, verify: bool = False) -> str:
        """The tls block of the server's configuration."""
        pem = self.server_file
        client = f'ca_file: "{self.ca_file}", verify: true' if verify else ""
        return f'tls {{ cert_file: "{pem}", key_file: "{pem}", timeout: 5, {client} }}'

    def client_context(self) -> ssl.SSLContext:
        """What a client of NATS's own uses."""
        context = ssl.create_default_context(cafile=self.ca_file)
        context.load_cert_chain(self.cert_file, self.key_file())
        return context

    @staticmethod
    def encrypted(issued: trustme.LeafCert, passphrase: str) -> bytes:
        """Its key as encrypted PKCS#8."""
        key = serialization.load_pem_private_key(issued.private_key_pem.bytes(), None)
        encryption = serialization.BestAvailableEncryption(passphrase.encode())
        return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption)

    def key_file(self, *, form: str = "PKCS8", passphrase: str | None = None) -> Path:
        """Write the client's key as PKCS#8 (`PKCS8`) or PKCS#1 / SEC1 (`TraditionalOpenSSL`)."""
        encryption = (
            serialization.NoEncryption()
            if passphrase is None
            else serialization.BestAvailableEncryption(passphrase.encode())
        )
        path = self.directory / f"client-{form}-{'plain' if passphrase is None else 'encrypted'}.key"
        path.write_bytes(
            self._key.private_bytes(
                serialization.Encoding.PEM, getattr(serialization.PrivateFormat, form), encryption
            )
        )
        return path


def settings_for(server: NatsServer, **changes: object) -> NatsSettings:
    """The settings that reach the server, which may take its time to answer."""
    return NatsSettings(**({"servers": (server.url,), "connect_timeout": PATIENCE} | changes))
