"""An HTTP server for what outputs send: it keeps every request, and answers as the test says."""

from __future__ import annotations

import gzip
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable
    from typing import Self


class Request(NamedTuple):
    """One request.

    Attributes:
        method: as in POST.
        path: with what is behind the question mark.
        headers: by their names in lower case.
        body: what was sent, decompressed.
    """

    method: str
    path: str
    headers: dict[str, str]
    body: bytes


class Answer(NamedTuple):
    """What the server says."""

    status: int = 200
    body: bytes = b""


class HttpServer:
    """On a free loopback port, in threads of its own, one request at a time. A context manager.

    Args:
        answer: makes the answer to a request; None ends the connection without one.
        tls: makes it an HTTPS server.
    """

    def __init__(
        self, answer: Callable[[Request], Answer | None], *, tls: ssl.SSLContext | None = None
    ) -> None:
        self.requests: list[Request] = []
        self.answer = answer
        self._one_at_a_time = threading.Lock()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self.port = self._server.server_port
        if tls:
            self._server.socket = tls.wrap_socket(
                self._server.socket, server_side=True, do_handshake_on_connect=False
            )
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def _take(self, request: Request) -> Answer | None:
        with self._one_at_a_time:
            self.requests.append(request)
            return self.answer(request)

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        take = self._take

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def handle(self) -> None:
                try:
                    super().handle()
                except OSError:  # the client is gone, or would not have this certificate
                    self.close_connection = True

            def do_POST(self) -> None:
                headers = {name.lower(): value for name, value in self.headers.items()}
                body = self.rfile.read(int(headers.get("content-length", 0)))
                if headers.get("content-encoding") == "gzip":
                    body = gzip.decompress(body)
                answer = take(Request(self.command, self.path, headers, body))
                if answer is None:
                    self.close_connection = True
                    return
                self.send_response(answer.status)
                self.send_header("Content-Length", str(len(answer.body)))
                self.end_headers()
                self.wfile.write(answer.body)

            do_PUT = do_POST  # noqa: N815 - the name is the library's

            def log_message(self, *_: object) -> None:
                """Say nothing: the test has the requests."""

        return Handler
