"""Web addresses before they are used and as they are shown."""

from __future__ import annotations

import pytest

from checks._url import checked_url, host_and_port, origin, shown_url, split_user


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("http://shop.example", "http://shop.example/"),
        ("HTTPS://Shop.Example:443/A?b=C", "https://shop.example/A?b=C"),
        ("http://shop.example:8080/x#part", "http://shop.example:8080/x"),
        ("http://[::1]:80/", "http://[::1]/"),
        ("http://bücher.example/ä%20b", "http://xn--bcher-kva.example/%C3%A4%20b"),
        ("http://x/a?q=[1]|2", "http://x/a?q=[1]|2"),
    ],
)
def test_a_url_is_made_fit_for_the_wire(text: str, url: str) -> None:
    assert checked_url(text) == url
    assert checked_url(url) == url


@pytest.mark.parametrize(
    "text",
    ["", "x", "//x", "ftp://x/", "http:///x", "http://x:0/", "http://x:y/", "http://x/\n", "http://x\\@y/", "http://[::1/",
     "http://" + "ä" * 99 + "/", "http://169.254.169.254/", "http://[fd00:ec2::254]/", "http://[::ffff:169.254.169.254]/"],
)  # fmt: skip
def test_what_is_no_web_address_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        checked_url(text)


@pytest.mark.parametrize(
    ("url", "parts"),
    [
        ("https://ops:p:w@x/a@b", ("https://x/a@b", "ops", "p:w")),
        ("https://ops@x?y=a@b", ("https://x?y=a@b", "ops", "")),
        ("https://x?y=a@b", ("https://x?y=a@b", "", "")),
        ("https://o%40s:a%3Ab@x/", ("https://x/", "o@s", "a:b")),
        ("https://a:b@c@x/", ("https://x/", "a", "b@c")),
        ("https://x/a@b", ("https://x/a@b", "", "")),
        ("a@b", ("a@b", "", "")),
    ],
)
def test_a_user_is_split_off(url: str, parts: tuple[str, str, str]) -> None:
    assert split_user(url) == parts


def test_an_origin_is_scheme_host_and_port() -> None:
    assert origin("https://x/a") == origin("https://x:443/b") == ("https", "x", 443)
    assert origin("http://x/") != origin("https://x/")
    assert host_and_port("http://[::1]:8080/") == ("::1", 8080)


def test_secret_query_fields_are_masked() -> None:
    assert shown_url("http://x/?a=1&API_Key=s&token=&sig=s&b") == "http://x/?a=1&API_Key=***&token=***&sig=***&b"
    assert shown_url("http://x/") == "http://x/"
