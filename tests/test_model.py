"""Secrets stay secret, however a text quotes or cuts them."""

from __future__ import annotations

import pytest

from dashboard.model import masked

SECRET = "it's a/secret"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("token it's a/secret sent", "token *** sent"),
        ("curl -H 'Authorization: it'\"'\"'s a/secret'", "curl -H 'Authorization: ***'"),
        ("https://x/?key=it%27s%20a%2Fsecret&y", "https://x/?key=***&y"),
        ("body was it's a/se", "body was ***"),
        ("body was it's a/se…", "body was ***"),
        ("nothing here", "nothing here"),
        ("it", "it"),
    ],
)
def test_secret_is_masked(text, shown):
    assert masked(text, [SECRET]) == shown
