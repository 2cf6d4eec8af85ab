"""This machine, measured for real; and the arithmetic of its numbers, with the kernel's figures set by hand."""

import asyncio
import os
import sys
import threading
from collections import namedtuple
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import get_args

import psutil
import pytest
from fakes import FakeClock
from local_context import LocalContext, Threads
from pydantic import ValidationError

from checks import _disk, host
from checks._kernel import KernelClock, Memory, container_memory, read_kernel_clock
from checks._measure import measure
from checks.base import Reading, Status
from checks.host import Host, What, real_disks, suggested_thresholds

WHATS: tuple[What, ...] = get_args(What)
Disk = namedtuple("Disk", "device mountpoint fstype opts")


@pytest.fixture
def threads() -> Iterator[Threads]:
    threads = Threads()
    yield threads
    threads.close()


@pytest.fixture
def context(threads: Threads) -> LocalContext:
    """With the real clock."""
    return LocalContext(threads)


@pytest.fixture
def timed(threads: Threads) -> LocalContext:
    """With a clock that stands still until it is moved."""
    return LocalContext(threads, clock=FakeClock())


def run(context: LocalContext, what: What, **options: object) -> Reading:
    return asyncio.run(measure(Host(what=what, **options), context, {}))  # type: ignore[arg-type]


def later(context: LocalContext, seconds: float) -> None:
    assert isinstance(context.clock, FakeClock)
    context.clock.advance(seconds)


def numbers(reading: Reading) -> dict[str, float]:
    return {metric.name: metric.value for metric in reading.metrics}


# -- all of them, for real ------------------------------------------------------------------------------------------


@pytest.fixture(autouse=True)
def kept_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """A clock that a time service keeps, whatever the machine that runs the tests has."""
    kernel = KernelClock(is_synchronised=True, estimated_error_s=0.0005, max_error_s=0.25)
    monkeypatch.setattr(host, "read_kernel_clock", lambda: kernel)


UNITS = {
    "cpu": {"percent": "%", "user": "%", "system": "%", "iowait": "%", "steal": "%"},
    "memory": {"percent": "%", "used": "B", "available": "B"},
    "swap": {"percent": "%", "used": "B", "in": "B/s", "out": "B/s"},
    "load": {"load1": "", "load5": "", "load15": "", "load5_per_core": ""},
    "disk": {"percent": "%", "free": "B", "total": "B"},
    "inodes": {"percent": "%", "free": "", "total": ""},
    "network": {"in": "B/s", "out": "B/s", "errors": "/s", "drops": "/s"},
    "clock": {"synchronised": "", "estimated_error": "s", "max_error": "s", "jump": "s"},
    "uptime": {"uptime": "s"},
}


@pytest.mark.parametrize("what", WHATS)
def test_this_machine_can_be_measured(context: LocalContext, what: What) -> None:
    run(context, what)
    reading = run(context, what)
    assert reading.status is Status.OK
    assert {metric.name: metric.unit for metric in reading.metrics} == UNITS[what]
    assert all(metric.value >= 0 for metric in reading.metrics if metric.name != "jump")
    assert all(metric.value <= 100 for metric in reading.metrics if metric.unit == "%")
    assert any(digit in reading.summary for digit in "0123456789") or what in ("clock", "swap")


@pytest.mark.parametrize("what", WHATS)
def test_headline_and_suggested_thresholds_name_metrics_that_exist(what: What) -> None:
    assert Host(what=what).headline in UNITS[what]
    assert suggested_thresholds(what).keys() <= UNITS[what].keys()
    assert Host(what=what).metric_names == UNITS[what].keys()


@pytest.mark.parametrize("what", WHATS)
def test_a_first_run_has_a_number_for_the_headline(context: LocalContext, what: What) -> None:
    assert Host(what=what).headline in numbers(run(context, what))


@pytest.mark.parametrize("what", WHATS)
def test_each_can_be_reproduced_by_hand(what: What) -> None:
    assert Host(what=what).reproduction()


# -- rates ----------------------------------------------------------------------------------------------------------


def test_cpu_shares_are_of_the_time_since_this_checks_last_run(
    timed: LocalContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    Times = namedtuple("Times", "user nice system idle iowait irq softirq steal guest guest_nice")
    left = [Times(100, 0, 50, 1000, 10, 0, 0, 0, 40, 0), Times(130, 2, 58, 1050, 15, 1, 1, 3, 70, 0)]
    monkeypatch.setattr(psutil, "cpu_times", lambda: left.pop(0))
    first_sample(timed, "cpu")
    later(timed, 50.0)
    reading = run(timed, "cpu")
    assert numbers(reading) == pytest.approx({"percent": 45, "user": 32, "system": 10, "iowait": 5, "steal": 3})
    assert reading.summary.startswith("CPU is 45 % busy over 50 s on ")
    assert reading.summary.endswith(", 5 % waits for disks, 3 % is taken by other machines on this hardware")


def first_sample(context: LocalContext, what: What) -> None:
    """What a check remembers of its first run, without the moment that it waits."""
    sampler = context.shared["host"] = host._Sampler()
    context.memory["sample"] = sampler.sample(what, context.clock.monotonic_s())


def test_counters_that_step_back_a_little_make_no_negative_share(
    timed: LocalContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    Times = namedtuple("Times", "user system idle iowait")
    left = [Times(10, 10, 100, 5), Times(11, 10, 101, 4)]
    monkeypatch.setattr(psutil, "cpu_times", lambda: left.pop(0))
    first_sample(timed, "cpu")
    later(timed, 2.0)
    assert numbers(run(timed, "cpu")) == {"percent": 50, "user": 50, "system": 0, "iowait": 0, "steal": 0}


Net = namedtuple("Net", "bytes_sent bytes_recv errin errout dropin dropout")


def test_network_rates_are_a_second_and_a_reset_counter_begins_at_zero(
    timed: LocalContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    left = [{"eth0": Net(1000, 5000, 1, 1, 0, 4)}, {"eth0": Net(3000, 100, 2, 2, 0, 14)}]
    monkeypatch.setattr(psutil, "net_io_counters", lambda pernic: left.pop(0))
    first_sample(timed, "network")
    later(timed, 10.0)
    reading = run(timed, "network", interface="eth0")
    assert numbers(reading) == pytest.approx({"in": 10, "out": 200, "errors": 0.2, "drops": 1})
    assert reading.summary == "eth0 receives 10 B/s and sends 200 B/s, 0.2 errors/s, 1 drops/s"


def test_an_interface_that_just_came_has_no_rate_yet(timed: LocalContext, monkeypatch: pytest.MonkeyPatch) -> None:
    left = [{}, {"eth0": Net(9**9, 9**9, 9, 9, 9, 9)}]
    monkeypatch.setattr(psutil, "net_io_counters", lambda pernic: left.pop(0))
    first_sample(timed, "network")
    later(timed, 10.0)
    assert set(numbers(run(timed, "network", interface="eth0")).values()) == {0.0}


def test_a_missing_interface_is_critical_and_the_present_ones_are_named(context: LocalContext) -> None:
    reading = run(context, "network", interface="nonet0")
    assert reading.status is Status.CRITICAL
    assert reading.summary.startswith("Network interface nonet0 is not there; this machine has ")
    assert "lo" in reading.summary


def test_the_loopback_is_not_counted_as_network() -> None:
    assert host._physical({"lo": 1, "nosuch1": 1, "nosuch0": 1}) == ["nosuch0", "nosuch1"]


def test_checks_that_run_together_share_one_look(timed: LocalContext, monkeypatch: pytest.MonkeyPatch) -> None:
    looks: list[int] = []
    counters = {"eth0": Net(1, 1, 0, 0, 0, 0), "eth1": Net(1, 1, 0, 0, 0, 0)}
    monkeypatch.setattr(psutil, "net_io_counters", lambda pernic: looks.append(1) or counters)
    first_sample(timed, "network")
    later(timed, 10.0)
    other = timed.again()
    run(timed, "network", interface="eth0")
    run(other, "network", interface="eth1")
    assert len(looks) == 2  # the first sample, and one for both


# -- memory and swap ------------------------------------------------------------------------------------------------


def test_memory_of_the_machine_counts_what_is_available(context: LocalContext, monkeypatch: pytest.MonkeyPatch) -> None:
    Machine = namedtuple("Machine", "total available")
    monkeypatch.setattr(host, "container_memory", lambda: None)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: Machine(8 * 1024**3, 2 * 1024**3))
    reading = run(context, "memory")
    assert reading.summary == "Memory is 75 % used, 2 GiB of 8 GiB available"
    assert numbers(reading) == {"percent": 75, "used": 6 * 1024**3, "available": 2 * 1024**3}


def test_memory_of_a_container_is_measured_by_its_limit(
    context: LocalContext, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "memory.max").write_text("1073741824\n")
    (tmp_path / "memory.current").write_text("805306368\n")
    (tmp_path / "memory.stat").write_text("anon 1\ninactive_file 268435456\n")
    found = container_memory(tmp_path)
    assert found == Memory(total_bytes=1024**3, used_bytes=512 * 1024**2)
    monkeypatch.setattr(host, "container_memory", lambda: found)
    assert run(context, "memory").summary == "Memory of this container is 50 % used, 512 MiB of 1 GiB available"


@pytest.mark.parametrize("maximum", ["max", "", None])
def test_without_a_limit_there_is_no_container_memory(tmp_path: Path, maximum: str | None) -> None:
    if maximum is not None:
        (tmp_path / "memory.max").write_text(maximum)
        (tmp_path / "memory.current").write_text("1")
        (tmp_path / "memory.stat").write_text("")
    assert container_memory(tmp_path) is None


@pytest.mark.parametrize(
    ("total", "summary"),
    [
        (4 * 1024**3, "Swap is 25 % used, 3 GiB of 4 GiB left, 0 B/s in, 4 KiB/s out"),
        (0, "This machine has no swap"),
    ],
)
def test_swap_says_how_full_it_is_and_how_fast_it_moves(
    timed: LocalContext, monkeypatch: pytest.MonkeyPatch, total: int, summary: str
) -> None:
    Swap = namedtuple("Swap", "total used free percent sin sout")
    left = [
        Swap(total, total // 4, 3 * total // 4, 25.0 if total else 0.0, 0, 0),
        Swap(total, total // 4, 3 * total // 4, 25.0 if total else 0.0, 0, 40960 if total else 0),
    ]
    monkeypatch.setattr(psutil, "swap_memory", lambda: left.pop(0))
    first_sample(timed, "swap")
    later(timed, 10.0)
    assert run(timed, "swap").summary == summary


# -- disks ----------------------------------------------------------------------------------------------------------


def test_a_disk_is_counted_as_df_counts(context: LocalContext, monkeypatch: pytest.MonkeyPatch) -> None:
    figures = os.statvfs_result((4096, 4096, 1000, 190, 90, 500, 100, 100, 0, 255))
    monkeypatch.setattr(_disk.os, "statvfs", lambda path: figures)
    reading = run(context, "disk")
    assert numbers(reading) == {"percent": 90.0, "free": 90 * 4096, "total": 1000 * 4096}
    assert reading.summary == "Disk / is 90 % full, 360 KiB of 3.91 MiB left"
    reading = run(context, "inodes")
    assert numbers(reading) == {"percent": 80.0, "free": 100, "total": 500}
    assert reading.summary == "Disk / has used 80 % of its inodes, 100 of 500 left"


def test_a_disk_without_a_fixed_number_of_inodes_is_fine(
    context: LocalContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_disk.os, "statvfs", lambda path: os.statvfs_result((1, 1, 9, 9, 9, 0, 0, 0, 0, 255)))
    reading = run(context, "inodes")
    assert (reading.status, reading.summary) == (Status.OK, "Disk / makes inodes as it needs them")
    assert numbers(reading)["percent"] == 0


def test_a_folder_names_the_disk_it_lies_on(context: LocalContext, tmp_path: Path) -> None:
    summary = run(context, "disk", path=str(tmp_path)).summary
    assert summary.startswith(f"Disk {tmp_path} (on /")


def test_a_disk_that_is_gone_is_critical(context: LocalContext, tmp_path: Path) -> None:
    reading = run(context, "disk", path=str(tmp_path / "gone"))
    assert reading.status is Status.CRITICAL
    assert reading.summary == f"Disk {tmp_path}/gone cannot be read: No such file or directory"


def test_a_disk_that_we_may_not_look_at_is_unknown(context: LocalContext, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: str) -> None:
        raise PermissionError(13, "Permission denied", path)

    monkeypatch.setattr(_disk.os, "statvfs", refuse)
    assert run(context, "disk").status is Status.UNKNOWN


def test_a_disk_that_hangs_is_critical_at_the_deadline(context: LocalContext, monkeypatch: pytest.MonkeyPatch) -> None:
    free = threading.Event()
    monkeypatch.setattr(_disk.os, "statvfs", lambda path: free.wait(10))
    context.timeout_s = 0.2

    async def story() -> Reading:
        reading = await measure(Host(what="disk"), context, {})
        free.set()
        return reading

    reading = asyncio.run(story())
    assert reading.status is Status.CRITICAL
    assert reading.summary == "Disk / gave no answer within 0.2 s: its device or server hangs"


def test_a_disk_that_nobody_could_ask_is_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    threads, free = Threads(1), threading.Event()
    context = LocalContext(threads, timeout_s=0.2)

    async def story() -> Reading:
        hung = asyncio.create_task(threads.run("disk", lambda: free.wait(10), 5))
        await asyncio.sleep(0)
        reading = await measure(Host(what="disk"), context, {})
        free.set()
        await hung
        return reading

    assert asyncio.run(story()).status is Status.UNKNOWN
    threads.close()


def test_real_disks_are_each_named_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = ["data", "long/data", "snap", "cd", "home"]
    for name in names:
        (tmp_path / name).mkdir(parents=True, exist_ok=True)
    (tmp_path / "hosts").touch()
    data, long_data, snap, cd, home = (str(tmp_path / name) for name in names)
    monkeypatch.setattr(
        psutil,
        "disk_partitions",
        lambda all: [
            Disk("/dev/sda1", "/", "ext4", "rw"),
            Disk("/dev/sdb1", long_data, "xfs", "rw"),
            Disk("/dev/sdb1", data, "xfs", "rw"),  # a bind mount
            Disk("/dev/loop1", snap, "squashfs", "ro"),
            Disk("/dev/sr0", cd, "iso9660", "ro"),
            Disk("/dev/sda1", home, "btrfs", "rw"),  # a subvolume
            Disk("/dev/vda1", str(tmp_path / "hosts"), "ext4", "rw"),  # a file that a container has mounted
        ],
    )
    assert real_disks() == ["/", data]


def test_where_no_disk_can_be_told_there_is_the_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(psutil, "disk_partitions", lambda all: [])
    assert real_disks() == ["/"]


def test_the_disks_of_this_machine_can_be_measured(context: LocalContext) -> None:
    assert [run(context, "disk", path=path).status for path in real_disks()] == [Status.OK] * len(real_disks())


# -- clock, load, uptime --------------------------------------------------------------------------------------------


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells")
def test_the_kernel_tells_of_its_clock() -> None:
    kernel = read_kernel_clock()
    assert kernel is None or 0 <= kernel.estimated_error_s <= kernel.max_error_s <= 3600


@pytest.mark.parametrize(
    ("kernel", "summary", "synchronised"),
    [
        (
            KernelClock(is_synchronised=True, estimated_error_s=0.0005, max_error_s=0.25),
            "Clock is synchronised, about 0.0005 s off, 0.25 s at most",
            1.0,
        ),
        (
            KernelClock(is_synchronised=False, estimated_error_s=16.0, max_error_s=16.0),
            "Clock is not synchronised: no time service (chrony, ntpd, systemd-timesyncd) keeps it",
            0.0,
        ),
        (None, "This system does not tell whether its clock is synchronised", None),
    ],
)
def test_the_clock_says_whether_it_is_kept(
    timed: LocalContext,
    monkeypatch: pytest.MonkeyPatch,
    kernel: KernelClock | None,
    summary: str,
    synchronised: float | None,
) -> None:
    monkeypatch.setattr(host, "read_kernel_clock", lambda: kernel)
    reading = run(timed, "clock")
    assert (reading.status, reading.summary) == (Status.WARNING if synchronised == 0 else Status.OK, summary)
    assert numbers(reading).get("synchronised") == synchronised
    assert ("estimated_error" in numbers(reading)) == bool(synchronised)
    assert "jump" not in numbers(reading)


@pytest.mark.parametrize(("step_s", "words"), [(3.5, "it jumped forward by 3.5 s"), (-60.0, "it jumped back by 60 s")])
def test_a_clock_that_was_set_shows_the_jump_once(timed: LocalContext, step_s: float, words: str) -> None:
    run(timed, "clock")
    later(timed, 30.0 + step_s)
    assert isinstance(timed.clock, FakeClock)
    timed.clock.elapsed_s -= step_s
    reading = run(timed, "clock")
    assert numbers(reading)["jump"] == pytest.approx(step_s)
    assert words in reading.summary
    later(timed, 30.0)
    reading = run(timed, "clock")
    assert numbers(reading)["jump"] == pytest.approx(0.0)
    assert "jumped" not in reading.summary


def test_load_is_also_told_per_core(context: LocalContext, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(psutil, "getloadavg", lambda: (1.0, 6.0, 3.0))
    monkeypatch.setattr(host.os, "cpu_count", lambda: 4)
    reading = run(context, "load")
    assert reading.summary == "Load is 1.00 over 1 min, 6.00 over 5, 3.00 over 15, on 4 cores"
    assert numbers(reading)["load5_per_core"] == 1.5


def test_uptime_counts_from_the_boot(timed: LocalContext, monkeypatch: pytest.MonkeyPatch) -> None:
    booted_at = datetime(2026, 11, 12, 10, 0, tzinfo=UTC)
    monkeypatch.setattr(psutil, "boot_time", booted_at.timestamp)
    reading = run(timed, "uptime")
    assert reading.summary == "Up for 12 d 3 h, since 2026-11-12 10:00 UTC"
    assert numbers(reading)["uptime"] == (timed.clock.now() - booted_at).total_seconds()


# -- words and options ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "words"), [(0.0, "0 %"), (91.4, "91 %"), (99.46, "99.4 %"), (99.99, "99.9 %"), (100.0, "100 %")]
)
def test_what_is_not_full_never_reads_as_100_percent(value: float, words: str) -> None:
    assert host._percent(value) == words


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.2, "0.2 s"), (42.0, "42 s"), (60.0, "1 min"), (250.0, "4 min 10 s"), (7260.0, "2 h 1 min"), (86400.0, "1 d")],
)
def test_lengths_of_time_are_short(seconds: float, words: str) -> None:
    assert host._span(seconds) == words


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"what": "gpu"}, "'cpu'"),
        ({}, "what"),
        ({"what": "disk", "path": "data"}, "path"),
        ({"what": "cpu", "path": "/"}, "path: goes with what: disk or what: inodes, not with cpu; remove it"),
        ({"what": "disk", "interface": "eth0"}, "interface: goes with what: network, not with disk; remove it"),
    ],
)
def test_bad_options_are_refused(options: dict[str, object], words: str) -> None:
    with pytest.raises(ValidationError) as caught:
        Host.model_validate(options)
    assert words in str(caught.value)


def test_the_target_says_what_and_where() -> None:
    assert Host(what="disk", path="/var").target == "disk /var"
    assert Host(what="network", interface="eth0").target == "network eth0"
    assert Host(what="cpu").target == "cpu"
    assert Host(what="disk", path="/my disk").reproduction() == "df -h '/my disk'"
