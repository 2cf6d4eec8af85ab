"""What each probe can be told, written from its fields: for `--help` and for docs/checks.md."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterable, Mapping
from types import NoneType, UnionType
from typing import Annotated, Literal, Union, get_args, get_origin

from pydantic import BaseModel, SecretStr
from pydantic.fields import FieldInfo

from checks.base import Probe

_WORDS: Mapping[object, str] = {
    str: "text",
    int: "whole number",
    float: "number",
    bool: "true or false",
    SecretStr: "secret text",
}
_INTRODUCTION = """\
# What a check can measure

Each check has a `type`; its options stand beside the check's own keys. `python -m checks TYPE key=value ...` measures once from a
shell and ends as a monitoring plugin does: 0 ok, 1 warning, 2 critical, 3 unknown. This page is written by
`python -m checks --markdown > docs/checks.md`.
"""


def markdown(probes: Iterable[type[Probe]]) -> str:
    """The page of all probes."""
    return "\n".join([_INTRODUCTION, *(_section(probe) for probe in probes)])


def help_text(probe: type[Probe]) -> str:
    """The options of one probe for a terminal."""
    lines = [f"python -m checks {probe.type} key=value ...", "", _about(probe), ""]
    for name, field in probe.model_fields.items():
        lines += [f"  {name}  ({_kind(field.annotation)}; {_default(field)})", f"      {_told(field)}"]
    lines += [
        "",
        "  timeout  (duration; 10s)",
        "      How long the run may take: 500ms, 5s, 1m.",
        "  warning.METRIC, critical.METRIC  (range)",
        "      Thresholds such as warning.response_time=0.5 or critical.certificate_days=3:",
        "",
    ]
    return "\n".join(lines)


def _section(probe: type[Probe]) -> str:
    rows = [
        f"| `{name}` | {_cell(_kind(field.annotation))} | {_cell(_default(field))} | {_cell(_told(field))} |"
        for name, field in probe.model_fields.items()
    ]
    table = (
        ["| option | value | default | meaning |", "| --- | --- | --- | --- |", *rows]
        if rows
        else ["It has no options."]
    )
    return "\n".join([f"## `{probe.type}`", "", _about(probe), "", *table, ""])


def _about(probe: type[Probe]) -> str:
    """The probe's docstring, each paragraph on one line."""
    paragraphs = inspect.cleandoc(probe.__doc__ or "").split("\n\n")
    return "\n\n".join(" ".join(paragraph.split()) for paragraph in paragraphs)


def _told(field: FieldInfo) -> str:
    return field.description or ""


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    value = field.get_default(call_default_factory=True)
    if value is None or value in ("", (), {}):
        return "none"
    if isinstance(value, bool):
        return str(value).lower()
    return ", ".join(str(entry) for entry in value) if isinstance(value, tuple | list) else str(value)


def _kind(annotation: object) -> str:
    """A field's type in plain words."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _kind(arguments[0])
    if origin is Literal:
        return " or ".join(str(value) for value in arguments)
    if origin in (Union, UnionType):
        return " or ".join(_kind(part) for part in arguments if part is not NoneType)
    if origin in (tuple, list):
        return f"list of {_kind(arguments[0])}"
    if origin is dict:
        return f"{_kind(arguments[1])} by name"
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return ", ".join(f"`{name}`" for name in annotation.model_fields)
    return _WORDS.get(annotation, re.sub(r"^.*\.", "", str(getattr(annotation, "__name__", annotation))).lower())


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
