from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from nats_fluent.account import MOST_KINDS, MOST_NAME, OTHER, Account


def test_a_new_account_is_empty():
    account = Account()
    assert account.held == 0
    assert account.received == {}
    assert not any(value for value in vars(account).values())


COUNT = st.integers(0, 10**9)


@given(st.dictionaries(st.sampled_from(["a", "b", "c"]), COUNT), *[COUNT] * 7)
def test_what_is_held_is_neither_delivered_nor_given_up(
    received, recovered, delivered, filtered, dropped, lost, returned, spooled
):
    account = Account()
    account.received.update(received)
    account.recovered = recovered
    account.delivered, account.dropped, account.returned = delivered, dropped, returned
    account.lost, account.filtered = lost, filtered
    account.undecodable = account.delivered_undecodable = 7  # of the delivered, or of the held
    account.spooled = spooled  # of the held
    came = sum(received.values()) + recovered
    gone = account.delivered + account.filtered + account.dropped + account.lost + account.returned
    assert came == gone + account.held
    assert account.held == account.in_memory + account.spooled


def test_kinds_beyond_a_limit_become_one_of_their_topic():
    account = Account()
    for number in range(MOST_KINDS + 5):
        account.new_kind(("t", f"i{number}", "create"))
    account.new_kind(("u", "i", "create"))
    assert len(account.kinds) == MOST_KINDS + 2
    assert account.kinds["t", OTHER, OTHER] == 5
    assert account.kinds["u", OTHER, OTHER] == 1
    assert account.kinds["t", f"i{MOST_KINDS - 1}", "create"] == 1


def test_a_long_word_is_no_kind_of_its_own():
    account = Account()
    longest = "x" * MOST_NAME
    for identity, operation in ((longest, longest), (longest + "x", ""), ("", longest + "x")):
        account.new_kind(("t", identity, operation))
    assert account.kinds == {("t", longest, longest): 1, ("t", OTHER, OTHER): 2}
