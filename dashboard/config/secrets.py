"""`${NAME}` in any text and `file:/path` in secret fields: filled in, remembered, never shown."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path

from pydantic import BaseModel, SecretStr

from checks._url import SECRET_NAME
from dashboard.config.annotations import models, parts
from dashboard.model import MASK

_PLACE = re.compile(r"\$\$\{|\$\{([A-Za-z_][A-Za-z0-9_]*)(?::-([^}]*))?\}|\$\{([^}]*)\}?")
_FILE_LIMIT_BYTES = 64 * 1024
_SHORTEST_WORD = 8  # of a header such as `Bearer abcdefgh`, whose words may be echoed apart
_SHORTEST_SECRET = 4  # masking shorter values, `DEBUG: "1"` for a plugin say, would only garble what is shown


class Filled(str):
    """A text whose `${NAME}`s or `file:` were filled in; `written` is what the file says."""

    __slots__ = ("faults", "secrets", "written")
    written: str
    secrets: tuple[str, ...]
    faults: tuple[str, ...]

    @classmethod
    def make(cls, text: str, *, written: str, secrets: tuple[str, ...] = (), faults: tuple[str, ...] = ()) -> Filled:
        filled = cls(text)
        filled.written, filled.secrets, filled.faults = written, secrets, faults
        return filled


def filler(environ: Mapping[str, str]) -> Callable[[str], str]:
    """A function that fills `${NAME}` and `${NAME:-default}` in; `$${` stands for `${` itself."""

    def fill(written: str) -> str:
        secrets: list[str] = []
        faults: list[str] = []

        def replace(match: re.Match[str]) -> str:
            name, default, wrong = match.groups()
            if wrong is not None:
                faults.append(
                    f"{match.group()[:40]} is not a variable: write ${{NAME}}, or $${{ for the two characters"
                )
            elif name is None:
                return "${"
            elif environ.get(name) or (name in environ and default is None):
                secrets.append(environ[name])
                return environ[name]
            elif default is not None:
                return default
            else:
                faults.append(f"the environment variable {name} is not set: set it, or write ${{{name}:-default}}")
            return match.group()

        text = _PLACE.sub(replace, written)
        if not secrets and not faults:
            return text
        return Filled.make(text, written=written, secrets=tuple(secrets), faults=tuple(faults))

    return fill


def filled_in(value: object) -> Iterator[Filled]:
    """Every filled text inside the value."""
    if isinstance(value, Filled):
        yield value
    elif isinstance(value, Mapping):
        for inner in value.values():
            yield from filled_in(inner)
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from filled_in(inner)


def longest_first(secrets: Iterable[str]) -> tuple[str, ...]:
    """The secrets that are masked, in the order in which to mask them: one may be a part of another."""
    masked = (secret for secret in secrets if len(secret) >= _SHORTEST_SECRET)
    return tuple(sorted(masked, key=lambda secret: (-len(secret), secret)))


def mask(text: str, secrets: Iterable[str]) -> str:
    """The text with every secret replaced."""
    for secret in longest_first(secrets):
        text = text.replace(secret, MASK)
    return text


def open_secrets(annotation: object, value: object, folder: Path) -> object:
    """A copy of the value in which every text that lands in a SecretStr is Filled, `file:` read from its file."""
    if isinstance(value, str):
        return _opened(value, folder) if SecretStr in parts(annotation) else value
    if isinstance(value, Mapping):
        fields = {name: field.annotation for model in models(annotation) for name, field in model.model_fields.items()}
        return {key: open_secrets(fields.get(key, annotation), inner, folder) for key, inner in value.items()}
    if isinstance(value, list):
        return [open_secrets(annotation, inner, folder) for inner in value]
    return value


def secrets_of(value: object, *, is_named: bool = False) -> Iterator[str]:
    """What a validated probe holds that must not be shown: every SecretStr, and texts below keys such as Authorization."""
    if isinstance(value, SecretStr):
        yield value.get_secret_value()
    elif isinstance(value, str):
        if is_named:
            yield from (value, *(word for word in value.split() if len(word) >= _SHORTEST_WORD))
    elif isinstance(value, BaseModel):
        for name in type(value).model_fields:
            yield from secrets_of(getattr(value, name))
    elif isinstance(value, Mapping):
        for key, inner in value.items():
            yield from secrets_of(inner, is_named=bool(SECRET_NAME.search(str(key))))
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from secrets_of(inner, is_named=is_named)


def _opened(text: str, folder: Path) -> Filled:
    written = text.written if isinstance(text, Filled) else text
    if isinstance(text, Filled) and text.faults:
        return text
    if not text.startswith("file:"):
        return Filled.make(text, written=written, secrets=(text,) if text else ())
    path = folder / text.removeprefix("file:")
    try:
        if not path.is_file():
            raise ValueError("there is no such file")
        with path.open("rb") as file:
            raw = file.read(_FILE_LIMIT_BYTES + 1)
        if len(raw) > _FILE_LIMIT_BYTES:
            raise ValueError("it is larger than 64 KiB")
        secret = raw.decode().rstrip("\r\n")
        if not secret:
            raise ValueError("it is empty")
    except UnicodeDecodeError:
        return Filled.make(text, written=written, faults=(f"the secret file {path} is not UTF-8 text",))
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        return Filled.make(text, written=written, faults=(f"the secret file {path} cannot be read: {reason}",))
    return Filled.make(secret, written=written, secrets=(secret,))
