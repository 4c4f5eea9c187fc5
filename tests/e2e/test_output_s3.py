"""The way to S3: a server that speaks its protocol (moto), and one that is away."""

from __future__ import annotations

import gzip
import re
from urllib.parse import urlsplit

import boto3
import pytest
from building import bare
from http_server import Answer, HttpServer
from moto.server import ThreadedMotoServer
from outputs import ODD, assert_all, metric, output, wait_delivered
from programs import PATIENCE, started, wait_until
from ways import as_json, corpus

BUCKET = "records"
CREDENTIALS = {
    "AWS_ACCESS_KEY_ID": "key",
    "AWS_SECRET_ACCESS_KEY": "secret",
    "AWS_EC2_METADATA_DISABLED": "true",
}
KEY = r"mine/aporeto\.([^/]+)/(\d+/\d\d/\d\d)/(\d{8})T\d{6}Z-\w{8}\.jsonl\.gz"
AT_ONCE = "1s"
"""The wait for more of an object; Fluent Bit looks every six seconds at most."""


@pytest.fixture
def s3():
    """A server with an empty bucket."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    client = boto3.client(
        "s3",
        endpoint_url=f"http://{host}:{port}",
        region_name="us-east-1",
        aws_access_key_id="key",
        aws_secret_access_key="secret",
    )
    client.create_bucket(Bucket=BUCKET)
    yield client
    for key in objects(client):
        client.delete_object(Bucket=BUCKET, Key=key)
    client.delete_bucket(Bucket=BUCKET)
    client.close()
    server.stop()


def objects(s3):
    """The records of each object by its key, which says the tag and the day of the first."""
    found = {}
    for listed in s3.list_objects_v2(Bucket=BUCKET).get("Contents", ()):
        key = listed["Key"]
        got = s3.get_object(Bucket=BUCKET, Key=key)
        assert got["ContentEncoding"] == "gzip"
        assert got["ContentType"] == "application/x-ndjson"
        found[key] = lines(gzip.decompress(got["Body"].read()))
    return found


def lines(body):
    *found, last = body.split(b"\n")
    assert last == b""
    return [as_json(line) for line in found]


def way(directory, port, **environ):
    places = {"S3_BUCKET": BUCKET, "S3_ENDPOINT": f"http://127.0.0.1:{port}"}
    return output(directory, "s3.conf", **CREDENTIALS, **places, **environ)


def port(s3):
    return urlsplit(s3.meta.endpoint_url).port


def activities(count):
    return [("activities", bare({"number": number}, "")) for number in range(count)]


def numbers(records):
    return sorted(record["content"]["number"] for record in records)


def buffered(directory):
    """The files that are to be uploaded."""
    return [file for file in (directory / "storage" / "s3").rglob("*") if file.is_file()]


def test_all_is_uploaded_whole_and_once(tmp_path, s3):
    """When there is enough for an object, and what is left when Fluent Bit ends."""
    messages = corpus("mixed-2024")[:2000]
    with way(tmp_path, port(s3), S3_FILE_SIZE="1M", S3_PREFIX="mine") as found:
        found.publish(messages[:1000])
        wait_delivered(found.shipper, 1000)
        assert objects(s3) == {}
        found.publish(messages[1000:] + ODD)
        wait_delivered(found.shipper, len(messages + ODD))
        wait_until(lambda: objects(s3), what="there is enough for an object")
        found.finish(len(messages + ODD))
    uploaded = objects(s3)
    for key, records in uploaded.items():
        tag, day, date = re.fullmatch(KEY, key).groups()
        assert date == day.replace("/", "")
        assert {record["topic"] if "error" not in record else "undecodable" for record in records} == {tag}
    assert_all(tmp_path, [record for records in uploaded.values() for record in records], messages)
    assert buffered(tmp_path) == []


def test_a_crash_of_fluent_bit_loses_nothing(tmp_path, s3):
    """What it said to have, and did not upload yet, goes out when it starts again."""
    with way(tmp_path, port(s3)) as found:
        found.publish(activities(300))
        wait_delivered(found.shipper, 300)
        found.shipper.kill()
        assert found.running.stop() == 0
        assert objects(s3) == {}
        assert buffered(tmp_path)
        with started(found.shipper):
            wait_until(lambda: objects(s3), what="it is uploaded")
            assert found.shipper.stop() == 0
    assert numbers(record for records in objects(s3).values() for record in records) == list(range(300))
    assert buffered(tmp_path) == []


def test_what_s3_does_not_take_is_uploaded_later(tmp_path):
    """Though it failed more often than the five times after which Fluent Bit would put it away for good."""
    refusals = [503, 403, 500, 503, 403, 500, 503]
    taken = []

    def answer(request):
        if refusals:
            return Answer(refusals.pop(), b"<Error><Code>SlowDown</Code><Message>no</Message></Error>")
        taken.extend(lines(request.body))
        return Answer()

    with HttpServer(answer) as server, way(tmp_path, server.port, S3_UPLOAD_TIMEOUT=AT_ONCE) as found:
        found.publish(activities(100))
        wait_delivered(found.shipper, 100)
        wait_until(lambda: len(refusals) < 7, what="S3 refuses an object")
        found.publish(activities(101)[100:])
        wait_until(lambda: taken, within=2 * PATIENCE, what="S3 takes an object")
        wait_delivered(found.shipper, 101)
        assert metric(found.shipper, "retries") > 0
        assert metric(found.shipper, "dropped_records") == 0
        found.finish(101)
    assert numbers(taken) == list(range(101))
    assert buffered(tmp_path) == []
    assert "error='SlowDown'" in found.shipper.stderr.read_text()
