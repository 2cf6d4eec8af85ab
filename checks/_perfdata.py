"""What a monitoring plugin prints: a line for people, performance data behind `|`, and perhaps long text.

Sources: Monitoring Plugins Development Guidelines, "Plugin Output" and "Performance data"; Nagios Plugin API, "Plugin
Output Spec" (the second `|`, in the long text, starts performance data that goes on to the end).
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass

from checks.base import Metric

_METRICS_LIMIT = 200  # each one becomes a chart and a column of the history

# The guidelines do not say whether KB is 1000 or 1024; the plugins that ever printed it (check_disk, check_swap) counted 1024.
# Units that are not here (C, V, W, dBm) are kept as they come: a number without its unit would be a lie.
_BASE_UNITS = {
    "c": ("", 1.0),
    "ms": ("s", 1e-3),
    "us": ("s", 1e-6),
    "µs": ("s", 1e-6),
    "ns": ("s", 1e-9),
    **{
        prefix + infix + "B": ("B", 1024.0**power)
        for power, prefixes in enumerate(("kK", "M", "G", "T", "P"), start=1)
        for prefix in prefixes
        for infix in ("", "i")
    },
}

_ITEM = re.compile(
    r"""\s*
    (?: '(?P<quoted>(?:[^']|'')*)' | (?P<plain>[^\s='][^\s=]*) )
    = (?P<value>U|[-+]?(?:\d+(?:[.,]\d*)?|[.,]\d+)(?:[eE][-+]?\d+)?)
    (?P<unit>[^\s;\d'=]{0,8})
    (?:;(?P<warning>[^\s;]*))? (?:;(?P<critical>[^\s;]*))? (?:;[^\s;]*){0,2} ;?
    (?=\s|$)""",
    re.VERBOSE,
)
_WORD = re.compile(r"\s*(?:'(?:[^']|'')*'\S*|\S+)")
_ESCAPES = re.compile(r"\x1b(?:\][^\x07\x1b]*(?:\x07|\x1b\\)?|\[[0-?]*[ -/]*[@-~]|[ -/]*[0-~])")
_LINE_ENDS = re.compile(r"\r\n?|[\v\f\x1c-\x1e\x85\u2028\u2029]")
# Control characters, and the marks that turn the direction of writing and so let a text pose as another.
_INVISIBLE = re.compile(r"[\x00-\x08\x0e-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069\ufeff]")


@dataclass(frozen=True, slots=True, kw_only=True)
class PluginOutput:
    """A plugin's words apart from its numbers. `ranges` are the plugin's own limits by metric, `faults` what made no sense."""

    summary: str
    text: str
    metrics: tuple[Metric, ...]
    ranges: Mapping[str, str]
    faults: tuple[str, ...]


def readable(output: bytes) -> str:
    """The bytes as text that is safe to log: no terminal escapes, no control characters, whatever the encoding was."""
    text = _ESCAPES.sub("", output.decode("utf-8", "replace"))
    return _INVISIBLE.sub("", _LINE_ENDS.sub("\n", text))


def parse(text: str) -> PluginOutput:
    """The parts of a plugin's standard output, which `readable` has cleaned."""
    first, _, rest = text.strip().partition("\n")
    summary, _, numbers = first.partition("|")
    long_text, _, more_numbers = rest.partition("|")
    metrics, ranges, faults = _parse_numbers(f"{numbers} {more_numbers}")
    return PluginOutput(
        summary=summary.strip(), text=long_text.strip(), metrics=tuple(metrics), ranges=ranges, faults=tuple(faults)
    )


def _parse_numbers(text: str) -> tuple[list[Metric], dict[str, str], list[str]]:
    metrics: dict[str, Metric] = {}
    ranges: dict[str, str] = {}
    faults: list[str] = []
    position, end = 0, len(text.rstrip())
    while position < end and len(metrics) < _METRICS_LIMIT:
        item = _ITEM.match(text, position)
        if item is None:
            word = _WORD.match(text, position)
            assert word is not None  # there is a character that is no space before `end`
            faults.append(word[0].strip())
            position = word.end()
            continue
        position = item.end()
        metric = _metric(item)
        if metric is None:
            continue
        metrics[metric.name] = metric
        limits = [f"{name} {item[name]}" for name in ("warning", "critical") if item[name]]
        if limits:
            ranges[metric.name] = ", ".join(limits) + (f" (in {item['unit']})" if item["unit"] else "")
    if len(metrics) == _METRICS_LIMIT and position < end:
        faults.append(f"all after the first {_METRICS_LIMIT} metrics")
    return list(metrics.values()), ranges, faults


def _metric(item: re.Match[str]) -> Metric | None:
    """The metric in base units; None where the plugin says `U` (undetermined) or a number that no float can hold."""
    label = item["plain"] or item["quoted"].replace("''", "'").strip()
    if item["value"] == "U" or not label:
        return None
    unit, factor = _BASE_UNITS.get(item["unit"], (item["unit"], 1.0))
    value = float(item["value"].replace(",", ".")) * factor
    return Metric(name=label[:100], value=value, unit=unit) if math.isfinite(value) else None
