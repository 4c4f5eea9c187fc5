"""The HTTP endpoint: health, metrics and the status page, read from facts whenever somebody asks.

It serves what is in `PATHS` and nothing else; no path leads to a file. Nobody is asked who they are, so nothing here
is secret: no publication, no credential. `POST /drain` stops the program, and is for this host alone.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import ipaddress
import logging
import re
from importlib import resources
from typing import TYPE_CHECKING

import msgspec
from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from nats_fluent.addresses import split_listen
from nats_fluent.errors import SettingsError
from nats_fluent.exposition import render
from nats_fluent.facts import Facts
from nats_fluent.health import live, ready
from nats_fluent.visitors import MOST, Visitors

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from nats_fluent.health import Health
    from nats_fluent.log import Log

    Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

PATHS = ("/", "/livez", "/readyz", "/healthz", "/metrics", "/status", "/drain")

CLOSE_WITHIN = 1.0
"""Seconds for answers that are on their way when the program ends."""

BODY = 1024
"""Bytes of a request's body, at most: no request needs one."""

_HEADERS = {
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Server": "nats-fluent",
}
_INLINE = re.compile(r"<(script|style)>(.*?)</\1>", re.DOTALL)
_PASSED_ON = ("Forwarded", "X-Forwarded-For", "Via")
"""Headers of a proxy, which may be on this host while whoever asks is not."""


@contextlib.asynccontextmanager
async def serving(
    listen: str,
    facts: Callable[[], Facts | Awaitable[Facts]],
    *,
    drain: Callable[[], None],
    log: Log,
) -> AsyncIterator[None]:
    """Serve while the block runs; arguments and errors as for `Endpoint`."""
    endpoint = Endpoint(listen, facts, drain=drain, log=log)
    await endpoint.start()
    try:
        yield
    finally:
        await endpoint.close()


def _our_own(record: logging.LogRecord) -> bool:
    """Whether a line of aiohttp's log is not about a request that is no HTTP, which anyone could fill the log with."""
    return not (record.exc_info and isinstance(record.exc_info[1], HttpProcessingError))


_log = logging.getLogger(__name__)
_log.addFilter(_our_own)


class Endpoint:
    """Serves the paths from `start` to `close`.

    Args:
        listen: ``host:port``, as the setting ``http.listen`` has it.
        facts: looks at the program, or asks others to.
        drain: begins its end.
        log: one line when it listens.
    """

    def __init__(
        self,
        listen: str,
        facts: Callable[[], Facts | Awaitable[Facts]],
        *,
        drain: Callable[[], None],
        log: Log,
    ) -> None:
        self._listen = listen
        self._facts = facts
        self._drain = drain
        self._log = log
        page = resources.files("nats_fluent").joinpath("status.html").read_text("utf-8")
        self._page, self._policy = page, policy(page)
        self._was_ready = False
        app = web.Application(client_max_size=BODY, middlewares=[self._turns, _with_headers])
        app.router.add_get("/", self._get_page)
        app.router.add_get("/livez", self._get_livez)
        app.router.add_get("/readyz", self._get_readyz)
        app.router.add_get("/healthz", self._get_healthz)
        app.router.add_get("/metrics", self._get_metrics)
        app.router.add_get("/status", self._get_status)
        app.router.add_post("/drain", self._post_drain)
        self._runner = web.AppRunner(app, access_log=None, logger=_log, shutdown_timeout=CLOSE_WITHIN)
        self._visitors: Visitors | None = None
        self._server: asyncio.Server | None = None

    async def start(self) -> None:
        """Listen.

        Raises:
            SettingsError: it cannot, as when the port is taken.
        """
        where = split_listen(self._listen)
        assert where is not None, self._listen
        host, port = where
        await self._runner.setup()
        assert self._runner.server is not None
        self._visitors = Visitors(self._runner.server)
        try:
            self._server = await asyncio.get_running_loop().create_server(
                self._visitors, host, port, backlog=MOST
            )
        except OSError as error:
            await self._runner.cleanup()
            # asyncio puts the address, too, before what the system says.
            reason = (error.strerror or str(error)).rpartition(": ")[2]
            raise SettingsError(
                f"http.listen: cannot listen on {self._listen} ({reason}); "
                "give another address with NATS_FLUENT_HTTP_LISTEN, or off."
            ) from error
        self._log.info("serving health and metrics", listen=self._listen)

    async def close(self) -> None:
        """Listen no more."""
        if self._server is not None:
            self._server.close()
        await self._runner.cleanup()

    @web.middleware
    async def _turns(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Tell between which requests a client is slow."""
        transport, visitors = request.transport, self._visitors
        if transport is None or visitors is None:  # it is gone
            return await handler(request)
        visitors.asks(transport)
        try:
            return await handler(request)
        finally:
            if not transport.is_closing():
                visitors.waits(transport)

    async def _look(self) -> Facts:
        found = self._facts()
        return found if isinstance(found, Facts) else await found

    async def _get_page(self, _: web.Request) -> web.Response:
        return web.Response(
            text=self._page, content_type="text/html", headers={"Content-Security-Policy": self._policy}
        )

    async def _get_livez(self, _: web.Request) -> web.Response:
        return _answer(live(await self._look()))

    async def _get_readyz(self, _: web.Request) -> web.Response:
        return _answer(ready(await self._look()))

    async def _get_healthz(self, _: web.Request) -> web.Response:
        # Docker has one check for both: whether the old one may go, and whether this one must.
        facts = await self._look()
        if self._was_ready:
            return _answer(live(facts))
        health = ready(facts)
        self._was_ready = health.ok
        return _answer(health)

    async def _get_metrics(self, request: web.Request) -> web.Response:
        text, content_type = render(await self._look(), request.headers.get("Accept", ""))
        return web.Response(body=text, headers={"Content-Type": content_type})

    async def _get_status(self, _: web.Request) -> web.Response:
        facts = await self._look()
        return _json({"ready": ready(facts), "live": live(facts), "facts": facts})

    async def _post_drain(self, request: web.Request) -> web.Response:
        # A page in a browser on this host can post here, too, but not without naming its origin.
        if not _is_local(request) or "Origin" in request.headers:
            return _json({"draining": False, "why": "only this host may ask for it"}, status=403)
        self._log.info("stopping", request="POST /drain")
        self._drain()
        return _json({"draining": True}, status=202)


def policy(page: str) -> str:
    """Return the Content-Security-Policy of a page: its own script and style, and requests to where it is from."""
    hashes: dict[str, list[str]] = {"script": [], "style": []}
    for kind, text in _INLINE.findall(page):
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        hashes[kind].append(f"'sha256-{digest}'")
    return (
        f"default-src 'none'; script-src {' '.join(hashes['script'])}; style-src {' '.join(hashes['style'])}; "
        "connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )


def _is_local(request: web.Request) -> bool:
    """Whether the request is from this host, and not only passed on by something on it."""
    if any(name in request.headers for name in _PASSED_ON):
        return False
    try:
        address = ipaddress.ip_address(request.remote or "")
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    return bool((mapped or address).is_loopback)


@web.middleware
async def _with_headers(request: web.Request, handler: Handler) -> web.StreamResponse:
    try:
        response = await handler(request)
    except web.HTTPException as error:  # an unknown path, or another method: the router's own
        error.headers.update(_HEADERS)
        raise
    response.headers.update(_HEADERS)
    return response


def _answer(health: Health) -> web.Response:
    return _json(health, status=200 if health.ok else 503)


def _json(value: object, *, status: int = 200) -> web.Response:
    return web.Response(body=msgspec.json.encode(value), status=status, content_type="application/json")
