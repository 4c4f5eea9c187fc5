"""Each line of the dashboard, asked of a real Prometheus that scrapes the consumer and Fluent Bit: it shows some."""

from __future__ import annotations

import json
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path

import yaml
from building import publication
from commands import ENVIRON, MonitoredNats, pub
from deploy import dashboard, expressions
from programs import HOW_TO_GET, FluentBit, Program, accepts, find, free_port, started, wait_until
from taking import publish_raw
from watching import Watched

from nats_fluent.settings import DEFAULT_TOPICS

CONF = Path(__file__).parents[2] / "conf" / "fluent-bit.conf"
HOW_TO_GET["prometheus"] = HOW_TO_GET["promtool"]


class Prometheus(Program):
    """It scrapes these ports and paths, twice a second."""

    def __init__(self, directory, targets):
        self.port = free_port()
        jobs = [
            {"job_name": name, "metrics_path": path, "static_configs": [{"targets": [f"127.0.0.1:{port}"]}]}
            for name, (port, path) in targets.items()
        ]
        whole = {"global": {"scrape_interval": "500ms", "scrape_timeout": "500ms"}, "scrape_configs": jobs}
        file = directory / "prometheus.yaml"
        file.write_text(yaml.safe_dump(whole))
        where = [f"--storage.tsdb.path={directory / 'data'}", f"--web.listen-address=127.0.0.1:{self.port}"]
        super().__init__([find("prometheus"), f"--config.file={file}", *where], directory)

    def start(self):
        super().start()
        self.wait_listening(self.port)

    def ready(self):
        """Whether it answers: it listens before it does."""
        try:
            return self._get("/-/ready")
        except urllib.error.HTTPError as error:
            if error.code != 503:
                raise
            return b""

    def ask(self, expression):
        """The labels of each line that it shows."""
        query = urllib.parse.urlencode({"query": expressions.as_shown(expression)})
        return [one["metric"] for one in json.loads(self._get(f"/api/v1/query?{query}"))["data"]["result"]]

    def _get(self, path):
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=10) as answer:
            return answer.read()


def test_each_line_shows_something_under_the_name_that_its_legend_has(tmp_path):
    there = [tmp_path / name for name in ("plain", "stream")]
    for directory in there:
        directory.mkdir()
    nats = MonitoredNats(tmp_path)
    http = free_port()
    environ = {"HTTP_PORT": str(http), "STORAGE_PATH": str(tmp_path / "storage")}
    forward = free_port()
    shipper = FluentBit(
        tmp_path, conf=CONF, port=forward, env=ENVIRON | environ | {"FORWARD_PORT": str(forward)}
    )
    spool = {"NATS_FLUENT_SPOOL_MODE": "overflow", "NATS_FLUENT_SPOOL_DIR": str(tmp_path / "spool")}
    handlers = tmp_path / "handlers.py"
    handlers.write_text(
        "from nats_fluent import on\n\n\n@on()\ndef fails(publication):\n    raise ValueError\n"
    )
    more = {"NATS_FLUENT_WORKERS": "2", "NATS_FLUENT_TRANSFORMS": str(handlers)}
    plain = Watched(there[0], nats, NATS_FLUENT_FLUENT_URL=f"forward://127.0.0.1:{forward}", **spool, **more)
    stream = Watched(there[1], nats, NATS_FLUENT_JETSTREAM_STREAM="EVENTS")
    targets = {"plain": (plain.http, "/metrics"), "stream": (stream.http, "/metrics")}
    targets["fluent-bit"] = (http, "/api/v2/metrics/prometheus")
    with started(nats), started(shipper), started(plain), started(stream):
        wait_until(lambda: nats.subscriptions() >= len(DEFAULT_TOPICS), what="it is subscribed")
        publish_raw(nats.port, pub("squall-events", publication({"ID": "1"})))
        wait_until(lambda: accepts(stream.http), what="both listen")
        with started(Prometheus(tmp_path, targets)) as prometheus:
            wait_until(prometheus.ready, within=30, what="Prometheus answers")
            # It looks for targets five seconds after its start, and not before.
            wait_until(lambda: len(prometheus.ask("up")) == len(targets), within=30, what="it scrapes")
            left = {
                line["expr"]: line["legendFormat"]
                for panel in dashboard.panels()
                for line in panel.get("targets", ())
            }
            assert left

            def shown(expression, legend):
                found = prometheus.ask(expression)
                named = expressions.legend(legend) - {"pod"}  # which Kubernetes alone has
                assert all(named <= one.keys() for one in found), (expression, found)
                return found

            def all_show_something():
                for each in list(left.items()):
                    if shown(*each):
                        del left[each[0]]
                return not left

            try:
                # It takes two scrapes to see how a counter grows.
                wait_until(all_show_something, within=60, what="each line shows something")
            finally:
                assert not left, list(left)
