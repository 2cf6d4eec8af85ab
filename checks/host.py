"""Host: the machine that the prober runs on: processor, memory, disks, network, clock."""

from __future__ import annotations

import asyncio
import math
import os
import shlex
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Literal, Self

import psutil
from pydantic import Field, model_validator

from checks._disk import look_at_disk
from checks._kernel import Memory, container_memory, read_kernel_clock
from checks._words import quantity
from checks.base import Context, Metric, Probe, ProbeFailure, Reading, Status, Threshold, Thresholds

What = Literal["cpu", "memory", "swap", "load", "disk", "inodes", "network", "clock", "uptime"]

_SHORTEST_S = 0.2  # a rate over less than this says nothing
_IMAGES = {"squashfs", "erofs", "iso9660", "udf"}  # file systems that are always full and never written to


class Host(Probe, type="host"):
    """Measures this machine. Without thresholds it is ok as long as it can be measured."""

    what: What = Field(description="What to measure.")
    path: str = Field(
        default="/", pattern=r"^/[^\x00]*$", description="Any absolute path on the disk, for disk and inodes."
    )
    interface: str = Field(default="", description="Network interface; all physical ones together when not given.")

    @model_validator(mode="after")
    def _has_only_fitting_options(self) -> Self:
        if "path" in self.model_fields_set and self.what not in ("disk", "inodes"):
            raise ValueError(f"path: goes with what: disk or what: inodes, not with {self.what}; remove it")
        if "interface" in self.model_fields_set and self.what != "network":
            raise ValueError(f"interface: goes with what: network, not with {self.what}; remove it")
        return self

    @property
    def target(self) -> str:
        """What is measured, and where."""
        place = self.path if self.what in ("disk", "inodes") else self.interface
        return f"{self.what} {place}".rstrip()

    @property
    def headline(self) -> str:
        """The metric that tells most."""
        return _ASPECTS[self.what].headline

    @property
    def metric_names(self) -> frozenset[str]:
        """The numbers of this `what`."""
        return _ASPECTS[self.what].metrics

    def reproduction(self) -> str:
        """The command that shows the same numbers."""
        return _ASPECTS[self.what].by_hand.format(path=shlex.quote(self.path))

    async def run(self, context: Context) -> Reading:
        """The numbers of now; rates are means since this check's last run."""
        return await _ASPECTS[self.what].measure(self, context)


def suggested_thresholds(what: What) -> dict[str, Thresholds]:
    """`{metric: thresholds}` fit for most machines, for a configuration that names none of its own."""
    return {
        metric: Thresholds(
            warning=Threshold.parse(warning), critical=Threshold.parse(critical) if critical is not None else None
        )
        for metric, (warning, critical) in _ASPECTS[what].suggested.items()
    }


def real_disks() -> list[str]:
    """Mount points of the local disks, one for each disk, sorted; only `/` where none can be told, as in a container."""
    found: dict[str, str] = {}
    for disk in psutil.disk_partitions(all=False):  # leaves out what has no device: tmpfs, overlay, network mounts
        if disk.fstype in _IMAGES or not os.path.isdir(disk.mountpoint):  # a container has single files mounted
            continue
        known = found.get(disk.device)
        if known is None or len(disk.mountpoint) < len(known):  # the longer ones are bind mounts and subvolumes
            found[disk.device] = disk.mountpoint
    return sorted(found.values()) or ["/"]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Sample:
    """Counters that only grow, `{place: {counter: value}}`, at one monotonic instant."""

    at_s: float
    counters: Mapping[str, Mapping[str, float]]


class _Sampler:
    """Reads the machine's counters once for all host checks that ask within a moment."""

    def __init__(self) -> None:
        self.latest: dict[str, _Sample] = {}

    def sample(self, what: str, now_s: float) -> _Sample:
        """The counters of now."""
        latest = self.latest.get(what)
        if latest is None or now_s - latest.at_s > _SHORTEST_S / 4:
            latest = self.latest[what] = _Sample(at_s=now_s, counters=_COUNTERS[what]())
        return latest


_COUNTERS: Mapping[str, Callable[[], Mapping[str, Mapping[str, float]]]] = {
    "cpu": lambda: {"": psutil.cpu_times()._asdict()},
    "swap": lambda: {"": psutil.swap_memory()._asdict()},
    "network": lambda: {name: found._asdict() for name, found in psutil.net_io_counters(pernic=True).items()},
}


async def _two_samples(what: str, context: Context) -> tuple[_Sample, _Sample]:
    """The counters at this check's last run, or else a moment ago, and now."""
    sampler = context.shared.get("host")
    if not isinstance(sampler, _Sampler):
        sampler = context.shared["host"] = _Sampler()
    before = context.memory.get("sample") or sampler.latest.get(what)
    if not isinstance(before, _Sample):
        before = sampler.sample(what, context.clock.monotonic_s())
    age_s = context.clock.monotonic_s() - before.at_s
    if age_s < _SHORTEST_S:
        await asyncio.sleep(_SHORTEST_S - age_s)
    after = context.memory["sample"] = sampler.sample(what, context.clock.monotonic_s())
    return before, after


async def _cpu(probe: Host, context: Context) -> Reading:
    before, after = await _two_samples("cpu", context)
    old, new = before.counters[""], after.counters[""]
    # Guest time is in user time already; idle and iowait may step back a little (proc_stat(5)).
    grown = {name: max(0.0, new[name] - old[name]) for name in new if not name.startswith("guest")}
    total = sum(grown.values()) or 1.0

    def percent(*names: str) -> float:
        return 100.0 * sum(grown.get(name, 0.0) for name in names) / total

    busy, iowait, steal = percent(*(grown.keys() - {"idle", "iowait"})), percent("iowait"), percent("steal")
    words = f"CPU is {_percent(busy)} busy over {_span(after.at_s - before.at_s)} on {_cores()}"
    words += f", {_percent(iowait)} waits for disks" if iowait >= 1 else ""
    words += f", {_percent(steal)} is taken by other machines on this hardware" if steal >= 1 else ""
    return _ok(
        words,
        Metric(name="percent", value=busy, unit="%"),
        Metric(name="user", value=percent("user", "nice"), unit="%"),
        Metric(name="system", value=percent("system", "irq", "softirq"), unit="%"),
        Metric(name="iowait", value=iowait, unit="%"),
        Metric(name="steal", value=steal, unit="%"),
    )


async def _memory(probe: Host, context: Context) -> Reading:
    memory, whose = container_memory(), "Memory of this container"
    if memory is None:
        machine = psutil.virtual_memory()
        memory, whose = Memory(total_bytes=machine.total, used_bytes=machine.total - machine.available), "Memory"
    percent = 100.0 * memory.used_bytes / memory.total_bytes
    available_bytes = memory.total_bytes - memory.used_bytes
    return _ok(
        f"{whose} is {_percent(percent)} used, "
        f"{quantity(available_bytes, 'B')} of {quantity(memory.total_bytes, 'B')} available",
        Metric(name="percent", value=percent, unit="%"),
        Metric(name="used", value=memory.used_bytes, unit="B"),
        Metric(name="available", value=available_bytes, unit="B"),
    )


async def _swap(probe: Host, context: Context) -> Reading:
    before, after = await _two_samples("swap", context)
    now = after.counters[""]
    rate_in, rate_out = (_rate(before, after, "", counter) for counter in ("sin", "sout"))
    return _ok(
        f"Swap is {_percent(now['percent'])} used, {quantity(now['free'], 'B')} of {quantity(now['total'], 'B')} left, "
        f"{quantity(rate_in, 'B/s')} in, {quantity(rate_out, 'B/s')} out"
        if now["total"]
        else "This machine has no swap",
        Metric(name="percent", value=now["percent"], unit="%"),
        Metric(name="used", value=now["used"], unit="B"),
        Metric(name="in", value=rate_in, unit="B/s"),
        Metric(name="out", value=rate_out, unit="B/s"),
    )


async def _load(probe: Host, context: Context) -> Reading:
    one, five, fifteen = psutil.getloadavg()
    return _ok(
        f"Load is {one:.2f} over 1 min, {five:.2f} over 5, {fifteen:.2f} over 15, on {_cores()}",
        Metric(name="load1", value=one),
        Metric(name="load5", value=five),
        Metric(name="load15", value=fifteen),
        Metric(name="load5_per_core", value=five / (os.cpu_count() or 1)),
    )


async def _disk(probe: Host, context: Context) -> Reading:
    disk = await look_at_disk(probe.path, context)
    percent = _share(disk.used_bytes, disk.free_bytes)
    return _ok(
        f"Disk {disk.place} is {_percent(percent)} full, "
        f"{quantity(disk.free_bytes, 'B')} of {quantity(disk.total_bytes, 'B')} left",
        Metric(name="percent", value=percent, unit="%"),
        Metric(name="free", value=disk.free_bytes, unit="B"),
        Metric(name="total", value=disk.total_bytes, unit="B"),
    )


async def _inodes(probe: Host, context: Context) -> Reading:
    disk = await look_at_disk(probe.path, context)
    percent = _share(disk.used_inodes, disk.free_inodes)
    return _ok(
        f"Disk {disk.place} has used {_percent(percent)} of its inodes, {disk.free_inodes} of {disk.total_inodes} left"
        if disk.total_inodes
        else f"Disk {disk.place} makes inodes as it needs them",
        Metric(name="percent", value=percent, unit="%"),
        Metric(name="free", value=disk.free_inodes),
        Metric(name="total", value=disk.total_inodes),
    )


async def _network(probe: Host, context: Context) -> Reading:
    before, after = await _two_samples("network", context)
    names = [probe.interface] if probe.interface else _physical(after.counters)
    if probe.interface and probe.interface not in after.counters:
        present = ", ".join(sorted(after.counters))
        raise ProbeFailure(f"Network interface {probe.interface} is not there; this machine has {present}")

    def rate(*counters: str) -> float:
        return sum(_rate(before, after, name, counter) for name in names for counter in counters)

    received, sent = rate("bytes_recv"), rate("bytes_sent")
    errors, drops = rate("errin", "errout"), rate("dropin", "dropout")
    return _ok(
        f"{', '.join(names) or 'No interface'} receives {quantity(received, 'B/s')} and sends {quantity(sent, 'B/s')}, "
        f"{errors:.3g} errors/s, {drops:.3g} drops/s",
        Metric(name="in", value=received, unit="B/s"),
        Metric(name="out", value=sent, unit="B/s"),
        Metric(name="errors", value=errors, unit="/s"),
        Metric(name="drops", value=drops, unit="/s"),
    )


def _physical(found: Mapping[str, object]) -> list[str]:
    """The interfaces with a device behind them; all but the loopback where there is none, as in a container."""
    real = [name for name in found if os.path.exists(f"/sys/class/net/{name}/device")]
    return sorted(real or [name for name in found if not name.startswith("lo")])


async def _clock(probe: Host, context: Context) -> Reading:
    wall_s, monotonic_s = context.clock.now().timestamp(), context.clock.monotonic_s()
    before = context.memory.get("clock")
    context.memory["clock"] = (wall_s, monotonic_s)
    status, words, metrics = _synchronisation()
    if isinstance(before, tuple):
        jump_s = (wall_s - before[0]) - (monotonic_s - before[1])
        metrics.append(Metric(name="jump", value=jump_s, unit="s"))
        if abs(jump_s) >= 0.1:
            way = "forward" if jump_s > 0 else "back"
            words += f"; since the last run it jumped {way} by {quantity(abs(jump_s), 's')}, or the machine slept"
    return Reading(status=status, summary=words, metrics=tuple(metrics))


def _synchronisation() -> tuple[Status, str, list[Metric]]:
    """Whether a time service keeps the clock. Without one the kernel's errors are placeholders (16 s), not measurements."""
    kernel = read_kernel_clock()
    if kernel is None:
        return Status.OK, "This system does not tell whether its clock is synchronised", []
    synchronised = Metric(name="synchronised", value=float(kernel.is_synchronised))
    if not kernel.is_synchronised:
        words = "Clock is not synchronised: no time service (chrony, ntpd, systemd-timesyncd) keeps it"
        return Status.WARNING, words, [synchronised]
    words = (
        f"Clock is synchronised, about {quantity(kernel.estimated_error_s, 's')} off, "
        f"{quantity(kernel.max_error_s, 's')} at most"
    )
    estimated = Metric(name="estimated_error", value=kernel.estimated_error_s, unit="s")
    largest = Metric(name="max_error", value=kernel.max_error_s, unit="s")
    return Status.OK, words, [synchronised, estimated, largest]


async def _uptime(probe: Host, context: Context) -> Reading:
    booted_s = psutil.boot_time()
    up_s = max(0.0, context.clock.now().timestamp() - booted_s)
    booted = f"{datetime.fromtimestamp(booted_s, UTC):%Y-%m-%d %H:%M} UTC"
    return _ok(f"Up for {_span(up_s)}, since {booted}", Metric(name="uptime", value=up_s, unit="s"))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Aspect:
    """All there is to one `what`. `suggested` is `{metric: (warning, critical)}`."""

    measure: Callable[[Host, Context], Awaitable[Reading]]
    metrics: frozenset[str]
    headline: str
    by_hand: str
    suggested: Mapping[str, tuple[str, str | None]] = field(default_factory=dict)


# Processor and swap only warn: a busy machine does its work.
_ASPECTS: Mapping[What, _Aspect] = {
    "cpu": _Aspect(
        measure=_cpu,
        metrics=frozenset(["percent", "user", "system", "iowait", "steal"]),
        headline="percent",
        by_hand="vmstat 1 2",
        suggested={"percent": ("90", None), "steal": ("20", None)},
    ),
    "memory": _Aspect(
        measure=_memory,
        metrics=frozenset(["percent", "used", "available"]),
        headline="percent",
        by_hand="free -h",
        suggested={"percent": ("90", "97")},
    ),
    "swap": _Aspect(
        measure=_swap,
        metrics=frozenset(["percent", "used", "in", "out"]),
        headline="percent",
        by_hand="free -h; vmstat 1 2",
        suggested={"percent": ("80", None)},
    ),
    "load": _Aspect(
        measure=_load,
        metrics=frozenset(["load1", "load5", "load15", "load5_per_core"]),
        headline="load1",
        by_hand="uptime; nproc",
        suggested={"load5_per_core": ("2", "5")},
    ),
    "disk": _Aspect(
        measure=_disk,
        metrics=frozenset(["percent", "free", "total"]),
        headline="percent",
        by_hand="df -h {path}",
        suggested={"percent": ("85", "95")},
    ),
    "inodes": _Aspect(
        measure=_inodes,
        metrics=frozenset(["percent", "free", "total"]),
        headline="percent",
        by_hand="df -i {path}",
        suggested={"percent": ("85", "95")},
    ),
    "network": _Aspect(
        measure=_network,
        metrics=frozenset(["in", "out", "errors", "drops"]),
        headline="in",
        by_hand="cat /proc/net/dev",
        suggested={"errors": ("1", None)},
    ),
    "clock": _Aspect(
        measure=_clock,
        metrics=frozenset(["synchronised", "estimated_error", "max_error", "jump"]),
        headline="estimated_error",
        by_hand="timedatectl",
        suggested={"jump": ("-1:1", None)},
    ),
    "uptime": _Aspect(measure=_uptime, metrics=frozenset(["uptime"]), headline="uptime", by_hand="uptime -s"),
}


def _ok(summary: str, *metrics: Metric) -> Reading:
    return Reading(status=Status.OK, summary=summary, metrics=metrics)


def _rate(before: _Sample, after: _Sample, place: str, counter: str) -> float:
    """Growth a second. A counter that fell began again at zero; one that was not there before has no rate yet."""
    if place not in before.counters:
        return 0.0
    old, new = before.counters[place][counter], after.counters[place][counter]
    return (new - old if new >= old else new) / max(after.at_s - before.at_s, 1e-9)


def _share(used: int, free: int) -> float:
    return 100.0 * used / (used + free) if used + free else 0.0


def _cores() -> str:
    count = os.cpu_count() or 1
    return f"{count} core{'s' if count > 1 else ''}"


def _percent(value: float) -> str:
    """`91 %`, and near the end `99.4 %`: what is not full never reads as 100 %."""
    return f"{value:.0f} %" if value < 99 else f"{math.floor(value * 10) / 10:g} %"


def _span(seconds: float) -> str:
    """A length of time in its two largest units: `12 d 3 h`, `4 min 10 s`, `0.2 s`."""
    whole = int(seconds)
    for size, unit, rest_size, rest_unit in ((86400, "d", 3600, "h"), (3600, "h", 60, "min"), (60, "min", 1, "s")):
        if whole >= size:
            rest = whole % size // rest_size
            return f"{whole // size} {unit}" + (f" {rest} {rest_unit}" if rest else "")
    return f"{seconds:.2g} s"
