from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from nats_fluent.account import Account


def test_a_new_account_is_empty():
    account = Account()
    assert account.held == 0
    assert account.received == {}
    assert not any(value for value in vars(account).values())


@given(
    st.dictionaries(st.sampled_from(["a", "b", "c"]), st.integers(0, 10**9)),
    st.integers(0, 10**9),
    st.integers(0, 10**9),
)
def test_what_is_held_is_neither_delivered_nor_dropped(received, delivered, dropped):
    account = Account()
    account.received.update(received)
    account.delivered, account.dropped = delivered, dropped
    account.undecodable = account.delivered_undecodable = 7  # of the delivered, or of the held
    assert sum(received.values()) == account.delivered + account.dropped + account.held
