"""What the health check of a container asks: a program that waits for others is well, one that stands still is not."""

from __future__ import annotations

import socket
import subprocess
import sys

import pytest
from commands import ENVIRON, MonitoredNats
from programs import PATIENCE, accepts, free_port, started, wait_until
from watching import Watched

from nats_fluent import healthcheck

LISTEN = "NATS_FLUENT_HTTP_LISTEN"


def asked(listen, *args):
    """The exit code, and what is printed."""
    done = subprocess.run(
        [sys.executable, "-m", "nats_fluent.healthcheck", *args],
        check=False,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        env=ENVIRON | {LISTEN: listen},
    )
    assert done.stderr == ""
    return done.returncode, done.stdout


def test_it_is_well_without_nats_and_has_started_once_it_was_ready(tmp_path):
    nats = MonitoredNats(tmp_path)
    everywhere = free_port()
    with started(Watched(tmp_path, nats, NATS_FLUENT_HTTP_LISTEN=f"0.0.0.0:{everywhere}")) as running:
        running.http = everywhere
        listen = f"0.0.0.0:{everywhere}"
        wait_until(lambda: accepts(everywhere), what="it listens")
        assert asked(listen) == (0, '{"ok":true,"parts":{"watchdog":{"ok":true}}}\n')
        code, said = asked(listen, "/healthz")
        assert (code, "not connected" in said) == (1, True)
        with started(nats):
            running.wait_up()
            assert running.ask("/healthz")[0] == 200
        running.wait_why("nats")
        # It was ready, and is live: as a health check it is well, whatever is away.
        assert running.ask("/readyz")[0] == 503
        assert asked(listen, "/healthz") == asked(listen)


def test_one_that_takes_connections_and_does_not_answer_is_ill(monkeypatch, capsys):
    monkeypatch.setattr(healthcheck, "WITHIN", 0.1)
    with socket.create_server(("127.0.0.1", 0)) as stopped:
        monkeypatch.setenv(LISTEN, f"localhost:{stopped.getsockname()[1]}")
        assert healthcheck.main() == 1
    assert "timed out" in capsys.readouterr().out


@pytest.mark.parametrize("listen", ["127.0.0.1:1", "[::]:1", "nonsense", "127.0.0.1:x"])
def test_where_nobody_answers_it_is_ill(monkeypatch, capsys, listen):
    monkeypatch.setenv(LISTEN, listen)
    assert healthcheck.main("/healthz") == 1
    assert capsys.readouterr().out.startswith(f"{listen}/healthz: ")


@pytest.mark.parametrize("listen", ["off", "Off", " false ", "", " "])
def test_where_there_is_nothing_to_ask_it_is_not_ill(monkeypatch, capsys, listen):
    monkeypatch.setenv(LISTEN, listen)
    assert healthcheck.main() == 0
    assert "nothing to ask" in capsys.readouterr().out
