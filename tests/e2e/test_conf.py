"""The files that users edit, read by a real Fluent Bit."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from programs import find

CONF = Path(__file__).parents[2] / "conf"
OUTPUTS = sorted(path.name for path in (CONF / "output.d").glob("*.conf"))


@pytest.mark.parametrize("output", OUTPUTS)
def test_the_one_line_chooses_the_output(tmp_path, output):
    shutil.copytree(CONF, tmp_path / "conf")
    conf = tmp_path / "conf" / "fluent-bit.conf"
    before = conf.read_text()
    assert before.count("\n@INCLUDE output.d/stdout.conf\n") == 1
    conf.write_text(before.replace("\n@INCLUDE output.d/stdout.conf\n", f"\n@INCLUDE output.d/{output}\n"))
    done = subprocess.run(
        [find("fluent-bit"), "-c", str(conf), "--dry-run"],
        check=False,
        capture_output=True,
        text=True,
        timeout=30,
        env=os.environ | {"KAFKA_BROKERS": "127.0.0.1:9092"},
    )
    assert done.returncode == 0, done.stderr
    assert "configuration test is successful" in done.stdout + done.stderr


def test_both_outputs_of_the_first_release_are_there():
    assert {"stdout.conf", "kafka.conf"} <= set(OUTPUTS)
