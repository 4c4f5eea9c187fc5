"""nats-py's client, with what a sidecar that must not die quietly cannot do without.

It leans on private parts of nats-py 2.16; the integration tests show each of these against a real
nats-server, so that a nats-py that changed fails there and not in production.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any, cast

from nats import errors
from nats.aio.client import PING_PROTO
from nats.aio.transport import TcpTransport
from nats.protocol.parser import PERMISSIONS_ERR

from nats_fluent.source import login
from nats_fluent.source.parser import FrameParser
from nats_fluent.source.secured import SecuredClient

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from nats.aio.msg import Msg
    from nats.aio.subscription import Subscription

    from nats_fluent.sections import NatsSettings
    from nats_fluent.source.parser import Taker
    from nats_fluent.source.websocket import WebSocketTransport


COMPLAINT_EXPLAINS = 5.0
"""Seconds for which a complaint of the server is taken for the reason why the connection ended."""


DENIALS = 1000
"""The server's last words about permissions that `Client.denied` looks through: more than it asks subjects for."""


WORDS = 1000
"""Characters that are kept of a ``-ERR`` line."""


class ServerComplaint(errors.Error):
    """A ``-ERR`` line of the server that is about more than one subject."""


class Client(SecuredClient):
    """One connection, which is never given up, never downgraded and never dead without a word.

    Args:
        settings: as `SecuredClient` has them.
        fatal: called once with the error after which nats-py would go on as if nothing had happened.
        take: called with the messages of all subscriptions that `take` made, as they are read. It must not block:
            while it runs nothing is read. What it raises ends the connection's read loop.

    Attributes:
        lost: why the last connection was lost; None when it never was.
        closing: whether a connection is being closed, which may report errors that mean nothing any more.
        cut_off: connections that a server ended while it went on running.
    """

    def __init__(
        self,
        settings: NatsSettings,
        *,
        fatal: Callable[[Exception], None],
        take: Taker = lambda _: None,
    ) -> None:
        super().__init__(settings)
        self._fatal = fatal
        self.lost: Exception | None = None
        self.closing = False
        self.cut_off = 0
        self._lost_to = ""
        self._denials: list[str] = []
        self._complaint: tuple[ServerComplaint, float] | None = None
        self._ps: FrameParser = FrameParser(self, take)

    @property
    def server_version(self) -> str:
        """The version that the server gave in its INFO line."""
        return str(self._server_info.get("version", "unknown"))

    @property
    def heard(self) -> int:
        """Grows with what comes from the server: with PONGs, when there is nothing else."""
        return self.stats["in_msgs"] + self._pongs_received

    @property
    def heard_bytes(self) -> int:
        """Grows with every byte that comes from the server, of a message that is not whole yet, too."""
        return self._ps.read

    @property
    def _writable(self) -> bool:
        carrier = self._carrier
        return self.is_connected and carrier is not None and not carrier.is_closing()

    async def take(self, subject: str, queue: str, mark: object) -> Subscription:
        """Subscribe in a queue group, and mark the messages, so that whoever takes them knows these."""
        self._ps.marks[self._sid + 1] = mark  # subscribe() numbers it before a message can come
        return await self.subscribe(subject, queue=queue, cb=_no_callback)

    async def denied(self, subjects: Sequence[str]) -> list[str]:
        """Return those of the subjects that the server does not let this user subscribe to.

        In no queue group, from which it would take messages away. Each subscription ends with the line after it.
        """
        self._denials.clear()
        commands = bytearray()
        for subject in subjects:
            self._sid += 1
            commands += b"SUB %s %d\r\nUNSUB %d\r\n" % (subject.encode(), self._sid, self._sid)
        await self.send(bytes(commands), backlog=0)
        await self.flush()
        return [
            subject for subject in subjects if any(f'"{subject.lower()}"' in each for each in self._denials)
        ]

    async def finish(self, subscription: Subscription) -> None:
        """End the subscription; what was already received is still handed on.

        A connection that is down, or is lost meanwhile, cannot say which messages are still on their way; a later
        reconnect does not subscribe again.
        """
        if self.is_connected:
            with contextlib.suppress(errors.Error, OSError, TimeoutError):  # lost on the way
                await subscription.drain()  # type: ignore[no-untyped-call]
        self.forget(subscription)

    def forget(self, subscription: Subscription) -> None:
        """End a subscription that no server knows, as when the connection was lost: none gets to know it again."""
        self._remove_sub(subscription._id)  # noqa: SLF001 - or the reconnect subscribes again
        subscription._stop_processing()  # noqa: SLF001 - its task would wait for ever
        self._ps.marks.pop(subscription._id, None)  # noqa: SLF001

    async def ask(self) -> None:
        """Ask the server for a PONG, which counts for nats-py's own pings, too; it does not wait for the answer."""
        await self._send_ping()

    def was_cut_off(self) -> bool:
        """Return whether it was the server that ended the last connection, and count that; ask once when connected.

        nats-server ends the connection of a consumer that is too slow without a word (tried with 2.15.1), as it does
        when it stops. It is the same one afterwards, or not, by the id that it draws when it starts.
        """
        lost_to, self._lost_to = self._lost_to, ""
        cut_off = bool(lost_to) and lost_to == self._server_info.get("server_id")
        self.cut_off += cut_off
        return cut_off

    async def send(self, commands: bytes, *, backlog: int) -> None:
        """Send protocol commands, many at once; wait while more than `backlog` bytes wait to be written.

        `publish` would cost each of them a call, a check of its subject and a command of its own.
        """
        await self._send_command(commands)
        if self._flush_queue is not None and self._flush_queue.empty():
            await self._flush_pending()
        if self._pending_data_size > backlog:
            await self._flush_pending(force_flush=True)

    async def renew(self) -> None:
        """Give up the connection, however well it looks, and make another. Returns at once."""
        if self._carrier is not None:
            # nats-py closes it, and then waits for what was written to leave, to a server that may read nothing.
            self._carrier.abort()
        if self.is_connected:
            await self._process_op_err(errors.StaleConnectionError())

    async def _process_connect_init(self) -> None:
        # nats-py forgets to close the socket of an attempt that failed, or waits for ever for the end of one
        # whose TLS handshake failed (it waits for a protocol that start_tls has replaced).
        if self._settings.tls_first == "on":
            self.step = "TLS"
        # nats-py does this when the connection is given up. Its read loop may have been woken by then, and leave the
        # first part of a message to which the rest never comes.
        self._ps.reset()
        try:
            await super()._process_connect_init()
        except BaseException as error:
            transport, self._transport = self._transport, None
            if transport is not None:
                transport.close()  # type: ignore[no-untyped-call]
                if not isinstance(transport, TcpTransport):
                    websocket = cast("WebSocketTransport", transport)
                    websocket.abort()
                    await websocket.wait_closed()
            if isinstance(error, errors.Error) and (explained := self._explained(str(error))) != str(error):
                raise errors.Error(explained) from None  # a traceback would show what was hidden
            if isinstance(
                error, RuntimeError
            ):  # uvloop's word for a write to a socket that the server closed
                raise ConnectionResetError from error
            # A certificate that is refused is an OSError and a ValueError.
            malformed = isinstance(error, AttributeError | TypeError | ValueError | RecursionError)
            if malformed and not isinstance(error, OSError):
                raise errors.Error("the server's INFO line is not one of NATS") from error
            raise

    async def _close(self, status: int, do_cbs: bool = True) -> None:  # noqa: FBT001, FBT002 - nats-py's own
        self.closing = True
        if not self._writable:
            # uvloop raises RuntimeError for a write to a closed socket, which would end this half-way.
            self._pending.clear()
            self._pending_data_size = 0
            # A reconnect that has just begun waits for the same end of the connection. nats-py cancels it, and with it
            # what both wait for.
            if isinstance(self._transport, TcpTransport):
                transport, self._transport = self._transport, None
                transport.close()  # type: ignore[no-untyped-call]
        try:
            await super()._close(status, do_cbs)
        finally:
            self.closing = False

    async def _flush_pending(self, force_flush: bool = False) -> Any:  # noqa: ANN401, FBT001, FBT002 - nats-py's own
        # Without its flusher, which a failed write ends, nats-py writes here. That the connection is gone is for
        # the read loop to notice, not for whoever publishes. RuntimeError is uvloop's, as above; AttributeError is
        # asyncio's in Python 3.13.0, whose transport has forgotten its loop by then.
        task = cast("asyncio.Task[Any]", asyncio.current_task())
        cancelled = task.cancelling()
        try:
            flushed = await super()._flush_pending(force_flush)
        except (OSError, RuntimeError, AttributeError):
            flushed = asyncio.get_running_loop().create_future()
            flushed.set_result(None)
        if task.cancelling() > cancelled:  # which nats-py keeps to itself
            raise asyncio.CancelledError
        return flushed

    async def _send_ping(self, future: asyncio.Future[Any] | None = None) -> None:
        # nats-py writes PING ahead of the commands that wait to be written. The answer then says nothing
        # about these: a drain that relies on it ends before its UNSUB arrived, and loses what comes between.
        self._pongs.append(future if future is not None else asyncio.get_running_loop().create_future())
        await self._send_command(PING_PROTO)
        await self._flush_pending()

    async def _process_pong(self) -> None:
        # nats-py sets the result of a flush that was given up, and the error for that ends its read loop.
        if self._pongs and self._pongs[0].cancelled():
            self._pongs[0] = asyncio.get_running_loop().create_future()
        await super()._process_pong()

    async def _process_err(self, err_msg: str) -> None:
        # nats-py closes for good on most -ERR lines, such as an authorization violation when a password
        # changed. A server that means it closes the connection, which then is lost like any other.
        err_msg = login.hidden(self._settings, err_msg)[:WORDS]
        if PERMISSIONS_ERR in err_msg:
            self._denials = [*self._denials[-DENIALS:], err_msg.lower()]
            await super()._process_err(err_msg)
            return
        complaint = ServerComplaint(self._explained(err_msg.strip("'")))
        self._complaint = complaint, asyncio.get_running_loop().time()
        await self._error_cb(complaint)

    async def _process_op_err(self, e: Exception) -> None:
        if not (self.is_closed or self.is_reconnecting):
            self.lost = e
            ended = isinstance(e, errors.UnexpectedEOF | ConnectionResetError | BrokenPipeError)
            self._lost_to = str(self._server_info.get("server_id", "")) if ended else ""
            if self._complaint is not None:
                complaint, at = self._complaint
                if asyncio.get_running_loop().time() - at < COMPLAINT_EXPLAINS:
                    self.lost = complaint
                    self._lost_to = self._lost_to if "slow consumer" in str(complaint).lower() else ""
        await super()._process_op_err(e)

    async def _read_loop(self) -> None:
        # nats-py's loop ends on an exception (a late PONG, a callback that raises) and leaves a connection
        # that looks alive and reads nothing.
        await super()._read_loop()
        task = cast("asyncio.Task[None]", asyncio.current_task())
        if task is self._reading_task and not task.cancelling():
            await self._process_op_err(errors.ProtocolError())

    async def _attempt_reconnect(self) -> None:
        # What nats-py does not expect here ends its task, and with it every further attempt, in silence.
        try:
            await super()._attempt_reconnect()
        except Exception as error:  # noqa: BLE001 - handed to the owner, who ends the source with it
            self._fatal(error)


async def _no_callback(_message: Msg) -> None:
    """Stand where nats-py wants a callback; `Client.take` leaves nothing for it."""


async def end(task: asyncio.Task[Any]) -> None:
    """Cancel a task that is in nats-py, until it has ended.

    Once may not do: ``asyncio.wait_for``, in which nats-py connects, loses a cancellation that comes as what
    it waits for ends (Python before 3.12, bpo-37658).
    """
    while not task.done():
        task.cancel()
        await asyncio.wait([task], timeout=0.1)
