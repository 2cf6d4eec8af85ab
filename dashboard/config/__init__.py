"""The configuration: a YAML file, or this machine where there is none, as Settings; every problem at once."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from pydantic import ValidationError

import checks
from dashboard.config.check_list import CheckList, Rules, read_checks
from dashboard.config.difference import Difference, diff, until_restart
from dashboard.config.faults import did_you_mean, problems_of
from dashboard.config.machine import default_settings
from dashboard.config.models import CommandsKeys, FileKeys, RetentionKeys, Section, ServerKeys, SharedKeys
from dashboard.config.secrets import filled_in, filler
from dashboard.config.source import read_text
from dashboard.config.tree import Mapping as YamlMapping
from dashboard.config.tree import Sequence as YamlSequence
from dashboard.config.tree import read_tree
from dashboard.errors import ConfigError, Problem
from dashboard.model import Retention, Server, Settings

__all__ = ["DEFAULT_FILE", "Difference", "default_settings", "diff", "load", "parse", "until_restart"]

DEFAULT_FILE = Path("watchroom.yaml")
_LONGEST_MESSAGE = 1000

Keys = TypeVar("Keys", bound=Section)


def load(
    path: Path | None,
    *,
    environ: Mapping[str, str],
    host: str | None = None,
    port: int | None = None,
    data: Path | None = None,
) -> Settings:
    """The settings that the file makes; host, port and data override it.

    Without a path it is ./watchroom.yaml, and this machine's own checks where there is no such file.

    Raises ConfigError with every problem there is, in the order of their lines.
    """
    problems: list[Problem] = []
    line = 0
    if path is None and DEFAULT_FILE.exists():
        path = DEFAULT_FILE
    if path is None:
        settings = default_settings()
    else:
        text, is_writable_by_others = read_text(path)
        settings, line, problems = _read(text, path, environ, is_writable_by_others)
    server = replace(
        settings.server,
        host=settings.server.host if host is None else host,
        port=settings.server.port if port is None else port,
    )
    if fault := _exposure(server):
        problems.append(Problem(message=fault, line=line if host is None else 0))
    if problems:
        raise _refusal(problems, path)
    return replace(settings, server=server, data=data or settings.data)


def parse(text: str, *, source: Path, environ: Mapping[str, str], is_writable_by_others: bool = False) -> Settings:
    """The settings that a text makes, as if it stood in the source. Raises ConfigError."""
    settings, _, problems = _read(text, source, environ, is_writable_by_others)
    if problems:
        raise _refusal(problems, source)
    return settings


def _read(
    text: str, source: Path, environ: Mapping[str, str], is_writable_by_others: bool
) -> tuple[Settings, int, list[Problem]]:
    """The settings, the line of the server's address, and what is wrong with them."""
    tree, problems = read_tree(text, filler(environ))
    if not isinstance(tree, YamlMapping):
        if not problems:
            problems.append(Problem(message="must hold `key: value` lines such as `checks:`", line=1))
        return Settings(source=source), 0, problems
    problems += _top_problems(tree)
    server = _section(tree, "server", ServerKeys, problems)
    kept = _section(tree, "retention", RetentionKeys, problems)
    retention = Retention(raw_s=kept.raw, five_minutes_s=kept.five_minutes, hours_s=kept.hours, days_s=kept.days)
    defaults = _section(tree, "defaults", SharedKeys, problems)
    commands = _section(tree, "commands", CommandsKeys, problems)
    rules = Rules(
        probes=checks.load_all(),
        defaults=defaults,
        retention=retention,
        commands_enabled=commands.enabled,
        source=source,
        is_writable_by_others=is_writable_by_others,
    )
    entries = tree.get("checks")
    found = read_checks(entries, rules) if isinstance(entries, YamlSequence) else CheckList()
    settings = Settings(
        server=Server(**server.model_dump()),
        source=source,
        retention=retention,
        commands_enabled=commands.enabled,
        checks=tuple(found.checks),
        broken=tuple(found.broken),
    )
    server_tree = tree.get("server")
    line = server_tree.line_of("host") if isinstance(server_tree, YamlMapping) else 0
    return settings, line, problems + found.problems


def _top_problems(tree: YamlMapping) -> list[Problem]:
    """Faults of the top level: unknown keys, no checks."""
    known = FileKeys.model_fields
    problems = [
        Problem(message=f"{key}: unknown key{did_you_mean(key, known)}", line=tree.line_of(key))
        for key in tree
        if key not in known
    ]
    if not isinstance(tree.get("checks"), YamlSequence):
        fault = "checks: must be a list, one `- ` a check" if tree.get("checks") is not None else "checks: is required"
        problems.append(Problem(message=f"{fault}; write `checks: []` for none", line=tree.line_of("checks")))
    return problems


def _section(tree: YamlMapping, name: str, model: type[Keys], problems: list[Problem]) -> Keys:
    """The section's keys; the model's own values where it is empty or faulty, which is a problem."""
    values = tree.get(name)
    if values is None:
        return model()
    line = tree.line_of(name)
    if not isinstance(values, YamlMapping):
        problems.append(Problem(message=f"{name}: must hold `key: value` lines", line=line))
        return model()
    faults = {key: fault for key, value in values.items() for filled in filled_in(value) for fault in filled.faults}
    problems += (Problem(message=f"{name}: {key}: {fault}", line=values.line_of(key)) for key, fault in faults.items())
    try:
        return model.model_validate(values)
    except ValidationError as error:
        secrets = {secret for filled in filled_in(values) for secret in filled.secrets}
        problems += problems_of(error, values, (model,), prefix=f"{name}: ", secrets=secrets, leave_out=faults)
        return model()


def _refusal(problems: list[Problem], source: Path | None) -> ConfigError:
    """All of the problems in the order of their lines, each one printable line: keys may hold anything."""
    tidy = [replace(problem, message=_printable(problem.message)) for problem in problems]
    return ConfigError(sorted(tidy, key=lambda problem: problem.line), source=str(source or ""))


def _printable(text: str) -> str:
    shown = "".join(letter if letter.isprintable() else repr(letter)[1:-1] for letter in text)
    return shown if len(shown) <= _LONGEST_MESSAGE else f"{shown[:_LONGEST_MESSAGE]}..."


def _exposure(server: Server) -> str:
    """Why this address must not be listened on; empty where it may."""
    if server.access == "open" or server.host == "localhost":
        return ""
    try:
        if ipaddress.ip_address(server.host.strip("[]")).is_loopback:
            return ""
    except ValueError:
        pass
    return (
        f"server: host: {server.host} can be reached by other machines, and there are no accounts yet that keep them out: "
        "listen on 127.0.0.1, or write `access: open` under `server:` to let everyone who reaches it read and run checks"
    )
