from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from nats_fluent.account import Account


def test_a_new_account_is_empty():
    account = Account()
    assert account.held == 0
    assert account.received == {}
    assert not any(value for value in vars(account).values())


COUNT = st.integers(0, 10**9)


@given(st.dictionaries(st.sampled_from(["a", "b", "c"]), COUNT), COUNT, COUNT, COUNT, COUNT, COUNT, COUNT)
def test_what_is_held_is_neither_delivered_nor_given_up(
    received, recovered, delivered, dropped, lost, returned, spooled
):
    account = Account()
    account.received.update(received)
    account.recovered = recovered
    account.delivered, account.dropped, account.returned = delivered, dropped, returned
    account.lost = lost
    account.undecodable = account.delivered_undecodable = 7  # of the delivered, or of the held
    account.spooled = spooled  # of the held
    came = sum(received.values()) + recovered
    assert came == account.delivered + account.dropped + account.lost + account.returned + account.held
    assert account.held == account.in_memory + account.spooled
