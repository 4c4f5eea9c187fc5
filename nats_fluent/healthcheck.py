"""Ask the program of this container how it is: ``python -m nats_fluent.healthcheck [PATH]``, by default ``/livez``.

For the health check of an image that has neither a shell nor curl. It reads ``NATS_FLUENT_HTTP_LISTEN`` and nothing
else: no file or secret that is amiss may make a program that runs look ill. Where the endpoint is off there is nothing
to ask, and that is no illness. It speaks HTTP by hand, as Python's client takes as long to import as all of this.

Exit codes: 0 for an answer 200, or for nobody to ask; 1 otherwise. What it prints, `docker inspect` shows.
"""

from __future__ import annotations

import os
import socket
import sys

LISTEN = "NATS_FLUENT_HTTP_LISTEN"
WITHIN = 5.0
"""Seconds for the answer."""

_OFF = ("", "off", "false")
_ANY = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - where one who listens everywhere is found


def main(path: str = "/livez") -> int:
    """Ask for a path, print the answer, and return the exit code."""
    listen = os.environ.get(LISTEN, "").strip()
    if listen.lower() in _OFF:
        print(f"{LISTEN} is off: nothing to ask")
        return 0
    host, _, port = listen.rpartition(":")
    host = host.strip("[]")
    try:
        with socket.create_connection((_ANY.get(host, host), int(port)), timeout=WITHIN) as asked:
            asked.sendall(f"GET {path} HTTP/1.0\r\n\r\n".encode())
            with asked.makefile("rb") as answer:
                head, _, body = answer.read().decode(errors="replace").partition("\r\n\r\n")
    except (OSError, ValueError) as error:
        print(f"{listen}{path}: {error}")
        return 1
    print(body)
    return 0 if head.split(maxsplit=2)[1:2] == ["200"] else 1


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:2]))
