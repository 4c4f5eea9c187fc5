"""Shell completion, asked for as the shells do: in bash by its own script, in the others by what theirs would ask."""

from __future__ import annotations

import shlex
import shutil
import subprocess

import pytest
from commands import COMMAND, ENVIRON
from typer.testing import CliRunner

from nats_fluent import cli

ASK = """\
eval "$(nats-fluent --show-completion)"
ask() {
    COMP_WORDS=("$@") COMP_CWORD=$(($# - 1))
    "$(complete -p nats-fluent | sed 's/.* -F \\([^ ]*\\).*/\\1/')" nats-fluent
    echo "${COMPREPLY[@]}"
}
ask nats-fluent re
ask nats-fluent run --spool-mode ""
"""


def test_bash_completes_a_command_and_a_value(tmp_path):
    bash = shutil.which("bash")
    if bash is None:
        pytest.skip("there is no bash on this machine")
    program = tmp_path / "nats-fluent"
    program.write_text(f'#!{bash}\nexec {shlex.join(COMMAND)} "$@"\n')
    program.chmod(0o755)
    environ = ENVIRON | {"PATH": f"{tmp_path}:{ENVIRON['PATH']}"}
    script = tmp_path / "ask"
    script.write_text(ASK)
    done = subprocess.run(
        [bash, "--noprofile", "--norc", str(script)],
        capture_output=True,
        text=True,
        check=False,
        env=environ,
        timeout=60,
    )
    assert (done.stdout, done.stderr) == ("replay\noff overflow always\n", "")


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_other_shells_are_answered(shell):
    asked = {
        "_NATS_FLUENT_COMPLETE": f"complete_{shell}",
        "_TYPER_COMPLETE_ARGS": "nats-fluent re",
        "_TYPER_COMPLETE_FISH_ACTION": "get-args",
    }
    result = CliRunner().invoke(cli.app, [], prog_name="nats-fluent", env=asked)
    assert result.exit_code == 0
    assert "replay" in result.stdout
    assert "decode" not in result.stdout
