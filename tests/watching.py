"""`nats-fluent run` with its HTTP endpoint, and what that says."""

from __future__ import annotations

import http.client
import json

from commands import Running
from programs import PATIENCE, accepts, free_port, wait_until
from prometheus_client.parser import text_string_to_metric_families

SOON = PATIENCE
"""Seconds within which a part that is broken is to be named; after how many it is, the unit tests hold, in which time
is a parameter."""

HEALED = 2 * PATIENCE
"""Seconds within which one that is back is: up to 30 of them lie between two attempts to reach a log shipper."""


class Watched(Running):
    """`nats-fluent run` with its endpoint."""

    def __init__(self, directory, nats, **environ):
        self.http = free_port()
        super().__init__(directory, nats, **({"NATS_FLUENT_HTTP_LISTEN": f"127.0.0.1:{self.http}"} | environ))

    def ask(self, path, *, method="GET", **headers):
        """Return status, headers and body."""
        connection = http.client.HTTPConnection("127.0.0.1", self.http, timeout=PATIENCE)
        try:
            connection.request(method, path, headers={k.replace("_", "-"): v for k, v in headers.items()})
            answer = connection.getresponse()
            return answer.status, answer.headers, answer.read()
        finally:
            connection.close()

    def why(self):
        """What /readyz names; nothing when it says 200."""
        status, _, body = self.ask("/readyz")
        found = json.loads(body)
        assert (status == 200) == found["ok"] == all(part["ok"] for part in found["parts"].values())
        return {name: part["why"] for name, part in found["parts"].items() if not part["ok"]}

    def wait_up(self):
        def up():
            assert self.running(), self.stderr.read_text()
            try:
                return not self.why()
            except ConnectionRefusedError:
                return False

        wait_until(up, what="it is ready")

    def wait_why(self, *names):
        """Return the reasons once exactly these parts are named; that it lives is held at each moment."""

        def named():
            assert self.ask("/livez")[0] == 200
            return set(self.why()) == set(names)

        wait_until(lambda: accepts(self.http), what="it listens")

        within = SOON if names else HEALED
        wait_until(named, within=within, what=f"/readyz names {names or 'nothing'} and no other")
        return self.why()

    def samples(self):
        text = self.ask("/metrics")[2].decode()
        return {
            (sample.name, *sorted(sample.labels.items())): sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
        }

    def facts(self):
        return json.loads(self.ask("/status")[2])["facts"]
