"""What every source is: a connection, a task that takes messages, an end, and answers to publishers."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

from nats import errors

from nats_fluent.errors import SourceError
from nats_fluent.log import Log
from nats_fluent.source.client import end
from nats_fluent.source.connect import Connection, describe

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from nats_fluent.delivery import Delivery
    from nats_fluent.sections import NatsSettings
    from nats_fluent.source.parser import Message
    from nats_fluent.topics import Topic

ACK = b"ack"
"""What a publisher that asked for an acknowledgement waits for; any other answer is an error to it."""

BACKLOG = 1024 * 1024
"""Bytes that may wait to be sent; nats-py stops the caller at twice that."""


class Source(ABC):
    """Takes messages from NATS and hands them to `receive`.

    Args:
        settings: the NATS connection.
        topics: which subjects, and the names that the deliveries carry.
        receive: called with the messages that one read brought, in their order. It must not block: while it runs
            nothing is read. What it raises ends the source.
        log: one line per change of state; its own logger by default.

    Attributes:
        returned: messages that NATS has again, because they were not delivered when the source was closed.
        pending: of a stream, messages that the consumer has still to deliver, as far as is known.
        redelivered: of a stream, messages that came and were not the first delivery.

    Raises:
        SettingsError: a file cannot be used.
    """

    def __init__(
        self,
        settings: NatsSettings,
        topics: Sequence[Topic],
        *,
        receive: Callable[[list[Delivery]], None],
        log: Log | None = None,
    ) -> None:
        self._settings = settings
        self._topics = tuple(topics)
        self._receive = receive
        self._log = log or Log()
        self._connection = Connection(
            settings,
            subjects=[topic.subject for topic in self._topics],
            log=self._log,
            changed=self._changed,
            take=self._taken,
        )
        self._taking: asyncio.Task[None] | None = None
        self._subscribed = asyncio.Event()
        self._acks_sent = 0
        self._acks_unsent = 0
        self._ack_failure = ""
        self.returned = 0
        self.pending = 0
        self.redelivered = 0

    @property
    def unsettled(self) -> int:
        """Messages of a stream that were handed on and are not settled."""
        return 0

    @property
    def link(self) -> Connection:
        """The connection."""
        return self._connection

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

    @property
    def heard(self) -> int:
        """Grows with what comes from NATS: with the answers to pings, when there is nothing else."""
        return self._connection.client.heard

    @property
    def attempts(self) -> int:
        """Grows with each attempt to connect."""
        return self._connection.client.attempts

    async def reconnect(self) -> None:
        """Give up the connection, however well it looks, and make another. Returns at once."""
        await self._connection.client.renew()

    async def start(self) -> None:
        """Begin to connect and take, and return; NATS may be down."""
        self._taking = asyncio.create_task(self._run(), name="nats-take")

    async def wait_subscribed(self) -> None:
        """Return once messages can arrive: from core NATS, what is published from now on does."""
        await self._subscribed.wait()

    async def wait_closed(self) -> None:
        """Return once `close` was called.

        Raises:
            SourceError: the connection ended on its own, and will not come back.
        """
        await self._connection.wait_closed()

    @abstractmethod
    async def stop_taking(self) -> None:
        """Take no more; return when everything that had arrived was handed to `receive`. Never raises."""

    async def acknowledge(self, reply: str) -> None:
        """Answer ``ack`` to a publisher that asked for it.

        Never raises: each failure is counted, and logged when its reason changes.
        """
        client = self._connection.client
        try:
            if client.pending_data_size > BACKLOG:
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
        """End the connection. Never raises."""
        await self._end_taking()
        self._subscribed.clear()
        await self._connection.close()

    @abstractmethod
    async def _take(self) -> None:
        """Take messages, on a connection that was opened; what it raises ends the source."""

    def _taken(self, messages: list[Message]) -> None:
        """Hand on what was read."""
        try:
            deliveries = self._deliveries(messages)
            if deliveries:
                self._receive(deliveries)
        except Exception as error:  # noqa: BLE001 - in the read loop it would only end that
            self._connection.fail(error)

    @abstractmethod
    def _deliveries(self, messages: list[Message]) -> list[Delivery]:
        """Return what is to be handed on of messages."""

    def _changed(self) -> None:  # noqa: B027 - not every source wants to know
        """Take note that the connection was made or lost."""

    async def _run(self) -> None:
        try:
            await self._connection.open()
            await self._take()
        except errors.Error as error:
            self._connection.fail(SourceError(f"NATS: cannot subscribe: {describe(error)}"))
        except Exception as error:  # noqa: BLE001 - handed to whoever waits for the source to end
            self._connection.fail(error)

    async def _end_taking(self) -> None:
        task, self._taking = self._taking, None
        if task is not None:
            await end(task)
