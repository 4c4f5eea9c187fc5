"""Each way into NATS, with what is right, wrong and missing for it; and the page that tells what is said of each.

A real nats-server for each kind of server; each case is one attempt at one of them.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import re
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, NamedTuple, Self

import nkeys
import trustme
import ways
from operators import Operator, public, seed
from programs import PATIENCE, NatsServer, free_port
from taking import Certificates

from nats_fluent.errors import SourceError
from nats_fluent.options import Secret
from nats_fluent.sections import NatsSettings
from nats_fluent.source.connect import connect_once

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from nats_fluent.source.connect import Unusable

DOC = ways.ROOT / "docs" / "security.md"
BEGIN, END = "<!-- ways in: written by the tests -->\n", "<!-- end of ways in -->\n"

UNSAID = "the server closed the connection and did not say why; its log does"
SILENCE = 1.0
"""Seconds after which a server that says nothing is given up."""


class Case(NamedTuple):
    """One attempt.

    Attributes:
        way: in the words of the documentation.
        given: right, wrong or missing, and what makes it so.
        server: which of the servers.
        settings: how it is tried.
        enters: whether it must succeed.
        scheme: of the address.
        silent: whether nothing is what the server says.
    """

    way: str
    given: str
    server: str
    settings: dict[str, object]
    enters: bool = False
    scheme: str = "nats"
    silent: bool = False


class World:
    """A nats-server of each kind, and the cases; started and ended by `with`."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.certificates = certificates = Certificates(self._place("certificates"))
        self.ca = certificates.ca
        self.stranger = trustme.CA()
        self.past = dt.datetime.now(dt.UTC) - dt.timedelta(days=1)
        self.keys = {name: seed(nkeys.PREFIX_BYTE_USER) for name in ("known", "unknown")}
        self.operator = Operator()
        self.creds = {
            "right": self.operator.user(),
            "of another account": self.operator.user(of_account=False),
            "expired": self.operator.user(expires=int(time.time()) - 60),
            "revoked": self.operator.user(revoked=True),
        }
        self.websockets = {"plain": free_port(), "tls": free_port()}
        plain, secured = certificates.server_file, self._tls(certificates.server_file)
        other_name = self._issued("other-name.pem", "nats.example")
        self.servers = {
            "plain": self._server(
                "plain",
                f"authorization {{ users: [{{user: me, password: right}}, {{nkey: {public(self.keys['known'])}}}] }}\n",
                f'websocket {{ listen: "127.0.0.1:{self.websockets["plain"]}", no_tls: true }}\n',
            ),
            "token": self._server("token", "authorization { token: right }"),
            "jwt": self._server("jwt", self.operator.config()),
            "tls": self._server(
                "tls",
                secured,
                f'\nwebsocket {{ listen: "127.0.0.1:{self.websockets["tls"]}"\n'
                f'  tls {{ cert_file: "{plain}", key_file: "{plain}" }} }}\n',
            ),
            "mutual": self._server("mutual", certificates.server_config(verify=True)),
            "first": self._server("first", self._tls(plain, "handshake_first: true")),
            "other name": self._server("name", self._tls(other_name)),
            "expired": self._server(
                "expired", self._tls(self._issued("expired.pem", "127.0.0.1", not_after=self.past))
            ),
        }

    @staticmethod
    def _tls(pem: Path, more: str = "") -> str:
        return f'tls {{ cert_file: "{pem}", key_file: "{pem}", timeout: 5\n {more} }}'

    def _place(self, name: str) -> Path:
        place = self.directory / name
        place.mkdir()
        return place

    def _server(self, name: str, *config: str) -> NatsServer:
        return NatsServer(self._place(name), "".join(config))

    def _issued(self, name: str, *identities: str, ca: trustme.CA | None = None, **more: object) -> Path:
        path = self.certificates.directory / name
        issued = (ca or self.ca).issue_cert(*identities, **more)
        issued.private_key_and_cert_chain_pem.write_to_path(path)
        return path

    def cases(self) -> Iterator[Case]:
        for way, server, name, right, wrong in (
            ("user and password", "plain", "password", "right", {"a wrong password": "wr0ng"}),
            ("token", "token", "token", "right", {"a wrong token": "wr0ng"}),
            ("NKey", "plain", "nkey", self.keys["known"], {"an unknown key": self.keys["unknown"]}),
            (
                "credentials (JWT and NKey)",
                "jwt",
                "creds",
                self.creds["right"],
                {given: creds for given, creds in self.creds.items() if given != "right"},
            ),
        ):
            user = {"user": "me"} if name == "password" else {}
            yield Case(way, "right", server, {name: Secret(right)} | user, enters=True)
            for given, value in wrong.items():
                yield Case(way, f"wrong: {given}", server, {name: Secret(value)} | user)
            if name == "nkey":
                yield Case(way, "wrong: the server knows tokens only", "token", {name: Secret(right)})
            yield Case(way, "missing", server, {})
        yield from self._client_certificates()
        yield from self._server_certificates()

    def _client_certificates(self) -> Iterator[Case]:
        way, server, certificates = "client certificate", "mutual", self.certificates
        ca = {"ca_file": certificates.ca_file}

        def given(form: str, passphrase: str | None) -> dict[str, object]:
            key = certificates.key_file(form=form, passphrase=passphrase)
            secret = {"key_password": Secret(passphrase)} if passphrase else {}
            return ca | {"cert_file": certificates.cert_file, "key_file": key} | secret

        yield Case(way, "right", server, given("PKCS8", None), enters=True)
        for name, form in (("PKCS#8", "PKCS8"), ("PKCS#1", "TraditionalOpenSSL")):
            yield Case(
                way, f"right: an encrypted key, {name}", server, given(form, "open sesame"), enters=True
            )
        stranger = self._issued("stranger.pem", "client@nats.test", ca=self.stranger)
        yield Case(way, "wrong: of an unknown CA", server, ca | {"cert_file": stranger, "key_file": stranger})
        expired = self._issued("client-expired.pem", "client@nats.test", not_after=self.past)
        yield Case(way, "wrong: expired", server, ca | {"cert_file": expired, "key_file": expired})
        yield Case(way, "missing", server, ca)

    def _server_certificates(self) -> Iterator[Case]:
        ca = {"ca_file": self.certificates.ca_file}
        strange = self.certificates.directory / "strange-ca.pem"
        self.stranger.cert_pem.write_to_path(strange)
        for way, scheme in (("server's certificate", "tls"), ("`wss://`", "wss")):
            yield Case(way, "right", "tls", ca, enters=True, scheme=scheme)
            yield Case(way, "wrong: another CA", "tls", {"ca_file": strange}, scheme=scheme)
            if scheme == "tls":
                yield Case(way, "wrong: of another name", "other name", ca, scheme=scheme)
                yield Case(way, "wrong: expired", "expired", ca, scheme=scheme)
            yield Case(way, "missing: the server has no TLS", "plain", ca, scheme=scheme)
        first = ca | {"tls_first": "on"}
        yield Case("`tls_first`", "right", "first", first, enters=True)
        yield Case("`tls_first`", "wrong: the server has no TLS", "plain", first)
        yield Case("`tls_first`", "missing, at a server with `handshake_first`", "first", ca, silent=True)
        user = {"user": "me", "password": Secret("right")}
        yield Case("`ws://`", "right", "plain", user, enters=True, scheme="ws")
        yield Case(
            "`ws://`", "wrong: the password", "plain", user | {"password": Secret("wr0ng")}, scheme="ws"
        )
        yield Case("`ws://`", "missing: the server has TLS", "tls", user, scheme="ws")

    def settings(self, case: Case) -> NatsSettings:
        """How the case is tried."""
        server = self.servers[case.server]
        port = self.websockets[case.server] if case.scheme.startswith("ws") else server.port
        servers = (f"{case.scheme}://127.0.0.1:{port}",)
        return NatsSettings(servers=servers, connect_timeout=PATIENCE, **case.settings)

    async def said(self, case: Case) -> tuple[str, str]:
        """Which step fails, and what is said of it.

        A server that refuses may have closed before what it said can be read; then it is tried again.
        """
        for _ in range(30):
            gone: list[Unusable] = []
            try:
                reached = await connect_once(
                    self.settings(case), SILENCE if case.silent else PATIENCE, failed=gone.append
                )
            except SourceError:
                (problem,) = gone
                if problem.reason != UNSAID:
                    return problem.step, problem.reason.replace(problem.server, "the server")
            else:
                return "", f"connected, {'with' if reached.tls else 'without'} TLS"
        return problem.step, UNSAID

    def __enter__(self) -> Self:
        with contextlib.ExitStack() as stack, ThreadPoolExecutor(len(self.servers)) as pool:
            for server in self.servers.values():
                stack.callback(_end, server)
            list(pool.map(NatsServer.start, self.servers.values()))
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()


def _end(server: NatsServer) -> None:
    if server.running():
        server.kill()  # it has nothing to keep


def table(cases: list[Case], said: list[tuple[str, str]]) -> str:
    """The table of the page."""
    lines = ["| way in | given | step | what is said |\n", "| --- | --- | --- | --- |\n"]
    before = ""
    for case, (step, text) in zip(cases, said, strict=True):
        lines.append(f"| {case.way if case.way != before else ''} | {case.given} | {step} | {text} |\n")
        before = case.way
    return "".join(lines)


def comparable(text: str) -> str:
    """The table without OpenSSL's own words, which differ from one version of it to the next."""
    return re.sub(r"((?:TLS failed|certificate is refused): )[^|]*", r"\1", text)


def write(text: str) -> None:
    """Put the table into the page."""
    head, begin, rest = DOC.read_text().partition(BEGIN)
    _, end, tail = rest.partition(END)
    assert begin, f"{DOC} has no place for the table"
    assert end, f"{DOC} has no end of the table"
    DOC.write_text(f"{head}{begin}{text}{end}{tail}")


def documented() -> str:
    """The table as it stands in the page."""
    return DOC.read_text().partition(BEGIN)[2].partition(END)[0]
