"""Where TLS is asked for, a server without it is told nothing: what a client sends, as it is on the wire."""

from __future__ import annotations

from typing import TYPE_CHECKING

import nkeys
import pytest
from listening import listening
from operators import Operator, seed
from programs import NatsServer, free_port, started
from taking import Certificates, Taking, settings_for, taking, until
from tap import Tap, between

from nats_fluent.options import Secret
from nats_fluent.source import connect

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable
    from pathlib import Path

REFUSED = "cannot connect to NATS; trying again"
CLIENT_HELLO = b"\x16\x03"
NO_TLS = "does not offer it: nothing was sent to it"
NOT_TLS = "does not speak TLS; nothing else was sent to it"


@pytest.fixture(autouse=True)
def quick_reconnects(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connect, "RECONNECT_WAIT", 0.05)
    monkeypatch.setattr(connect, "RECONNECT_JITTER", 0.0)


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return Certificates(tmp_path_factory.mktemp("certificates"))


LOGINS: dict[str, Callable[[Certificates], dict[str, object]]] = {
    "password": lambda _: {"user": "me", "password": Secret("s3cret")},
    "token": lambda _: {"token": Secret("s3cret")},
    "nkey": lambda _: {"nkey": Secret(seed(nkeys.PREFIX_BYTE_USER))},
    "creds": lambda _: {"creds": Secret(Operator().user())},
    "certificate": lambda certs: {"cert_file": certs.cert_file, "key_file": certs.key_file()},
}


async def refused(taken: Taking, attempts: int, what: str) -> None:
    """Return when it was said, and tried again so often."""
    await taken.wait_log(REFUSED)
    await until(lambda: taken.source.attempts >= attempts, what="further attempts")
    (line,) = taken.lines(REFUSED)
    assert line["reason"].partition(". ")[0].endswith(what), line
    assert not taken.source.connected


@pytest.mark.parametrize("name", LOGINS)
async def test_a_server_without_tls_hears_nothing(
    tmp_path: Path, certificates: Certificates, name: str
) -> None:
    websocket = free_port()
    config = f'websocket {{ listen: "127.0.0.1:{websocket}", no_tls: true }}'
    login = LOGINS[name](certificates)
    with started(NatsServer(tmp_path, config)) as server:
        async with Tap(server.port) as tap:
            settings = settings_for(server, servers=(f"tls://127.0.0.1:{tap.port}",), **login)
            async with taking(settings, "activities", subscribed=False) as taken:
                await refused(taken, 3, NO_TLS)
            assert tap.connections >= 2
            assert tap.heard == b""
            settings = settings_for(
                server, servers=(f"nats://127.0.0.1:{tap.port}",), tls_first="on", **login
            )
            async with taking(settings, "activities", subscribed=False) as taken:
                await refused(taken, 2, NOT_TLS)
                await until(lambda: tap.heard, what="the client's first words")
            assert tap.heard.startswith(CLIENT_HELLO)
            assert b"CONNECT" not in tap.heard
        async with Tap(websocket) as tap:
            settings = settings_for(server, servers=(f"wss://127.0.0.1:{tap.port}",), **login)
            async with taking(settings, "activities", subscribed=False) as taken:
                await refused(taken, 2, NOT_TLS)
                await until(lambda: tap.heard, what="the client's first words")
            assert tap.heard.startswith(CLIENT_HELLO)
            assert b"GET" not in tap.heard


async def test_a_websocket_without_tls_is_closed_unsaid(tmp_path: Path, certificates: Certificates) -> None:
    # No settings can be loaded that ask for this; what is held here is the last line of defence.
    websocket = free_port()
    config = f'websocket {{ listen: "127.0.0.1:{websocket}", no_tls: true }}'
    with started(NatsServer(tmp_path, config)) as server:
        async with Tap(websocket) as tap:
            settings = settings_for(
                server,
                servers=(f"ws://127.0.0.1:{tap.port}",),
                ca_file=certificates.ca_file,
                token=Secret("s3cret"),
            )
            async with taking(settings, "activities", subscribed=False) as taken:
                await refused(taken, 1, NO_TLS)
            request, _, frames = tap.heard.partition(b"\r\n\r\n")
            assert request.startswith(b"GET ")
            assert frames[:1] in {b"", b"\x88"}, "a frame that is no farewell"


async def test_tls_that_is_gone_after_a_reconnect(tmp_path: Path, certificates: Certificates) -> None:
    (tmp_path / "tls").mkdir()
    (tmp_path / "plain").mkdir()
    with (
        started(NatsServer(tmp_path / "tls", certificates.server_config())) as server,
        started(NatsServer(tmp_path / "plain")) as plain,
    ):
        async with Tap(server.port) as tap:
            settings = settings_for(
                server,
                servers=(f"nats://127.0.0.1:{tap.port}",),
                ca_file=certificates.ca_file,
                token=Secret("x"),
            )
            async with taking(settings, "activities") as taken:
                tap.target, tap.heard = plain.port, b""
                tap.cut()
                await refused(taken, 3, NO_TLS)
                assert tap.heard == b""
                tap.target = server.port
                await until(lambda: taken.source.connected, what="being connected again")


class Cluster:
    """A server with TLS that tells of another one; what that hears is kept."""

    def __init__(self, directory: Path, certificates: Certificates, tap: Tap) -> None:
        routes = free_port()
        for name in ("tls", "plain"):
            (directory / name).mkdir()
        self.other = NatsServer(
            directory / "plain",
            f'cluster {{ name: one, listen: "127.0.0.1:{routes}" }}\nclient_advertise: "127.0.0.1:{tap.port}"',
        )
        tap.target = self.other.port
        self.server = NatsServer(
            directory / "tls",
            certificates.server_config()
            + f'\ncluster {{ name: one, listen: "127.0.0.1:-1", routes: ["nats://127.0.0.1:{routes}"] }}',
        )


def known(taken: Taking) -> list[str]:
    """The servers that the source would connect to."""
    return [server.uri.geturl() for server in taken.source.link.client._server_pool]


async def test_a_server_that_was_only_told_of_needs_tls_too(
    tmp_path: Path, certificates: Certificates
) -> None:
    async with Tap(0) as tap:
        cluster = Cluster(tmp_path, certificates, tap)
        with started(cluster.other), started(cluster.server):
            url = f"tls://127.0.0.1:{cluster.server.port}"
            settings = settings_for(
                cluster.server, servers=(url,), ca_file=certificates.ca_file, token=Secret("s3cret")
            )
            async with taking(settings, "activities") as taken:
                await until(lambda: len(known(taken)) == 2, what="being told of the other")
                assert set(known(taken)) == {url, f"tls://127.0.0.1:{tap.port}"}
                cluster.server.stop()
                await until(lambda: tap.connections >= 2, what="the other is tried, again and again")
                assert tap.heard == b""
                cluster.server.start()
                await until(lambda: taken.source.connected, what="being connected again")
                assert taken.source.link.client.server == f"127.0.0.1:{cluster.server.port}"


async def test_with_discovery_off_none_is_told_of(tmp_path: Path, certificates: Certificates) -> None:
    async with Tap(0) as tap:
        cluster = Cluster(tmp_path, certificates, tap)
        with started(cluster.other), started(cluster.server):
            url = f"tls://127.0.0.1:{cluster.server.port}"
            plain = {"servers": (url,), "ca_file": certificates.ca_file}
            async with (
                taking(settings_for(cluster.server, **plain), "activities") as told,
                taking(settings_for(cluster.server, **plain, discovery="off"), "activities") as taken,
            ):
                await until(lambda: len(known(told)) == 2, what="the server tells of the other")
                await taken.source.link.client.flush()
                assert known(taken) == [url]


async def test_what_is_told_before_tls_is_not_believed(tmp_path: Path, certificates: Certificates) -> None:
    # Who is on the way can put a server of his own there, with a certificate that is good for its name.
    with started(NatsServer(tmp_path, certificates.server_config())) as server:

        def told_of_another(said: bytes) -> bytes:
            return said.replace(b"INFO {", b'INFO {"connect_urls":["evil.example:4222"],', 1)

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await between(reader, writer, server.port, down=told_of_another)

        async with listening(serve) as port:
            url = f"tls://127.0.0.1:{port}"
            settings = settings_for(server, servers=(url,), ca_file=certificates.ca_file)
            async with taking(settings, "activities") as taken:
                assert known(taken) == [url]
