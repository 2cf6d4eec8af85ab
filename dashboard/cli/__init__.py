"""The command line: serve, validate, run, export, and what dashboard.cli.store adds. Each command imports what it needs when it is called."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import click

import dashboard
from dashboard.cli import store
from dashboard.cli.options import (
    DEFAULT_DATA,
    PATH,
    Options,
    plain_errors,
    print_problems,
    settings_of,
    shared,
    this_user,
    write_no_more,
)
from dashboard.errors import ConfigError, WatchroomError

if TYPE_CHECKING:
    from dashboard.asking import Answer
    from dashboard.model import Settings

EXIT_UNKNOWN = 3  # of `run`: what monitoring plugins call unknown

_PART = ".part"


class _WrongUse(click.UsageError):
    exit_code = EXIT_UNKNOWN


@contextmanager
def _wrong_use_is_unknown() -> Iterator[None]:
    """Faults of the command line exit with 3, unknown to monitoring plugins: 2 would say that the target is down."""
    try:
        yield
    except click.UsageError as error:
        raise _WrongUse(error.format_message(), ctx=error.ctx) from error


class _Plugin(click.Command):
    """A command that speaks as monitoring plugins do."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        with _wrong_use_is_unknown():
            return super().parse_args(ctx, args)


class _Watchroom(click.Group):
    """The commands; what is wrong before `run`, the environment included, is a fault of that command."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        with _wrong_use_is_unknown() if "run" in args else nullcontext():
            return super().parse_args(ctx, args)


@click.group(cls=_Watchroom, invoke_without_command=True, context_settings={"help_option_names": ["-h", "--help"]})
@shared("config", "data", "host", "port", reads_environment=True)
@click.version_option(dashboard.__version__, prog_name="Watchroom")
@click.pass_context
def main(context: click.Context, config: Path | None, data: Path | None, host: str | None, port: int | None) -> None:
    """Watchroom: a live board of scheduled health checks. Without a command it serves."""
    context.obj = Options(config=config, data=data, host=host, port=port)
    if context.invoked_subcommand is None:
        context.invoke(serve)


for command in (store.backup, store.restore, store.doctor, store.compact, store.forget):
    main.add_command(command)


@main.command()
@shared("config", "data", "host", "port")
@click.pass_obj
def serve(above: Options, config: Path | None, data: Path | None, host: str | None, port: int | None) -> None:
    """Run the checks and serve the pages until SIGTERM or Ctrl-C; SIGHUP reads the configuration again."""
    options = Options(config=config, data=data, host=host, port=port).over(above)
    with plain_errors():
        from dashboard import runtime

        sys.exit(runtime.serve(config=options.config, data=options.data, host=options.host, port=options.port))


@main.command()
@click.argument("file", type=PATH, required=False)
@shared("config")
@click.option("--schema", is_flag=True, help="Print the JSON Schema of the file, for editors, and stop.")
@click.pass_obj
def validate(above: Options, file: Path | None, config: Path | None, schema: bool) -> None:
    """Check the configuration FILE; exit 2 with every problem where there are any."""
    options = Options(config=file or config).over(above)
    with plain_errors():
        if schema:
            click.echo(_schema())
            return
        settings = settings_of(options)
        for broken in settings.broken:
            click.echo(f"check {broken.id!r} will not run: {broken.fault}", err=True)
        click.echo(_summary(settings))


def _schema() -> str:
    import orjson

    from dashboard.config.schema import json_schema

    return orjson.dumps(json_schema(), option=orjson.OPT_INDENT_2).decode()


@main.command(cls=_Plugin)
@click.argument("check_id")
@shared("config", "data")
@click.option(
    "--wait",
    "wait_s",
    type=click.FloatRange(1, 60),
    default=60.0,
    show_default=True,
    help="Seconds to wait for a server.",
)
@click.option("-v", "--verbose", is_flag=True, help="Show the metrics too.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
@click.pass_obj
def run(
    above: Options,
    check_id: str,
    config: Path | None,
    data: Path | None,
    wait_s: float,
    verbose: bool,
    as_json: bool,
) -> None:
    """Run the check CHECK_ID now and record it. Exits 0 ok, 1 warning, 2 critical, 3 unknown or a fault of ours."""
    options = Options(config=config, data=data).over(above)
    try:
        answer = _answer(options, check_id, wait_s)
    except ConfigError as error:
        print_problems(error)
        sys.exit(EXIT_UNKNOWN)
    except (WatchroomError, OSError) as error:
        click.echo(f"UNKNOWN {check_id}: {error}", err=True)
        sys.exit(EXIT_UNKNOWN)
    except KeyboardInterrupt:
        click.echo(f"UNKNOWN {check_id}: interrupted", err=True)
        sys.exit(EXIT_UNKNOWN)
    except Exception as error:  # whatever it is, it is not the target
        logging.getLogger(__name__).error("running %s failed", check_id, exc_info=True)
        click.echo(f"UNKNOWN {check_id}: fault of Watchroom: {type(error).__name__}", err=True)
        sys.exit(EXIT_UNKNOWN)
    try:
        click.echo(answer.model_dump_json() if as_json else _in_words(answer, verbose))
    except OSError as error:
        write_no_more()
        click.echo(f"UNKNOWN {check_id}: the result cannot be printed: {error.strerror}", err=True)
        sys.exit(EXIT_UNKNOWN)
    sys.exit(answer.exit_code)


def _in_words(answer: Answer, verbose: bool) -> str:
    metrics = sorted(answer.metrics.items()) if verbose else ()
    lines = (f"  {name} = {value:g}" for name, value in metrics)
    return "\n".join([f"{answer.status.upper()} {answer.check_id}: {answer.summary}", *lines])


def _answer(options: Options, check_id: str, wait_s: float) -> Answer:
    """What the running server answers, or a run of our own where none runs."""
    from dashboard.asking import Answer, ServerGone, ask_for_run, find_server

    user = this_user()
    try:
        return ask_for_run(find_server(options.data or DEFAULT_DATA), check_id, user=user, wait_s=wait_s)
    except ServerGone:
        from dashboard import runtime

        return Answer.of(runtime.run_once(settings_of(options), check_id, f"cli:{user}"))


@main.command()
@shared("config", "data")
@click.option("--dataset", default="results", show_default=True, help="What to export: results or rollups.")
@click.option("--step", default="", help="Of rollups: 5m, 1h, 1d, 1w or 1mo. [default: 1d]")
@click.option("--format", "form", default="csv", show_default=True, help="csv, ndjson or json.")
@click.option("--check", multiple=True, help="Only this check; may be repeated.")
@click.option("--tag", multiple=True, help="Only checks with this tag; may be repeated.")
@click.option("--group", multiple=True, help="Only checks of this group; may be repeated.")
@click.option("--status", multiple=True, help="Only results ok, warning, critical or unknown; may be repeated.")
@click.option("--from", "start", default="", help="From when on, ISO 8601 or an age such as -24h. [default: all]")
@click.option("--to", "end", default="", help="Until when, itself excluded. [default: now]")
@click.option("--tz", default="", help="Time zone of the export. [default: the configuration's]")
@click.option("--columns", multiple=True, help="Only these columns, separated by commas.")
@click.option("--output", type=PATH, help="File to write; appears whole or not at all. [default: standard output]")
@click.pass_obj
def export(
    above: Options,
    /,
    config: Path | None,
    data: Path | None,
    form: str,
    start: str,
    end: str,
    output: Path | None,
    **given: Any,  # Any: texts and tuples of texts, named as the page's parameters
) -> None:
    """Write recorded results or their rollups as CSV, NDJSON or JSON, oldest first. A server may be running."""
    options = Options(config=config, data=data).over(above)
    params = {name: [value] if isinstance(value, str) else list(value) for name, value in given.items()}
    params |= {"format": [form], "from": [start], "to": [end]}
    with plain_errors(), _faults_named(output), _destination(output) as file:
        for piece in _pieces(options, params):
            file.write(piece)


def _pieces(options: Options, params: dict[str, list[str]]) -> Iterator[bytes]:
    """The export, piece by piece."""
    from dashboard.clock import SystemClock
    from dashboard.engine.export import parse_request, write
    from dashboard.storage.store import TinyStore

    settings = settings_of(options)
    clock = SystemClock()
    history = TinyStore.reading(settings.data, clock)
    request = parse_request(
        params,
        now=clock.now(),
        zone=settings.server.zone,
        checks=(*settings.checks, *settings.broken),
        recorded=history.check_ids(),
        retention=settings.retention,
    )
    yield from write(request, history)


@contextmanager
def _destination(output: Path | None) -> Iterator[IO[bytes]]:
    """Where the export goes: standard output, a device or pipe, or a file that takes its name only once it is whole."""
    if output is None:
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
    elif output.exists() and not output.is_file():
        with output.open("wb") as file:
            yield file
    else:
        target = output.resolve()
        part = target.with_name(f".{target.name[:200]}.{os.getpid()}{_PART}")
        try:
            with part.open("xb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            part.replace(target)
        finally:
            part.unlink(missing_ok=True)


@contextmanager
def _faults_named(output: Path | None) -> Iterator[None]:
    """Lets faults of writing name where the export goes, not the name it has until it is whole."""
    try:
        yield
    except OSError as error:
        if error.filename is None or str(error.filename).endswith(_PART):
            raise OSError(error.errno, error.strerror, str(output or "standard output")) from error
        raise


def _summary(settings: Settings) -> str:
    counts = [f"{len(settings.checks)} check{'' if len(settings.checks) == 1 else 's'}"]
    paused = sum(check.paused for check in settings.checks)
    counts += [f"{paused} of them paused"] if paused else []
    counts += [f"{len(settings.broken)} that will not run"] if settings.broken else []
    source = settings.source or "no file: this machine"
    return f"{source} is valid: {', '.join(counts)}; zone {settings.server.zone}"
