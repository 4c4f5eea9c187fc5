"""Whether this program could run as it is set: its settings, whether files fit, whether servers answer."""

from __future__ import annotations

import asyncio
import base64
import os
import platform
from typing import TYPE_CHECKING, NamedTuple

from rich.console import Console
from rich.table import Table

from nats_fluent import spool
from nats_fluent.delivery import Chunk
from nats_fluent.errors import NatsFluentError, SettingsError
from nats_fluent.forward.codec import forward
from nats_fluent.forward.connection import Failed, ForwardConnection, State
from nats_fluent.forward.handshake import Credentials
from nats_fluent.settings import CATALOGUE
from nats_fluent.sink import stream as network
from nats_fluent.source import tls
from nats_fluent.source.api import Api
from nats_fluent.source.connect import connect_once

if TYPE_CHECKING:
    from nats_fluent.addresses import FluentUrl
    from nats_fluent.settings import FluentSettings, Loaded, Settings, SpoolSettings

PROBE_TAG = "nats-fluent.check"


class Row(NamedTuple):
    """One setting: its key, its value as text without secrets, and where that came from."""

    key: str
    value: str
    origin: str


class Attempt(NamedTuple):
    """One server that was tried.

    Attributes:
        server: its URL, ``NATS``, or ``JetStream`` with stream and consumer.
        ok: whether it can be used.
        detail: what it is, or why it cannot be used.
    """

    server: str
    ok: bool
    detail: str


def run(loaded: Loaded, *, timeout: float | None) -> int:
    """Print the settings and warnings, check the files, and with a timeout (seconds) also the servers.

    Returns:
        The exit code: 0, or 1 when a server cannot be used.

    Raises:
        SettingsError: a file cannot be used.
    """
    console = Console(highlight=False, markup=False, emoji=False)
    if not console.is_terminal:
        console.width = 200  # a pipe has no width, and lines in a log should not be folded at 80
    table = Table("setting", "value", "from", box=None, pad_edge=False)
    for row in rows(loaded):
        table.add_row(*row, style="dim" if row.origin == "default" else "")
    console.print(table)
    for warning in loaded.warnings:
        console.print(f"warning: {warning}", soft_wrap=True)
    verify_files(loaded.settings)
    if loaded.settings.spool.mode != "off":
        console.print(f"spool   {describe_spool(loaded.settings.spool)}", soft_wrap=True)
    if timeout is None:
        return 0
    attempts = asyncio.run(try_servers(loaded.settings, timeout=timeout))
    for attempt in attempts:
        outcome = "ok" if attempt.ok else "failed"
        console.print(f"{outcome:<6}  {attempt.server}  {attempt.detail}", soft_wrap=True)
    return 0 if all(attempt.ok for attempt in attempts) else 1


def rows(loaded: Loaded) -> list[Row]:
    """List every setting; of a secret only whether it is there, and in which file."""
    found = []
    for option in CATALOGUE:
        value = getattr(loaded.settings, option.section)
        if option.name:
            if not hasattr(value, option.name):
                continue  # the file of a secret, which is shown with the secret
            value = getattr(value, option.name)
        found.append(Row(option.key, option.show(value), loaded.origins[option.key]))
    return found


def verify_files(settings: Settings) -> None:
    """Check that certificates and keys fit together, that each passphrase opens its key, and the spool's directory.

    Raises:
        SettingsError: with a sentence for each that does not.
    """
    problems: list[str] = []
    try:
        tls.tls_context(settings.nats)
    except SettingsError as error:
        problems += error.problems
    try:
        if any(url.tls for url in settings.fluent.url):
            network.tls_context(settings.fluent)
    except SettingsError as error:
        problems += error.problems
    try:
        if settings.spool.mode != "off":
            spool.inspect(settings.spool.dir)
    except SettingsError as error:
        problems += error.problems
    if problems:
        raise SettingsError(*problems)


def describe_spool(settings: SpoolSettings) -> str:
    """Say what is in the spool, which may be in use.

    Raises:
        SettingsError: the directory cannot be used.
    """
    inside = spool.inspect(settings.dir)
    if inside is None:
        return f"{settings.dir}  is not there yet, and can be made"
    bad = f"; set aside as no whole chunks: {inside.bad}" if inside.bad else ""
    return (
        f"{settings.dir}  {inside.records} records in {inside.chunks} chunks, "
        f"{inside.size} of {settings.max_bytes} bytes{bad}"
    )


async def try_servers(settings: Settings, *, timeout: float) -> list[Attempt]:  # noqa: ASYNC109 - see Attempt
    """Connect to NATS and to each log shipper, at once; each has `timeout` seconds.

    A deadline that passes is an answer like any other, which is why it is not the caller's.
    """
    shippers = [_try_shipper(url, settings.fluent, timeout) for url in settings.fluent.url]
    async with asyncio.TaskGroup() as group:
        nats = group.create_task(_try_nats(settings, timeout), name="try-nats")
        others = [group.create_task(shipper, name="try-shipper") for shipper in shippers]
    return [*nats.result(), *(other.result() for other in others)]


async def _try_nats(settings: Settings, timeout: float) -> list[Attempt]:  # noqa: ASYNC109 - as above
    jetstream = settings.jetstream
    look = (lambda client: Api(client, jetstream, settings.topics).state()) if jetstream.stream else None
    try:
        reached = await connect_once(settings.nats, timeout, look)
    except NatsFluentError as error:
        return [Attempt("NATS", ok=False, detail=str(error))]
    secured = "with TLS" if reached.tls else "without TLS"
    attempts = [Attempt("NATS", ok=True, detail=f"{reached.server}, version {reached.version}, {secured}")]
    if reached.jetstream is not None:
        ok, detail = reached.jetstream
        attempts.append(Attempt(f"JetStream {jetstream.stream}.{jetstream.durable}", ok=ok, detail=detail))
    return attempts


async def _try_shipper(url: FluentUrl, settings: FluentSettings, timeout: float) -> Attempt:  # noqa: ASYNC109 - as above
    if url.scheme == "stdout":
        return Attempt(str(url), ok=True, detail="records go to standard output")
    connection = ForwardConnection(_credentials(settings), encode=forward)
    waiting = "no connection"
    try:
        async with asyncio.timeout(timeout):
            stream = await network.dial(url, settings)
            waiting = "connected, but no answer"
            await _probe(stream, connection)
    except TimeoutError:
        return Attempt(str(url), ok=False, detail=f"{waiting} within {timeout:g} s")
    except NatsFluentError as error:
        return Attempt(str(url), ok=False, detail=str(error))
    return Attempt(str(url), ok=True, detail=f"{connection.server or 'it'} acknowledged an empty chunk")


def _credentials(settings: FluentSettings) -> Credentials | None:
    if settings.shared_key is None:
        return None
    return Credentials(
        hostname=settings.hostname or platform.node(),
        shared_key=settings.shared_key.get(),
        salt=os.urandom(16).hex(),
        user=settings.user or "",
        password=settings.password.get() if settings.password else "",
    )


async def _probe(stream: network.Stream, connection: ForwardConnection) -> None:
    """Shake hands, send a chunk without records, return when it is acknowledged; close the stream.

    Raises:
        ForwardError: why it was not.
    """
    try:
        while connection.state is not State.READY:
            await _receive(connection, stream)
            if data := connection.data_to_send():
                stream.write([data])
        chunk = Chunk(id=base64.b64encode(os.urandom(16)).decode(), tag=PROBE_TAG, entries=b"", count=0)
        stream.write(connection.send_chunk(chunk, now=0.0))
        while connection.in_flight:
            await _receive(connection, stream)
    finally:
        await stream.close()


async def _receive(connection: ForwardConnection, stream: network.Stream) -> None:
    for event in connection.receive_data(await stream.read()):
        if isinstance(event, Failed):
            raise event.error
