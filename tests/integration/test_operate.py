"""Each part broken in turn: /readyz, the page's data, /metrics and the log name it, and it heals.

docs/operate.md has a row for each, in the words that are seen here. ``NATS_FLUENT_WRITE=1`` writes these rows.
"""

from __future__ import annotations

import json
import re

import pytest
import yaml
from operate_doc import ROOT, conditions, documented, hold, holds, key, row
from operate_faults import ORDER, WORLDS, World, go_on, make_stream, nats_of, operate
from programs import FluentBit, started, wait_until
from watching import SOON, Watched


@pytest.mark.parametrize("name", WORLDS)
def test_what_is_broken_is_named_and_what_is_healed_is_not(tmp_path, name):
    faults, environ = WORLDS[name]
    secure = "    Shared_Key the key\n    Self_Hostname shipper\n" if name == "key" else ""
    nats, shipper = nats_of(name, tmp_path), FluentBit(tmp_path, forward=secure)
    nats.conf, shipper.conf = tmp_path / "nats-server.conf", tmp_path / "fluent-bit.conf"
    running = Watched(
        tmp_path,
        nats,
        NATS_FLUENT_FLUENT_URL=f"forward://127.0.0.1:{shipper.port}",
        **environ | ({"NATS_FLUENT_SPOOL_DIR": str(tmp_path / "spool")} if name == "spool" else {}),
    )
    running.spool = tmp_path / "spool"
    world = World(nats, shipper, running)
    with started(nats), started(shipper):
        if name == "jetstream":
            operate(world, make_stream)
        with started(running):
            running.wait_up()
            try:
                for fault in faults:
                    break_and_heal(world, fault)
            finally:
                for program in (nats, shipper):  # one that is paused does not end
                    if program.running():
                        go_on(program)
            if name == "shipper":
                running.kill()  # it waits for a log shipper
    if name == "nats":
        assert running.events().count("lost the connection to NATS") == 2, "one that hung was given up"


def break_and_heal(world, fault):
    running = world.running
    before = len(running.log())
    fault.breaks(world)
    parts = {fault.part, *fault.also} if fault.part else set()
    found, may = {}, set(fault.may)

    def said(event):
        return [line for line in running.log()[before:] if line["event"] == event]

    # First, as until it knows of it a process looks as if nothing were broken.
    wait_until(lambda: said(fault.line), within=SOON, what=f"{fault.broken}: the log says {fault.line!r}")

    def named():
        assert running.ask("/livez")[0] == 200
        if set(running.why()) - may != parts:
            return False
        status = json.loads(running.ask("/status")[2])["ready"]["parts"]
        found.update({name: part.get("why", "") for name, part in status.items()})
        return {name for name, why in found.items() if why} - may == parts and re.search(
            fault.says, found.get(fault.part, "")
        )

    wait_until(named, within=SOON, what=f"{fault.broken}: {parts} are named, not {found}")
    for condition in conditions(fault):
        wait_until(
            lambda condition=condition: holds(condition, running.samples()),
            within=SOON,
            what=f"{fault.broken}: {condition}",
        )

    hold(row(fault, found.get(fault.part, ""), said(fault.line)[0]["level"]), ORDER)
    if fault.heals is not None:
        fault.heals(world)
        running.wait_why()
    if fault.back:
        wait_until(lambda: said(fault.back), within=SOON, what=f"{fault.broken}: {fault.back!r} is said")


def test_the_page_has_these_rows_and_the_alerts_that_are_there():
    assert [key(line) for line in documented()] == ORDER
    rules = yaml.safe_load((ROOT / "deploy" / "prometheus-rules.yaml").read_text())
    alerts = {rule["alert"] for group in rules["groups"] for rule in group["rules"]}
    named = set(re.findall(r"\bNatsFluent[A-Z]\w+", "".join(documented())))
    assert named
    assert named <= alerts
