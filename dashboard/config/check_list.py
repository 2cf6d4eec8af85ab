"""The file's `checks` as Checks: own keys and probe options told apart, defaults and secrets put in, every fault named."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from checks.base import Probe, Thresholds
from dashboard.config.durations import duration_text
from dashboard.config.faults import did_you_mean, problems_of
from dashboard.config.models import CheckKeys, CheckRetentionKeys, SharedKeys
from dashboard.config.secrets import filled_in, longest_first, mask, open_secrets, secrets_of
from dashboard.config.tree import Mapping as YamlMapping
from dashboard.config.tree import Sequence as YamlSequence
from dashboard.errors import Problem
from dashboard.model import BrokenCheck, Check, Retention, Schedule

Model = TypeVar("Model", bound=BaseModel)

_OWN = frozenset(CheckKeys.model_fields)
_LONGEST_DEFAULT_TIMEOUT_S = 10.0
_TIMEOUT_SHARE = 0.8  # of the interval: what is left is for the run to be queued and its result to be recorded


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """What the rest of the file says about its checks."""

    probes: Mapping[str, type[Probe]]
    defaults: SharedKeys = field(default_factory=SharedKeys)
    retention: Retention = Retention()
    commands_enabled: bool = False
    source: Path = Path()
    is_writable_by_others: bool = False


@dataclass(slots=True, kw_only=True)
class CheckList:
    """What the file's checks came to, in the order of the file."""

    checks: list[Check] = field(default_factory=list)
    broken: list[BrokenCheck] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)


def read_checks(entries: YamlSequence, rules: Rules) -> CheckList:
    """Every entry as a Check or a BrokenCheck, or its problems."""
    found = CheckList()
    lines: dict[str, int] = {}
    for position, entry in enumerate(entries):
        if not isinstance(entry, YamlMapping):
            message = f"check {position + 1}: must hold `key: value` lines such as `id:` and `type:`"
            found.problems.append(Problem(message=message, line=entries.line_of(position)))
            continue
        reader = _Entry(entry, rules, position)
        check = reader.read()
        found.problems += reader.problems
        check_id = entry.get("id")
        if isinstance(check_id, str) and check_id in lines:
            fault = f"id: is already used on line {lines[check_id]}: each check needs its own"
            found.problems.append(reader.problem(fault, "id"))
            continue
        if isinstance(check_id, str):
            lines[check_id] = entry.line_of("id")
        if isinstance(check, Check):
            found.checks.append(check)
        elif check is not None:
            found.broken.append(check)
    return found


class _Entry:
    """One entry of the list on its way to a Check."""

    def __init__(self, entry: YamlMapping, rules: Rules, position: int) -> None:
        self.entry = entry
        self.rules = rules
        self.problems: list[Problem] = []
        given = entry.get("id")
        self.check_id = given if isinstance(given, str) else ""
        self.secrets = {secret for filled in filled_in(entry) for secret in filled.secrets}
        name = mask(repr(self.check_id[:64]), self.secrets) if self.check_id else position + 1
        self.title = f"check {name}: "
        self.faults: dict[str, str] = {}  # {key: why its value cannot be had right now}

    def read(self) -> Check | BrokenCheck | None:
        """The check; None where there are problems."""
        probe_class = self._probe_class()
        own = {key: value for key, value in self.entry.items() if key in _OWN}
        options = dict(self._options(probe_class))
        self.secrets.update(secret for filled in filled_in(options) for secret in filled.secrets)
        self._find_faults(own, options)
        tops = (CheckKeys, probe_class) if probe_class else (CheckKeys,)
        keys = self._validated(CheckKeys, own, tops)
        schedule = self._schedule(keys) if keys else None
        if probe_class is None:
            return None
        probe = self._validated(probe_class, options, tops)
        self._refuse_commands(probe_class)
        if keys is not None and probe is not None:
            self._refuse_idle_thresholds(keys, probe)
        if self.problems:
            return None
        if self.faults or keys is None or schedule is None or probe is None:
            return self._broken()
        return self._check(keys, schedule, probe)

    def problem(self, message: str, key: str) -> Problem:
        """The problem of that key."""
        words = mask(message, self.secrets)
        return Problem(message=f"{self.title}{words}", line=self.entry.line_of(key), check_id=self.check_id)

    def _probe_class(self) -> type[Probe] | None:
        """The probe that `type` names; a fault where it names none."""
        kind = self.entry.get("type")
        probe_class = self.rules.probes.get(kind) if isinstance(kind, str) else None
        if isinstance(kind, str) and probe_class is None:
            hint = did_you_mean(kind, self.rules.probes)
            self.problems.append(self.problem(f"type: there is no {kind[:64]!r}{hint}", "type"))
        return probe_class

    def _options(self, probe_class: type[Probe] | None) -> Iterator[tuple[str, object]]:
        """The probe's options, secrets in them opened."""
        fields = probe_class.model_fields if probe_class else {}
        for key, value in self.entry.items():
            if key not in _OWN:
                annotation = fields[key].annotation if key in fields else None
                yield key, open_secrets(annotation, value, self.rules.source.parent)

    def _find_faults(self, own: Mapping[str, object], options: Mapping[str, object]) -> None:
        for key, value in (*own.items(), *options.items()):
            for filled in filled_in(value):
                for fault in filled.faults:
                    if key in ("id", "type"):
                        self.problems.append(self.problem(f"{key}: {fault}", key))
                    self.faults.setdefault(key, fault)

    def _validated(
        self, model: type[Model], values: Mapping[str, object], tops: tuple[type[BaseModel], ...]
    ) -> Model | None:
        try:
            return model.model_validate(values)
        except ValidationError as error:
            self.problems += problems_of(
                error,
                self.entry,
                tops,
                prefix=self.title,
                check_id=self.check_id,
                secrets=self.secrets,
                leave_out=self.faults,
            )
            return None

    def _refuse_commands(self, probe_class: type[Probe]) -> None:
        if not probe_class.needs_commands:
            return
        if not self.rules.commands_enabled:
            fault = f"type: {probe_class.type} runs programs: allow that with `commands: {{enabled: true}}`"
            self.problems.append(self.problem(fault, "type"))
        if self.rules.is_writable_by_others:
            source = self.rules.source
            fault = f"type: {probe_class.type} runs programs, and others may write to {source}: `chmod go-w {source}`"
            self.problems.append(self.problem(fault, "type"))

    def _refuse_idle_thresholds(self, keys: CheckKeys, probe: Probe) -> None:
        """A threshold on a metric that the probe never gives would never alarm."""
        known, tree = probe.metric_names, self.entry.get("thresholds")
        if not known or not isinstance(tree, YamlMapping):
            return
        for metric in keys.thresholds.keys() - known:
            fault = f"thresholds: {probe.type} has no metric {metric[:64]!r}{did_you_mean(metric, known)}"
            message = f"{self.title}{mask(fault, self.secrets)}"
            self.problems.append(Problem(message=message, line=tree.line_of(metric), check_id=self.check_id))

    def _broken(self) -> BrokenCheck:
        tags = self.entry.get("tags", self.rules.defaults.tags)
        return BrokenCheck(
            id=self.check_id,
            name=mask(str(self._plain("name") or self.check_id), self.secrets),
            type=str(self.entry["type"]),
            fault="; ".join(f"{key}: {fault}" for key, fault in self.faults.items()),
            group=mask(str(self._plain("group") or self.rules.defaults.group), self.secrets),
            tags=tuple(str(tag) for tag in tags) if "tags" not in self.faults else (),
            retention=self._kept(),
        )

    def _kept(self) -> Retention | None:
        """The retention it has, though the rest of it cannot be used: its history is not broken."""
        try:
            own = CheckRetentionKeys.model_validate(self.entry.get("retention") or {})
        except ValidationError:
            return None
        return _differing(own, self.rules.retention)

    def _plain(self, key: str) -> object:
        return None if key in self.faults else self.entry.get(key)

    def _schedule(self, keys: CheckKeys) -> Schedule:
        """How often and how long; a timeout of its own may not outlast the interval."""
        defaults = self.rules.defaults
        every_s = keys.every if "every" in keys.model_fields_set else defaults.every
        if keys.timeout is not None and keys.timeout > every_s:
            interval, timeout = duration_text(every_s), duration_text(keys.timeout)
            fault = f"timeout: must be at most the interval, {interval}, got {timeout}: shorten it, or lengthen `every`"
            self.problems.append(self.problem(fault, "timeout"))
        return Schedule(every_s=every_s, timeout_s=keys.timeout or inherited_timeout_s(defaults.timeout, every_s))

    def _check(self, keys: CheckKeys, schedule: Schedule, probe: Probe) -> Check:
        def shared(name: str) -> Any:  # Any: of the type that SharedKeys gives the name
            return getattr(keys if name in keys.model_fields_set else self.rules.defaults, name)

        return Check(
            id=keys.id,
            name=keys.name or keys.id,
            probe=probe,
            schedule=schedule,
            thresholds={
                metric: Thresholds(warning=ranges.warning, critical=ranges.critical)
                for metric, ranges in keys.thresholds.items()
            },
            group=shared("group"),
            tags=shared("tags"),
            owner=shared("owner"),
            runbook=shared("runbook"),
            notes=keys.notes,
            failure_threshold=shared("failure_threshold"),
            success_threshold=shared("success_threshold"),
            retries=shared("retries"),
            paused=keys.paused,
            retention=_differing(keys.retention, self.rules.retention),
            secrets=longest_first(self.secrets.union(secrets_of(probe))),
        )


def _differing(own: CheckRetentionKeys, default: Retention) -> Retention | None:
    """The check's own retention, what it does not give filled up; None where it is the default one."""
    given = {f"{name}_s": kept_s for name, kept_s in own if kept_s is not None}
    retention = replace(default, **given)
    return None if retention == default else retention


def inherited_timeout_s(timeout_s: float | None, every_s: float) -> float:
    """The timeout of a check that names none: the default, never more than 0.8 of the interval."""
    return min(timeout_s or _LONGEST_DEFAULT_TIMEOUT_S, _TIMEOUT_SHARE * every_s)
