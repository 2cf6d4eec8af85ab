"""One probe from a shell: `python -m checks http url=https://example.org`, with a monitoring plugin's line and exit code."""

from __future__ import annotations

import asyncio
import logging
import os
import re
import sys
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

from checks import load_all
from checks._document import help_text, markdown
from checks._measure import measure
from checks._options import Order, UsageError, read_order
from checks._threads import Threads
from checks._tools import Tools
from checks.base import Metric, Reading, Status, Thresholds

_USAGE = """\
usage: python -m checks TYPE key=value ...   measure once
       python -m checks TYPE --help          what TYPE can be told
       python -m checks --list               all types
       python -m checks --markdown           all types with their options, as docs/checks.md has them
"""
_PLUGIN_UNITS = ("s", "B", "%")  # the only base units that performance data knows


class _Clock:
    """The machine's clock."""

    def now(self) -> datetime:
        return datetime.now(UTC)

    def monotonic_s(self) -> float:
        return time.monotonic()


def main(words: Sequence[str]) -> int:
    """Do what the words ask; the exit code, which is 3 for every fault of ours and wrong usage."""
    logging.getLogger("checks").addHandler(logging.NullHandler())  # the line says it; a traceback helps no shell
    probes = load_all()
    match list(words):
        case ["--help" | "-h"]:
            return _say(_USAGE)
        case ["--list"]:
            return _say("".join(f"{name}\n" for name in probes))
        case ["--markdown"]:
            return _say(markdown(probes.values()))
        case [name, *options] if name in probes:
            if "--help" in options or "-h" in options:
                return _say(help_text(probes[name]))
            try:
                return _run(read_order(probes[name], options))
            except UsageError as error:
                return _complain(f"{error}\nsee: python -m checks {name} --help\n")
        case [name, *_] if not name.startswith("-"):
            return _complain(f"there is no type {name!r}; there are {', '.join(probes)}\n")
    return _complain(_USAGE)


def _run(order: Order) -> int:
    reading = asyncio.run(_measured(order))
    return _say(plugin_line(order.probe.type, reading, order.thresholds)) or int(reading.status)


async def _measured(order: Order) -> Reading:
    async with Tools(blocking=Threads(), clock=_Clock()) as tools:
        return await measure(order.probe, tools.context(timeout_s=order.timeout_s, memory={}), order.thresholds)


def plugin_line(kind: str, reading: Reading, thresholds: Mapping[str, Thresholds]) -> str:
    """The reading as a monitoring plugin prints it."""
    line = f"{kind.upper()} {reading.status.name} - {reading.summary.replace('|', '/')}"
    numbers = " ".join(_performance(metric, thresholds.get(metric.name)) for metric in reading.metrics)
    return f"{line} | {numbers}\n" if numbers else f"{line}\n"


def _performance(metric: Metric, thresholds: Thresholds | None) -> str:
    name = metric.name.replace("'", "''").replace("=", "_")
    label = name if re.fullmatch(r"[\w.:/%-]+", name) else f"'{name}'"
    warning = thresholds.warning.text if thresholds and thresholds.warning else ""
    critical = thresholds.critical.text if thresholds and thresholds.critical else ""
    unit = metric.unit if metric.unit in _PLUGIN_UNITS else ""
    number = f"{metric.value:.6f}".rstrip("0").rstrip(".")  # performance data knows no exponent
    return f"{label}={number}{unit};{warning};{critical}".rstrip(";")


def _say(text: str) -> int:
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except OSError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # else it fails once more at exit
        return _complain(f"cannot print: {error.strerror}\n")
    return Status.OK


def _complain(text: str) -> int:
    sys.stderr.write(text)
    return Status.UNKNOWN


if __name__ == "__main__":
    try:
        code = main(sys.argv[1:])
    except KeyboardInterrupt:
        code = _complain("interrupted\n")
    sys.exit(code)
