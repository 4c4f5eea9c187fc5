"""`nats-fluent init` on a terminal: it asks, and who presses Ctrl-C leaves nothing behind."""

from __future__ import annotations

import signal

from terminal import in_terminal


def test_it_asks_on_a_terminal_and_ctrl_c_writes_nothing(tmp_path):
    directory = tmp_path / "out"
    with in_terminal("init", str(directory), columns=100, stdin=True) as terminal:
        terminal.wait_for("NATS servers; blank for one in the compose file")
        terminal.type("nats.example\n")
        terminal.wait_for("User at NATS")
        terminal.process.send_signal(signal.SIGINT)
        assert terminal.ended() == 1
        assert "Traceback" not in terminal.text
    assert not directory.exists()
