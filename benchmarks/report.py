"""The report: tables for docs/benchmarks.md, plots, and a flame graph beside it."""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
import sysconfig
from importlib.metadata import version
from pathlib import Path
from typing import Any

import peer_tables
import stages
import workloads
from rig import HERE, Failed, find, running, wait_until
from tables import mb as _mb
from tables import table as _table

DOCS = HERE.parent / "docs"
BEGIN, END = "<!-- measured: begin -->", "<!-- measured: end -->"
FLAME = DOCS / "benchmarks-flame.svg"
LIBRARIES = ("nats-py", "uvloop", "msgspec", "ormsgpack", "msgpack")


def has(program: str) -> bool:
    return find(program) is not None


def machine() -> dict[str, str]:
    """What a figure was measured on."""
    model = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists() and (found := re.search(r"model name\s*: (.*)", cpuinfo.read_text())):
        model = found[1]
    return {
        "processor": f"{os.cpu_count()} cores, {model}",
        "system": f"{platform.system()} {platform.release()}",
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "decoder": stages.decoder(),
        "libraries": ", ".join(f"{name} {version(name)}" for name in LIBRARIES),
        "nats-server": _says("nats-server"),
        "Fluent Bit": _says("fluent-bit"),
        "load before": f"{os.getloadavg()[0]:.1f}",
    }


def _says(program: str) -> str:
    path = find(program)
    if path is None:
        return "none"
    said = subprocess.run([path, "--version"], capture_output=True, text=True, check=False).stdout
    found = re.search(r"v?(\d+\.\d+\.\d+)", said)
    return found[1] if found else "unknown"


# --- a table for each section ---------------------------------------------------------------------------------


def core_table(result: dict[str, Any]) -> str:
    rows = [
        (
            workloads.KINDS[kind],
            f"{each['bytes']:,}",
            *(f"{each[name]:,}" for name in ("bare", "naive", "nats_fluent")),
            each["to_bare"],
            each["to_naive"],
        )
        for kind, each in result["kinds"].items()
    ]
    head = ("publications a second", "bytes", "`bare`", "`naive`", "`nats_fluent`", "/ `bare`", "/ `naive`")
    return f"{_table(head, rows)}\n\nMedian of {result['rounds']}; {result['shipper']}."


def _jetstream(result: dict[str, Any]) -> str:
    rows = [
        (workloads.KINDS[kind], f"{each['bare_pull']:,}", f"{each['fluent_pull']:,}", each["to_bare_pull"])
        for kind, each in result["kinds"].items()
    ]
    table = _table(("messages of a stream a second", "`bare_pull`", "`fluent_pull`", "ratio"), rows)
    return f"{table}\n\nMedian of {result['rounds']}."


def _account(result: dict[str, Any]) -> str:
    return _table(
        ("the recorded traffic", ""),
        ((name.replace("_", " "), f"{n:,}") for name, n in result.items() if name != "on"),
    )


def _scale(result: dict[str, Any]) -> str:
    rates = result["processes"]
    to_one = result.get("to_one") or {n: rate / rates["1"] for n, rate in rates.items()}
    rows = ((n, f"{rate:,}", f"{to_one[n]:.2f}") for n, rate in rates.items())
    table = _table(("processes in one queue group", "publications a second", "to one"), rows)
    shared = f"{table}\n\nMedian of {result['rounds']}, on the same cores as the publisher and both servers."
    used, held = result.get("cpu", {}), result.get("held", {})
    parts = [shared, *([_apart(held)] if held else [])]
    if any(used.values()):
        every = {f"{n}, on shared cores": each for n, each in used.items()}
        every |= {f"{name}, held": each["cpu"] for name, each in held.get("cases", {}).items()}
        parts.append(_used(every))
    return "\n\n".join(parts)


def _apart(result: dict[str, Any]) -> str:
    if "left_out" in result:
        return f"With a part of a core for each: left out. {result['left_out']}."
    head = (
        f"each held to {result['part']:g} of a core",
        "records arrived a second",
        "to one",
        "in all rounds",
    )
    rows = [
        (
            name,
            f"{each['arrived']:,}",
            f"{each['to_one']:.2f}",
            f"{each['to_one_least']:.2f} to {each['to_one_most']:.2f}",
            f"{each['full']:.0%}",
            f"{each['uneven']:.1%}",
        )
        for name, each in result["cases"].items()
    ]
    table = _table((*head, "of its part used", "off an even share"), rows)
    return f"{table}\n\nMedian of {result['rounds']}; the part is of each {result['period_ms']:g} ms."


def _used(every: dict[str, dict[str, float]]) -> str:
    programs = ("workers", "supervisor", "nats_server", "log_shipper")
    head = ("seconds of a core for 100,000 records", "workers", "supervisor", "nats-server", "Fluent Bit")
    rows = (
        (name, *(f"{each[program]:.2f}" if program in each else "" for program in programs))
        for name, each in every.items()
    )
    return _table(head, rows)


def _latency(result: dict[str, Any], found: dict[str, Any], what: str, *, burst: bool) -> str:
    head = [what, "p50 ms", "p99 ms", "chunks a second", "of a core", "published a second"]
    rows = [
        [
            name,
            *(f"{each[part]:.1f}" for part in ("p50_ms", "p99_ms", "chunks_a_second")),
            f"{each['cpu']:.0%}",
            f"{each['published_a_second']:,.0f}",
            *([f"{each['burst']:,}"] if burst else []),
        ]
        for name, each in found.items()
    ]
    table = _table([*head, "a second in a burst"] if burst else head, rows)
    return f"{table}\n\nMedian of {result['rounds']}; {workloads.KINDS[result['kind']]}."


def _memory(result: dict[str, Any]) -> str:
    return _table(
        ("steady", ""),
        [
            ("publications a second", f"{result['rate']:,}"),
            ("resident before", _mb(result["rss_begin"])),
            ("median", _mb(result["rss_median"])),
            ("most", _mb(result["rss_max"])),
            ("second half over the first", f"{result['rss_growth'] / 1e6:+.1f} MB"),
            ("of a core", f"{result['cpu']:.0%}"),
        ],
    )


def _outage(result: dict[str, Any]) -> str:
    rows = [
        (
            f"{workloads.KINDS[kind]}, {workloads.mean_size(kind):,} bytes",
            *(_mb(each[name]) for name in ("rss_before", "held_max", "rss_max")),
            _mb(each["rss_max"] - result["budget"]),
            _mb(each["rss_after"]),
        )
        for kind, each in result["kinds"].items()
    ]
    head = ("log shipper away", "before", "held, most", "resident, most", "over the budget", "after")
    return _table(head, rows)


def _small(result: dict[str, Any]) -> str:
    return f"{result['seconds']} s, median of {result['rounds']}."


def _idle(result: dict[str, Any]) -> str:
    return f"{result['cpu']:.2%} of a core over {result['seconds']:g} s; {_mb(result['rss'])} resident."


PARTS = {
    "read event": "NATS frames to deliveries",
    "receive event": "account, budget, inbox",
    "record event": "decode the envelope, the event and its object; encode the record",
    "batch event": "entry and chunk",
    "encode event": "the Forward frame of a chunk, over its 500 records",
    "ack event": "the acknowledgement of a chunk, over its 500 records",
}


def _stages(result: dict[str, Any]) -> str:
    ns, counted = result["nanoseconds"], result["instructions"]

    def row(what: str, took: float, instructions: float | None) -> tuple[object, ...]:
        return (what, f"{took / 1000:.2f}", f"{took / ns['whole event']:.0%}", f"{instructions or 0:,.0f}")

    rows = [row(what, ns[name], counted.get(name)) for name, what in PARTS.items()]
    rest = [each.get("whole event", 0) - sum(each.get(name, 0) for name in PARTS) for each in (ns, counted)]
    rows.append(row("the event loop, and what is between the stages", *rest))
    rows.append(row("all of it, without the sockets", ns["whole event"], counted.get("whole event")))
    others = [
        (name, f"{took / 1000:.2f}", f"{counted.get(name, 0):,.0f}")
        for name, took in ns.items()
        if name not in PARTS
    ]
    return (
        f"{_table(('an enforcer event', 'us', 'share', 'instructions'), rows)}\n\n"
        f"{_table(('other stages and kinds', 'us', 'instructions'), others)}"
    )


SECTIONS = {
    "core": ("Core NATS, one process", core_table),
    "jetstream": ("JetStream, one process", _jetstream),
    "peers": ("Beside other programs", peer_tables.peers),
    "burst": ("A burst of 200,000, as fast as the server takes it", _account),
    "paced": ("40,000 a second for twenty seconds", _account),
    "scale": ("More processes", _scale),
    "lingers": (
        "From publication to acknowledgement, by batch.linger",
        lambda result: _latency(
            result, result["lingers"], f"batch.linger, {result['rate']:,} a second", burst=True
        ),
    ),
    "rates": (
        "From publication to acknowledgement, by rate",
        lambda result: _latency(result, result["rates"], "publications a second", burst=False),
    ),
    "memory": ("Memory at a steady rate", _memory),
    "outage": ("Memory while the log shipper is away", _outage),
    "start": ("From the start of the process to the last subscription", _small),
    "idle": ("A quiet minute", _idle),
    "stages": ("Where the time goes", _stages),
}
PLOTS = {
    "core": ("benchmarks-speed.svg", "publications a second by size"),
    "rates": ("benchmarks-latency.svg", "milliseconds from publication to acknowledgement by rate"),
    "outage": ("benchmarks-memory.svg", "memory before, during and after an outage"),
}


def text(results: dict[str, Any], *, plots: bool = False) -> str:
    """Return all tables, and what they were measured on."""
    machines = [each["on"] for each in results.values()]
    parts = []
    if machines:
        rows = [
            (name, " or ".join(dict.fromkeys(each[name] for each in machines if name in each)))
            for name in machines[0]
            if name != "load before"
        ]
        loads = [float(each["load before"]) for each in machines]
        rows.append(("load before each section", f"{min(loads):.1f} to {max(loads):.1f}"))
        parts.append(_table(("machine", ""), rows).replace("---:", "---"))
    for name, (title, table) in SECTIONS.items():
        if name not in results:
            continue
        parts += [f"### {title}", table(results[name])]
        if plots and name in PLOTS:
            file, what = PLOTS[name]
            parts.append(f"![{what}]({file})")
    if plots and FLAME.exists():
        parts.append(f"A flame graph of the recorded traffic, by py-spy: [{FLAME.name}]({FLAME.name}).")
    return "\n\n".join(parts)


def write(results: dict[str, Any]) -> None:
    """Write the tables between the marks of docs/benchmarks.md, and draw the plots."""
    draw(results)
    page = DOCS / "benchmarks.md"
    before, _, rest = page.read_text().partition(BEGIN)
    _, _, after = rest.partition(END)
    page.write_text(f"{before}{BEGIN}\n\n{text(results, plots=True)}\n\n{END}{after}")


# --- pictures -------------------------------------------------------------------------------------------------


def draw(results: dict[str, Any]) -> None:
    """Draw what there are results for, the same file for the same results."""
    try:
        import matplotlib as mpl  # noqa: PLC0415 - for this alone
        from matplotlib import pyplot as plt  # noqa: PLC0415
    except ImportError:
        raise SystemExit("the plots need matplotlib: pip install 'nats-fluent[bench]'") from None
    mpl.use("svg")
    mpl.rcParams |= {
        "svg.hashsalt": "nats-fluent",
        "svg.fonttype": "none",
        "axes.grid": True,
        "grid.alpha": 0.3,
    }
    drawings = {"core": _draw_speed, "rates": _draw_latency, "outage": _draw_memory}
    for name, drawing in drawings.items():
        if name in results:
            figure = drawing(plt, results[name])
            figure.savefig(DOCS / PLOTS[name][0], metadata={"Date": None}, bbox_inches="tight")
            plt.close(figure)


def _draw_speed(pyplot: Any, result: dict[str, Any]) -> Any:
    figure, axes = pyplot.subplots(figsize=(7, 4))
    kinds = sorted(result["kinds"].values(), key=lambda each: each["bytes"])
    for name in ("bare", "nats_fluent", "naive"):
        axes.loglog([each["bytes"] for each in kinds], [each[name] for each in kinds], "o-", label=name)
    axes.set(xlabel="bytes of a publication", ylabel="publications a second")
    axes.legend()
    return figure


def _draw_latency(pyplot: Any, result: dict[str, Any]) -> Any:
    figure, axes = pyplot.subplots(figsize=(7, 4))
    rates = [int(rate) for rate in result["rates"]]
    for name, label in (("p50_ms", "p50"), ("p99_ms", "p99")):
        axes.plot(rates, [each[name] for each in result["rates"].values()], "o-", label=label)
    axes.set(xlabel="publications a second", ylabel="ms from publication to acknowledgement", ylim=(0, None))
    axes.legend()
    return figure


def _draw_memory(pyplot: Any, result: dict[str, Any]) -> Any:
    kinds = result["kinds"]
    figure, rows = pyplot.subplots(len(kinds), 1, figsize=(7, 2.5 * len(kinds)), squeeze=False)
    for axes, (kind, each) in zip(rows[:, 0], kinds.items(), strict=True):
        seconds, rss, held = zip(*each["samples"], strict=True)
        axes.plot(seconds, [size / 1e6 for size in rss], label="resident")
        axes.plot(seconds, [size / 1e6 for size in held], label="held")
        axes.axhline(result["budget"] / 1e6, color="gray", linestyle=":", label="budget")
        axes.axvspan(each["away"], each["back"], alpha=0.1, color="red", label="log shipper away")
        axes.set(title=workloads.KINDS[kind], ylabel="MB", ylim=(0, None))
    rows[0, 0].legend(loc="lower right")
    rows[-1, 0].set_xlabel("seconds")
    figure.tight_layout()
    return figure


def flame(count: int = 300_000) -> None:
    """Sample a consumer while it works on a burst of the recorded traffic; needs py-spy, which needs to be root."""
    spy = shutil.which("py-spy") or shutil.which("py-spy", path=sysconfig.get_path("scripts"))
    if spy is None:
        print("no flame graph: py-spy not found (pip install 'nats-fluent[bench]')")
        return
    with running() as rig:
        consumer = rig.consumer(batch_buffer_bytes="2GB")
        with rig.publishing("mix", count):
            wait_until(rig.arrived, "the first record arrives")
            command = [spy, "record", "--pid", str(consumer.process.pid), "--output", str(FLAME)]
            command += ["--duration", "5", "--rate", "250", "--nonblocking"]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            try:
                wait_until(lambda: rig.arrived() >= count, "all records arrive")
            except Failed as problem:
                print(f"after the flame graph: {problem}")
    if done.returncode:
        print(f"no flame graph: {done.stderr.strip()[-500:]}")
    else:
        FLAME.write_text(titled(FLAME.read_text("utf-8")), "utf-8")


def titled(graph: str) -> str:
    """Return a flame graph of py-spy's with a title that says what it shows; its own is the command, with its paths."""
    return re.sub(
        r'(<text id="title"[^>]*>)[^<]*', r"\1nats-fluent, the recorded traffic of six topics", graph, count=1
    )
