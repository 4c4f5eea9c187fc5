"""What each stage of a publication's way costs, in nanoseconds and in instructions, and a guard on the latter.

    python benchmarks/stages.py                    nanoseconds: the best of so many rounds
    python benchmarks/stages.py --instructions     instructions as well, counted by valgrind
    python benchmarks/stages.py --check            fail when a stage takes over 10% more instructions than baseline.json
    python benchmarks/stages.py --update           write baseline.json, for this Python

The instructions of fixed inputs are the same on a busy machine as on a quiet one. All stages run in one process under
callgrind; before and after what is measured it calls `os.getppid`, at which callgrind writes its counters and sets them
to zero (--dump-before). So neither the start of Python nor the making of the inputs is counted. Another build of
Python, another compiler, or a processor for which the C library has other code takes another number: where one of these
differs from that of the baseline, the check says so and does nothing.
"""

from __future__ import annotations

import argparse
import gc
import importlib
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from steps import STAGES

from nats_fluent import build

if TYPE_CHECKING:
    from collections.abc import Callable

    from steps import Stage

BASELINE = Path(__file__).with_name("baseline.json")
ALLOWED = 0.10
"""Part by which a stage may grow."""
FLAGS = ("sse4_2", "avx", "avx2", "bmi2", "f16c", "rdrand", "rdseed")
"""Of a processor, as Linux names them: what the C library chooses its code by, as far as valgrind has it."""


# --- measuring -------------------------------------------------------------------------------------------------


def _ready(stage: Stage, turn: int) -> Callable[[], object]:
    """Make inputs that were not there before, and let nothing of that be seen in what follows."""
    measured = stage.make(stage.kind, turn * stage.publications, stage.publications)
    gc.collect()
    gc.freeze()
    return measured


def nanoseconds(rounds: int) -> dict[str, float]:
    """Return, for each stage, the nanoseconds for a publication, of the best round."""
    found: dict[str, float] = {}
    for turn in range(rounds + 1):  # the first is warm-up
        for stage in STAGES:
            measured = _ready(stage, turn)
            began = time.perf_counter_ns()
            measured()
            taken = (time.perf_counter_ns() - began) / stage.publications
            if turn:
                found[stage.name] = min(taken, found.get(stage.name, taken))
            gc.unfreeze()
    return {name: round(value, 1) for name, value in found.items()}


def marked() -> None:
    """Run every stage once warm, between two marks; to be run under callgrind."""
    for stage in STAGES:
        _ready(stage, 0)()
        measured = _ready(stage, 1)
        os.getppid()
        measured()
        os.getppid()
        gc.unfreeze()


def _fixes_addresses() -> bool:
    """Say whether `setarch -R` does what it should: by default, Docker forbids it to what runs in a container."""
    return (
        shutil.which("setarch") is not None
        and not subprocess.run(["setarch", "-R", "true"], capture_output=True, check=False).returncode
    )


def instructions() -> dict[str, float]:
    """Return, for each stage, the instructions for a publication."""
    with tempfile.TemporaryDirectory() as directory:
        command = [
            *("valgrind", "--tool=callgrind", "--dump-before=getppid", "--combine-dumps=no"),
            *(f"--callgrind-out-file={directory}/out", sys.executable, "-s", __file__, "--marked"),
        ]
        if _fixes_addresses():
            command = ["setarch", "-R", *command]  # addresses are hashes of what has no other
        environ = {
            name: value for name, value in os.environ.items() if name in ("PATH", "PYTHONPATH", "VIRTUAL_ENV")
        }
        environ |= {"PYTHONHASHSEED": "0", "PYTHONDONTWRITEBYTECODE": "1"}
        done = subprocess.run(command, env=environ, capture_output=True, text=True, check=False)
        parts = {
            int(file.name.rpartition(".")[2]): int(
                re.search(r"^(?:totals|summary): (\d+)", file.read_text("latin-1"), re.MULTILINE)[1]
            )
            for file in Path(directory).glob("out.*")
        }
    if done.returncode or len(parts) < 2 * len(STAGES):
        sys.exit(f"valgrind: exit code {done.returncode}, {len(parts)} dumps\n{done.stderr[-2000:]}")
    return {
        stage.name: round(parts[2 * number + 2] / stage.publications, 1)
        for number, stage in enumerate(STAGES)
    }


# --- the guard ------------------------------------------------------------------------------------------------


def decoder() -> str:
    """Say whether the compiled parts are there."""
    return "compiled" if build.compiled() else "Python"


def compiler() -> str:
    """Return what compiled the compiled part, as it says itself."""
    if not build.compiled():
        return "none"
    data = Path(importlib.import_module("nats_fluent._splice").__file__).read_bytes()
    found = re.search(rb"(?:GCC: |clang version )[^\0]+", data)
    return found[0].decode() if found else "unknown"


def processor() -> str:
    """Return which of these flags the processor has."""
    cpuinfo = Path("/proc/cpuinfo")
    found = re.search(r"^flags\s*:(.*)", cpuinfo.read_text(), re.MULTILINE) if cpuinfo.exists() else None
    return " ".join(name for name in FLAGS if found and name in found[1].split()) or "unknown"


def _version_of_valgrind() -> str:
    if shutil.which("valgrind") is None:
        return "none"
    return subprocess.run(
        ["valgrind", "--version"], capture_output=True, text=True, check=True
    ).stdout.strip()


def holds_for() -> dict[str, str]:
    """Return what the numbers of a baseline hold for."""
    return {
        "python": f"{platform.python_implementation()} {sys.version}",
        "machine": f"{platform.system()} {platform.machine()} {' '.join(platform.libc_ver())}",
        "processor": processor(),
        "valgrind": _version_of_valgrind(),
        "compiler": compiler(),
        "decoder": decoder(),
        **{name: version(name) for name in ("msgpack", "msgspec", "ormsgpack", "nats-py")},
    }


def grown(before: dict[str, float], now: dict[str, float]) -> list[str]:
    """Return a sentence for each stage that takes over 10% more, or that only one of them has."""
    problems = [f"{name}: not in baseline.json" for name in now.keys() - before.keys()]
    problems += [f"{name}: in baseline.json, and no stage" for name in before.keys() - now.keys()]
    for name in now.keys() & before.keys():
        if now[name] > before[name] * (1 + ALLOWED):
            growth = now[name] / before[name] - 1
            problems.append(
                f"{name}: {now[name]:,.0f} instructions, {growth:+.1%} ({before[name]:,.0f} before)"
            )
    return sorted(problems)


def _skip(reason: str) -> None:
    required = os.environ.get("NATS_FLUENT_REQUIRE", "").split(",")
    if "valgrind" in map(str.strip, required):
        sys.exit(f"{reason} (NATS_FLUENT_REQUIRE asks for it)")
    print(f"skipped: {reason}")
    sys.exit(0)


def check() -> None:
    baseline = json.loads(BASELINE.read_text())
    if shutil.which("valgrind") is None:
        _skip("valgrind not found: install it so that `valgrind` is on PATH")
    here = holds_for()
    other = [
        f"{name} is {here[name]!r}, not {baseline[name]!r}" for name in here if here[name] != baseline[name]
    ]
    if other:
        _skip("baseline.json is not for this machine: " + "; ".join(other))
    found = instructions()
    for name, count in found.items():
        before = baseline["stages"].get(name)
        print(f"{name:20} {count:>14,.1f}" + (f" {count / before - 1:>+8.1%}" if before else ""))
    if problems := grown(baseline["stages"], found):
        sys.exit("\n".join(problems))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=15, help="of nanoseconds (default 15)")
    parser.add_argument("--instructions", action="store_true", help="count these, too")
    parser.add_argument("--check", action="store_true", help="compare the instructions with baseline.json")
    parser.add_argument("--update", action="store_true", help="write baseline.json")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--marked", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.marked:
        marked()
    elif given.check:
        check()
    elif given.update:
        BASELINE.write_text(json.dumps(holds_for() | {"stages": instructions()}, indent=2) + "\n")
    else:
        counted = instructions() if given.instructions else {}
        taken = nanoseconds(given.rounds)
        if given.json:
            print(json.dumps({"nanoseconds": taken, "instructions": counted}))
            return
        for name, ns in taken.items():
            print(
                f"{name:20} {ns:>12,.1f} ns" + (f" {counted[name]:>14,.1f} instructions" if counted else "")
            )


if __name__ == "__main__":
    main()
