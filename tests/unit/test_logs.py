from __future__ import annotations

import fcntl
import io
import json
import logging
import os
import re
import sys

import pytest

from nats_fluent import logs
from nats_fluent.errors import MOST_CAUSES, told
from nats_fluent.log import Log, direct


@pytest.fixture
def lines():
    """Configure the log as asked, and return what was written since."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    stream = io.StringIO()

    def configure(form="json", level="info", stream=stream):
        logs.configure(format=form, level=level, stream=stream)
        return lambda: stream.getvalue().splitlines()

    yield configure
    root.handlers[:] = handlers
    root.setLevel(level)
    direct(None)


def failing():
    raise OSError("no\nroom")


def test_text(lines):
    read = lines("text")
    Log().info("connected to NATS", server="a:4222", tls=False)
    (line,) = read()
    time, level, rest = line.split(maxsplit=2)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", time)
    assert (level, rest) == ("info", "connected to NATS server=a:4222 tls=False")


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("two words", '"two words"'),
        ('a"b', r'"a\"b"'),
        ("a=b", '"a=b"'),
        ("", '""'),
        ("a\nb", r'"a\nb"'),
        (
            "\x9b31m\u2028\u202e\x7f\u00e9",
            '"\\\\u009b31m\\\\u2028\\\\u202e\\\\u007f\u00e9"'.replace("\\\\", "\\"),
        ),
        (7, "7"),
    ],
)
def test_text_is_one_line_that_can_be_taken_apart(lines, value, shown):
    read = lines("text")
    Log().info("event", field=value)
    (line,) = read()
    assert line.endswith(f" event field={shown}")


def test_json(lines):
    read = lines("json")
    Log().warning("lost the connection", server="a", path=io)
    (line,) = read()
    found = json.loads(line)
    assert list(found)[:3] == ["time", "level", "event"]
    assert (found["level"], found["event"], found["server"]) == ("warning", "lost the connection", "a")
    assert found["path"] == str(io)


@pytest.mark.parametrize("level", ["debug", "info", "warning", "error"])
def test_stackdriver(lines, level):
    read = lines("stackdriver", "debug")
    getattr(Log(), level)("stopped", delivered=7)
    (line,) = read()
    found = json.loads(line)
    assert found.pop("time").endswith("Z")
    assert found == {"severity": level.upper(), "message": "stopped", "delivered": 7}


@pytest.mark.parametrize(
    ("level", "written"),
    [("debug", "dbiwe"), ("info", "iwe"), ("warning", "we"), ("error", "e")],
)
def test_levels(lines, level, written):
    read = lines(level=level)
    log = Log()
    log.debug("db")
    log.info("i")
    log.warning("w")
    log.error("e")
    assert "".join(json.loads(line)["event"] for line in read()) == written


@pytest.mark.parametrize("given", ["the exception", "true", "a tuple"])
@pytest.mark.parametrize("level", ["info", "debug"])
def test_an_exception_is_named_and_its_traceback_shown_at_debug_only(lines, level, given):
    read = lines(level=level)
    try:
        failing()
    except OSError as error:
        exc_info = {"the exception": error, "true": True, "a tuple": (OSError, error, error.__traceback__)}[
            given
        ]
        Log().error("failed", exc_info=exc_info)
    (line,) = read()
    found = json.loads(line)
    assert found["error"] == "OSError: no\nroom"
    assert ("in failing" in found.get("traceback", "")) is (level == "debug")
    assert "exc_info" not in found


@pytest.mark.parametrize("level", ["info", "debug"])
def test_no_exception_is_not_named(lines, level):
    read = lines(level=level)
    Log().error("failed", exc_info=False)
    Log().error("failed", exc_info=True)
    assert [set(json.loads(line)) for line in read()] == [{"time", "level", "event"}] * 2


def test_what_libraries_warn_of_is_passed_on(lines):
    read = lines()
    logging.getLogger("asyncio").error("Task %s was lost", 7, exc_info=OSError("gone"))
    logging.getLogger("asyncio").info("not this")
    (line,) = read()
    found = json.loads(line)
    assert found["event"] == "a library reports"
    assert (found["library"], found["text"], found["level"]) == ("asyncio", "Task 7 was lost", "error")
    assert found["error"] == "OSError: gone"


def test_a_library_that_logs_what_does_not_fit_is_not_stopped(lines):
    read = lines()
    logging.getLogger("nats").error("%d", "seven")
    (line,) = read()
    assert json.loads(line)["text"] == "%d"


def test_what_a_library_takes_for_worse_is_an_error_too(lines):
    read = lines()
    logging.getLogger("asyncio").critical("over")
    logging.getLogger("asyncio").log(logging.WARNING + 1, "nearly")
    assert [json.loads(line)["level"] for line in read()] == ["error", "warning"]


def test_before_anybody_listens_nothing_is_said(capsys):
    Log().error("failed")
    assert capsys.readouterr() == ("", "")


def test_a_stream_that_is_gone_stops_nothing(lines):
    stream = io.StringIO()
    lines(stream=stream)
    stream.close()
    Log().info("nobody reads this")


@pytest.mark.usefixtures("lines")
def test_stderr_is_the_default(capsys):
    logs.configure(format="text", level="info")
    Log().info("here")
    captured = capsys.readouterr()
    assert captured.err.endswith(" here\n")
    assert captured.out == ""


def test_warnings_of_settings(lines):
    read = lines()
    logs.warn_of_settings(["one.", "two."])
    assert [(found["level"], found["reason"]) for found in map(json.loads, read())] == [
        ("warning", "one."),
        ("warning", "two."),
    ]


def test_with_several_workers_each_line_says_whose_it_is():
    stream = io.StringIO()
    try:
        logs.configure(format="json", level="info", stream=stream, worker=2)
        Log().info("closed the connection to NATS")
        logging.getLogger("nats").warning("careful")
    finally:
        logging.getLogger().handlers.clear()
        direct(None)
    assert [json.loads(line)["worker"] for line in stream.getvalue().splitlines()] == [2, 2]


@pytest.mark.parametrize("form", ["text", "json", "stackdriver"])
@pytest.mark.parametrize("value", ["caf\udce9", ["caf\udce9"]])
def test_a_name_that_is_not_utf_8_is_no_reason_to_fail(lines, form, value):
    read = lines(form)
    Log().warning("files in the spool that are not its own", files=value, more="\u00e9\U0001f600")
    (line,) = read()
    line.encode()
    if form != "text":
        found = json.loads(line)
        assert (found["files"], found["more"]) in [
            ("caf\ufffd", "\u00e9\U0001f600"),
            (["caf\ufffd"], "\u00e9\U0001f600"),
        ]


def test_what_is_behind_an_exception_is_named_too():
    group = ExceptionGroup("unhandled errors in a TaskGroup", [KeyError("a"), failure(OSError("no room"))])
    assert told(group) == (
        "ExceptionGroup: unhandled errors in a TaskGroup (2 sub-exceptions); because of KeyError: 'a'; "
        "because of RuntimeError: outer; because of OSError: no room"
    )
    many = ExceptionGroup("many", [ValueError(str(each)) for each in range(100)])
    assert told(many).count("because of") == MOST_CAUSES


def failure(cause):
    error = RuntimeError("outer")
    error.__cause__ = cause
    return error


# A stderr that nobody reads

PAGES = 4


@pytest.fixture
def pipe():
    """A pipe of four pages, and what is read of it. It can be written to while one of them is empty."""
    read, write = os.pipe()
    fcntl.fcntl(write, 1031, PAGES * logs.PIPE_BUF)  # F_SETPIPE_SZ
    os.set_blocking(read, False)
    with os.fdopen(write, "w") as stream:
        yield stream, lambda: os.read(read, 1 << 20).decode().splitlines()
    os.close(read)


@pytest.mark.skipif(sys.platform != "linux", reason="the size of a pipe is Linux's to set")
def test_a_reader_that_stops_stops_nothing_and_what_it_missed_is_counted(lines, pipe):
    stream, read = pipe
    lines(stream=stream)
    for number in range(200):
        Log().info("event", number=number, much="x" * 200)
    seen = [json.loads(line)["number"] for line in read()]
    assert seen == list(range(len(seen)))
    assert 0 < len(seen) < 200
    Log().info("event", number=200)
    Log().info("event", number=201)
    first, missing, second = map(json.loads, read())
    assert (first["number"], second["number"]) == (200, 201)
    assert missing["event"] == "lines of this log are missing: stderr was not read"
    assert missing["lines"] == 200 - len(seen)


@pytest.mark.skipif(sys.platform != "linux", reason="the size of a pipe is Linux's to set")
def test_a_line_that_is_torn_ends_before_the_next_one(lines, pipe):
    stream, read = pipe
    lines(stream=stream)
    Log().info("event", much="x" * PAGES * logs.PIPE_BUF)
    (torn,) = read()
    assert len(torn) == PAGES * logs.PIPE_BUF
    Log().info("event", number=1)
    empty, line, missing = read()
    assert (empty, json.loads(line)["number"], json.loads(missing)["lines"]) == ("", 1, 1)


@pytest.mark.skipif(sys.platform != "linux", reason="the size of a pipe is Linux's to set")
def test_what_is_missing_is_counted_until_that_can_be_said(lines, pipe):
    stream, read = pipe
    lines(stream=stream)
    for _ in range(PAGES + 1):
        Log().info("event", much="x" * 3000)
    assert len(read()) == PAGES
    Log().info("event", much="x" * ((PAGES - 1) * logs.PIPE_BUF))  # and no room for the count
    assert len(read()) == 1
    Log().info("event")
    assert [json.loads(line).get("lines") for line in read()] == [None, 1]


@pytest.mark.usefixtures("lines")
def test_without_a_stderr_nothing_is_said(monkeypatch):
    monkeypatch.setattr(sys, "stderr", None)
    logs.configure(format="text", level="info")
    Log().error("nobody reads this")
