"""docs/tutorial.md, typed: every command in its order, and what the page shows is what comes.

Its files are written as the page says, its ports are free ones. What installs is left out: tox has installed it.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sysconfig
import urllib.request
from pathlib import Path

import containers
import pytest
from pages import TOP, blocks
from programs import PATIENCE, accepts, find, free_port, missing, wait_until

PAGE = TOP / "docs" / "tutorial.md"
VARIES = ("timestamp", "id")
SAVED = re.compile(r"[Ss]ave (?:this|a message) as `([\w.]+)`")


class Terminal:
    """One of the terminals: a command that stays, until Ctrl-C."""

    def __init__(self, text, directory, environ):
        self.out = directory / f"{len(list(directory.iterdir()))}.out"
        # A group of its own, as a terminal makes for what it runs: Ctrl-C is for all of it.
        with self.out.open("wb") as out:
            self.process = subprocess.Popen(
                ["bash", "-ec", text],
                cwd=directory,
                env=environ,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def shown(self):
        return self.out.read_text("utf-8")

    def ctrl_c(self):
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGINT)
        try:
            return self.process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
            pytest.fail(f"did not end on Ctrl-C: {self.shown()[-2000:]}")


def records(text):
    """The lines of JSON in what a program printed, or has printed so far."""
    return [json.loads(line) for line in text.split("\n")[:-1] if line.startswith("{")]


def same(record):
    return {name: value for name, value in record.items() if name not in VARIES}


class Reader:
    """Follows the page."""

    def __init__(self, directory):
        (directory / "conf").symlink_to(TOP / "conf")
        self.home = directory
        self.here = directory / "shop"
        self.ports = {name: str(free_port()) for name in ("4222", "24224")}
        self.monitor = free_port()
        scripts = sysconfig.get_path("scripts")
        self.environ = os.environ | {
            "PATH": os.pathsep.join([scripts, str(Path(find("fluent-bit")).parent), os.environ["PATH"]]),
            "FORWARD_PORT": self.ports["24224"],
            "HTTP_PORT": str(free_port()),
        }
        self.terminals = {}
        self.printed = ""

    def read(self, block):
        text = re.sub(r"\b(4222|24224)\b", lambda match: self.ports[match[0]], block.text)
        if block.before == "<!-- installs -->":
            return
        if stays := re.fullmatch(r"<!-- stays: ([\w-]+) -->", block.before):
            self.stay(stays[1], text)
        elif block.language == "sh":
            self.type(text)
        elif saved := SAVED.search(block.lead):
            (self.here / saved[1]).write_text(text)
        elif block.language == "json":
            self.see(same(json.loads(text)))
        else:
            assert text in self.printed

    def stay(self, name, text):
        if name in self.terminals:
            assert self.terminals[name].ctrl_c() == 0
        if name == "nats":
            text = text.replace("nats-server", f"nats-server -p {self.ports['4222']} -m {self.monitor}")
        elif name == "nats-fluent":
            before = self.subscribed()
        terminal = self.terminals[name] = Terminal(text, self.here, self.environ)
        listens = {"nats": "4222", "fluent-bit": "24224"}.get(name)

        def ready():
            assert terminal.process.poll() is None, terminal.shown()
            return accepts(int(self.ports[listens])) if listens else self.subscribed() - before

        wait_until(ready, what=f"{name} is ready")

    def subscribed(self):
        """The connections that have subscribed, by their ids: what is published reaches them."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.monitor}/connz", timeout=PATIENCE) as answer:
            found = json.load(answer)["connections"]
        return {each["cid"] for each in found if each["subscriptions"]}

    def type(self, text):
        where = self.here if self.here.exists() else self.home
        done = subprocess.run(
            ["bash", "-ec", text], cwd=where, env=self.environ, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, f"{text}\n{done.stdout}{done.stderr}"
        self.printed = done.stdout

    def see(self, record):
        """The record was printed by the last command, or comes from Fluent Bit."""
        if record in map(same, records(self.printed)):
            return
        shipper = self.terminals["fluent-bit"]
        wait_until(lambda: record in map(same, records(shipper.shown())), what=f"Fluent Bit prints {record}")


def test_a_newcomer_follows_the_tutorial(tmp_path):
    for name in ("nats-server", "fluent-bit"):
        if containers.is_container(find(name)):
            missing(name, "a container is not on PATH")
    reader = Reader(tmp_path)
    try:
        for block in blocks(PAGE):
            reader.read(block)
        assert len(reader.terminals) == 3
        seen = records(reader.terminals["fluent-bit"].shown())
        assert len(seen) == 5
        assert reader.terminals["nats-fluent"].ctrl_c() == 0
        assert "a handler fails" in reader.terminals["nats-fluent"].shown()
    finally:
        for terminal in reversed(reader.terminals.values()):
            terminal.ctrl_c()
