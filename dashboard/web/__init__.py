"""Shows: the only package that knows Flask."""

from __future__ import annotations

from pathlib import Path

from flask import Flask

from checks.base import Clock
from dashboard.engine.ports import Services
from dashboard.errors import WatchroomError
from dashboard.model import Settings
from dashboard.web import api, assets, check, context, errors, export, htmx, live, pages, runs, security, system
from dashboard.web.configuration import Configuration, secret_key
from dashboard.web.services import KEY

ROOT = Path(__file__).parents[2]
BLUEPRINTS = (
    pages.blueprint,
    live.blueprint,
    runs.blueprint,
    check.blueprint,
    system.blueprint,
    api.blueprint,
    export.blueprint,
)


def build(settings: Settings, services: Services, *, configuration: type[Configuration], clock: Clock) -> Flask:
    """The app over these services. Raises WatchroomError for a debug mode that the configuration does not allow."""
    app = Flask("dashboard", root_path=str(ROOT), template_folder="templates", static_folder=None)
    if app.debug and not configuration.ALLOW_DEBUG:
        raise WatchroomError(
            "FLASK_DEBUG is set: in production anyone could run code through Flask's console; unset it"
        )
    app.config.from_object(configuration)
    app.secret_key = configuration.SECRET_KEY or secret_key(settings.data)
    app.config["SESSION_COOKIE_NAME"] = f"watchroom_{settings.server.port}"  # cookies are shared between ports
    app.jinja_options = {"trim_blocks": True, "lstrip_blocks": True}
    app.extensions[KEY] = services
    htmx.attach(app)
    security.attach(app)
    errors.attach(app)
    context.attach(app, clock)
    assets.attach(app, assets.Assets(ROOT / "static", reload=configuration.TEMPLATES_AUTO_RELOAD))
    for blueprint in BLUEPRINTS:
        app.register_blueprint(blueprint)
    return app
