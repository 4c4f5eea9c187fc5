"""Core NATS: subscriptions in a queue group, each message once and at most once.

Core NATS cannot be slowed down: each message is handed on as it is read, and whoever takes it bounds what waits.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import structlog
from nats import errors

from nats_fluent.delivery import Delivery
from nats_fluent.errors import SourceError
from nats_fluent.source.client import end
from nats_fluent.source.connect import Connection, describe

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from nats.aio.subscription import Subscription
    from structlog.typing import FilteringBoundLogger

    from nats_fluent.addresses import Topic
    from nats_fluent.settings import NatsSettings
    from nats_fluent.source.parser import Taker

ACK = b"ack"
"""What a publisher that asked for an acknowledgement waits for; any other answer is an error to it."""

ACK_BACKLOG = 1024 * 1024
"""Bytes that may wait to be sent; nats-py stops the caller at twice that."""


class CoreSource:
    """Takes the messages of the topics' subjects and hands each to `receive`.

    Args:
        settings: the NATS connection.
        topics: what to subscribe to, and the names that the deliveries carry.
        receive: called with each message, in the order in which NATS sent those of one subscription. It must
            not block: while it runs nothing is read. What it raises ends the source.
        log: one line per change of state; its own logger by default.

    Raises:
        SettingsError: a TLS file cannot be used.
    """

    def __init__(
        self,
        settings: NatsSettings,
        topics: Sequence[Topic],
        *,
        receive: Callable[[Delivery], None],
        log: FilteringBoundLogger | None = None,
    ) -> None:
        self._settings = settings
        self._topics = tuple(topics)
        self._receive = receive
        self._log: FilteringBoundLogger = log if log is not None else structlog.get_logger()
        self._connection = Connection(
            settings,
            subjects=[subject for subject, _ in self._topics],
            log=self._log,
        )
        self._connecting: asyncio.Task[None] | None = None
        self._subscribed = asyncio.Event()
        self._subscriptions: list[Subscription] = []
        self._acks_sent = 0
        self._acks_unsent = 0
        self._ack_failure = ""

    @property
    def connected(self) -> bool:
        """Whether messages can arrive now."""
        return self._connection.connected and self._subscribed.is_set()

    @property
    def acknowledged(self) -> int:
        """Answers sent to publishers that asked for one, and not denied by the server so far."""
        return self._acks_sent - self._connection.denied_publishes

    @property
    def unacknowledged(self) -> int:
        """Answers that could not be sent, or that the server denied."""
        return self._acks_unsent + self._connection.denied_publishes

    async def start(self) -> None:
        """Begin to connect and subscribe, and return; NATS may be down."""
        self._connecting = asyncio.create_task(self._connect(), name="nats-connect")

    async def wait_subscribed(self) -> None:
        """Return once the server knows every subscription: what is published from now on arrives."""
        await self._subscribed.wait()

    async def wait_closed(self) -> None:
        """Return once `close` was called.

        Raises:
            SourceError: the connection ended on its own, and will not come back.
        """
        await self._connection.wait_closed()

    async def stop_taking(self) -> None:
        """Unsubscribe; return when everything that had arrived was handed to `receive`. Never raises."""
        await self._stop_connecting()
        client = self._connection.client
        async with asyncio.TaskGroup() as group:
            for subscription in self._subscriptions:
                group.create_task(client.finish(subscription), name=f"nats-finish {subscription.subject}")
        self._subscriptions.clear()
        self._subscribed.clear()

    async def acknowledge(self, reply: str) -> None:
        """Answer ``ack`` to a publisher that asked for it.

        Never raises: each failure is counted, and logged when its reason changes.
        """
        client = self._connection.client
        try:
            if client.pending_data_size > ACK_BACKLOG:
                raise errors.OutboundBufferLimitError  # nats-py would make us wait instead
            await client.publish(reply, ACK)
        except (errors.Error, OSError) as error:
            self._acks_unsent += 1
            reason = describe(error)
            if reason != self._ack_failure:
                self._ack_failure = reason
                self._log.warning("cannot send acknowledgements", reason=reason)
        else:
            self._acks_sent += 1
            if self._ack_failure:
                self._ack_failure = ""
                self._log.info("acknowledgements are sent again", unsent=self._acks_unsent)

    async def close(self) -> None:
        """End the connection; what was not handed on is lost. Never raises."""
        await self._stop_connecting()
        self._subscribed.clear()
        await self._connection.close()

    async def _connect(self) -> None:
        settings, connection = self._settings, self._connection
        try:
            await connection.open()
            for subject, topic in self._topics:
                subscription = await connection.client.take(subject, settings.queue_group, self._taker(topic))
                self._subscriptions.append(subscription)
            await self._confirm()
        except errors.Error as error:
            connection.fail(SourceError(f"NATS: cannot subscribe: {describe(error)}"))
        except Exception as error:  # noqa: BLE001 - handed to whoever waits for the source to end
            connection.fail(error)

    async def _confirm(self) -> None:
        """Wait for the server to have processed the subscriptions.

        nats-py subscribes again after each reconnect, so an answer that does not come because the connection
        was lost is no failure.
        """
        try:
            await self._connection.client.flush()
        except (errors.Error, OSError):
            self._log.debug("the subscriptions wait for the connection")
        self._subscribed.set()

    async def _stop_connecting(self) -> None:
        task, self._connecting = self._connecting, None
        if task is not None:
            await end(task)

    def _taker(self, topic: str) -> Taker:
        receive, fail = self._receive, self._connection.fail

        def take(subject: str, reply: str, payload: bytes, headers: bytes | None) -> None:
            try:
                receive(Delivery(topic, subject, payload, reply, headers))
            except Exception as error:  # noqa: BLE001 - in the read loop it would only end that
                fail(error)

        return take
