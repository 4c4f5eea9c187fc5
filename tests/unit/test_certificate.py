from __future__ import annotations

import pytest

from nats_fluent import certificate

FOUND = {
    "subject": ((("commonName", "nats"),), (("organizationName", "Harbour"),)),
    "issuer": ((("commonName", "Harbour CA"),),),
    "subjectAltName": (("DNS", "nats.harbour"), ("IP Address", "10.0.0.1")),
    "notAfter": "Jan 11 00:00:00 2026 GMT",
}
NEW_YEAR = 1_767_225_600.0


@pytest.mark.parametrize(
    ("now", "ends"),
    [
        (NEW_YEAR, "expires 2026-01-11, in 10 days"),
        (NEW_YEAR + 9.5 * 86400, "expires 2026-01-11, in 0 days"),
        (NEW_YEAR + 12.5 * 86400, "expired 2026-01-11, 2 days ago"),
    ],
)
def test_what_it_says(now, ends):
    assert certificate.accepted(FOUND, now) == (
        "certificate for nats.harbour, 10.0.0.1 (subject CN=nats,O=Harbour), issued by CN=Harbour CA, " + ends
    )


def test_one_that_says_little():
    said = certificate.accepted({"notAfter": FOUND["notAfter"]}, NEW_YEAR)
    assert said.startswith("certificate for no name (subject empty), issued by nobody, expires")


def test_what_a_terminal_would_act_on_is_escaped():
    evil = FOUND | {"issuer": ((("commonName", "\x1b[2J"),),)}
    assert "issued by CN=\\x1b[2J," in certificate.accepted(evil, NEW_YEAR)
