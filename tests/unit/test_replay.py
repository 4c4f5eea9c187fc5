from __future__ import annotations

import pytest

from nats_fluent import replay
from nats_fluent.errors import SettingsError
from nats_fluent.replay import Pace, Wish, wish
from nats_fluent.sections import JetStreamSettings
from nats_fluent.settings import Settings

NOW = 1_767_323_045 * 10**9  # 2026-01-02T03:04:05Z


@pytest.mark.parametrize(
    ("since", "start"),
    [
        ("2026-01-01T00:00:00Z", "2026-01-01T00:00:00Z"),
        ("2026-01-01T02:00:00.5+02:00", "2026-01-01T00:00:00.5Z"),
        ("45s", "2026-01-02T03:03:20Z"),
        ("90m", "2026-01-02T01:34:05Z"),
        ("2h", "2026-01-02T01:04:05Z"),
        ("3d", "2025-12-30T03:04:05Z"),
    ],
)
def test_where_it_begins(since, start):
    assert wish(since, None, None, now_ns=NOW) == Wish(start)


def test_where_it_ends():
    assert wish(None, 5, None, now_ns=NOW) == Wish(5)
    assert wish(None, 5, "5", now_ns=NOW) == Wish(5, 5)
    assert wish("2h", None, "9", now_ns=NOW) == Wish("2026-01-02T01:04:05Z", 9)
    assert wish("2h", None, "1h", now_ns=NOW) == Wish("2026-01-02T01:04:05Z", "2026-01-02T02:04:05Z")
    assert wish(None, 1, "1h", now_ns=NOW) == Wish(1, "2026-01-02T02:04:05Z")


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        ((None, None, None), "replay: give one of --since and --from-sequence: where it begins."),
        (("2h", 5, None), "replay: give one of --since and --from-sequence: where it begins."),
        (("2027-01-01T00:00:00Z", None, None), "--since: '2027-01-01T00:00:00Z' lies in the future."),
        ((None, 1, "2027-01-01T00:00:00Z"), "--until: '2027-01-01T00:00:00Z' lies in the future."),
        ((None, 5, "4"), "--until: 4 is before --from-sequence 5."),
        (("1h", None, "2h"), "--until: '2h' is before --since '1h'."),
        (("0001-01-01T00:00:00Z", None, None), None),
        (("yesterday", None, None), None),
        (("2", None, None), None),
        (("2 h", None, None), None),
        (("-2h", None, None), None),
        ((None, 1, ""), None),
        (("2026-13-01T00:00:00Z", None, None), None),
    ],
)
def test_what_cannot_be(given, problem):
    with pytest.raises(SettingsError) as caught:
        wish(*given, now_ns=NOW)
    (said,) = caught.value.problems
    flag, text = ("--since", given[0]) if given[0] is not None else ("--until", given[2])
    assert said == problem or (
        problem is None
        and said
        == f"{flag}: {text!r} is not a time; write it as 2026-01-02T03:04:05Z, or how long ago: 90m, 2h or 3d."
    )


def test_the_pace_is_kept_and_what_was_late_comes_in_no_burst():
    pace = Pace(10)
    assert [pytest.approx(pace.wait(100.0)) for _ in range(3)] == [0.0, 0.1, 0.2]
    assert pace.wait(200.0) == 0
    assert pace.wait(200.05) == pytest.approx(0.05)


def test_a_stream_and_subjects_that_can_be_are_needed():
    with pytest.raises(SettingsError, match=r"there is no stream; give jetstream\.stream"):
        replay.run(Settings(), Wish(1))
    settings = Settings(jetstream=JetStreamSettings(stream="EVENTS"))
    with pytest.raises(SettingsError, match=r"--subject: 'a\.\.b' has a subject with an empty part"):
        replay.run(settings, Wish(1), subjects=["a..b"])
