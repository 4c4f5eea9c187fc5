"""What nats-py may say to which server: a login is read when it is sent, and over TLS alone where that is asked for.

It leans on private parts of nats-py 2.16, as the client that is made of it does.
"""

from __future__ import annotations

import json
import re
import ssl
from typing import TYPE_CHECKING, Any, cast

from nats import errors
from nats.aio.client import Client as NatsClient
from nats.aio.transport import TcpTransport

from nats_fluent.errors import SettingsError
from nats_fluent.source import login
from nats_fluent.source.tls import tls_context

if TYPE_CHECKING:
    import asyncio

    from nats.aio.client import Srv

    from nats_fluent.sections import NatsSettings
    from nats_fluent.source.websocket import WebSocketTransport

DISCOVERED = 64
"""Servers of the cluster that one INFO line may name."""

_VIOLATION = "authorization violation"
_PLACE = re.compile(r"(\[[0-9A-Fa-f:.%]+\]|[A-Za-z0-9_.-]{1,253}):[0-9]{1,5}")


class NoTlsError(errors.Error):
    """TLS is asked for, and the server does not offer it."""


class SecuredClient(NatsClient):
    """A client that is never downgraded, and that signs in as the settings say.

    The files that the settings name are read for each attempt: what was rotated is used from then on, and what cannot
    be read is a reason to try again.

    Args:
        settings: who we are and whether TLS is asked for: then CONNECT, and with it what shows who we are, is never
            sent without. Where the servers are, `connect` is told.

    Attributes:
        attempted: ``host:port`` of the server that was tried last.
        attempts: how many times one was.
        step: how far the last attempt came: ``connect``, ``TLS`` or ``login``.
    """

    def __init__(self, settings: NatsSettings) -> None:
        super().__init__()
        self._settings = settings
        self.attempted = ""
        self.attempts = 0
        self.step = "connect"

    @property
    def server(self) -> str:
        """``host:port`` of the server connected to, without the credentials that its URL may hold."""
        return _address(self._current_server)

    @property
    def uses_tls(self) -> bool:
        """Whether what is written now is encrypted."""
        carrier = self._carrier
        return carrier is not None and carrier.get_extra_info("ssl_object") is not None

    @property
    def certificate(self) -> dict[str, Any]:
        """The server's certificate, as `ssl.SSLSocket.getpeercert` has it; empty without TLS."""
        carrier = self._carrier
        return (carrier.get_extra_info("peercert") if carrier is not None else None) or {}

    @property
    def ssl_context(self) -> ssl.SSLContext:
        """What the next handshake begins with. Its name is nats-py's, which asks for it each time.

        Raises:
            errors.Error: a file cannot be used.
        """
        try:
            return tls_context(self._settings) or ssl.create_default_context()
        except SettingsError as error:
            raise errors.Error(str(error)) from error

    @property
    def _carrier(self) -> asyncio.WriteTransport | None:
        """What the bytes leave by."""
        transport = self._transport
        if transport is not None and not isinstance(transport, TcpTransport):
            return cast("WebSocketTransport", transport).carrier
        writer = transport._io_writer if transport is not None else None  # noqa: SLF001 - no public way
        return writer.transport if writer is not None else None

    def _connect_command(self) -> bytes:
        # nats-py falls back to plain text, credentials included, when the server's INFO does not require TLS.
        if self._settings.tls and not self.uses_tls:
            raise NoTlsError(
                f"TLS is asked for, and {self.server} does not offer it: nothing was sent to it. "
                "Enable TLS on the server, or remove the TLS settings and tls:// to connect in plain text."
            )
        self.step = "login"
        options = json.loads(super()._connect_command().removeprefix(b"CONNECT "))
        try:
            options |= login.fields(self._settings, self._server_info)
        except SettingsError as error:
            raise errors.Error(f"cannot sign in: {error}") from error
        return b"CONNECT %s\r\n" % json.dumps(options).encode()

    async def _connect_to_server(self, s: Srv) -> None:
        self.attempted = _address(s)
        self.attempts += 1
        self.step = "connect"
        if s.uri.scheme in {"ws", "wss"} and not self._transport:
            from nats_fluent.source.websocket import WebSocketTransport  # noqa: PLC0415 - aiohttp

            self._transport = WebSocketTransport()
        await super()._connect_to_server(s)

    async def _process_info(self, info: dict[str, Any], initial_connection: bool = False) -> None:  # noqa: FBT001, FBT002 - nats-py's own
        if initial_connection:
            self.step = "TLS"
        # Before TLS, INFO can be from anybody who is on the way, and name a server that has a good certificate.
        trusted = self.uses_tls or not self._settings.tls
        if self._settings.discovery == "off" or not trusted:
            info = {name: value for name, value in info.items() if name != "connect_urls"}
        await super()._process_info(_tame(info, len(self._server_pool)), initial_connection)
        current: Any = self._current_server
        for server in self._server_pool:
            if server.discovered:
                # nats-py takes the others of a websocket for nats://, and forgets the name after the first of them.
                server.uri = server.uri._replace(scheme=current.uri.scheme)
                if server.tls_name is not None and current.tls_name is not None:
                    server.tls_name = current.tls_name

    def _explained(self, said: str) -> str:
        said = login.hidden(self._settings, said)
        if _VIOLATION not in said.lower():
            return said
        words = said.removeprefix("nats: ").strip("'")
        return f"{words}: {login.refused(self._settings)}"


def _tame(info: dict[str, Any], known: int) -> dict[str, Any]:
    """Leave out of INFO what is no ``host:port`` of another server, above all credentials, and what is too many."""
    urls = info.get("connect_urls")
    good = (
        [url for url in urls if isinstance(url, str) and _PLACE.fullmatch(url)]
        if isinstance(urls, list)
        else []
    )
    return info | {"connect_urls": good[: max(0, DISCOVERED - known)]}


def _address(server: Srv | None) -> str:
    """Return ``host:port``; the netloc would hold the credentials."""
    if server is None:
        return ""
    uri: Any = server.uri
    host = f"[{uri.hostname}]" if ":" in uri.hostname else uri.hostname
    return f"{host}:{uri.port}" if uri.port else str(host)
