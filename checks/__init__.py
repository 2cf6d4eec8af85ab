"""Probes: one file a type, each found by its name in this folder."""

from __future__ import annotations

import importlib
import pkgutil

from checks.base import Probe


def load_all() -> dict[str, type[Probe]]:
    """`{type: Probe class}` of every public module in this folder."""
    found: dict[str, type[Probe]] = {}
    for info in pkgutil.iter_modules(__path__):
        if info.name.startswith("_") or info.name == "base":
            continue
        module = importlib.import_module(f"{__name__}.{info.name}")
        for value in vars(module).values():
            if (
                isinstance(value, type)
                and issubclass(value, Probe)
                and value.__module__ == module.__name__
                and value.type
            ):
                found[value.type] = value
    return dict(sorted(found.items()))
