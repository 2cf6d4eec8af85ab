"""What a model's types say of the values below it: which keys it knows there, where a secret may stand."""

from __future__ import annotations

import typing
from collections.abc import Iterable, Iterator

from pydantic import BaseModel, SecretStr


def parts(annotation: object) -> Iterator[object]:
    """The type and every type it is made of; `dict[str, SecretStr] | None` gives SecretStr among others."""
    yield annotation
    for argument in typing.get_args(annotation):
        yield from parts(argument)


def models(annotation: object) -> list[type[BaseModel]]:
    """The models among the parts of the type."""
    return [part for part in parts(annotation) if isinstance(part, type) and issubclass(part, BaseModel)]


def holds_secret(annotation: object) -> bool:
    """Whether a SecretStr may stand anywhere in a value of that type."""
    if SecretStr in parts(annotation):
        return True
    return any(holds_secret(field.annotation) for model in models(annotation) for field in model.model_fields.values())


def known_keys(tops: Iterable[type[BaseModel]], place: Iterable[object]) -> set[str]:
    """The keys that may stand at that place below the models."""
    here = list(tops)
    for part in place:
        named = [model.model_fields[str(part)] for model in here if str(part) in model.model_fields]
        here = [model for field in named for model in models(field.annotation)] if named else here
    return {name for model in here for name in model.model_fields}
