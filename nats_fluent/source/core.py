"""Core NATS: subscriptions in a queue group, each message once and at most once.

Core NATS cannot be slowed down: each message is handed on as it is read, and whoever takes it bounds what waits.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from nats import errors

from nats_fluent.delivery import Delivery
from nats_fluent.source.base import Source

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from nats.aio.subscription import Subscription

    from nats_fluent.log import Log
    from nats_fluent.sections import NatsSettings
    from nats_fluent.source.parser import Message
    from nats_fluent.topics import Topic


class CoreSource(Source):
    """Takes the messages of the topics' subjects, in the order in which NATS sent those of one subscription.

    What was not handed on when it is closed is lost.
    """

    def __init__(
        self,
        settings: NatsSettings,
        topics: Sequence[Topic],
        *,
        receive: Callable[[list[Delivery]], None],
        log: Log | None = None,
    ) -> None:
        super().__init__(settings, topics, receive=receive, log=log)
        self._subscriptions: list[Subscription] = []

    async def stop_taking(self) -> None:
        """Unsubscribe; return when everything that had arrived was handed to `receive`. Never raises."""
        await self._end_taking()
        client = self._connection.client
        async with asyncio.TaskGroup() as group:
            for subscription in self._subscriptions:
                group.create_task(client.finish(subscription), name=f"nats-finish {subscription.subject}")
        self._subscriptions.clear()
        self._subscribed.clear()

    async def _take(self) -> None:
        for topic in self._topics:
            subscription = await self._connection.client.take(
                topic.subject, self._settings.queue_group, topic.topic
            )
            self._subscriptions.append(subscription)
        await self._confirm()

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

    def _deliveries(self, messages: list[Message]) -> list[Delivery]:
        return [
            Delivery(topic, subject, payload, reply, headers)
            for topic, subject, reply, payload, headers in messages
        ]
