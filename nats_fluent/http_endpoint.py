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
import re
from importlib import resources
from typing import TYPE_CHECKING

import msgspec

from nats_fluent.addresses import split_listen
from nats_fluent.errors import SettingsError
from nats_fluent.exposition import render
from nats_fluent.facts import Facts
from nats_fluent.health import live, ready
from nats_fluent.http_connection import Answer, HttpConnection, plain
from nats_fluent.visitors import MOST, Visitors

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from nats_fluent.health import Health
    from nats_fluent.http_connection import Request
    from nats_fluent.log import Log

    Handler = Callable[[Request], Awaitable[Answer]]

PATHS = {
    "/": "GET",
    "/livez": "GET",
    "/readyz": "GET",
    "/healthz": "GET",
    "/metrics": "GET",
    "/status": "GET",
    "/drain": "POST",
}
"""Each with its method; what is for GET is for HEAD, too."""

CLOSE_WITHIN = 1.0
"""Seconds for answers that are on their way when the program ends."""

_HEADERS = {
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Server": "nats-fluent",
}
_INLINE = re.compile(r"<(script|style)>(.*?)</\1>", re.DOTALL)
_PASSED_ON = ("forwarded", "x-forwarded-for", "via")
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
        self._routes: dict[str, Handler] = {
            "/": self._get_page,
            "/livez": self._get_livez,
            "/readyz": self._get_readyz,
            "/healthz": self._get_healthz,
            "/metrics": self._get_metrics,
            "/status": self._get_status,
            "/drain": self._post_drain,
        }
        self._visitors = Visitors()
        self._server: asyncio.Server | None = None

    async def start(self) -> None:
        """Listen.

        Raises:
            SettingsError: it cannot, as when the port is taken.
        """
        where = split_listen(self._listen)
        assert where is not None, self._listen
        host, port = where
        try:
            self._server = await asyncio.get_running_loop().create_server(
                lambda: HttpConnection(self._serve, self._visitors), host, port, backlog=MOST
            )
        except OSError as error:
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
        await self._visitors.close(CLOSE_WITHIN)

    async def _serve(self, request: Request) -> Answer:
        try:
            answer = await self._route(request)
        except Exception as error:  # noqa: BLE001 - a bug, which is to cost one answer
            self._log.error("answering a request failed", path=request.path, exc_info=error)
            answer = plain(500)
        return answer._replace(headers=answer.headers | _HEADERS)

    async def _route(self, request: Request) -> Answer:
        method = PATHS.get(request.path)
        if method is None:
            return plain(404)
        if request.method != method and (request.method, method) != ("HEAD", "GET"):
            return plain(405, Allow="GET, HEAD" if method == "GET" else method)
        return await self._routes[request.path](request)

    async def _look(self) -> Facts:
        found = self._facts()
        return found if isinstance(found, Facts) else await found

    async def _get_page(self, _: Request) -> Answer:
        headers = {"Content-Type": "text/html; charset=utf-8", "Content-Security-Policy": self._policy}
        return Answer(200, self._page.encode(), headers)

    async def _get_livez(self, _: Request) -> Answer:
        return _answer(live(await self._look()))

    async def _get_readyz(self, _: Request) -> Answer:
        return _answer(ready(await self._look()))

    async def _get_healthz(self, _: Request) -> Answer:
        # Docker has one check for both: whether the old one may go, and whether this one must.
        facts = await self._look()
        if self._was_ready:
            return _answer(live(facts))
        health = ready(facts)
        self._was_ready = health.ok
        return _answer(health)

    async def _get_metrics(self, request: Request) -> Answer:
        text, content_type = render(await self._look(), request.headers.get("accept", ""))
        return Answer(200, text, {"Content-Type": content_type})

    async def _get_status(self, _: Request) -> Answer:
        facts = await self._look()
        return _json({"ready": ready(facts), "live": live(facts), "facts": facts})

    async def _post_drain(self, request: Request) -> Answer:
        # A page in a browser on this host can post here, too, but not without naming its origin.
        if not _is_local(request) or "origin" in request.headers:
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


def _is_local(request: Request) -> bool:
    """Whether the request is from this host, and not only passed on by something on it."""
    if any(name in request.headers for name in _PASSED_ON):
        return False
    try:
        address = ipaddress.ip_address(request.remote)
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    return bool((mapped or address).is_loopback)


def _answer(health: Health) -> Answer:
    return _json(health, status=200 if health.ok else 503)


def _json(value: object, *, status: int = 200) -> Answer:
    return Answer(status, msgspec.json.encode(value), {"Content-Type": "application/json"})
