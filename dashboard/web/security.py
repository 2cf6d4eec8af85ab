"""Who may talk to the pages, and how: hosts, origins, tokens and the headers of every answer (docs/security.md)."""

from __future__ import annotations

import hmac
import ipaddress
import re
import secrets
from urllib.parse import urlsplit

from flask import Flask, Response, current_app, g, request, session
from werkzeug.exceptions import BadRequest, Forbidden, Unauthorized

from dashboard.errors import WatchroomError
from dashboard.model import Server, Settings
from dashboard.web.services import services

TOKEN_KEY = "WATCHROOM_TOKEN"  # noqa: S105  # in app.config: what machines send as `Authorization: Bearer ...`
SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
# The hash is that of the empty style element that Plotly adds.
CONTENT_SECURITY_POLICY = "; ".join(
    (
        "default-src 'self'",
        "script-src 'self'",
        "style-src 'self' 'sha256-47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU='",
        "img-src 'self' data: blob:",
        "connect-src 'self'",
        "object-src 'none'",
        "base-uri 'none'",
        "form-action 'self'",
        "frame-ancestors 'none'",
    )
)
_HEADERS = {
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}
_PERSON = re.compile(r"[A-Za-z0-9._@-]{1,64}")


def attach(app: Flask) -> None:
    """Guard every request and mark every answer; give templates `csrf_token()` and `open_access`."""
    app.before_request(_refuse_foreign_host)
    app.before_request(_refuse_foreign_write)
    app.after_request(_add_headers)
    app.add_template_global(csrf_token)
    app.context_processor(lambda: {"open_access": services().settings.server.access == "open"})


def refuse_open_bind(settings: Settings) -> None:
    """Raise WatchroomError when the pages would be served beyond this machine and nobody said so on purpose."""
    server = settings.server
    if server.access == "open" or _is_loopback(server.host):
        return
    raise WatchroomError(
        f"server.host: {server.host} would open Watchroom to everybody who reaches this machine: there are no accounts, so "
        "anyone could read every result and run every check. Keep 127.0.0.1 (and go through SSH or a proxy that asks "
        "who is there), or set `server: {access: open}` in the configuration if that is what you want"
    )


def csrf_token() -> str:
    """The token that every form of this browser carries, in `csrf_token` or the header X-CSRF-Token."""
    if "csrf" not in session:
        session["csrf"] = secrets.token_urlsafe(24)
    return str(session["csrf"])


def asker() -> str:
    """Who asks, as results record it: `local`, or `cli:<user>` for a machine that showed the server's token."""
    return str(g.get("asker", "local"))


def host_is_allowed(host: str, server: Server) -> bool:
    """Whether a Host header names us. A foreign name that leads here is a page in some browser that was rebound to us."""
    try:
        name = (urlsplit(f"//{host}").hostname or "").rstrip(".")
    except ValueError:
        return False
    if set(host) & set("@/?#"):
        return False
    if _is_loopback(name) or name == server.host.lower() or name in {each.lower() for each in server.allowed_hosts}:
        return True
    return server.access == "open" and _is_address(name)  # an address cannot be rebound


def _is_loopback(host: str) -> bool:
    return host == "localhost" or (_is_address(host) and ipaddress.ip_address(host).is_loopback)


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _refuse_foreign_host() -> None:
    if not host_is_allowed(request.headers.get("Host", ""), services().settings.server):
        raise BadRequest(
            "this server does not go by the host name of the request; if it should, "
            "add the name to server.allowed_hosts in the configuration"
        )


def _refuse_foreign_write() -> None:
    """Whatever may change something comes from a page of ours, with its token, or from a machine with the server's."""
    if request.method in SAFE_METHODS:
        return
    if (authorization := request.headers.get("Authorization", "")).lower().startswith("bearer "):
        g.asker = _machine(authorization[7:].strip())
        return
    _refuse_foreign_origin()
    given = request.headers.get("X-CSRF-Token") or request.form.get("csrf_token", "")
    if not _same(given, str(session.get("csrf", ""))):
        raise Forbidden("the form is out of date: reload the page and try again")


def _machine(token: str) -> str:
    if not _same(token, current_app.config.get(TOKEN_KEY) or ""):
        raise Unauthorized("the token is not this server's; it is in server.json in the data directory")
    person = request.headers.get("X-Watchroom-By", "")
    if not person:
        return "cli"
    if not _PERSON.fullmatch(person):
        raise BadRequest("X-Watchroom-By: must be 1 to 64 letters, digits or . _ @ -")
    return f"cli:{person}"


def _refuse_foreign_origin() -> None:
    """Browsers say where a request comes from, in Sec-Fetch-Site or else in Origin. Our own forms send `Origin: null`,
    because of our Referrer-Policy: without Sec-Fetch-Site (plain HTTP beyond this machine) the token alone must do."""
    site = request.headers.get("Sec-Fetch-Site")
    origin = request.headers.get("Origin", "null")
    foreign = site not in ("same-origin", "none") if site else origin not in ("null", "") and _is_foreign(origin)
    if foreign:
        raise Forbidden("the request comes from another site's page")


def _is_foreign(origin: str) -> bool:
    return origin.partition("://")[2].lower() != request.headers.get("Host", "").lower()


def _same(given: str, ours: str) -> bool:
    return bool(ours and hmac.compare_digest(given.encode(), ours.encode()))


def _add_headers(response: Response) -> Response:
    for name, value in _HEADERS.items():
        response.headers[name] = value
    response.headers.setdefault("Cache-Control", "no-cache")
    return response
