"""What lies between a Kafka client and its broker: a way that can be cut, or asks for TLS or a password on it.

Tansu 0.6 offers neither TLS nor a user that can sign in, and creates every topic that it is asked for. So the cable
does these parts of Kafka's protocol (https://kafka.apache.org/protocol.html); all else it hands on as it came.
"""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from typing import TYPE_CHECKING, Self

from programs import free_port

if TYPE_CHECKING:
    import ssl

METADATA, SASL_HANDSHAKE, SASL_AUTHENTICATE = 3, 17, 36
WRONG_PASSWORD = 58
"""Kafka's error code SASL_AUTHENTICATION_FAILED."""


class Cable:
    """Listens on `port` and connects to the broker, whose port is set as `broker` once it is known.

    Args:
        tls: when given, clients must speak TLS.
        users: when given, clients must sign in by SASL PLAIN with one of these (user, password).
        creates_topics: whether a client's wish that a missing topic be created is handed on.
    """

    def __init__(
        self,
        *,
        tls: ssl.SSLContext | None = None,
        users: set[tuple[str, str]] | None = None,
        creates_topics: bool = True,
    ) -> None:
        self.port = free_port()
        self.broker = 0
        self.refused = 0
        """Clients that could not sign in."""
        self._tls = tls
        self._users = users
        self._creates_topics = creates_topics
        self._listener: socket.socket | None = None
        self._ends: set[socket.socket] = set()

    def __enter__(self) -> Self:
        self.mend()
        return self

    def __exit__(self, *_: object) -> None:
        self.cut()

    def mend(self) -> None:
        """Take connections."""
        self._listener = socket.create_server(("127.0.0.1", self.port))
        threading.Thread(target=self._accept, args=(self._listener,), daemon=True).start()

    def cut(self) -> None:
        """Close all connections, and refuse new ones until mended."""
        if self._listener is not None:
            # shutdown() wakes the thread in accept(); close() alone would leave the port taken.
            self._listener.shutdown(socket.SHUT_RDWR)
            self._listener.close()
            self._listener = None
        for end in list(self._ends):
            _close(end)

    def _accept(self, listener: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while True:
                client = listener.accept()[0]
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        server = None
        try:
            if self._tls is not None:
                client = self._tls.wrap_socket(client, server_side=True)
            server = socket.create_connection(("127.0.0.1", self.broker))
            self._ends |= {client, server}
            if self._listener is None:
                return  # cut in the meantime
            threading.Thread(target=self._answers, args=(client, server), daemon=True).start()
            signed_in = self._users is None
            while (request := _frame(client)) is not None:
                api, version = struct.unpack_from(">hh", request)
                if api == SASL_HANDSHAKE and self._users is not None:
                    _send(client, request[4:8] + struct.pack(">hi", 0, 1) + _string("PLAIN"))
                elif api == SASL_AUTHENTICATE and self._users is not None:
                    signed_in = self._sign_in(client, request, version)
                elif signed_in or api == 18:  # ApiVersions comes before signing in
                    _send(server, self._changed(request, api, version))
                else:
                    return
        except OSError:
            pass  # cut, or one of the two has gone
        finally:
            _close(client)
            if server is not None:
                _close(server)

    def _answers(self, client: socket.socket, server: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := server.recv(65_536):
                client.sendall(data)
        _close(client)

    def _sign_in(self, client: socket.socket, request: bytes, version: int) -> bool:
        _, user, password = request.rsplit(b"\0", 2)
        good = (user.decode(), password.decode()) in (self._users or ())
        self.refused += not good
        code, text = (0, b"\xff\xff") if good else (WRONG_PASSWORD, _string("wrong user or password"))
        lifetime = struct.pack(">q", 0) if version else b""
        _send(client, request[4:8] + struct.pack(">h", code) + text + struct.pack(">i", 0) + lifetime)
        return good

    def _changed(self, request: bytes, api: int, version: int) -> bytes:
        """The request, without the wish that topics be created when they are not."""
        if self._creates_topics or api != METADATA or version < 4:
            return request
        # allow_auto_topic_creation is a byte near the end; what follows it differs by version.
        at = len(request) - {4: 1, 5: 1, 6: 1, 7: 1, 8: 3, 9: 4, 10: 4}.get(version, 3)
        return request[:at] + b"\0" + request[at + 1 :]


def _frame(stream: socket.socket) -> bytes | None:
    """The next request, without its length; None when the client has ended."""
    head = _exactly(stream, 4)
    return head and _exactly(stream, struct.unpack(">i", head)[0])


def _exactly(stream: socket.socket, count: int) -> bytes | None:
    data = bytearray()
    while len(data) < count:
        part = stream.recv(count - len(data))
        if not part:
            return None
        data += part
    return bytes(data)


def _send(stream: socket.socket, frame: bytes) -> None:
    stream.sendall(struct.pack(">i", len(frame)) + frame)


def _string(text: str) -> bytes:
    return struct.pack(">h", len(text)) + text.encode()


def _close(end: socket.socket) -> None:
    """Close it so that a thread that reads from it wakes up."""
    with contextlib.suppress(OSError):
        end.shutdown(socket.SHUT_RDWR)
    end.close()
