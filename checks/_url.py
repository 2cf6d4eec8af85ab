"""Web addresses: checked before they are used, and shown without what they keep secret."""

from __future__ import annotations

import ipaddress
import re
from functools import lru_cache
from urllib.parse import quote, unquote, urlsplit, urlunsplit

from checks._resolve import is_metadata

MASK = "***"
SECRET_NAME = re.compile(
    r"auth|cookie|token|key|secret|passw|session|signature|credential|^(sig|pw|pwd)$", re.IGNORECASE
)
_WITH_USER = re.compile(r"([^/?#]*//)([^/?#]*)@(.*)", re.DOTALL)
_PORTS = {"http": 80, "https": 443}


def checked_url(text: str) -> str:
    """The URL in the form that goes on the wire: ASCII, no user, no fragment. Raises ValueError with the fault in words."""
    if not text.isprintable() or any(letter in text for letter in ' "<>\\'):
        raise ValueError("must not hold spaces, quotes, backslashes or control characters; write them as %20 and so on")
    scheme, colon, _ = text.partition("://")
    if not colon or scheme.lower() not in _PORTS:
        raise ValueError("must start with http:// or https://")
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError as error:
        raise ValueError(f"is not a URL: {error}") from error
    if not parts.hostname:
        raise ValueError("names no host")
    if port == 0:
        raise ValueError("port 0 does not exist")
    host = _checked_host(parts.hostname)
    network = f"{host}:{port}" if port and port != _PORTS[parts.scheme] else host
    path = quote(parts.path or "/", safe="/%:@!$&'()*+,;=~-._")
    return urlunsplit((parts.scheme, network, path, quote(parts.query, safe="/?%:@!$&'()*+,;=~-._[]|{}^`"), ""))


def split_user(url: str) -> tuple[str, str, str]:
    """The URL without its user, the user and the password; texts that are no URL come back as they are."""
    match = _WITH_USER.fullmatch(url)
    if match is None:
        return url, "", ""
    scheme, user, rest = match.groups()
    name, _, password = user.partition(":")
    return scheme + rest, unquote(name), unquote(password)


@lru_cache(maxsize=4096)
def host_and_port(url: str) -> tuple[str, int]:
    """Where a checked URL leads."""
    parts = urlsplit(url)
    return parts.hostname or "", parts.port or _PORTS[parts.scheme]


def origin(url: str) -> tuple[str, str, int]:
    """Scheme, host and port: what credentials belong to."""
    return (urlsplit(url).scheme, *host_and_port(url))


def shown_url(url: str) -> str:
    """The URL with the values of query fields that sound secret masked."""
    head, mark, query = url.partition("?")
    if not mark:
        return url
    return head + mark + "&".join(_shown_field(field) for field in query.split("&"))


def _shown_field(field: str) -> str:
    name, equals, _ = field.partition("=")
    return f"{name}={MASK}" if equals and SECRET_NAME.search(name) else field


def _checked_host(host: str) -> str:
    """The host in ASCII; an IPv6 address in its brackets."""
    try:
        ip = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        try:
            return host.encode("ascii" if host.isascii() else "idna").decode("ascii")
        except UnicodeError as error:
            raise ValueError(f"host {host!r} is not a name that DNS can hold") from error
    if is_metadata(host):
        raise ValueError(f"{host} hands out this machine's cloud credentials; no check may ask it")
    return f"[{host}]" if ip.version == 6 else host
