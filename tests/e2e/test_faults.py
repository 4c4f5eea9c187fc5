"""The fault matrix: one thing breaks under a steady load, heals, and every publication is accounted for.

docs/faults.md holds a table of what one run of this counted; ``NATS_FLUENT_WRITE=1`` writes it anew.
"""

from __future__ import annotations

import os

import faults
import faults_of
import pytest
from faults_doc import DOC, Row, documented, write
from faults_receivers import Posted, Taken

CORE = "core"
SHORT = {"NATS_FLUENT_FLUENT_ACK_TIMEOUT": "1s"}

ROWS = [
    Row(
        "Fluent Bit killed (`kill -9`) and started again",
        CORE,
        faults_of.fluent_bit_killed,
        duplicated=None,
        reordered=True,
    ),
    Row(
        "Fluent Bit told to stop and started again",
        CORE,
        faults_of.fluent_bit_told_to_stop,
        duplicated=None,
        reordered=True,
    ),
    Row(
        "Fluent Bit hangs for longer than the ack timeout",
        CORE,
        faults_of.fluent_bit_hangs,
        environ=SHORT,
        duplicated=True,
    ),
    Row(
        "Fluent Bit's input paused by its memory limit",
        CORE,
        faults_of.fluent_bit_paused,
        receiver=Posted,
        environ=SHORT,
        duplicated=None,
        reordered=True,
    ),
    Row("Connection cut within a chunk", CORE, faults_of.connection_cut, receiver=Taken),
    Row(
        "Chunk taken, its acknowledgement lost",
        CORE,
        faults_of.acknowledgement_lost,
        receiver=Taken,
        duplicated=True,
    ),
    Row("Unknown chunks acknowledged", CORE, faults_of.acknowledgement_unknown, receiver=Taken),
    Row(
        "Chunk taken, and garbage or a refusal answered",
        CORE,
        faults_of.garbage_answered,
        receiver=Taken,
        duplicated=True,
    ),
    Row("nats-server killed (`kill -9`) and started again", CORE, faults_of.nats_killed, lost=True),
    Row(
        "nats-server in lame-duck mode, another one in the cluster",
        CORE,
        faults_of.nats_lame_duck,
        world=faults_of.two_servers,
        lost=None,
    ),
    Row("Consumer killed (`kill -9`) and started again", CORE, faults_of.consumer_killed, lost=True),
    Row(
        "Consumer told to stop under full load, and started again",
        CORE,
        faults_of.consumer_told_to_stop,
        lost=True,
    ),
    Row(
        "Member of the queue group killed (`kill -9`)",
        CORE,
        faults_of.member_killed,
        lost=True,
        reordered=True,
    ),
    Row(
        "Wall clock of the consumer jumps an hour ahead and two back",
        CORE,
        faults_of.clock_jumps,
        world=faults_of.own_clock,
    ),
]


@pytest.fixture(scope="module")
def results():
    """What each run counted, where it counted what it should."""
    return {}


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row.run.__name__}-{row.mode}")
def test_what_is_published_comes_out_or_is_counted(tmp_path, results, row):
    with row.world(tmp_path, receiver=row.receiver, **row.environ) as world:
        result = faults.run(world, row.run)
    row.judge(result)
    results[row.run, row.mode] = result


def test_the_documented_rows_are_those_of_the_matrix(results):
    if os.environ.get("NATS_FLUENT_WRITE"):
        write(ROWS, results)
    assert documented(DOC.read_text()) == [(row.fault, row.mode) for row in ROWS]
