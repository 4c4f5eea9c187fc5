"""A real Fluentd with the configuration that users get, and what its Kafka output makes of records."""

from __future__ import annotations

import functools
import json
import os
import shutil
import subprocess
import tempfile
import urllib.request
from pathlib import Path
from typing import Any

import ways
from programs import PATIENCE, Program, accepts, find, free_port, missing, wait_until

OUTPUTS = sorted(path.name for path in (ways.CONF / "fluentd.d").glob("*.conf"))
INCLUDE = "\n@include fluentd.d/{}\n"
"""The one line that users edit."""


class Fluentd(Program):
    """A real Fluentd, the one line of its configuration naming this output.

    Args:
        directory: for its configuration, its buffers and what it prints.
        output: the output's file.
        args: more of Fluentd's own arguments.
        changes: what stands in the output's file, and what in its place.
        environ: more of its environment.
    """

    def __init__(
        self,
        directory: Path,
        output: str = "stdout.conf",
        *args: str,
        changes: dict[str, str] | None = None,
        **environ: str,
    ) -> None:
        program = find("fluentd")
        if output == "kafka.conf" and not _has_kafka(program):
            missing("fluent-plugin-kafka")
        conf = directory / "fluentd"
        shutil.copytree(ways.CONF, conf)
        _replace(conf / "fluentd.conf", INCLUDE.format("stdout.conf"), INCLUDE.format(output))
        for before, after in (changes or {}).items():
            _replace(conf / "fluentd.d" / output, before, after)
        self.port, self.http = free_port(), free_port()
        self.storage = directory / "storage"
        places = {"FORWARD_PORT": self.port, "HTTP_PORT": self.http, "STORAGE_PATH": self.storage}
        env = os.environ | {name: str(value) for name, value in places.items()} | environ
        super().__init__([program, "-c", str(conf / "fluentd.conf"), *args], directory, env=env)

    def start(self) -> None:
        super().start()
        # Ruby takes a second or two; the monitor listens last.
        wait_until(
            lambda: not self.running() or (accepts(self.port) and accepts(self.http)),
            within=2 * PATIENCE,
            what="Fluentd listens",
        )
        assert self.running(), self.stderr.read_text()[-2000:]

    def said(self) -> str:
        """What it has logged."""
        return self.stderr.read_text()

    def state(self, plugin: str) -> dict[str, Any]:
        """What its monitor says of the plugin with this id."""
        with urllib.request.urlopen(
            f"http://127.0.0.1:{self.http}/api/plugins.json", timeout=PATIENCE
        ) as answer:
            plugins = json.load(answer)["plugins"]
        return next(one for one in plugins if one["plugin_id"] == plugin)


def _replace(path: Path, before: str, after: str) -> None:
    text = path.read_text()
    assert text.count(before) == 1, f"{before!r} in {path}"
    path.write_text(text.replace(before, after))


@functools.cache
def _has_kafka(program: str) -> bool:
    """Whether that Fluentd has both gems that the Kafka output takes."""
    with tempfile.TemporaryDirectory() as directory:
        conf = Path(directory) / "fluentd.conf"
        conf.write_text(
            "<match **>\n  @type rdkafka2\n  <buffer topic>\n    @type memory\n  </buffer>\n"
            "  <format>\n    @type json\n  </format>\n</match>\n"
        )
        tried = subprocess.run(
            [program, "-c", str(conf), "--dry-run"], check=False, capture_output=True, timeout=2 * PATIENCE
        )
    return tried.returncode == 0
