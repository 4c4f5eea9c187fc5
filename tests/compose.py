"""The command `docker compose`, where there is one that is new enough."""

from __future__ import annotations

import functools
import re
import subprocess

from programs import PATIENCE, missing


@functools.cache
def compose() -> tuple[str, ...]:
    for command in (("docker", "compose"), ("docker-compose",)):
        try:
            done = subprocess.run(
                [*command, "version", "--short"],
                check=False,
                capture_output=True,
                text=True,
                timeout=PATIENCE,
            )
        except FileNotFoundError:
            continue
        found = re.match(r"v?(\d+)\.(\d+)", done.stdout)
        # 2.20 is the first to know `required` in `depends_on`.
        if done.returncode == 0 and found and tuple(map(int, found.groups())) >= (2, 20):
            return command
    return missing("docker-compose")
