"""`key=value` words to a probe, its deadline and its thresholds, each fault named with its way out."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import get_origin

from pydantic import ValidationError

from checks.base import Probe, Threshold, Thresholds

_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d|)")
_UNIT_SECONDS = {"ms": 0.001, "s": 1.0, "": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_DEFAULT_TIMEOUT_S = 10.0


class UsageError(Exception):
    """The words cannot be used; its text says why, one fault a line."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What a command line asks for."""

    probe: Probe
    timeout_s: float
    thresholds: dict[str, Thresholds]


def read_order(kind: type[Probe], words: Iterable[str]) -> Order:
    """The order that the words give. Raises UsageError with its faults, all of the probe's options at once."""
    options: dict[str, object] = {}
    ranges: dict[str, dict[str, str]] = {}
    timeout_s = _DEFAULT_TIMEOUT_S
    for word in words:
        key, equals, value = word.partition("=")
        if not equals or not key:
            raise UsageError(f"{word!r} is not key=value")
        head, _, tail = key.partition(".")
        if key == "timeout":
            timeout_s = _seconds(value)
        elif head in ("warning", "critical") and tail:
            ranges.setdefault(tail, {})[head] = value
        else:
            _put(kind, options, head, tail, value)
    probe = _probe(kind, options)
    for metric in ranges:
        if probe.metric_names and metric not in probe.metric_names:
            near = difflib.get_close_matches(metric, probe.metric_names, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"it has {', '.join(sorted(probe.metric_names))}"
            raise UsageError(f"threshold: {kind.type} has no metric {metric!r}; {hint}")
    return Order(probe=probe, timeout_s=timeout_s, thresholds=_thresholds(ranges))


def _put(kind: type[Probe], options: dict[str, object], name: str, inner: str, value: str) -> None:
    """Add one option: `headers.Accept=x` fills a mapping, a list grows with each word or comes as JSON."""
    if inner:
        mapping = options.setdefault(name, {})
        if not isinstance(mapping, dict):
            raise UsageError(f"{name} is given both as a whole and in parts")
        mapping[inner] = value
    elif name in kind.model_fields and get_origin(kind.model_fields[name].annotation) in (tuple, list):
        entries = options.setdefault(name, [])
        assert isinstance(entries, list)  # only this branch writes a list field
        entries += _json_list(value)
    elif name in options:
        raise UsageError(f"{name} is given twice")
    else:
        options[name] = value


def _json_list(value: str) -> list[object]:
    if value.startswith("["):
        try:
            entries = json.loads(value)
        except ValueError as error:
            raise UsageError(f"{value!r} is not a JSON list: {error}") from error
        return list(entries)
    return [value]


def _probe(kind: type[Probe], options: dict[str, object]) -> Probe:
    try:
        return kind.model_validate(options)
    except ValidationError as error:
        faults = [_fault(kind, entry["type"], entry["loc"], entry["msg"]) for entry in error.errors(include_url=False)]
        raise UsageError("\n".join(f"{kind.type}: {fault}" for fault in faults)) from error


def _fault(kind: type[Probe], rule: str, place: tuple[int | str, ...], message: str) -> str:
    name = ".".join(str(part) for part in place)
    if rule == "missing":
        return f"{name} is missing; add {name}=..."
    if rule == "extra_forbidden":
        near = difflib.get_close_matches(name, kind.model_fields, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"it knows {', '.join(kind.model_fields)}"
        return f"there is no option {name!r}; {hint}"
    words = message.removeprefix("Value error, ").replace("Input should be", "must be")
    return f"{name}: {words}" if name else words


def _thresholds(ranges: dict[str, dict[str, str]]) -> dict[str, Thresholds]:
    try:
        return {
            metric: Thresholds(**{side: Threshold.parse(text) for side, text in sides.items()})
            for metric, sides in ranges.items()
        }
    except ValueError as error:
        raise UsageError(f"threshold: {error}") from error


def _seconds(text: str) -> float:
    match = _DURATION.fullmatch(text)
    seconds = float(match[1]) * _UNIT_SECONDS[match[2]] if match else 0.0
    if seconds <= 0:
        raise UsageError(f"timeout: {text!r} is not a duration such as 500ms, 5s or 1m")
    return seconds
