"""The status page in a real browser, with data flowing, broken and healed: what it says, and what its console does."""

from __future__ import annotations

import json
import os
import signal
import urllib.request

import pytest
from browser import browser
from building import publication
from commands import MonitoredNats, Running, pub
from programs import PATIENCE, FluentBit, free_port, started, wait_until
from taking import publish_raw


class Shown:
    """Everything that the page is made of."""

    def __init__(self, directory, nats, shipper, page, http):
        self.nats, self.shipper, self.page = nats, shipper, page
        self.url = f"http://127.0.0.1:{http}/"
        self.running = Running(
            directory,
            nats,
            NATS_FLUENT_FLUENT_URL=f"forward://127.0.0.1:{shipper.port}",
            NATS_FLUENT_HTTP_LISTEN=f"127.0.0.1:{http}",
            NATS_FLUENT_SPOOL_MODE="overflow",
            NATS_FLUENT_SPOOL_DIR=str(directory / "spool"),
        )

    def publish(self, *, good, junk=0):
        payload = publication({"ID": "1"})
        publish_raw(
            self.nats.port, *[pub("squall-events", payload)] * good, *[pub("activities", b"junk")] * junk
        )

    def wait_says(self, selector, *words):
        wait_until(
            lambda: all(word in self.page.text(selector) for word in words),
            what=f"{selector} says {words}",
        )

    def wait_ready(self):
        """Wait until it says so, and does not say that it is not."""
        wait_until(lambda: self.page.text("#verdict") == "ready", what="it is ready")

    def wait_row(self, name, wanted, *, table="topics"):
        wait_until(lambda: self.row(name, table=table)[1:] == wanted, what=f"{name} has {wanted}")

    def parts(self):
        """The parts that are marked as broken, and what is said of them."""
        lines = self.page.run(
            "return [...document.querySelectorAll('#parts li')].map(li => [...li.children].map(x => x.textContent))"
        )
        return {name: why for mark, name, why in lines if mark != "✓"}

    def row(self, name, *, table="topics"):
        return self.page.run(
            f"for (const tr of document.querySelectorAll('#{table} tr'))"
            " if (tr.firstChild.textContent === arguments[0]) return [...tr.children].map(td => td.textContent)",
            name,
        )

    def is_dark(self):
        back = self.page.run("return getComputedStyle(document.body).backgroundColor")
        return sum(map(int, back[4:-1].split(","))) < 200

    def figure(self, name):
        return self.page.run(
            "for (const dt of document.querySelectorAll('dt'))"
            " if (dt.textContent === arguments[0]) return dt.nextSibling.firstChild.textContent",
            name,
        )


@pytest.fixture
def shown(tmp_path):
    with (
        browser(tmp_path) as page,
        started(MonitoredNats(tmp_path)) as nats,
        started(FluentBit(tmp_path)) as shipper,
    ):
        made = Shown(tmp_path, nats, shipper, page, free_port())
        with started(made.running):
            made.running.wait_subscribed()
            page.open(made.url)
            yield made


def test_it_says_what_flows_what_is_broken_and_that_it_is_healed(shown):
    shown.wait_ready()
    shown.publish(good=500)
    wait_until(lambda: shown.row("squall-events")[2] == "500", what="500 are shown as received")
    wait_until(lambda: shown.figure("end to end") != "–", what="some is acknowledged")  # noqa: RUF001
    wait_until(lambda: shown.figure("unacknowledged") == "0", what="all is acknowledged")
    shown.wait_row("enforcer", ["update", "squall-events", "500"], table="identities")
    assert shown.figure("oldest on disk") == "–"  # noqa: RUF001
    shown.wait_row("external-eventlogs", ["0/s", "0", "0 B", "0", "0"])
    assert shown.figure("acknowledgement").startswith("≤ ")
    assert shown.figure("end to end") == "> 1 h"  # the sample says when it was published: in 2019
    shown.publish(good=0, junk=3)
    wait_until(lambda: shown.row("activities")[4] == "3", what="3 are shown as undecodable")
    assert shown.parts() == {}
    assert shown.page.run("return document.title") == "nats-fluent"

    # What comes while one looks has a rate.
    def flows():
        shown.publish(good=50)
        return shown.row("squall-events")[1] not in {"0/s", ""}

    wait_until(flows, what="there is a rate")

    shown.nats.stop()
    shown.wait_says("#verdict", "not ready")
    wait_until(lambda: set(shown.parts()) == {"nats"}, what="NATS is named")
    assert shown.parts()["nats"].startswith("not connected: ")
    assert shown.page.run("return document.title") == "! nats-fluent"
    shown.nats.start()
    wait_until(lambda: shown.parts() == {}, what="NATS is back")

    wait_until(lambda: shown.figure("unacknowledged") == "0", what="all is acknowledged")
    os.kill(shown.shipper.process.pid, signal.SIGSTOP)
    try:
        shown.publish(good=1)
        wait_until(lambda: set(shown.parts()) == {"log shipper"}, what="the log shipper is named")
        assert "nothing was acknowledged" in shown.parts()["log shipper"]
        assert shown.figure("unacknowledged") == "1"
        assert shown.figure("oldest").endswith(" s")
    finally:
        os.kill(shown.shipper.process.pid, signal.SIGCONT)
    wait_until(lambda: shown.parts() == {}, what="the log shipper is back")
    assert shown.page.console() == []

    shown.running.stop()
    shown.wait_says("#verdict", "no answer")


def test_it_fits_a_phone_and_the_dark_and_asks_only_where_it_is_from(shown):
    shown.wait_ready()
    shown.publish(good=100, junk=1)
    for dark in (False, True):
        shown.page.dark(on=dark)
        wait_until(lambda dark=dark: shown.is_dark() == dark, what=f"it is {'dark' if dark else 'light'}")
        for width in (320, 375, 1200):
            shown.page.size(width, 800)
            wait_until(
                lambda width=width: shown.page.run("return window.innerWidth") == width,
                what=f"the window is {width} wide",
            )
            wide = shown.page.run("return document.documentElement.scrollWidth")
            assert wide <= width, f"it is {wide} wide, of {width}"
    asked = shown.page.run("return performance.getEntriesByType('resource').map(each => each.name)")
    assert set(asked) == {f"{shown.url}status"}
    # What a browser would not run from elsewhere, this page does not have; a script that is put in does not run.
    shown.page.run(
        "document.body.append(Object.assign(document.createElement('script'), {text: 'window.bad = 1'}))"
    )
    assert shown.page.run("return window.bad === undefined")
    wait_until(
        lambda: any("Content Security Policy" in line for line in shown.page.console()),
        what="the console says why",
    )


def test_what_a_publisher_sends_is_text_there(shown):
    """A subject, and so with JetStream a topic, is what somebody else chose."""
    shown.wait_ready()
    with urllib.request.urlopen(f"{shown.url}status", timeout=PATIENCE) as answer:
        status = json.load(answer)
    name = "<img src=x onerror=alert(1)>"
    status["facts"]["topics"] = {name: {"received": 1, "bytes": 1, "undecodable": 0, "dropped": 0}}
    status["facts"]["identities"] = [{"topic": name, "identity": name, "operation": name, "count": 1}]
    # In one script, as the page itself looks again each second.
    *text, images = shown.page.run(
        "show(arguments[0]);"
        "return [...[...document.querySelectorAll('#topics td:first-child, #identities tr :not(:last-child)')]"
        ".map(td => td.textContent), document.querySelectorAll('img').length]",
        status,
    )
    assert (text, images) == ([name] * 4, 0)
