"""The compose file that ``nats-fluent init`` writes, and what it is told for it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, NamedTuple

from nats_fluent.addresses import loopback
from nats_fluent.settings import CATALOGUE

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from nats_fluent.topics import Topic

SHIPPERS = {"fluent-bit": "output.d", "fluentd": "fluentd.d"}
"""The log shippers, each with the directory of ``conf/`` that has its outputs."""

ETC = "/etc/nats-fluent"
"""Where the consumer's container has the settings; its working directory."""


class Wish(NamedTuple):
    """What is to be written.

    Attributes:
        given: by key, the settings that were given, as `settings.load` has read them; a path as it is to be written.
        topics: those that are in force.
        shipper: one of `SHIPPERS`.
        output: the name of one of its outputs.
        values: what the output is told by the environment.
        image: that of the consumer.
        user: who may read the files that the settings name, as ``uid:gid``.
        password: what was typed; None for nothing.
    """

    given: Mapping[str, Any]
    topics: tuple[Topic, ...]
    shipper: str
    output: str
    values: Mapping[str, str]
    image: str
    user: str
    password: str | None = None

    @property
    def own_server(self) -> bool:
        """Whether the compose file brings a NATS server."""
        return "nats.servers" not in self.given

    @property
    def host_network(self) -> bool:
        """Whether NATS is on this machine's loopback, which only the machine's own network reaches."""
        return not self.own_server and any(map(loopback, self.given["nats.servers"]))

    @property
    def output_file(self) -> str:
        """The file of ``conf/`` with the output."""
        return f"{SHIPPERS[self.shipper]}/{self.output}.conf"

    @property
    def env_file(self) -> str:
        """The file with what the output is told."""
        return f"{self.shipper}.env"

    @property
    def paths(self) -> list[Path]:
        """The files that the settings name."""
        return [
            self.given[option.key]
            for option in CATALOGUE
            if option.kind.metavar == "FILE" and option.key in self.given
        ]


def compose(wish: Wish, *, env: bool) -> Iterator[str]:
    """Yield the lines of the compose file."""
    yield f"""\
# nats-fluent, and {wish.shipper} with the output {wish.output}{"; a NATS server" if wish.own_server else ""}.
#
#     docker compose up -d
#     docker compose logs -f {wish.shipper}

x-locked: &locked
  cap_drop: [ALL]
  security_opt: ["no-new-privileges:true"]
  read_only: true
  restart: unless-stopped

services:"""
    if wish.own_server:
        yield from _server(wish)
    yield from _consumer(wish)
    yield from _shipper(wish, env=env)
    yield "\nvolumes:"
    yield f"  {wish.shipper}:"
    if _makes_stream(wish):
        yield "  nats:"


def _makes_stream(wish: Wish) -> bool:
    return wish.own_server and "jetstream.stream" in wish.given


def _server(wish: Wish) -> Iterator[str]:
    streams = _makes_stream(wish)
    yield f"""\
  nats:
    <<: *locked
    image: nats:2.14.5-alpine
    command: [{"--jetstream, --store_dir, /data, " if streams else ""}--http_port, "8222"]"""
    # A new volume belongs to root, who is the image's user.
    yield '    volumes: ["nats:/data"]' if streams else '    user: "65532:65532"'
    yield """\
    ports: ["127.0.0.1:4222:4222"]
    healthcheck:
      test: [CMD, wget, -q, --spider, "http://127.0.0.1:8222/healthz"]
      interval: 5s
      timeout: 5s
"""
    if streams:
        subjects = wish.given.get("jetstream.filter_subjects") or [topic.subject for topic in wish.topics]
        name, wanted = (_python(one) for one in (wish.given["jetstream.stream"], list(subjects)))
        yield f"""\
  # Makes the stream, and ends; one that is there and the same is left as it is.
  stream:
    <<: *locked
    image: {_yaml(wish.image)}
    restart: "no"
    depends_on:
      nats: {{condition: service_healthy}}
    entrypoint: [python, -c]
    command:
      - |
        import asyncio, nats

        async def main():
            client = await nats.connect("nats://nats:4222")
            await client.jetstream().add_stream(name={name}, subjects={wanted})
            await client.close()

        asyncio.run(main())
"""


def _consumer(wish: Wish) -> Iterator[str]:
    yield f"""\
  nats-fluent:
    <<: *locked
    # `make image` in the source of nats-fluent makes it.
    image: {_yaml(wish.image)}
    command: [run, --config, {ETC}/nats-fluent.toml]
    # Where nats-fluent.toml looks for files.
    working_dir: {ETC}"""
    if wish.host_network:
        yield "    # NATS is on this machine alone. So all three talk by its loopback, as nats-fluent.toml says."
        yield "    network_mode: host"
    else:
        yield "    # These go over nats-fluent.toml, which is as seen from this machine."
        yield "    environment:"
        if wish.own_server:
            yield "      NATS_FLUENT_NATS_SERVERS: nats://nats:4222"
        yield f"      NATS_FLUENT_FLUENT_URL: forward://{wish.shipper}:24224"
        yield "      # Status page, /metrics, /readyz."
        yield "      NATS_FLUENT_HTTP_LISTEN: 0.0.0.0:9464"
        yield '    ports: ["127.0.0.1:9464:9464"]'
    yield "    volumes:"
    yield _bind("./nats-fluent.toml", f"{ETC}/nats-fluent.toml")
    for path in wish.paths:
        own = not path.is_absolute()
        yield _bind(f"./{path}" if own else str(path), f"{ETC}/{path}" if own else str(path))
    if wish.paths:
        yield "    # Who may read these files."
        yield f'    user: "{wish.user}"'
    yield "    # What starts after is stopped before: the log shipper still takes what the consumer holds at the end."
    yield "    depends_on:"
    if wish.own_server:
        yield "      nats: {condition: service_healthy}"
    if _makes_stream(wish):
        yield "      stream: {condition: service_completed_successfully}"
    healthy = "service_healthy" if wish.shipper == "fluentd" else "service_started"
    yield f"      {wish.shipper}: {{condition: {healthy}}}"
    yield """\
    # As process number 1 it would not end on a SIGTERM that comes before its signal handlers are there.
    init: true
    # More than NATS_FLUENT_SHUTDOWN_TIMEOUT, which is 15s.
    stop_grace_period: 20s
"""


def _shipper(wish: Wish, *, env: bool) -> Iterator[str]:
    fluentd = wish.shipper == "fluentd"
    yield f"  {wish.shipper}:"
    yield "    <<: *locked"
    if fluentd:
        yield "    build: {context: conf, dockerfile: Dockerfile.fluentd}"
        yield "    tmpfs: [/tmp]"
    else:
        yield "    image: fluent/fluent-bit:5.1.1"
        yield "    # It runs as root, as its image does; with this it also reads a conf/ that only you may."
        yield "    cap_add: [DAC_OVERRIDE]"
        yield "    # Grace in conf/fluent-bit.conf twice: for its chunks, and then for what a Kafka client has queued."
        yield "    stop_grace_period: 25s"
    if env:
        yield f"    env_file: [{wish.env_file}]"
    if wish.host_network:
        yield "    network_mode: host"
    else:
        port = 24220 if fluentd else 2020
        yield "    environment:"
        yield "      FORWARD_LISTEN: 0.0.0.0"
        yield "      HTTP_LISTEN: 0.0.0.0"
        yield f'    ports: ["127.0.0.1:{port}:{port}"]'
    yield "    volumes:"
    yield _bind("./conf", "/fluentd/etc" if fluentd else "/fluent-bit/etc")
    yield f"      - {wish.shipper}:/var/lib/{wish.shipper}"
    if fluentd:
        yield """\
    healthcheck:
      test: [CMD, ruby, -rnet/http, -e, "Net::HTTP.get_response(URI('http://127.0.0.1:24220/api/plugins.json')).value"]
      interval: 5s
      timeout: 5s"""


def _bind(source: str, target: str) -> str:
    """Return a volume; in this form, a source that is missing is an error and not made as a directory."""
    return f"      - {{type: bind, source: {_yaml(source)}, target: {_yaml(target)}, read_only: true}}"


def _yaml(text: str) -> str:
    """Return the text for YAML, where compose puts variables in place of what begins with a dollar."""
    return json.dumps(text.replace("$", "$$"), ensure_ascii=False)


def _python(value: object) -> str:
    return json.dumps(value).replace("$", "$$")
