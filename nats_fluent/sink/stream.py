"""The whole I/O of a Forward connection: four methods, and how one is opened.

Whatever goes wrong with the network is a ServerUnavailable when it leaves this module.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from typing import TYPE_CHECKING, Any, Protocol

from nats_fluent.errors import ServerUnavailable, SettingsError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from nats_fluent.addresses import FluentUrl
    from nats_fluent.forward.codec import Buffers
    from nats_fluent.sections import FluentSettings

READ_SIZE = 64 * 1024
"""Bytes of one read; some 1,600 acknowledgements."""
WRITE_BUFFER = 256 * 1024
"""Bytes beyond which :meth:`Stream.drain` waits: half a chunk of the usual 0.5 MB. So a chunk is handed over
when the one before has nearly left, and the time until its acknowledgement is counted from there."""
CLOSE_TIMEOUT = 1.0
"""Seconds that a close may take before the connection is dropped."""
KEEPALIVE = (("TCP_KEEPIDLE", 60), ("TCP_KEEPINTVL", 15), ("TCP_KEEPCNT", 4))
"""Two minutes until a silent peer is noticed, and a sign of life well within the 900 s after which the IPVS
of Docker Swarm forgets an idle connection."""


class Stream(Protocol):
    """An open connection."""

    async def read(self) -> bytes:
        """Return what came, at least one byte, or no bytes when the peer closed the connection."""

    def write(self, buffers: Buffers) -> None:
        """Take the buffers to be sent; never blocks."""

    async def drain(self) -> None:
        """Wait until most of what was written has left."""

    async def close(self) -> None:
        """Close it; what has not left is dropped. Never fails, and takes no longer than CLOSE_TIMEOUT."""


class NetworkStream:
    """A stream over TCP, TLS or a Unix socket."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        writer.transport.set_write_buffer_limits(high=WRITE_BUFFER)

    @property
    def tls(self) -> tuple[str, dict[str, Any]] | None:
        """The version of TLS and the server's certificate, as `ssl.SSLSocket` has them; None without TLS."""
        ssl_object = self._writer.get_extra_info("ssl_object")
        if ssl_object is None:
            return None
        return ssl_object.version(), ssl_object.getpeercert()

    async def read(self) -> bytes:
        """As :meth:`Stream.read`."""
        with _translated("lost the connection"):
            return await self._reader.read(READ_SIZE)

    def write(self, buffers: Buffers) -> None:
        """As :meth:`Stream.write`."""
        with _translated("lost the connection"):
            # uvloop raises RuntimeError for this, which says nothing of the network.
            if self._writer.is_closing():
                raise ConnectionResetError("it was closed")
            self._writer.writelines(buffers)

    async def drain(self) -> None:
        """As :meth:`Stream.drain`."""
        with _translated("lost the connection"):
            await self._writer.drain()

    async def close(self) -> None:
        """As :meth:`Stream.close`."""
        transport = self._writer.transport
        if transport.get_write_buffer_size():
            # A server that reads nothing would keep it open for ever.
            transport.abort()
        self._writer.close()
        try:
            async with asyncio.timeout(CLOSE_TIMEOUT):
                await self._writer.wait_closed()
        except (OSError, TimeoutError):
            transport.abort()


async def dial(url: FluentUrl, settings: FluentSettings) -> NetworkStream:
    """Open a connection to the server, with TLS where the URL asks for it.

    Raises:
        ServerUnavailable: nobody is there, or the certificates do not do.
    """
    with _translated("cannot connect"):
        if url.scheme == "unix":
            return NetworkStream(*await asyncio.open_unix_connection(url.path))
        # Made for each connection, so that certificates can be renewed while the program runs.
        context = tls_context(settings) if url.tls else None
        reader, writer = await asyncio.open_connection(url.host, url.port, ssl=context)
        _tune(writer)
        return NetworkStream(reader, writer)


def tls_context(settings: FluentSettings) -> ssl.SSLContext:
    """Return the context for ``forward+tls``: TLS 1.2 or later, and the server's name is verified.

    Raises:
        SettingsError: a file cannot be used; says which.
    """
    try:
        context = ssl.create_default_context(cafile=settings.ca_file)
    except OSError as error:
        raise SettingsError(f"fluent.ca_file: no certificates in {settings.ca_file} ({error})") from error
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if settings.cert_file is not None:
        # Without a password, OpenSSL would ask for one on the terminal.
        password = settings.key_password.get() if settings.key_password else ""
        try:
            context.load_cert_chain(settings.cert_file, settings.key_file, password)
        except OSError as error:
            raise SettingsError(
                f"fluent.cert_file, fluent.key_file: {settings.cert_file} and {settings.key_file} are no "
                f"certificate and its key, or fluent.key_password does not open the key ({error})"
            ) from error
    return context


def _tune(writer: asyncio.StreamWriter) -> None:
    """Send at once, and notice when the peer is gone."""
    tcp: socket.socket = writer.get_extra_info("socket")
    tcp.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    tcp.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in KEEPALIVE:
        if hasattr(socket, name):  # macOS has not all of them
            tcp.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)


@contextlib.contextmanager
def _translated(doing: str) -> Iterator[None]:
    try:
        yield
    except ssl.SSLCertVerificationError as error:
        raise ServerUnavailable(
            f"{doing}: the server's certificate is not accepted ({error.verify_message}); "
            "is it from fluent.ca_file, and for the host of fluent.url?"
        ) from error
    # ValueError: a host name that cannot be one. SettingsError: certificates that were good at the start.
    except (OSError, ValueError, SettingsError) as error:
        raise ServerUnavailable(f"{doing}: {error}") from error
