"""The fault matrix: one thing breaks under a steady load, heals, and every publication is accounted for.

docs/faults.md holds a table of what one run of this counted; ``NATS_FLUENT_WRITE=1`` writes it anew.
"""

from __future__ import annotations

import os

import faults
import faults_inside
import faults_of
import pytest
from faults_doc import CORE, DOC, SPOOL, STREAM, Row, documented, write
from faults_receivers import Posted, Taken

CHANCE = {"duplicated": None, "reordered": True}
SHORT = {"environ": {"NATS_FLUENT_FLUENT_ACK_TIMEOUT": "1s"}}
ALWAYS = {"NATS_FLUENT_SPOOL_MODE": "always", "NATS_FLUENT_SPOOL_FSYNC": "off"}
"""Without fsync, which is for the crash of a machine: two for each chunk are more than a slow disk does in a minute."""
OVERFLOW = {"NATS_FLUENT_SPOOL_MODE": "overflow"} | faults_of.SMALL_MEMORY


def both(fault, run, *, stream=None, **expected):
    """The rows for core NATS and for a stream, of which nothing is ever lost; `stream` is what else differs there."""
    core = Row(fault, CORE, run, **expected)
    return [core, core._replace(mode=STREAM, lost=False, **(stream or {}))]


def spool(fault, run, environ, **expected):
    small_disk = "Disk" in fault
    world = faults_of.on_a_small_disk if small_disk else faults_of.spooling
    return Row(fault, SPOOL, run, world=world, environ=environ, **CHANCE, **expected)


ROWS = [
    *both("Fluent Bit killed (`kill -9`) and started again", faults_of.fluent_bit_killed, **CHANCE),
    *both("Fluent Bit told to stop and started again", faults_of.fluent_bit_told_to_stop, **CHANCE),
    *both(
        "Fluent Bit hangs for longer than the ack timeout",
        faults_of.fluent_bit_hangs,
        **SHORT,
        duplicated=True,
    ),
    *both(
        "Fluent Bit's input paused by its memory limit",
        faults_of.fluent_bit_paused,
        receiver=Posted,
        **SHORT,
        **CHANCE,
    ),
    *both("Connection cut within a chunk", faults_of.connection_cut, receiver=Taken, duplicated=None),
    *both(
        "Chunk taken, its acknowledgement lost",
        faults_of.acknowledgement_lost,
        receiver=Taken,
        duplicated=True,
    ),
    *both("Unknown chunks acknowledged", faults_of.acknowledgement_unknown, receiver=Taken),
    *both(
        "Chunk taken, and garbage or a refusal answered",
        faults_of.garbage_answered,
        receiver=Taken,
        duplicated=True,
    ),
    *both(
        "nats-server killed (`kill -9`) and started again", faults_of.nats_killed, lost=True, stream=CHANCE
    ),
    *both(
        "nats-server hangs for longer than two pings",
        faults_of.nats_hangs,
        environ={"NATS_FLUENT_NATS_PING_INTERVAL": "1s"},
        lost=None,
        stream=CHANCE,
    ),
    Row(
        "nats-server in lame-duck mode, another one in the cluster",
        CORE,
        faults_of.nats_lame_duck,
        world=faults_of.two_servers,
        lost=None,
    ),
    Row("nats-server in lame-duck mode, and started again", STREAM, faults_of.nats_lame_duck_alone, **CHANCE),
    Row("Consumer deleted on the server", STREAM, faults_of.consumer_deleted, **CHANCE),
    Row("Stream purged of what is delivered and not acknowledged", STREAM, faults_of.stream_purged, **CHANCE),
    *both(
        "This program killed (`kill -9`) and started again",
        faults_of.consumer_killed,
        lost=True,
        stream=CHANCE,
    ),
    *both(
        "This program told to stop under full load, and started again",
        faults_of.consumer_told_to_stop,
        lost=True,
        stream=CHANCE,
    ),
    *both(
        "One of two that share the messages killed (`kill -9`)",
        faults_of.member_killed,
        lost=None,
        reordered=True,
        stream=CHANCE,
    ),
    *both(
        "Wall clock of this program jumps an hour ahead and two back",
        faults_inside.clock_jumps,
        world=faults_inside.own_clock,
    ),
    *both(
        "Reading from NATS stands still in this program (made to)",
        faults_inside.nats_not_read,
        world=faults_inside.made_to(faults_inside.READS_NOTHING, "nats"),
        lost=True,
        stream=CHANCE,
    ),
    *both(
        "Reading of acknowledgements stands still in this program (made to)",
        faults_inside.acknowledgements_not_heard,
        world=faults_inside.made_to(faults_inside.HEARS_NOTHING, "sink"),
        duplicated=True,
    ),
    spool("Fluent Bit away for longer than memory lasts", faults_of.fluent_bit_away, OVERFLOW),
    spool(
        "Fluent Bit and then this program killed (`kill -9`), each started again",
        faults_of.both_killed,
        ALWAYS,
        lost=True,
    ),
    spool(
        "This program told to stop under full load without Fluent Bit, both started again",
        faults_of.told_to_stop_without_fluent_bit,
        ALWAYS,
        lost=True,
    ),
    spool("Disk of the spool full while Fluent Bit is away", faults_of.spool_full, ALWAYS),
    spool(
        "Disk of the spool and memory full while Fluent Bit is away",
        faults_of.spool_and_memory_full,
        OVERFLOW,
        lost=True,
    ),
]


@pytest.fixture(scope="module")
def results():
    """What each run counted, where it counted what it should."""
    return {}


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row.run.__name__}-{row.mode}")
def test_what_is_published_comes_out_or_is_counted(tmp_path, results, row):
    stream = row.mode == STREAM
    with row.world(tmp_path, receiver=row.receiver, stream=stream, **row.environ) as world:
        result = faults.run(world, row.run)
    row.judge(result)
    results[row.run, row.mode] = result


def test_the_documented_rows_are_those_of_the_matrix(results):
    if os.environ.get("NATS_FLUENT_WRITE"):
        write(ROWS, results)
    assert documented(DOC.read_text()) == [(row.fault, row.mode) for row in ROWS]
