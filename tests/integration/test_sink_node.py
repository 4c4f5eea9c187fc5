"""The Forward sink and the server of the Fluent organisation's Node library."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from pathlib import Path

import pytest
from forward_server import until
from programs import Program, find, free_port, required, started, whole_lines
from sending import chunk_of, numbered, sending

from nats_fluent.addresses import FluentUrl
from nats_fluent.options import Secret
from nats_fluent.sections import FluentSettings

LIBRARY = "@fluent-org/logger"
VERSION = "1.0.10"
SECURITY = {
    "serverHostname": "shipper",
    "sharedKey": "the key",
    "authorize": True,
    "userDict": {"me": "the password"},
}
KNOWN = {"shared_key": Secret("the key"), "user": "me", "password": Secret("the password")}


@pytest.fixture(scope="session")
def node_modules() -> Path:
    """The directory with the library; installed once, and kept for the next run."""
    npm = find("npm")
    directory = Path(tempfile.gettempdir()) / f"nats-fluent-node-{os.getuid()}-{VERSION}"
    modules = directory / "node_modules"
    if not (modules / LIBRARY / "package.json").exists():
        directory.mkdir(exist_ok=True)
        command = [npm, "install", "--no-audit", "--no-fund", "--ignore-scripts", "--prefix", str(directory)]
        result = subprocess.run(
            [*command, f"{LIBRARY}@{VERSION}"], capture_output=True, text=True, timeout=120, check=False
        )
        if result.returncode:
            reason = f"npm cannot install {LIBRARY}: {result.stderr[-300:]}"
            (pytest.fail if "npm" in required() else pytest.skip)(reason)
    return modules


class NodeServer(Program):
    def __init__(self, directory: Path, modules: Path, security: dict | None) -> None:
        self.port = free_port()
        script = Path(__file__).parent / "node" / "server.js"
        arguments = [str(self.port), *([json.dumps(security)] if security else [])]
        super().__init__(
            [find("node"), str(script), *arguments], directory, env={**os.environ, "NODE_PATH": str(modules)}
        )

    def start(self) -> None:
        super().start()
        self.wait_listening(self.port)

    def entries(self) -> list[dict]:
        return [json.loads(line) for line in whole_lines(self.stdout)]

    def settings(self, **changes: object) -> FluentSettings:
        return FluentSettings(url=(FluentUrl("forward", "127.0.0.1", self.port),), **changes)


@pytest.mark.parametrize(
    "how", [{}, {"compress": "gzip"}, {"mode": "forward"}], ids=["packed", "gzip", "forward"]
)
@pytest.mark.parametrize("secure", [False, True], ids=["open", "shared key and user"])
async def test_entries_come_out_as_they_went_in(tmp_path, node_modules, how, secure):
    record = {"text": "\u00e9", "list": [1, None, True, 0.5], "nested": {"a": {}}}
    with started(NodeServer(tmp_path, node_modules, SECURITY if secure else None)) as server:
        async with sending(server.settings(**how, **(KNOWN if secure else {}))) as client:
            await client.deliver(chunk_of(record, tag="a.b"), *numbered(50))
        await until(lambda: len(server.entries()) == 5001, what="every entry is printed")
        first, *rest = server.entries()
    assert first == {"tag": "a.b", "seconds": 1560375482, "nanoseconds": 268588123, "record": record}
    assert [entry["record"]["id"] for entry in rest] == [str(n) for n in range(5000)]


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"shared_key": Secret("another")}, "refused the handshake"),
        ({"password": Secret("another")}, "refused the handshake"),
        ({"user": "you"}, "refused the handshake"),
        ({"hostname": "shipper"}, ""),
    ],
    ids=["key", "password", "user", "host name"],
)
async def test_a_client_that_may_not_is_told_why(tmp_path, node_modules, wrong, said):
    with started(NodeServer(tmp_path, node_modules, SECURITY)) as server:
        async with sending(server.settings(**(KNOWN | wrong))) as client:
            client.sink.submit(chunk_of({"a": 1}))
            await until(lambda: client.logged, what="a line in the log")
            assert client.events() == ["refused by the log shipper"]
            assert said in client.reasons()[0]
        assert server.entries() == []
