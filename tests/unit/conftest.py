"""What holds for all unit tests."""

from __future__ import annotations

import pytest

from nats_fluent.errors import Undecodable
from nats_fluent.record import Recorder


@pytest.fixture(scope="session", autouse=True)
def bugs_are_records():
    """Raise what a recorder makes a record of as it may not end the program; the value is how that is made."""
    make = Recorder._failed

    def failed(self, delivery, error, *args, **more):
        if not isinstance(error, Undecodable):
            raise error
        return make(self, delivery, error, *args, **more)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Recorder, "_failed", failed)
        yield make
