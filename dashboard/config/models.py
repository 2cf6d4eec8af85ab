"""The configuration file's own keys: one model a section, each key documented and checked here."""

from __future__ import annotations

import difflib
import re
import zoneinfo
from typing import Annotated, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    InstanceOf,
    WithJsonSchema,
    model_validator,
)

from checks.base import Threshold
from dashboard.config.durations import Every, Kept, KeptByDay, Timeout
from dashboard.model import Retention

_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
_HOST = re.compile(r"[A-Za-z0-9._:\[\]-]{1,255}")
_KEPT = Retention()


def _check_id(value: str) -> str:
    if not _ID.fullmatch(value) or not value.strip("."):
        raise ValueError("must be 1 to 64 of the characters A-Z a-z 0-9 . _ - and more than dots")
    return value


def _one_line(value: str) -> str:
    value = value.strip()
    if any(ord(character) < 32 or character in "\x7f\x85\u2028\u2029" for character in value):
        raise ValueError("must be one line")
    return value


def _tag(value: str) -> str:
    if not value or re.search(r'[\s,"\x00-\x1f\x7f]', value):
        raise ValueError("must be one word, without commas and quotes")
    return value


def _url(value: str) -> str:
    if value and not re.match(r"https?://[^\s/]", value, re.IGNORECASE):
        raise ValueError("must start with http:// or https://")
    return _one_line(value)


def _zone(value: str) -> str:
    try:
        zoneinfo.ZoneInfo(value)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError) as error:
        near = difflib.get_close_matches(value, sorted(zoneinfo.available_timezones()), n=1)
        hint = f"did you mean {near[0]!r}?" if near else "write one such as Europe/Berlin or UTC"
        raise ValueError(f"{value!r} is not a time zone: {hint}") from error
    return value


def _host(value: str) -> str:
    if not _HOST.fullmatch(value):
        raise ValueError("must be a host name or an IP address, without scheme, path or spaces")
    return value


def _threshold(value: object) -> Threshold:
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise ValueError("must be a range such as '0.5', '14:', '10:20', '~:30' or '@10:20'")
    return Threshold.parse(str(value))


Line = Annotated[str, Field(max_length=200), AfterValidator(_one_line)]
Tag = Annotated[str, Field(max_length=64), AfterValidator(_tag)]
Host = Annotated[str, AfterValidator(_host)]
Range = Annotated[
    InstanceOf[Threshold],
    BeforeValidator(_threshold),
    WithJsonSchema({"type": ["string", "number"], "examples": ["14:"]}),
]


class Section(BaseModel):
    """A part of the file: unknown keys are faults, and no error text quotes the input."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


class ServerKeys(Section):
    """Where and for whom the pages are served."""

    host: Host = Field("127.0.0.1", description="Address to listen on.")
    port: int = Field(8000, ge=0, le=65535, description="Port to listen on; 0 takes any free one.")
    zone: Annotated[str, AfterValidator(_zone)] = Field("UTC", description="Time zone (IANA) of pages and exports.")
    allowed_hosts: tuple[Host, ...] = Field(
        (), description="Further host names by which browsers may call this server, such as status.internal."
    )
    access: Literal["local", "open"] = Field(
        "local", description="local: this machine only; open: whoever reaches the address may read and run checks."
    )


class RetentionKeys(Section):
    """How long history is kept: the finer it is, the more room it takes."""

    raw: Kept = Field(
        _KEPT.raw_s, description="How long each single result is kept.", json_schema_extra={"default": "30d"}
    )
    five_minutes: KeptByDay = Field(
        _KEPT.five_minutes_s,
        description="How long buckets of 5 minutes are kept: seconds per status, and the spread of each metric.",
        json_schema_extra={"default": "90d"},
    )
    hours: KeptByDay = Field(
        _KEPT.hours_s, description="How long buckets of an hour are kept.", json_schema_extra={"default": "2y"}
    )
    days: KeptByDay = Field(
        _KEPT.days_s, description="How long buckets of a day are kept.", json_schema_extra={"default": "forever"}
    )


class CheckRetentionKeys(Section):
    """How long the history of this check is kept; what is not given here is as in `retention`."""

    raw: KeptByDay | None = Field(None, description="How long each single result is kept.")
    five_minutes: KeptByDay | None = Field(None, description="How long buckets of 5 minutes are kept.")
    hours: KeptByDay | None = Field(None, description="How long buckets of an hour are kept.")
    days: KeptByDay | None = Field(None, description="How long buckets of a day are kept.")


class CommandsKeys(Section):
    """Whether checks may run programs."""

    enabled: bool = Field(False, description="Allows checks of type command.")


class SharedKeys(Section):
    """The keys that stand in `defaults` and in each check, where they win."""

    every: Every = Field(30.0, description="How often the check runs.", json_schema_extra={"default": "30s"})
    timeout: Timeout | None = Field(
        None,
        description="How long one run may take; at most `every`. Not given: 10s, or 0.8 of `every` if that is less.",
    )
    failure_threshold: int = Field(2, ge=1, le=100, description="Bad results in a row until trouble is confirmed.")
    success_threshold: int = Field(1, ge=1, le=100, description="Good results in a row until it counts as over.")
    retries: int = Field(0, ge=0, le=5, description="Further tries within one run, all within its timeout.")
    group: Line = Field("", description="Heading under which the check stands on the overview.")
    tags: tuple[Tag, ...] = Field((), max_length=32, description="Words to filter by.")
    owner: Line = Field("", description="Whom to ask.")
    runbook: Annotated[str, Field(max_length=2000), AfterValidator(_url)] = Field("", description="What to do: a link.")


class ThresholdsKeys(Section):
    """The ranges of one metric; a value outside alarms (inside, where the range starts with @)."""

    warning: Range | None = Field(None, description="The range whose alarm is a warning.")
    critical: Range | None = Field(None, description="The range whose alarm is critical.")

    @model_validator(mode="after")
    def _says_something(self) -> ThresholdsKeys:
        if self.warning is None and self.critical is None:
            raise ValueError("needs `warning`, `critical` or both")
        return self


class CheckKeys(SharedKeys):
    """A check's own keys; its probe's options stand beside them."""

    id: Annotated[str, AfterValidator(_check_id)] = Field(description="Identity of the check and of its history.")
    type: str = Field(description="Which probe measures.")
    name: Line = Field("", description="What people call it; the id where none is given.")
    notes: str = Field("", max_length=4000, description="What else is good to know.")
    thresholds: dict[Annotated[str, Field(min_length=1, max_length=100)], ThresholdsKeys] = Field(
        {}, description="Ranges by metric name."
    )
    retention: CheckRetentionKeys = Field(
        default_factory=CheckRetentionKeys, description="How long its history is kept, where that differs."
    )
    paused: bool = Field(False, description="Keeps the check and its history, but does not run it.")


class FileKeys(Section):
    """The whole file but for the checks."""

    server: ServerKeys = Field(default_factory=ServerKeys, description="Where and for whom the pages are served.")
    retention: RetentionKeys = Field(default_factory=RetentionKeys, description="How long history is kept.")
    defaults: SharedKeys = Field(
        default_factory=SharedKeys, description="Values for each check that has none of its own."
    )
    commands: CommandsKeys = Field(default_factory=CommandsKeys, description="Whether checks may run programs.")
    checks: Annotated[InstanceOf[list[object]], WithJsonSchema({"type": "array"})] = Field(
        description="The checks, in the order of the pages."
    )
