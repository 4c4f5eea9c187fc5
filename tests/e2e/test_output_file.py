"""The way to files."""

from __future__ import annotations

import pytest
from building import bare
from outputs import ODD, assert_all, metric, output, rejected, wait_delivered
from programs import wait_until
from ways import as_json, corpus


@pytest.fixture
def files(tmp_path):
    return tmp_path / "not" / "there" / "yet"


def way(directory, files):
    return output(directory, "file.conf", FILE_PATH=files)


def lines(file):
    *found, last = file.read_bytes().split(b"\n")
    assert last == b""
    return [as_json(line) for line in found]


def activities(count):
    return [("activities", bare({"number": number}, "")) for number in range(count)]


def numbers(records):
    return sorted(record["content"]["number"] for record in records)


def test_all_is_written_whole_and_once(tmp_path, files):
    messages = corpus("mixed-2024")[:400]
    with way(tmp_path, files) as found:
        found.publish(messages + ODD)
        wait_delivered(found.shipper, len(messages + ODD))
        found.finish(len(messages + ODD))
    written = {file.name: lines(file) for file in files.iterdir()}
    for name, records in written.items():
        tags = {record["topic"] if "error" not in record else "undecodable" for record in records}
        assert {name} == {f"aporeto.{tag}" for tag in tags}
    assert_all(tmp_path, [record for records in written.values() for record in records], messages)


def test_a_file_that_is_moved_away_is_begun_anew(tmp_path, files):
    with way(tmp_path, files) as found:
        found.publish(activities(200)[:100])
        wait_delivered(found.shipper, 100)
        file = files / "aporeto.activities"
        old = file.rename(files / "old")
        found.publish(activities(200)[100:])
        wait_delivered(found.shipper, 200)
        found.finish(200)
    assert (numbers(lines(old)), numbers(lines(file))) == (list(range(100)), list(range(100, 200)))


def test_what_cannot_be_written_is_kept_and_said(tmp_path, files):
    (files / "aporeto.activities").mkdir(parents=True)
    with way(tmp_path, files) as found:
        found.publish(activities(100))
        wait_until(lambda: metric(found.shipper, "dropped_records") == 100, what="it says so")
        found.finish(100)
    assert "error opening" in found.shipper.stderr.read_text()
    assert numbers(rejected(found.shipper)) == list(range(100))
