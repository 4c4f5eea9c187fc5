"""What the demo says where something is missing."""

from __future__ import annotations

import re

import pytest

from nats_fluent import demo
from nats_fluent.errors import RunFailed


def test_without_a_nats_server_it_says_how_to_get_one(
    monkeypatch: pytest.MonkeyPatch, tmp_path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(demo, "_find", lambda _: None)
    monkeypatch.setattr(demo.tempfile, "mkdtemp", lambda **_: str(tmp_path / "made"))
    monkeypatch.setattr(demo.logs, "configure", lambda **_: None)
    (tmp_path / "made").mkdir()
    with pytest.raises(RunFailed, match=re.escape("get it with: pip install 'nats-fluent[demo]'")):
        demo.run_demo(count=1, rate=1)
    assert list(tmp_path.iterdir()) == []
    assert capsys.readouterr().err == ""
