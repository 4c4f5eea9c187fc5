"""The connection to NATS: how it is secured, what is said about it, and how it ends.

It starts with NATS down, comes back whenever it is lost, and keeps trying when it is refused. Each change of
its state is one line of the log. Only two things end it: `Connection.close`, and what no further attempt can
mend.
"""

from __future__ import annotations

import asyncio
import os
import random
import re
import socket
import ssl
from typing import TYPE_CHECKING, Any, NamedTuple

from nats import errors

from nats_fluent.errors import SourceError
from nats_fluent.source import login
from nats_fluent.source.client import Client, end
from nats_fluent.source.listening import Listening
from nats_fluent.source.tls import tls_context

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from nats_fluent.log import Log
    from nats_fluent.sections import NatsSettings
    from nats_fluent.source.parser import Taker

RECONNECT_WAIT = 2.0
"""Seconds between two attempts at the same server."""

RECONNECT_JITTER = 0.5
"""Seconds, drawn once per connection and added to the wait, so that replicas do not come back as one."""

CLOSE_WITHIN = 5.0
"""Seconds for the last bytes and, over TLS, for the farewell of a server that may be gone."""

_NAMED = re.compile(r'(subscription|publish) to "([^"]*)"')


_SAYS_NOTHING = (ConnectionResetError, BrokenPipeError, errors.UnexpectedEOF)
"""How an attempt can end for which the server had a reason: it may close before that could be read."""


class Reached(NamedTuple):
    """The server that `connect_once` reached.

    Attributes:
        server: ``host:port``.
        version: the server's own word.
        tls: whether the connection was encrypted.
        certificate: the server's, as `ssl.SSLSocket.getpeercert` has it; empty without TLS.
        seen: what `look` returned.
    """

    server: str
    version: str
    tls: bool
    certificate: dict[str, Any]
    seen: object = None


class Unusable(NamedTuple):
    """A server that `connect_once` tried in vain.

    Attributes:
        server: ``host:port``.
        step: what failed: ``resolve``, ``connect``, ``TLS`` or ``login``.
        reason: why, in a few words.
    """

    server: str
    step: str
    reason: str


class Connection:
    """NATS: connected, or trying to be, until it is closed.

    Args:
        settings: where NATS is and who we are.
        subjects: what will be subscribed to, to name it as it was written when the server denies it.
        log: one line per change of state goes there.
        changed: called when the connection was made, and when it was lost.
        take: as `Client` has it.

    Attributes:
        client: the connection itself.
        listening: whether it answers.
        denied_publishes: how many messages the server did not let us publish.
    """

    def __init__(
        self,
        settings: NatsSettings,
        *,
        subjects: Sequence[str],
        log: Log,
        changed: Callable[[], None] = lambda: None,
        take: Taker = lambda _: None,
    ) -> None:
        self._changed = changed
        self._settings = settings
        self._subjects = {subject.lower(): subject for subject in subjects}
        self._log = log
        verify(settings)
        self.client = Client(settings, fatal=self.fail, take=take)
        self.listening = Listening(self.client, log)
        self.denied_publishes = 0
        self._up = False
        self._closing = False
        self._ended = asyncio.Event()
        self._failure: SourceError | None = None
        self._refused: dict[str, str] = {}
        self._complaint = ""
        self._denied: set[str] = set()

    @property
    def connected(self) -> bool:
        """Whether messages can arrive now."""
        return self._up and self.client.is_connected

    @property
    def denied(self) -> list[str]:
        """The subjects that the server denies on this connection; of reply subjects none."""
        return sorted(subject for subject in self._denied if subject)

    @property
    def trouble(self) -> str:
        """Why there is no connection, where an attempt failed or one was lost; empty while there is one."""
        if self.connected:
            return ""
        lost = describe(self.client.lost) if self.client.lost is not None else ""
        return next(reversed(self._refused.values()), lost)

    async def open(self) -> None:
        """Connect; return once that succeeded, however long it takes.

        Raises:
            SourceError: a URL cannot be used.
        """
        wait = RECONNECT_WAIT + random.uniform(0, RECONNECT_JITTER)  # noqa: S311 - nobody gains by guessing it
        try:
            await self.client.connect(
                **(_options(self._settings) | {"reconnect_time_wait": wait}),
                error_cb=self._on_error,
                disconnected_cb=self._on_disconnected,
                reconnected_cb=self._on_connected,
                closed_cb=self._on_closed,
                max_reconnect_attempts=-1,
            )
        except errors.Error as error:
            raise SourceError(f"NATS: {describe(error)}") from error
        self.listening.start()
        if self.client.is_connected:
            await self._on_connected()

    async def close(self) -> None:
        """Close the connection; what was published is sent first. Never raises."""
        if self._closing:
            return
        self._closing = True
        await self.listening.close()
        try:
            async with asyncio.timeout(CLOSE_WITHIN):
                await self.client.close()
        except (errors.Error, OSError, TimeoutError) as error:
            self._log.warning("closing the connection to NATS failed", reason=describe(error))
        self._up = False
        self._log.info("closed the connection to NATS")
        self._ended.set()

    def fail(self, error: Exception) -> None:
        """End the connection with the error: `wait_closed` raises it."""
        if self._ended.is_set() or self._failure is not None:
            return
        if isinstance(error, SourceError):
            self._failure = error
        else:
            self._failure = SourceError(f"NATS: {type(error).__name__}: {error}")
            self._failure.__cause__ = error
        self._log.error("NATS cannot be used", reason=str(self._failure))
        self._ended.set()

    async def wait_closed(self) -> None:
        """Return once the connection was closed.

        Raises:
            SourceError: it ended on its own.
        """
        await self._ended.wait()
        if self._failure is not None:
            raise self._failure

    async def _on_connected(self) -> None:
        if self._up:
            return
        self._up = True
        self._refused.clear()
        self._denied.clear()
        self._complaint = ""
        self._log.info(
            "connected to NATS",
            server=self.client.server,
            version=self.client.server_version,
            tls=self.client.uses_tls,
        )
        if self.client.was_cut_off():
            self._log.warning("NATS ended the connection and went on running", server=self.client.server)
        self.listening.anew()
        self._changed()

    async def _on_disconnected(self) -> None:
        if self._closing or not self._up:
            return
        self._up = False
        lost = self.client.lost
        reason = describe(lost) if lost is not None else "closed"
        self._log.warning("lost the connection to NATS", server=self.client.server, reason=reason)
        self.listening.anew()
        self._changed()

    async def _on_closed(self) -> None:
        if not self._closing:
            self.fail(SourceError("NATS: the connection was closed for good"))

    async def _on_error(self, error: Exception) -> None:
        # nats-py awaits this in its read loop: it must be short, and what it raises would end that loop.
        try:
            self._note(error)
        except Exception as bug:  # noqa: BLE001 - it ends the source, where it can be seen
            self.fail(bug)

    def _note(self, error: Exception) -> None:
        if not isinstance(error, errors.Error | OSError | TimeoutError):
            self.fail(error)
        elif self.client.closing:
            pass
        elif not self._up:
            self._note_refusal(error)
        elif named := _NAMED.search(str(error)):
            self._note_denial(*named.groups())
        elif self.client.is_connected and not isinstance(error, errors.UnexpectedEOF):
            self._note_complaint(describe(error))

    def _note_refusal(self, error: Exception) -> None:
        server, reason = self.client.attempted, describe(error)
        if server in self._refused and isinstance(error, _SAYS_NOTHING):
            return
        if self._refused.get(server) != reason:
            self._refused[server] = reason
            self._log.warning("cannot connect to NATS; trying again", server=server, reason=reason)

    def _note_denial(self, action: str, subject: str) -> None:
        if subject.startswith("$js."):
            subject = "$JS.ACK.>" if subject.startswith("$js.ack.") else subject
            if subject not in self._denied:
                self._log.error(
                    "NATS denies what JetStream needs: this user may not publish there", subject=subject
                )
            self._denied.add(subject)
            return
        if action == "publish":
            self.denied_publishes += 1
            subject = ""  # a reply subject: a new one for each message
        else:
            subject = self._subjects.get(subject, subject)  # nats-py makes the server's words lower case
        if subject not in self._denied:
            self._denied.add(subject)
            if subject:
                self._log.error("NATS denies a subscription", subject=subject)
            else:
                self._log.error("NATS denies acknowledgements: it does not let this user publish")

    def _note_complaint(self, reason: str) -> None:
        if self._complaint != reason:
            self._complaint = reason
            self._log.warning("NATS reports an error", server=self.client.server, reason=reason)


async def connect_once(
    settings: NatsSettings,
    timeout: float,  # noqa: ASYNC109 - see Raises
    look: Callable[[Client], Awaitable[object]] | None = None,
    *,
    failed: Callable[[Unusable], None] = lambda _: None,
) -> Reached:
    """Try each server once, all of them within `timeout` seconds, until one can be used, and leave again.

    Args:
        settings: where NATS is and who we are.
        timeout: seconds.
        look: what else to see on the connection.
        failed: told of each server that cannot be used.

    Raises:
        SettingsError: a file cannot be used.
        SourceError: none of them can be used; one sentence that says why, for each. A deadline that passes is
            such a reason, and which server it struck, which is why it is not the caller's.
    """
    verify(settings)
    problems: list[str] = []
    clock = asyncio.get_running_loop().time
    deadline = clock() + timeout
    for server in settings.servers:
        client = Client(settings, fatal=lambda _: None)
        attempt = asyncio.create_task(
            _try(client, _options(settings) | {"servers": [server]}, look), name="nats-connect-once"
        )
        step = reason = ""
        try:
            done, _ = await asyncio.wait([attempt], timeout=max(0.0, deadline - clock()))
            if done:
                return attempt.result()
            reason = f"no answer within {timeout:g} s"
        except SourceError as error:
            reason = str(error)
            step = _step_of(error.__cause__)
        finally:
            await end(attempt)
        where = client.attempted or server
        failed(Unusable(where, step or client.step, reason))
        problems.append(f"{where}: {reason}")
    raise SourceError(f"NATS cannot be reached: {'; '.join(problems)}")


def _step_of(error: BaseException | None) -> str:
    """Return the step that an error names by itself."""
    match error:
        case socket.gaierror():
            return "resolve"
        case ssl.SSLError():
            return "TLS"
        case _:
            return ""


async def _try(
    client: Client,
    options: dict[str, Any],
    look: Callable[[Client], Awaitable[object]] | None,
) -> Reached:
    async def refuse(error: Exception) -> None:
        # The first error ends nats-py's loop over further attempts; one about closing changes nothing.
        if not (client.closing or client.is_connected):
            raise SourceError(describe(error)) from error

    try:
        await client.connect(**options, error_cb=refuse, allow_reconnect=False)
        reached = Reached(client.server, client.server_version, client.uses_tls, client.certificate)
        return reached._replace(seen=await look(client)) if look is not None else reached
    except errors.Error as error:
        raise SourceError(describe(error)) from error
    finally:
        await client.close()


def describe(error: BaseException) -> str:
    """Say in a few words what nats-py, TLS or the operating system reported; never a credential."""
    text = str(error).removeprefix("nats: ").strip("'")
    match error:
        case ssl.SSLCertVerificationError():
            text = f"the server's certificate is refused: {error.verify_message}"
        case ssl.SSLError(reason="WRONG_VERSION_NUMBER"):
            text = "TLS failed: what answers there does not speak TLS; nothing else was sent to it"
        case ssl.SSLError(reason=str(reason)):
            text = f"TLS failed: {reason.lower().replace('_', ' ')}"
        case ConnectionResetError() | BrokenPipeError() | errors.UnexpectedEOF():
            text = "the server closed the connection and did not say why; its log does"
        case TimeoutError() if text in {"", "timeout"}:
            text = "no answer in time"
        case OSError(errno=int(number)) if not isinstance(error, socket.gaierror):
            text = os.strerror(number)
    return text or type(error).__name__


def verify(settings: NatsSettings) -> None:
    """See whether each file can be used.

    Raises:
        SettingsError: one cannot.
    """
    tls_context(settings)
    login.check(settings)


def _options(settings: NatsSettings) -> dict[str, Any]:
    """Return what nats-py is told on every kind of connection."""
    return {
        "servers": list(settings.servers),
        "name": settings.name,
        "connect_timeout": settings.connect_timeout,
        "ping_interval": settings.ping_interval,
        "tls_handshake_first": settings.tls_first == "on",
    }
