"""What every fuzzer needs: a kept corpus, and a run guided by coverage where this Python has a wheel of Atheris.

A target is a module with ``seeds()``, which yields inputs to begin with, and ``check(data)``, which raises
when the program does with these bytes what it must not. Each can be run for itself::

    python tests/fuzz decoder --minutes 10
    python tests/fuzz decoder --keep        # put what the run found into the corpus, minimised
    python tests/fuzz decoder --try FILE    # try this input, as after a failure

or all of them, one after the other, with ``tox -e fuzz``. `tests/unit/test_fuzz.py` replays the corpus.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib
import lzma
import random
import shlex
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import msgpack

if TYPE_CHECKING:
    from types import ModuleType

TARGETS = (
    "decoder",
    "forward_answers",
    "nats_frames",
    "splices",
    "settings_text",
    "spool_files",
    "http_requests",
)
HERE = Path(__file__).parent
CORPUS = HERE / "corpus"
FOUND = HERE.parent.parent / ".fuzz"
"""What a run finds, by target: not for the repository, which has a selection of it in `CORPUS`."""
MAX_LEN = 4096
MEMORY = 1024
"""Megabytes that a fuzzer may take."""
SLOW = 10
"""Seconds of one input that are a failure."""
KEPT = 300
"""Inputs of a target in the corpus, at most."""

try:
    import atheris
except ImportError:
    atheris = None  # type: ignore[assignment]

WHY_BLIND = "no Atheris for this Python: inputs are changed at random, not guided by what they reach"


def load(name: str) -> ModuleType:
    """Import a target, and count the branches of the package while it runs."""
    if atheris is None:
        return importlib.import_module(f"fuzz.{name}")
    counted = ["nats_fluent", "nats.protocol"]
    with atheris.instrument_imports(include=counted, enable_loader_override=False):
        return importlib.import_module(f"fuzz.{name}")


def kept(name: str) -> list[bytes]:
    """Return the corpus of a target."""
    path = CORPUS / f"{name}.msgpack.xz"
    return msgpack.unpackb(lzma.decompress(path.read_bytes())) if path.exists() else []


def begin(target: ModuleType, name: str) -> list[bytes]:
    """Return what a run begins with, and the unit tests replay."""
    return [*target.seeds(), *kept(name)]


def main() -> None:
    """Run one target, or all."""
    parser = argparse.ArgumentParser(prog="python tests/fuzz", description=__doc__.splitlines()[0])
    parser.add_argument("target", choices=[*TARGETS, "all"])
    parser.add_argument("--minutes", type=float, default=1.0, help="of each target")
    parser.add_argument("--seed", type=int, default=0, help="of the chance; 0 takes another each time")
    parser.add_argument("--keep", action="store_true", help="put what was found into the corpus, and end")
    parser.add_argument("--try", dest="files", nargs="+", type=Path, help="inputs to try, and end")
    parser.add_argument("--libfuzzer", nargs=argparse.REMAINDER, help="all that follows goes to libFuzzer")
    asked = parser.parse_args()
    if asked.target == "all":
        sys.exit(max(_alone(name, sys.argv[2:]) for name in TARGETS))
    target = load(asked.target)
    if asked.files:
        for path in asked.files:
            target.check(path.read_bytes())
        say(f"{asked.target}: {len(asked.files)} inputs tried, nothing found")
    elif asked.libfuzzer:
        # Its first word is how libFuzzer starts itself again, by the shell.
        own = shlex.join([sys.executable, str(HERE), asked.target, "--libfuzzer"])
        atheris.Setup([own, f"-max_len={MAX_LEN}", *asked.libfuzzer], target.check)
        atheris.Fuzz()
    elif asked.keep:
        _keep(asked.target)
    elif atheris is not None:
        _guided(target, asked.target, asked.minutes, asked.seed)
    else:
        say(f"{asked.target}: {WHY_BLIND}")
        _blind(target, asked.target, asked.minutes, asked.seed)


def _alone(name: str, arguments: list[str]) -> int:
    """Run a target in a process of its own, which Atheris ends."""
    say(f"== {name}")
    return subprocess.run([sys.executable, str(HERE), name, *arguments], check=False).returncode


def say(line: str) -> None:
    sys.stderr.write(f"{line}\n")


def _guided(target: ModuleType, name: str, minutes: float, seed: int) -> None:
    found = FOUND / name
    found.mkdir(parents=True, exist_ok=True)
    for data in begin(target, name):
        (found / hashlib.sha1(data).hexdigest()).write_bytes(data)
    arguments = [
        str(found),
        f"-max_total_time={max(1, round(minutes * 60))}",
        f"-max_len={MAX_LEN}",
        f"-timeout={SLOW}",
        f"-rss_limit_mb={MEMORY}",
        f"-artifact_prefix={found.parent}/{name}-",
        "-print_final_stats=1",
        "-verbosity=0",
    ]
    if seed:
        arguments.append(f"-seed={seed}")
    atheris.Setup([sys.argv[0], *arguments], target.check)
    atheris.Fuzz()


def _blind(target: ModuleType, name: str, minutes: float, seed: int) -> None:
    rng = random.Random(seed or None)
    inputs = begin(target, name)
    until = time.monotonic() + minutes * 60
    runs = 0
    while time.monotonic() < until:
        data = changed(rng.choice(inputs), rng.choice(inputs), rng)
        try:
            target.check(data)
        except BaseException:
            path = FOUND / f"{name}-crash-{hashlib.sha1(data).hexdigest()}"
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(data)
            say(f"{name}: after {runs} inputs: see {path}")
            raise
        runs += 1
    say(f"{name}: {runs} inputs in {minutes:g} minutes, nothing found")


def changed(data: bytes, other: bytes, rng: random.Random) -> bytes:
    """Return the input with some bytes flipped, inserted, deleted, or taken from another input."""
    found = bytearray(data)
    for _ in range(rng.randint(1, 5)):
        at = rng.randint(0, len(found))
        size = rng.choice((1, 1, 2, 4, 8, 32))
        match rng.randrange(5):
            case 0 if at < len(found):
                found[at] = rng.randrange(256)
            case 1:
                found[at:at] = rng.randbytes(size)
            case 2:
                del found[at : at + size]
            case 3:
                there = rng.randint(0, len(other))
                found[at:at] = other[there : there + size]
            case _:
                found[at : at + 1] = rng.choice(
                    (b"\x00", b"\xff", b"\x7f\xff\xff\xff", b"\x80", b"\xdd\xff\xff\xff\xff")
                )
    return bytes(found[:MAX_LEN])


def _keep(name: str) -> None:
    """Choose, among what was found, few inputs that reach as much; the shortest of each come first."""
    found = FOUND / name
    chosen = FOUND / f"{name}-chosen"
    chosen.mkdir(exist_ok=True)
    for path in chosen.iterdir():
        path.unlink()
    program = [sys.executable, str(HERE), name, "--libfuzzer", "-merge=1", str(chosen), str(found)]
    subprocess.run(program, check=True)
    inputs = sorted((path.read_bytes() for path in chosen.iterdir()), key=len)[:KEPT]
    CORPUS.mkdir(exist_ok=True)
    (CORPUS / f"{name}.msgpack.xz").write_bytes(lzma.compress(msgpack.packb(inputs), preset=9))
    say(f"{name}: kept {len(inputs)} inputs of {len(list(found.iterdir()))}")
