"""What Flask itself is told: for development, for tests, for production."""

from __future__ import annotations

import os
import secrets
from pathlib import Path
from typing import ClassVar

from dashboard.errors import StoreUnavailable

LARGEST_BODY_BYTES = 1024 * 1024


class Configuration:
    """What all three share. `ALLOW_DEBUG` says whether Flask's debug mode may be on; its console runs any code."""

    ALLOW_DEBUG: ClassVar[bool] = False
    DEBUG: ClassVar[bool] = False
    TESTING: ClassVar[bool] = False
    SECRET_KEY: ClassVar[str | None] = None  # None: WATCHROOM_SECRET_KEY, else the file in the data directory
    TEMPLATES_AUTO_RELOAD: ClassVar[bool] = False
    MAX_CONTENT_LENGTH: ClassVar[int] = LARGEST_BODY_BYTES
    MAX_FORM_MEMORY_SIZE: ClassVar[int] = LARGEST_BODY_BYTES
    MAX_FORM_PARTS: ClassVar[int] = 1000
    SESSION_COOKIE_HTTPONLY: ClassVar[bool] = True
    SESSION_COOKIE_SAMESITE: ClassVar[str] = "Lax"


class Production(Configuration):
    """As `run.py serve` runs it."""


class Development(Configuration):
    """Templates and static files are read again when they change."""

    ALLOW_DEBUG = True
    TEMPLATES_AUTO_RELOAD = True


class Test(Configuration):
    """Errors reach the test; nothing is written to the data directory."""

    __test__ = False  # not a test case, whatever its name says
    ALLOW_DEBUG = True
    TESTING = True
    SECRET_KEY = "a key that signs only cookies of tests"  # noqa: S105


def secret_key(data: Path) -> str:
    """The key that signs session cookies: WATCHROOM_SECRET_KEY, or the one in the data directory, made there at first.

    Raises StoreUnavailable when the file can be neither read nor made.
    """
    if given := os.environ.get("WATCHROOM_SECRET_KEY"):
        return given
    path = data / "secret.key"
    try:
        if path.exists() and len(key := path.read_text("ascii").strip()) >= 32:
            path.chmod(0o600)
            return key
        data.mkdir(parents=True, exist_ok=True)
        fresh = path.with_suffix(".new")
        fresh.unlink(missing_ok=True)
        key = secrets.token_hex(32)
        with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(key + "\n")
        fresh.replace(path)
    except (OSError, UnicodeError) as error:
        raise StoreUnavailable(f"{path}: cannot keep the secret key there: {error}") from error
    return key
