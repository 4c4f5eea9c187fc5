"""The commands as a user starts them: what they print, and with which code they end."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from programs import PATIENCE, Program, free_port, started, wait_until, whole_lines
from taking import Certificates

import nats_fluent

VECTORS = Path(__file__).parents[1] / "vectors" / "2019"
# -P and PYTHONPATH: the package that this test imported, wherever it was installed.
COMMAND = [sys.executable, "-P", "-m", "nats_fluent"]
OUTSIDE = {name: value for name, value in os.environ.items() if not name.startswith(("NATS_FLUENT", "KAFKA"))}
ENVIRON = OUTSIDE | {"PYTHONPATH": str(Path(nats_fluent.__file__).parents[1]), "COLUMNS": "200"}


def command(*args, stdin=b"", **environ):
    done = subprocess.run(
        [*COMMAND, *map(str, args)],
        check=False,
        input=stdin,
        capture_output=True,
        env=ENVIRON | environ,
        timeout=PATIENCE,
    )
    done.stdout, done.stderr = done.stdout.decode(), done.stderr.decode()
    assert "Traceback" not in done.stderr
    return done


def problem(done, *, code=2):
    """The one sentence on stderr."""
    assert (done.returncode, done.stdout) == (code, "")
    (line,) = done.stderr.splitlines()
    return line.removeprefix("nats-fluent: ")


class Running(Program):
    """`nats-fluent run`, its log as JSON."""

    def __init__(self, directory, **environ):
        super().__init__(
            [*COMMAND, "run"], directory, env=ENVIRON | {"NATS_FLUENT_LOG_FORMAT": "json"} | environ
        )

    def log(self):
        return [json.loads(line) for line in whole_lines(self.stderr)]

    def wait_logged(self, event):
        wait_until(lambda: event in [line["event"] for line in self.log()], what=f"it logs {event!r}")


def test_help_and_version():
    done = command("--help")
    assert done.returncode == 0
    assert all(f" {name} " in done.stdout for name in ("run", "check", "decode", "demo"))
    said = command("--version", NATS_FLUENT_REVISION="abc").stdout.splitlines()
    # The first line is for scripts.
    assert (said[0], said[-1]) == (f"nats-fluent {nats_fluent.__version__}", "revision: abc")


def test_an_unknown_setting():
    name = "NATS_FLUENT_NATS_SERVER"
    assert problem(command("run", **{name: "nats://a"})) == (
        f"environment {name} is not a setting; did you mean {name}S?"
    )


def test_an_unknown_key_in_a_file(tmp_path):
    file = tmp_path / "settings.toml"
    file.write_text("[nats]\nservers = 7\n[batch]\nlingr = 1\n")
    done = command("check", "--config", file)
    assert done.returncode == 2
    assert done.stderr.splitlines() == [
        f"nats-fluent: {file}: batch.lingr is not a setting; did you mean batch.linger?",
        f"nats-fluent: {file}: nats.servers: 7 is not a list; write one or more, with commas between.",
    ]


def test_a_file_that_is_not_there():
    assert "/nowhere/ca.pem cannot be read" in problem(command("run", "--nats-ca-file", "/nowhere/ca.pem"))
    assert "/nowhere.toml: cannot be read" in problem(command("run", NATS_FLUENT_CONFIG="/nowhere.toml"))


def test_an_unknown_flag():
    done = command("run", "--nats-servr", "a")
    assert (done.returncode, done.stdout) == (2, "")
    assert "--nats-servr" in done.stderr


@pytest.mark.parametrize("name", ["run", "check"])
def test_a_passphrase_that_does_not_open_the_key(tmp_path, name):
    certificates = Certificates(tmp_path)
    secret = tmp_path / "passphrase"
    secret.write_text("hunter2\n")
    done = command(
        name,
        "--nats-cert-file",
        certificates.cert_file,
        "--nats-key-file",
        certificates.key_file(passphrase="open"),
        "--nats-key-password-file",
        secret,
    )
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert "nats.key_password" in line
    assert "hunter2" not in done.stdout + done.stderr


def test_check_without_servers():
    server = f"nats://127.0.0.1:{free_port()}"
    assert command("check", NATS_FLUENT_NATS_SERVERS=server).returncode == 0
    done = command("check", "--connect", "--timeout", "5", NATS_FLUENT_NATS_SERVERS=server)
    assert done.returncode == 1
    assert "failed  NATS  " in done.stdout
    assert "ok      stdout:  " in done.stdout


def test_decode():
    good, bad = VECTORS / "good" / "event_enforcer_update.bin", VECTORS / "bad" / "env_c1.bin"
    done = command("decode", good)
    assert done.returncode == 0
    record = json.loads(done.stdout)
    assert (record["topic"], record["operation"]) == (record["subject"], "update")
    # As the message of another subject, from stdin, and beside one that cannot be decoded.
    done = command(
        "decode", "-", bad, "--subject", "events.a", "--topics", "events.>", stdin=good.read_bytes()
    )
    assert done.returncode == 1
    first, second = map(json.loads, done.stdout.splitlines())
    assert (first["topic"], first["subject"], first["content"]) == ("events", "events.a", record["content"])
    assert "error" in second


def test_decode_of_a_file_that_is_not_there():
    done = command("decode", "/nowhere.bin")
    assert done.returncode == 2
    assert "/nowhere.bin" in done.stderr


def test_decode_into_a_pipe_that_nobody_reads():
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(
        [*COMMAND, "decode", VECTORS / "good" / "event_enforcer_update.bin"],
        check=False,
        stdout=writer,
        stderr=subprocess.PIPE,
        env=ENVIRON,
        timeout=PATIENCE,
    )
    os.close(writer)
    assert done.returncode == 1
    assert done.stderr == b""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_run_until_a_signal(tmp_path, nats_server, number):
    with started(Running(tmp_path, NATS_FLUENT_NATS_SERVERS=nats_server.url)) as running:
        running.wait_logged("connected to NATS")
        running.process.send_signal(number)
        assert running.process.wait(PATIENCE) == 0
    assert running.stdout.read_bytes() == b""
    assert running.log()[-1]["event"] == "stopped"


def test_run_says_what_settings_may_not_do(tmp_path, nats_server):
    environ = {
        "KAFKA_EXPORTER_PUBSUB_ADDRESS": f"127.0.0.1:{nats_server.port}",
        "KAFKA_EXPORTER_BROKERS": "a",
    }
    with started(Running(tmp_path, **environ)) as running:
        running.wait_logged("connected to NATS")
        assert running.log()[0]["reason"] == "environment KAFKA_EXPORTER_BROKERS has no effect; leave it out."
        assert running.stop() == 0
