"""No secret is in what the commands print, log or serve, with servers that repeat what they are sent."""

from __future__ import annotations

import contextlib
import json
import signal
import socketserver
import subprocess
import threading
import urllib.error
import urllib.request
from pathlib import Path

import msgpack
import pytest
from building import publication
from commands import COMMAND, ENVIRON
from hiding import MARKERS, SIGN_IN, environ, found_in
from programs import PATIENCE, NatsServer, accepts, free_port, started, wait_until

DEBUG = {"NATS_FLUENT_LOG_LEVEL": "debug", "NATS_FLUENT_NATS_CONNECT_TIMEOUT": "1s"}
PATHS = ("/", "/livez", "/readyz", "/metrics", "/status")
TLS = ("NATS_FLUENT_NATS_CERT_FILE", "NATS_FLUENT_NATS_KEY_FILE", "NATS_FLUENT_NATS_KEY_PASSWORD")


class EchoingNats(socketserver.StreamRequestHandler):
    """Refuses whoever comes, and says why: by all that was sent."""

    def handle(self):
        info = {
            "server_id": "x",
            "version": "2.11.0",
            "nonce": "abc",
            "auth_required": True,
            "connect_urls": [f"me:{MARKERS[0]}@127.0.0.1:1"],
        }
        self.wfile.write(b"INFO " + json.dumps(info).encode() + b"\r\n")
        said = self.rfile.readline().strip()
        self.server.heard.append(said.decode())
        self.wfile.write(b"-ERR 'Authorization Violation: %s'\r\n" % said.replace(b"'", b""))


class EchoingShipper(socketserver.BaseRequestHandler):
    """The same for a log shipper."""

    def handle(self):
        self.request.sendall(msgpack.packb(["HELO", {"nonce": b"nonce", "auth": b"auth", "keepalive": True}]))
        ping = msgpack.unpackb(self.request.recv(65536))
        self.server.heard.append(str(ping))
        self.request.sendall(msgpack.packb(["PONG", False, f"no: {ping}", "server", ""]))


@contextlib.contextmanager
def listening(handler):
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), handler) as server:
        server.daemon_threads = True
        server.heard = []
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture
def nats():
    with listening(EchoingNats) as server:
        yield server


@pytest.fixture
def shipper():
    with listening(EchoingShipper) as server:
        yield server


def begun(command, env):
    return subprocess.Popen(
        [*COMMAND, *command], env=ENVIRON | env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


def arguments(process):
    file = Path(f"/proc/{process.pid}/cmdline")
    return file.read_text() if file.exists() else ""


def served(port):
    """All that the endpoint shows."""
    said = ""
    for path in PATHS:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=PATIENCE) as answer:
                said += answer.read().decode()
        except urllib.error.HTTPError as error:
            said += error.read().decode()
    return said


@pytest.mark.parametrize("sign_in", SIGN_IN)
def test_servers_that_repeat_what_they_are_sent(tmp_path, nats, shipper, sign_in):
    by_file = sign_in in ("nats.token", "nats.creds")
    given = environ(tmp_path, sign_in=sign_in, by_file=by_file)
    if sign_in != "nats.creds":  # that way the passphrases are looked for, in vain, by what opens a key
        given = {name: text for name, text in given.items() if not name.startswith(TLS)}
    port = free_port()
    env = given | DEBUG | {
        "NATS_FLUENT_NATS_SERVERS": f"nats://127.0.0.1:{nats.server_address[1]}",
        "NATS_FLUENT_FLUENT_URL": f"forward://127.0.0.1:{shipper.server_address[1]}",
        "NATS_FLUENT_HTTP_LISTEN": f"127.0.0.1:{port}",
        "NATS_FLUENT_SHUTDOWN_TIMEOUT": "1s",
    }  # fmt: skip
    env = {name: text for name, text in env.items() if "FLUENT_CERT" not in name and "FLUENT_KEY" not in name}
    running = begun(["run"], env)
    others = [begun(["check", "--connect", "--timeout", "5"], env)]
    if sign_in == "nats.password":
        others.append(begun(["tail", "--count", "1"], env))
    wait_until(lambda: accepts(port), what="it listens")
    wait_until(
        lambda: shipper.heard and ("***" in served(port) or nats.heard or sign_in == "nats.creds"),
        what="both servers have refused",
    )
    said = served(port) + arguments(running)
    for each in others[1:]:
        each.send_signal(signal.SIGINT)
    running.send_signal(signal.SIGTERM)
    printed = [process.communicate(timeout=PATIENCE)[0] for process in (running, *others)]
    assert all(printed[:2]), printed
    if sign_in == "nats.password":
        assert found_in("".join(nats.heard)), "the servers were not told"
    assert found_in(said) == []
    assert [found_in(each) for each in printed] == [[]] * len(printed)


def test_servers_that_take_it(tmp_path):
    given = environ(tmp_path, sign_in="nats.password", by_file=False)
    given = {name: text for name, text in given.items() if "_CERT_" not in name and "_KEY_" not in name}
    given = {name: text for name, text in given.items() if not name.startswith("NATS_FLUENT_FLUENT")}
    login = f'authorization: {{user: me, password: "{given["NATS_FLUENT_NATS_PASSWORD"]}"}}'
    payload = tmp_path / "payload"
    payload.write_bytes(publication({"ID": "1"}))
    port = free_port()
    with started(NatsServer(tmp_path, login)) as server:
        env = given | DEBUG | {
            "NATS_FLUENT_NATS_SERVERS": server.url,
            "NATS_FLUENT_HTTP_LISTEN": f"127.0.0.1:{port}",
        }  # fmt: skip
        running = begun(["run"], env)
        others = [
            begun(command, env)
            for command in (
                ["check", "--connect", "--timeout", "5"],
                ["decode", str(payload)],
                ["replay", "--since", "1h", "--dry-run"],
            )
        ]
        wait_until(lambda: accepts(port) and '"connected":true' in served(port), what="it is connected")
        said = served(port) + arguments(running)
        running.send_signal(signal.SIGTERM)
        printed = [process.communicate(timeout=PATIENCE)[0] for process in (running, *others)]
    assert all(printed)
    assert found_in(said) == []
    assert [found_in(each) for each in printed] == [[]] * 4


def test_passphrases_that_open_nothing(tmp_path):
    env = environ(tmp_path, sign_in="nats.password", by_file=True, fitting=False) | DEBUG
    env["NATS_FLUENT_FLUENT_URL"] = "forward+tls://localhost:1"
    for process in [begun([command], env) for command in ("check", "run")]:
        printed, _ = process.communicate(timeout=PATIENCE)
        assert process.returncode == 2
        assert "does not open the key" in printed
        assert found_in(printed) == []
