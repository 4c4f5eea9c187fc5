"""How fast, how late, how large: this consumer, beside a bare NATS client and beside the script that one would write.

    python benchmarks                          everything, some forty minutes; installs other programs in .benchmarks
    python benchmarks --quick                  enforcer events over core NATS, one round, some ten seconds
    python benchmarks --only core,jetstream    some of it
    python benchmarks --report                 and write it to docs/benchmarks.md, with plots and a flame graph
    python benchmarks --report --only none     the same, from the results that were written last

Machines differ and are shared: read the ratios, which are taken within a round, and not the figures.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import latency
import memory
import peers
import report
import scaling
import speed
import starting
from rig import HERE, Failed, outside

if TYPE_CHECKING:
    from collections.abc import Callable

RESULTS = HERE / "results.json"
QUICK = 20_000


def stages() -> dict[str, object]:
    """In a process of its own: instructions, where there is valgrind, and nanoseconds."""
    more = ["--instructions"] if report.has("valgrind") else []
    said = subprocess.run(
        [sys.executable, HERE / "stages.py", "--json", *more],
        env=outside(),
        stdout=subprocess.PIPE,
        check=False,
    )
    if said.returncode:
        raise Failed("stages.py failed")
    found: dict[str, object] = json.loads(said.stdout)
    return found


def sections(rounds: int, idle: float) -> dict[str, Callable[[], dict[str, object]]]:
    return {
        "stages": stages,
        "core": lambda: speed.core(rounds),
        "jetstream": lambda: speed.jetstream(rounds),
        "peers": lambda: peers.peers(rounds),
        "burst": speed.unpaced,
        "paced": speed.paced,
        "scale": lambda: scaling.scale(rounds),
        "lingers": lambda: latency.by_linger(rounds, 5.0),
        "rates": lambda: latency.by_rate(rounds, 5.0),
        "memory": lambda: memory.steady(60.0),
        "outage": memory.outage,
        "start": lambda: starting.start(rounds),
        "idle": lambda: starting.idle(idle),
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--only", help="comma-separated: " + ", ".join(sections(1, 1)) + "; or none")
    parser.add_argument("--rounds", type=int, default=5, help="of which the median is taken (default 5)")
    parser.add_argument("--idle", type=float, default=60.0, help="seconds of quiet (default 60)")
    parser.add_argument(
        "--report", action="store_true", help="write docs/benchmarks.md, its plots and a flame graph"
    )
    parser.add_argument(
        "--results", type=Path, default=RESULTS, help="with --report: where all figures are kept"
    )
    given = parser.parse_args()
    if given.quick:
        print(report.core_table(speed.core(1, kinds={"event": QUICK})))
        return
    available = sections(given.rounds, given.idle)
    wanted = given.only.split(",") if given.only else list(available)
    wanted = [] if wanted == ["none"] else wanted
    if unknown := set(wanted) - set(available):
        parser.error(f"--only: there is no {', '.join(sorted(unknown))}")
    results = json.loads(given.results.read_text()) if given.report and given.results.exists() else {}
    problems = []
    for name in wanted:
        print(f"measuring: {name}", file=sys.stderr, flush=True)
        try:
            results[name] = available[name]() | {"on": report.machine()}
        except (Failed, OSError, subprocess.SubprocessError) as problem:
            problems.append(f"{name}: {type(problem).__name__}: {problem}")
            print(problems[-1], file=sys.stderr, flush=True)
            continue
        if given.report:  # what was measured stays, whatever comes next
            given.results.write_text(json.dumps(results, indent=1) + "\n")
    print(report.text(results))
    if given.report:
        if wanted:
            report.flame()
        report.write(results)
    if problems:
        sys.exit("\n".join(problems))


if __name__ == "__main__":
    main()
