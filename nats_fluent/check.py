"""Whether this program could run as it is set: its settings, whether files fit, whether servers answer."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import logging
import os
import platform
import socket
import ssl
import time
from itertools import groupby
from typing import TYPE_CHECKING, NamedTuple

from rich.console import Console

from nats_fluent import spool
from nats_fluent.certificate import accepted, refused
from nats_fluent.delivery import Chunk
from nats_fluent.errors import NatsFluentError, SettingsError, SourceError
from nats_fluent.forward.codec import forward
from nats_fluent.forward.connection import Failed, ForwardConnection, State
from nats_fluent.forward.handshake import Credentials
from nats_fluent.listing import table
from nats_fluent.loader import load
from nats_fluent.recorders import recorder_of
from nats_fluent.shares import spools
from nats_fluent.sink import stream as network
from nats_fluent.source import login
from nats_fluent.source.api import Api
from nats_fluent.source.connect import connect_once, verify

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from nats_fluent.addresses import FluentUrl
    from nats_fluent.sections import FluentSettings, SpoolSettings
    from nats_fluent.settings import Loaded, Settings
    from nats_fluent.source.client import Client
    from nats_fluent.source.connect import Reached, Unusable

PROBE_TAG = "nats-fluent.check"

LOOK_WITHIN = 2.0
"""Seconds for a second look at a server whose certificate was refused."""


class Attempt(NamedTuple):
    """One step of trying a server.

    Attributes:
        server: its URL, ``NATS``, or ``JetStream`` with stream and consumer.
        ok: whether it can be used, as far as this step shows.
        detail: what it is, or why it cannot be used.
        step: what was done; empty where it is all in one.
        spare: whether it does not matter, because another server of several can be used.
    """

    server: str
    ok: bool
    detail: str
    step: str = ""
    spare: bool = False

    @property
    def advice(self) -> str:
        """What to try; empty for a step that did not fail."""
        if self.ok:
            return ""
        return _ADVICE.get(("NATS" if self.server == "NATS" else "log shipper", self.step), "")

    def __str__(self) -> str:
        return f"{self.step}: {self.detail}" if self.step else self.detail


_ADVICE = {
    ("NATS", "resolve"): "Is the host in nats.servers right, and does the DNS of this machine know it?",
    (
        "NATS",
        "connect",
    ): (
        "Does a nats-server listen there, for this scheme, and do firewalls and network policies let this through? "
        "One that connects and says nothing may wait for TLS: nats.tls_first."
    ),
    ("NATS", "TLS"): (
        "Is the certificate from a CA in nats.ca_file and for the host in nats.servers? "
        "Where the server asks for a client certificate, give nats.cert_file and nats.key_file. "
        "nats.tls_first is for servers with handshake_first only."
    ),
    ("NATS", "login"): (
        "Does the server know nats.user with this nats.password, nats.token, nats.nkey, nats.creds, or the user of "
        "the client certificate? One of them is given, or none."
    ),
    ("NATS", "subscribe"): "Let this user subscribe there, or leave the subject out of topics.",
    ("log shipper", "resolve"): "Is the host in fluent.url right, and does the DNS of this machine know it?",
    ("log shipper", "connect"): (
        "Is a Forward input listening there, and do firewalls and network policies let this through?"
    ),
    ("log shipper", "TLS"): (
        "Does the Forward input speak TLS? Is its certificate from a CA in fluent.ca_file and for the host "
        "in fluent.url? Where it asks for a client certificate, give fluent.cert_file and fluent.key_file."
    ),
    ("log shipper", "handshake"): (
        "Are fluent.shared_key, fluent.user and fluent.password those of the Forward input?"
    ),
    (
        "log shipper",
        "probe",
    ): "Does the Forward input take chunks, or is it paused because its buffer is full?",
}


def run(loaded: Loaded, *, timeout: float | None, show: bool = True) -> int:
    """Print the settings and warnings, check the files, and with a timeout (seconds) also the servers.

    Returns:
        The exit code: 0, or 1 when a server cannot be used.

    Raises:
        SettingsError: a file cannot be used, one with handlers among them.
    """
    console = Console(highlight=False, markup=False, emoji=False)
    if not console.is_terminal:
        console.width = 200  # a pipe has no width, and lines in a log should not be folded at 80
    if show:
        console.print(table(loaded))
    for warning in loaded.warnings:
        console.print(f"warning: {warning}", soft_wrap=True)
    verify_files(loaded.settings)
    recorder_of(loaded.settings, "check", levels=None)
    if loaded.settings.transforms:
        console.print(f"transforms   {load(loaded.settings.transforms)}", soft_wrap=True)
    if loaded.settings.spool.mode != "off":
        for each in spools(loaded.settings):
            console.print(f"spool   {describe_spool(each)}", soft_wrap=True)
    if timeout is None:
        return 0
    with _quiet_asyncio():
        attempts = asyncio.run(try_servers(loaded.settings, timeout=timeout))
    for text in described(attempts):
        console.print(text, soft_wrap=True)
    return 0 if all(attempt.ok or attempt.spare for attempt in attempts) else 1


@contextlib.contextmanager
def _quiet_asyncio() -> Iterator[None]:
    """Keep asyncio from warning, at the end of each TLS connection of nats-py's, of what that does not do there."""
    logger = logging.getLogger("asyncio")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)


def described(attempts: Sequence[Attempt]) -> Iterator[str]:
    """Yield the lines for the servers: how far each came, then the steps before that, and what to try."""
    for server, group in groupby(attempts, key=lambda attempt: attempt.server):
        *before, last = group
        yield f"{'ok' if last.ok else 'failed':<6}  {server}  {last}"
        for each in before:
            yield f"        {each}"
        if last.advice:
            yield f"        {last.advice}"


def verify_files(settings: Settings) -> None:
    """Check that certificates and keys fit together, that each passphrase opens its key, and the spool's directory.

    Raises:
        SettingsError: with a sentence for each that does not.
    """
    problems: list[str] = []
    try:
        verify(settings.nats)
    except SettingsError as error:
        problems += error.problems
    try:
        if any(url.tls for url in settings.fluent.url):
            network.tls_context(settings.fluent)
    except SettingsError as error:
        problems += error.problems
    try:
        if settings.spool.mode != "off":
            for each in spools(settings):
                spool.inspect(each.dir)
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
    return [*nats.result(), *(attempt for other in others for attempt in other.result())]


async def _try_nats(settings: Settings, timeout: float) -> list[Attempt]:  # noqa: ASYNC109 - as above
    jetstream = settings.jetstream
    gone: list[Unusable] = []

    async def look(client: Client) -> object:
        if jetstream.stream:
            return await Api(client, jetstream, settings.topics).state()
        return await client.denied([topic.subject for topic in settings.topics])

    reached: Reached | None = None
    problem = ""
    try:
        reached = await connect_once(settings.nats, timeout, look, failed=gone.append)
    except SourceError as error:
        problem = str(error)
    attempts = []
    for server, step, reason in gone:
        shown = ""
        if step == "TLS":
            host, _, port = server.rpartition(":")
            greeted = settings.nats.tls_first == "off" and not settings.nats.websocket
            shown = await _shown(host.strip("[]"), int(port), greeted=greeted)
        detail = f"{server}: {reason}{shown}"
        attempts.append(Attempt("NATS", ok=False, detail=detail, step=step, spare=reached is not None))
    if reached is None:
        return attempts or [Attempt("NATS", ok=False, detail=problem)]
    host, _, port = reached.server.rpartition(":")
    attempts += [
        Attempt("NATS", ok=True, detail=await _resolved(host.strip("[]"), int(port)), step="resolve"),
        Attempt("NATS", ok=True, detail=f"{reached.server}, version {reached.version}", step="connect"),
        Attempt("NATS", ok=True, detail=_secured(reached.certificate, tls=reached.tls), step="TLS"),
        Attempt("NATS", ok=True, detail=login.shown(settings.nats), step="login"),
    ]
    match reached.seen:
        case (bool(ok), str(detail)):
            attempts.append(
                Attempt(f"JetStream {jetstream.stream}.{jetstream.durable}", ok=ok, detail=detail)
            )
        case [*denied] if denied:
            detail = f"denied for {', '.join(map(str, denied))}; tried without the queue group"
            attempts.append(Attempt("NATS", ok=False, detail=detail, step="subscribe"))
        case _:
            subjects = ", ".join(topic.subject for topic in settings.topics)
            attempts.append(Attempt("NATS", ok=True, detail=subjects, step="subscribe"))
    return attempts


def _secured(certificate: Mapping[str, object], *, tls: bool, version: str = "") -> str:
    if not tls:
        return "none: what is sent can be read on the way"
    said = accepted(certificate, time.time()) if certificate else "accepted"
    return f"{version}, {said}" if version else said


async def _resolved(host: str, port: int) -> str:
    """Return the addresses of the host.

    Raises:
        OSError: it has none.
    """
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return f"{host} is {', '.join(dict.fromkeys(str(address[4][0]) for address in found))}"


async def _shown(host: str, port: int, *, greeted: bool) -> str:
    text = await refused(host, port, greeted=greeted, within=LOOK_WITHIN, now=time.time())
    return f"; it shows a {text}" if text else ""


async def _try_shipper(url: FluentUrl, settings: FluentSettings, timeout: float) -> list[Attempt]:  # noqa: ASYNC109 - as above
    name = str(url)
    if url.scheme == "stdout":
        return [Attempt(name, ok=True, detail="records go to standard output")]
    attempts: list[Attempt] = []
    # What is being done, and what to say when there is no answer to it.
    step, waiting = "resolve", "no answer"
    try:
        async with asyncio.timeout(timeout):
            if url.host:
                attempts.append(Attempt(name, ok=True, detail=await _resolved(url.host, url.port), step=step))
            step, waiting = "connect", "no connection"
            stream = await network.dial(url, settings)
            attempts.append(Attempt(name, ok=True, detail="connected", step=step))
            if url.tls and stream.tls is not None:
                version, certificate = stream.tls
                detail = _secured(certificate, tls=True, version=version)
                attempts.append(Attempt(name, ok=True, detail=detail, step="TLS"))
            step, waiting = "handshake", "connected, but no answer"
            connection = ForwardConnection(_credentials(settings), encode=forward)
            try:
                await _shake_hands(stream, connection)
                detail = f"{connection.server or 'it'} trusts this" if settings.shared_key else "none is set"
                attempts.append(Attempt(name, ok=True, detail=detail, step=step))
                step = "probe"
                await _probe(stream, connection)
            finally:
                await stream.close()
    except TimeoutError:
        problem = f"{waiting} within {timeout:g} s"
    except socket.gaierror as error:
        problem = str(error.strerror)
    except (NatsFluentError, OSError) as error:
        problem = str(error)
        if isinstance(error.__cause__, ssl.SSLError):
            step = "TLS"
            problem += await _shown(url.host, url.port, greeted=False)
    else:
        detail = f"{connection.server or 'it'} acknowledged an empty chunk"
        return [*attempts, Attempt(name, ok=True, detail=detail, step=step)]
    return [*attempts, Attempt(name, ok=False, detail=problem, step=step)]


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


async def _shake_hands(stream: network.Stream, connection: ForwardConnection) -> None:
    """Return when chunks may be sent.

    Raises:
        ForwardError: why they may not.
    """
    while connection.state is not State.READY:
        await _receive(connection, stream)
        if data := connection.data_to_send():
            stream.write([data])


async def _probe(stream: network.Stream, connection: ForwardConnection) -> None:
    """Send a chunk without records, return when it is acknowledged.

    Raises:
        ForwardError: why it was not.
    """
    chunk = Chunk(id=base64.b64encode(os.urandom(16)).decode(), tag=PROBE_TAG, entries=b"", count=0)
    stream.write(connection.send_chunk(chunk, now=0.0))
    while connection.in_flight:
        await _receive(connection, stream)


async def _receive(connection: ForwardConnection, stream: network.Stream) -> None:
    for event in connection.receive_data(await stream.read()):
        if isinstance(event, Failed):
            raise event.error
