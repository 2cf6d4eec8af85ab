"""Watchroom: health checks, remembered and shown."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from flask import Flask

    from checks.base import Clock
    from dashboard.engine.ports import Services
    from dashboard.model import Settings
    from dashboard.web.configuration import Configuration


__version__ = "0.1.0"


def create_app(
    settings: Settings,
    services: Services,
    *,
    configuration: type[Configuration] | None = None,
    clock: Clock | None = None,
) -> Flask:
    """The Flask app over these services, for production unless told otherwise. Starts no thread.

    Flask is imported here and not above: the prober's process goes without it.
    """
    from dashboard.clock import SystemClock
    from dashboard.web import build
    from dashboard.web.configuration import Production

    return build(settings, services, configuration=configuration or Production, clock=clock or SystemClock())
