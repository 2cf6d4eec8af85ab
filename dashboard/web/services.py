"""How a view reaches the engine."""

from __future__ import annotations

from typing import cast

from flask import current_app

from dashboard.engine.ports import Services

KEY = "watchroom"


def services() -> Services:
    """The services that create_app was given."""
    return cast(Services, current_app.extensions[KEY])
