"""The commands that keep what is recorded: backup, restore, doctor, compact, forget."""

from __future__ import annotations

import contextlib
import logging
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from dashboard.cli.options import (
    DEFAULT_DATA,
    EXIT_ERROR,
    PATH,
    Options,
    fail,
    plain_errors,
    settings_of,
    shared,
    this_user,
)
from dashboard.errors import StoreError

if TYPE_CHECKING:
    from dashboard.model import Inventory, Settings
    from dashboard.storage.doctor import Examination
    from dashboard.storage.store import TinyStore

_CLASS_WORDS = {
    "journals": "results, not sealed yet",
    "raw": "results, sealed",
    "five_minutes": "rollups of 5 minutes",
    "hours": "rollups of an hour",
    "days": "rollups of a day",
    "documents": "incidents and other documents",
    "quarantine": "quarantine",
    "reserve": "reserve for a full disk",
}


@click.command()
@click.argument("file", type=PATH)
@shared("data")
@click.option("--force", is_flag=True, help="Replace FILE when it is there.")
@click.option("--verify/--no-verify", default=True, show_default=True, help="Read the backup back before it counts.")
@click.pass_obj
def backup(above: Options, file: Path, data: Path | None, force: bool, verify: bool) -> None:
    """Write all that is recorded into FILE, a .tar.gz. A server may be running: it is not disturbed."""
    directory = _data(Options(data=data).over(above))
    if str(file) == "-":
        raise click.BadParameter("a backup is read back, so it goes into a file; name one", param_hint="FILE")
    with plain_errors():
        from dashboard.clock import SystemClock
        from dashboard.model import Backup
        from dashboard.storage import format as formats
        from dashboard.storage.backup import leave_note, write_backup

        formats.refuse_newer(directory)
        now_at = SystemClock().now()
        written = write_backup(
            directory, file, format_number=formats.known(directory), now_at=now_at, force=force, verify=verify
        )
        rows = _rows(directory)
        click.echo(
            f"{written.path}: {_size(written.size_bytes)}, {written.files} files of {_size(written.unpacked_bytes)} "
            f"with about {rows:,} results{', read back and sound' if verify else ', not read back'}"
        )
        note = Backup(at=now_at, path=str(written.path), size_bytes=written.size_bytes, rows=rows)
        if not leave_note(directory, note):
            click.echo(f"{directory}: cannot be written, so the System page will not show this backup", err=True)


def _rows(directory: Path) -> int:
    """How many results there are; 0 where that cannot be told."""
    from dashboard.clock import SystemClock
    from dashboard.storage.store import TinyStore

    with _quiet_store(), contextlib.suppress(StoreError, OSError):
        return TinyStore.reading(directory, SystemClock()).health().rows
    return 0


@click.command()
@click.argument("file", type=PATH)
@shared("data")
@click.option("--replace", is_flag=True, help="Move the data directory that is there aside.")
@click.pass_obj
def restore(above: Options, file: Path, data: Path | None, replace: bool) -> None:
    """Put the backup in FILE where the data directory is: all of it, checked, or nothing. Stop the server before."""
    directory = _data(Options(data=data).over(above))
    with plain_errors():
        from dashboard.clock import SystemClock
        from dashboard.storage.restore import restore as restore_into

        restored = restore_into(file, directory, now_at=SystemClock().now(), replace=replace)
        click.echo(
            f"{restored.directory}: {restored.files} files, {_size(restored.size_bytes)}, as they were "
            f"on {restored.created_at:%Y-%m-%d %H:%M:%S} UTC (Watchroom {restored.version})"
        )
        if restored.moved_to:
            click.echo(f"{restored.moved_to}: what was there before; remove it once you are sure")


@click.command()
@shared("data")
@click.option("--json", "as_json", is_flag=True, help="Print everything as JSON.")
@click.pass_obj
def doctor(above: Options, data: Path | None, as_json: bool) -> None:
    """Verify every checksum of what is recorded. Reads only; exits 0 all sound, 1 damage, 3 unreadable."""
    directory = _data(Options(data=data).over(above))
    with plain_errors():
        import orjson

        from dashboard.clock import SystemClock
        from dashboard.storage.doctor import examine
        from dashboard.storage.store import TinyStore

        with _quiet_store():
            examination = examine(directory)
            inventory = TinyStore.reading(directory, SystemClock()).inventory()
        if as_json:
            content = {"sound": not examination.faults, "examination": examination, "inventory": inventory}
            click.echo(orjson.dumps(content, option=orjson.OPT_INDENT_2).decode())
        else:
            click.echo("\n".join(_report(examination, inventory)))
        sys.exit(EXIT_ERROR if examination.faults else 0)


def _report(examination: Examination, inventory: Inventory) -> Iterator[str]:
    place = f" on {examination.filesystem}" if examination.filesystem else ""
    yield f"{examination.directory}: format {examination.format}{place}, {_size(examination.free_bytes)} free"
    for each in inventory.classes:
        if each.files:
            since = f", since {each.oldest_at:%Y-%m-%d}" if each.oldest_at else ""
            rows = f"{each.rows:,}" if each.rows else ""
            files = f"{each.files} file{'' if each.files == 1 else 's'}"
            yield f"  {_CLASS_WORDS[each.name]:<32}{files:>10}{rows:>16} {_size(each.size_bytes):>10}{since}"
    if inventory.forecast_bytes is not None:
        yield (
            f"  at {inventory.rows_per_day:,.0f} results a day it will take {_size(inventory.forecast_bytes)} "
            "once everything is as old as it may get"
        )
    last = inventory.backup
    yield f"last backup: {last.at:%Y-%m-%d %H:%M} UTC, {last.path}" if last else "last backup: none is known"
    for kept in examination.quarantined:
        yield f"set aside on {kept.at:%Y-%m-%d}: {kept.file}, {_size(kept.size_bytes)} of damaged bytes"
    for note in examination.notes:
        yield f"note: {note}"
    for fault in examination.faults:
        yield f"DAMAGED {fault}"
    count = len(examination.faults)
    end = f"{count} of them damaged" if count else "all sound"
    yield f"{examination.files} files, {_size(examination.size_bytes)} read: {end}"


@click.command()
@shared("config", "data")
@click.pass_obj
def compact(above: Options, config: Path | None, data: Path | None) -> None:
    """Seal, merge and clear away now what is due later. A running server does it in the background."""
    options = Options(config=config, data=data).over(above)
    with plain_errors():
        from dashboard.asking import ServerGone, ServerSilent, ask_to_compact, find_server

        with contextlib.suppress(ServerGone, ServerSilent):  # of what holds the LOCK then the store tells
            server = find_server(_data(options))
            ask_to_compact(server, user=this_user())
            click.echo(
                f"process {server.pid} compacts in the background; its page {server.url}/system tells how it goes"
            )
            return
        with _own_store(settings_of(options)) as store:
            before = _size_of(store.inventory())
            store.compact()
            after = _size_of(store.inventory())
        click.echo(f"{_data(options)}: {before} became {after}")


def _size_of(inventory: Inventory) -> str:
    """What history takes, in words; the reserve is none."""
    stored = [each for each in inventory.classes if each.name != "reserve"]
    count = sum(each.files for each in stored)
    return f"{_size(sum(each.size_bytes for each in stored))} in {count} file{'' if count == 1 else 's'}"


@click.command()
@click.argument("check_id")
@shared("config", "data")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.pass_obj
def forget(above: Options, check_id: str, config: Path | None, data: Path | None, yes: bool) -> None:
    """Delete the history of CHECK_ID, a check that is no longer configured, for good. A server may be running."""
    options = Options(config=config, data=data).over(above)
    with plain_errors():
        from dashboard.clock import SystemClock
        from dashboard.storage.store import TinyStore

        settings = settings_of(options)
        if check_id in {check.id for check in settings.checks} | {broken.id for broken in settings.broken}:
            fail(f"check {check_id!r} is configured: take it out of the configuration first", EXIT_ERROR)
        history = TinyStore.reading(settings.data, SystemClock())
        if check_id not in history.check_ids():
            fail(f"nothing is recorded of a check {check_id!r} in {settings.data}", EXIT_ERROR)
        count = history.inventory().checks.get(check_id, 0)
        if not yes:
            click.confirm(
                f"Forget {count:,} results of {check_id!r}, and all that was made of them, for good?", abort=True
            )
        click.echo(
            f"{check_id}: {_forget(settings, check_id):,} results are forgotten; their bytes go with the next merge, or `compact`"
        )


def _forget(settings: Settings, check_id: str) -> int:
    from dashboard.asking import ServerGone, ServerSilent, ask_to_forget, find_server

    with contextlib.suppress(ServerGone, ServerSilent):  # of what holds the LOCK then the store tells
        return ask_to_forget(find_server(settings.data), check_id, user=this_user())
    with _own_store(settings) as store:
        return store.forget(check_id)


@contextlib.contextmanager
def _own_store(settings: Settings) -> Iterator[TinyStore]:
    """The store, while no server has it. Raises StoreLocked, StoreUnavailable."""
    from dashboard.clock import SystemClock
    from dashboard.storage.store import TinyStore

    store = TinyStore(settings.data, SystemClock())
    store.keep(settings.retention, {check.id: check.retention for check in settings.checks if check.retention})
    store.open()
    try:
        yield store
    finally:
        store.close()


def _data(options: Options) -> Path:
    return options.data or DEFAULT_DATA


@contextlib.contextmanager
def _quiet_store() -> Iterator[None]:
    """Keep the store's warnings from standard error: what is wrong is the command's own output."""
    silence = logging.NullHandler()
    log = logging.getLogger("dashboard.storage")
    log.addHandler(silence)
    try:
        yield
    finally:
        log.removeHandler(silence)


def _size(size_bytes: float) -> str:
    for unit in ("B", "kB", "MB", "GB"):
        if size_bytes < 1000:
            return f"{size_bytes:.0f} {unit}" if unit == "B" else f"{size_bytes:.1f} {unit}"
        size_bytes /= 1000
    return f"{size_bytes:.1f} TB"
