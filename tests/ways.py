"""Whole ways: NATS, `nats-fluent run` and a log shipper; what went in, what came out, and what should have.

What comes out is compared with what `nats-fluent decode` makes of the same payloads, which the unit tests hold to
what the Go libraries make of them.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import json
import lzma
import os
import re
import shutil
import subprocess
import urllib.error
import urllib.request
from pathlib import Path

import msgpack
import pytest
from commands import COMMAND, ENVIRON, MonitoredNats, Running, pub
from judging import same
from programs import PATIENCE, FluentBit, accepts, free_port, started, wait_until
from taking import publish_raw

from nats_fluent.settings import DEFAULT_TOPICS

ROOT = Path(__file__).parents[1]
CONF = ROOT / "conf"
INCLUDE = {".conf": "\n@INCLUDE output.d/{}\n", ".yaml": "\n  - output.d/{}\n"}
"""The one line that users edit, in each of the two forms."""
FILES_AT_ONCE = 250
"""Of one `decode`: it opens all of them."""


class Way:
    """nats-server, `nats-fluent run` and a log shipper, one after the other."""

    def __init__(self, nats, running, shipper):
        self.nats = nats
        self.running = running
        self.shipper = shipper

    def publish(self, messages):
        publish_raw(self.nats.port, *(pub(subject, payload) for subject, payload in messages))

    def send(self, commands):
        """Publish, wait until as many lines are printed, and return the record of each once all has ended."""
        publish_raw(self.nats.port, *commands)
        count = len(commands)
        wait_until(lambda: self.printed() >= count, what=f"{count} lines are printed")
        self.finish(count)
        lines = self.shipper.stdout.read_bytes().split(b"\n")
        assert lines.pop() == b""
        assert len(lines) == count
        return [as_json(line) for line in lines]

    def printed(self):
        assert self.running.running()
        assert self.shipper.running()
        return self.shipper.stdout.read_bytes().count(b"\n")

    def finish(self, count):
        """Stop both; all of `count` publications were received, and delivered to the log shipper."""
        assert self.running.stop(within=2 * PATIENCE) == 0
        assert self.shipper.stop() == 0
        stopped = self.running.log()[-1]
        assert (stopped["received"], stopped["delivered"], stopped["left"]) == (count, count, 0)
        assert (stopped["dropped"], stopped["event"]) == (0, "stopped")


@contextlib.contextmanager
def way(directory, shipper, **environ):
    """The way to this log shipper, started."""
    with contextlib.ExitStack() as stack:
        nats = stack.enter_context(started(MonitoredNats(directory)))
        stack.enter_context(started(shipper))
        url = f"forward://127.0.0.1:{shipper.port}"
        waits = f"{PATIENCE:g}s"
        environ = {"NATS_FLUENT_FLUENT_URL": url, "NATS_FLUENT_SHUTDOWN_TIMEOUT": waits} | environ
        running = stack.enter_context(started(Running(directory, nats, **environ)))
        topics = environ.get("NATS_FLUENT_TOPICS")
        running.wait_subscribed(topics.count(",") + 1 if topics else len(DEFAULT_TOPICS))
        yield Way(nats, running, shipper)


def configured(directory, output):
    """Copy the configuration, change its one line to this output, and return the file to start Fluent Bit with."""
    conf = directory / "conf"
    if not conf.exists():
        shutil.copytree(CONF, conf)
    form = Path(output).suffix
    main = conf / f"fluent-bit{form}"
    before = (CONF / main.name).read_text()
    assert before.count(INCLUDE[form].format(f"stdout{form}")) == 1
    main.write_text(before.replace(INCLUDE[form].format(f"stdout{form}"), INCLUDE[form].format(output)))
    return main


def fluent_bit(directory, output="stdout.conf", **environ):
    """A Fluent Bit with the configuration that users get, its one line naming this output."""
    main = configured(directory, output)
    port = free_port()
    places = {"FORWARD_PORT": port, "HTTP_PORT": free_port(), "STORAGE_PATH": directory / "storage"}
    env = os.environ | {name: str(value) for name, value in (places | environ).items()}
    return FluentBit(directory, conf=main, port=port, env=env)


def metric(shipper, name, plugin):
    """The value of a metric of this plugin of a configured Fluent Bit, 0 while there is none."""
    # It takes records before it listens here.
    wait_until(lambda: accepts(int(shipper.env["HTTP_PORT"])), what="Fluent Bit tells its metrics")
    url = f"http://127.0.0.1:{shipper.env['HTTP_PORT']}/api/v2/metrics/prometheus"
    try:
        with urllib.request.urlopen(url, timeout=PATIENCE) as answer:
            text = answer.read().decode()
    except urllib.error.HTTPError:
        return 0.0  # 404 until it has collected some, a second or so after its start
    found = re.search(rf'^{name}{{name="{plugin}"}} (\S+)$', text, re.MULTILINE)
    return float(found[1]) if found else 0.0


def as_json(text):
    """The value of what every JSON reader takes: no NaN, no infinity, no name twice."""

    def once(pairs):
        value = dict(pairs)
        assert len(value) == len(pairs), text
        return value

    return json.loads(text, parse_constant=pytest.fail, object_pairs_hook=once)


def corpus(name):
    """Recorded traffic, (subject, payload) in the order in which it was published."""
    with lzma.open(ROOT / "tests" / "corpus" / f"{name}.msgpack.xz") as file:
        return [(subject, payload) for subject, payload in msgpack.Unpacker(file)]


def assert_whole_and_once(directory, records, messages):
    """Every one of recorded `messages` is among `records` once, and is what `decode` prints."""
    by_seq = {int(re.search(r"seq=(\d{9})", json.dumps(record))[1]): record for record in records}
    assert len(records) == len(messages)
    assert sorted(by_seq) == list(range(1, len(messages) + 1))
    assert len({record["id"] for record in records}) == len(messages)
    for number, record in decoded(directory, messages).items():
        assert "error" not in record
        found = without(by_seq[number + 1], "id")
        assert same(found, printed(without(record, "id"))), number


def number_of(record):
    """Which record of its process it is, by its id: they count up in the order of receipt."""
    return int(record["id"].partition("-")[2])


def assert_in_order(records):
    assert records
    numbers = [number_of(record) for record in records]
    assert numbers == sorted(numbers)


def decoded(directory, messages):
    """What `nats-fluent decode` prints for each payload, several processes at a time."""

    def decode(part):
        first, subject, payloads = part
        files = []
        for number, payload in enumerate(payloads):
            files.append(directory / f"{first + number}.bin")
            files[-1].write_bytes(payload)
        done = subprocess.run(
            [*COMMAND, "decode", "--subject", subject, *map(str, files)],
            check=False,
            capture_output=True,
            env=ENVIRON,
            timeout=2 * PATIENCE,
        )
        assert done.stderr == b""
        return [json.loads(line) for line in done.stdout.splitlines()]

    parts, numbers = [], []
    for wanted in dict.fromkeys(subject for subject, _ in messages):
        of = [number for number, (subject, _) in enumerate(messages) if subject == wanted]
        for start in range(0, len(of), FILES_AT_ONCE):
            part = of[start : start + FILES_AT_ONCE]
            parts.append((len(numbers), wanted, [messages[number][1] for number in part]))
            numbers += part
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        records = [record for part in pool.map(decode, parts) for record in part]
    assert len(records) == len(messages)
    return dict(zip(numbers, records, strict=True))


def printed(value):
    """As Fluent Bit prints it: 16 digits of a float, which may not be enough to read it back."""
    match value:
        case float():
            return float(f"{value:.16g}")
        case list():
            return [printed(item) for item in value]
        case dict():
            return {name: printed(item) for name, item in value.items()}
    return value


def without(record, *names):
    return {name: value for name, value in record.items() if name not in names}
