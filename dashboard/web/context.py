"""What every template knows besides what its view gives it: own health, zone, time, version."""

from __future__ import annotations

from datetime import datetime
from typing import cast

from flask import Flask, current_app, g

from checks.base import Clock
from dashboard.model import OwnHealth
from dashboard.web.services import services

CLOCK_KEY = "watchroom clock"


def attach(app: Flask, clock: Clock) -> None:
    """Give templates `own`, `zone`, `now` and `version_text`."""
    app.extensions[CLOCK_KEY] = clock
    app.context_processor(_context)


def now() -> datetime:
    """The time."""
    return cast(Clock, current_app.extensions[CLOCK_KEY]).now()


def own_health() -> OwnHealth:
    """How Watchroom itself does, read once a request."""
    if "own" not in g:
        g.own = services().own.health()
    return cast(OwnHealth, g.own)


def _context() -> dict[str, object]:
    own = own_health()
    return {"own": own, "zone": services().settings.server.zone, "now": now(), "version_text": own.version}
