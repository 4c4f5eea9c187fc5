"""The commands. Each reads its settings, hands over, and returns an exit code; none has logic of its own."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Annotated, Any

import typer

from nats_fluent import running
from nats_fluent.examples import epilog
from nats_fluent.flags import settings_flags
from nats_fluent.scaffold import IMAGE
from nats_fluent.settings import CONFIG, Loaded, load

app = typer.Typer(
    name="nats-fluent",
    help="NATS publications to Fluent Bit and Fluentd, decoded, tagged and acknowledged.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)

Config = Annotated[
    Path | None,
    typer.Option(
        "--config", metavar="FILE", help=f"TOML file with settings (env {CONFIG}).", show_default=False
    ),
]
Format = Annotated[
    str | None,
    typer.Option(
        "--format",
        metavar="FORMAT",
        help="What the payloads are, whatever the settings say: as record.format.",
        show_default=False,
    ),
]


def _load(config: Path | None, flags: dict[str, Any]) -> Loaded:
    return load(flags=flags, environ=os.environ, file=config)


def _version(asked: bool) -> None:  # noqa: FBT001 - typer calls it
    if asked:
        from nats_fluent import build  # noqa: PLC0415 - it looks for distributions; --help does without

        print(*build.lines(os.environ), sep="\n")
        raise typer.Exit


@app.callback()
def common(
    *,
    version: Annotated[
        bool,
        typer.Option(
            "--version",
            callback=_version,
            is_eager=True,
            help="Show the version, what it was built from, and exit.",
        ),
    ] = False,
) -> None:
    """NATS publications to Fluent Bit and Fluentd, decoded, tagged and acknowledged."""


@app.command()
@settings_flags()
def run(*, config: Config = None, **flags: str | None) -> None:
    """Take publications and deliver their records until SIGTERM or Ctrl-C.

    The environment is read where a flag is not given, then the file, then the default.
    """
    raise typer.Exit(running.run(config, flags))


@app.command()
@settings_flags()
def check(
    *,
    config: Config = None,
    connect: Annotated[
        bool, typer.Option("--connect", help="Also connect to NATS and to the log shippers.")
    ] = False,
    timeout: Annotated[
        float, typer.Option(metavar="SECONDS", min=0.1, help="How long each may take to answer.")
    ] = 10.0,
    show: Annotated[
        bool,
        typer.Option(
            "--show/--no-show",
            help="Show every setting, of a secret only that it is there; or what is amiss only.",
        ),
    ] = True,
    **flags: str | None,
) -> None:
    """Show every setting and where it came from, and check the files; exit 2 if one cannot be used."""
    loaded = _load(config, flags)
    from nats_fluent import check as checks  # noqa: PLC0415 - asyncio, nats and TLS; --help does without

    raise typer.Exit(checks.run(loaded, timeout=timeout if connect else None, show=show))


@app.command()
@settings_flags("topics", "transforms", "record", "redact")
def decode(
    files: Annotated[
        list[typer.FileBinaryRead],
        typer.Argument(metavar="FILE...", help="One payload each; - is stdin."),
    ],
    *,
    subject: Annotated[
        str | None,
        typer.Option(
            help="The messages' subject; by default what the publication itself names.", show_default=False
        ),
    ] = None,
    form: Format = None,
    config: Config = None,
    **flags: str | None,
) -> None:
    """Show the record of each payload as a line of JSON; exit 1 if one cannot be decoded."""
    settings = _load(config, flags).settings
    import msgspec  # noqa: PLC0415 - as in check

    from nats_fluent.recorders import in_format  # noqa: PLC0415 - as in check
    from nats_fluent.runtime import decode_payload  # noqa: PLC0415 - as in check

    settings = in_format(settings, form)

    failed = 0
    for file in files:
        records, decodable = decode_payload(file.read(), subject=subject, settings=settings)
        for record in records:
            typer.echo(msgspec.json.encode(record))
        failed += not decodable
    raise typer.Exit(1 if failed else 0)


@app.command()
@settings_flags("topics", "transforms", "fluent", "record", "redact")
def test(
    files: Annotated[
        list[Path], typer.Argument(metavar="FILE...", help="Cases: TOML, or YAML (.yaml, .yml).")
    ],
    *,
    config: Config = None,  # noqa: PT028 - a command, not a test
    **flags: str | None,
) -> None:
    """Hold what publications become under these settings to what files say; exit 1 if one differs, 2 for a bad file."""
    settings = _load(config, flags).settings
    from nats_fluent import cases  # noqa: PLC0415 - as in check

    raise typer.Exit(cases.run(files, settings))


@app.command()
@settings_flags("nats", "topics", "redact")
def tail(
    subjects: Annotated[
        list[str] | None,
        typer.Argument(metavar="SUBJECT", help="By default those of the topics.", show_default=False),
    ] = None,
    *,
    config: Config = None,
    identity: Annotated[
        list[str] | None, typer.Option(help="Only this identity; may be repeated.", show_default=False)
    ] = None,
    operation: Annotated[
        list[str] | None, typer.Option(help="Only this operation; may be repeated.", show_default=False)
    ] = None,
    namespace: Annotated[
        list[str] | None,
        typer.Option(help="Only this namespace and those below it; may be repeated.", show_default=False),
    ] = None,
    count: Annotated[
        int | None,
        typer.Option(min=1, help="End after so many; by default on Ctrl-C.", show_default=False),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="A line of JSON each, for a pipe.")] = False,
    form: Format = None,
    **flags: str | None,
) -> None:
    """Show what is published now, decoded; takes nothing away from the consumers."""
    settings = _load(config, flags).settings
    from nats_fluent import tail as tailing  # noqa: PLC0415 - as in check
    from nats_fluent.recorders import in_format  # noqa: PLC0415 - as in check

    settings = in_format(settings, form)
    wanted = tailing.Wanted(tuple(identity or ()), tuple(operation or ()), tuple(namespace or ()))
    raise typer.Exit(tailing.run(settings, subjects or (), wanted=wanted, json=json, count=count))


@app.command()
@settings_flags(
    "nats", "topics", "transforms", "jetstream", "fluent", "batch", "record", "redact", "shutdown"
)
def replay(
    *,
    config: Config = None,
    since: Annotated[
        str | None,
        typer.Option(
            metavar="TIME", help="From then on: RFC 3339, or how long ago: 90m, 2h, 3d.", show_default=False
        ),
    ] = None,
    from_sequence: Annotated[
        int | None, typer.Option(min=1, help="From this sequence on.", show_default=False)
    ] = None,
    until: Annotated[
        str | None,
        typer.Option(
            metavar="TIME|SEQUENCE", help="Up to then; by default all there is now.", show_default=False
        ),
    ] = None,
    subject: Annotated[
        list[str] | None,
        typer.Option(
            help="Only this subject; may be repeated. By default what run would take.", show_default=False
        ),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say only what would be replayed.")] = False,
    rate: Annotated[
        float | None, typer.Option(min=0.1, help="Messages a second, at most.", show_default=False)
    ] = None,
    **flags: str | None,
) -> None:
    """Deliver a part of the JetStream stream again, with the same ids; the durable consumer is not touched."""
    settings = _load(config, flags).settings
    from nats_fluent import replay as replaying  # noqa: PLC0415 - as in check

    wanted = replaying.wish(since, from_sequence, until, now_ns=time.time_ns())
    code = replaying.run(settings, wanted, subjects=subject or (), dry_run=dry_run, rate=rate)
    raise typer.Exit(code)


@app.command()
def demo(
    *,
    count: Annotated[
        int | None,
        typer.Option(min=1, help="How many publications; by default until Ctrl-C.", show_default=False),
    ] = None,
    rate: Annotated[float, typer.Option(min=0.1, help="How many a second.")] = 5.0,
    conf: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR", help="Where fluent-bit.conf is; by default the one that comes with this."
        ),
    ] = None,
) -> None:
    """Run everything on this machine alone: a NATS server, sample publications, records on stdout."""
    from nats_fluent.demo import run_demo  # noqa: PLC0415 - as in check

    raise typer.Exit(run_demo(count=count, rate=rate, conf=conf))


@app.command()
@settings_flags(
    "nats",
    "topics",
    "jetstream",
    "record",
    short={
        "--nats-servers": "--servers",
        "--topics": "--subjects",
        "--jetstream-stream": "--stream",
        "--record-format": "--format",
    },
)
def init(
    directory: Annotated[
        Path, typer.Argument(metavar="DIR", help="Where the files go; made when it is not there.")
    ] = Path(),
    *,
    output: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Where the log shipper sends to: stdout (the default), kafka, file, http, ... as in conf/output.d.",
            show_default=False,
        ),
    ] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="NAME=VALUE",
            help="What the output is told; may be repeated.",
            show_default=False,
        ),
    ] = None,
    fluentd: Annotated[
        bool | None,
        typer.Option("--fluentd/--fluent-bit", help="Which log shipper.", show_default="fluent-bit"),
    ] = None,
    image: Annotated[
        str, typer.Option(metavar="IMAGE", help="The consumer's image, as `make image` names it.")
    ] = IMAGE,
    defaults: Annotated[bool, typer.Option("--defaults", help="Ask nothing, also on a terminal.")] = False,
    force: Annotated[
        bool, typer.Option("--force", help="Overwrite what is there, with all that was changed in it.")
    ] = False,
    **flags: str | None,
) -> None:
    """Write a settings file, a compose file and the log shipper's configuration, ready to run.

    On a terminal it asks for what is not given. Without --servers (which is --nats-servers), the compose file brings a
    NATS server. --subjects is --topics, --stream is --jetstream-stream, and --format is --record-format.
    """
    from nats_fluent import init as starting  # noqa: PLC0415 - --help does without the files of conf/

    request = starting.Request(
        flags={param: value for param, value in flags.items() if value is not None},
        shipper=None if fluentd is None else ("fluent-bit", "fluentd")[fluentd],
        output=output,
        values=starting.values_of(set_ or ()),
        image=image,
    )
    ask = not defaults and starting.asked_on_a_terminal()
    raise typer.Exit(starting.run(directory, request, ask=ask, force=force))


for _command in app.registered_commands:
    _command.epilog = epilog(_command.callback.__name__ if _command.callback else "")
