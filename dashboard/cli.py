"""The command line: serve, validate, run, export. Each command imports what it needs when it is called."""

from __future__ import annotations

import errno
import logging
import os
import pwd
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, TypeVar

import click

import dashboard
from dashboard.errors import BadRequest, ConfigError, StoreLocked, StoreUnavailable, WatchroomError

if TYPE_CHECKING:
    from dashboard.asking import Answer
    from dashboard.model import Settings

EXIT_ERROR = 1
EXIT_CONFIG = 2
EXIT_STORE = 3
EXIT_LOCKED = 4
EXIT_UNKNOWN = 3  # of `run`: what monitoring plugins call unknown

_DEFAULT_DATA = Path("data")
_PART = ".part"
_PATH = click.Path(path_type=Path)

Decorated = TypeVar("Decorated", bound=Callable[..., object])


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What was given before the command, the environment included; None = not given."""

    config: Path | None = None
    data: Path | None = None
    host: str | None = None
    port: int | None = None

    def over(self, below: Options) -> Options:
        """These, and those below where these are not given."""
        return Options(
            config=self.config or below.config,
            data=self.data or below.data,
            host=self.host or below.host,
            port=below.port if self.port is None else self.port,
        )


def _shared(*names: str, reads_environment: bool = False) -> Callable[[Decorated], Decorated]:
    """The named ones of --config, --data, --host, --port. Only before the command do they read the environment:
    what the command line says there must win over it."""
    all_of_them: dict[str, tuple[Any, str]] = {  # Any: click's types share no useful base
        "config": (_PATH, "Configuration file. Without one: ./watchroom.yaml if it is there, else this machine."),
        "data": (_PATH, "Data directory. [default: ./data]"),
        "host": (str, "Address to listen on. [default: 127.0.0.1]"),
        "port": (click.IntRange(0, 65535), "Port to listen on; 0 takes any free one. [default: 8000]"),
    }

    def decorate(command: Decorated) -> Decorated:
        for name in reversed(names):
            kind, words = all_of_them[name]
            variable = f"WATCHROOM_{name.upper()}" if reads_environment else None
            option = click.option(f"--{name}", type=kind, help=words, envvar=variable, show_envvar=reads_environment)
            command = option(command)
        return command

    return decorate


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
@_shared("config", "data", "host", "port", reads_environment=True)
@click.version_option(dashboard.__version__, prog_name="Watchroom")
@click.pass_context
def main(context: click.Context, config: Path | None, data: Path | None, host: str | None, port: int | None) -> None:
    """Watchroom: a live board of scheduled health checks. Without a command it serves."""
    context.obj = Options(config=config, data=data, host=host, port=port)
    if context.invoked_subcommand is None:
        context.invoke(serve)


@main.command()
@_shared("config", "data", "host", "port")
@click.pass_obj
def serve(above: Options, config: Path | None, data: Path | None, host: str | None, port: int | None) -> None:
    """Run the checks and serve the pages until SIGTERM or Ctrl-C; SIGHUP reads the configuration again."""
    options = Options(config=config, data=data, host=host, port=port).over(above)
    with _plain_errors():
        from dashboard import runtime

        sys.exit(runtime.serve(config=options.config, data=options.data, host=options.host, port=options.port))


@main.command()
@click.argument("file", type=_PATH, required=False)
@_shared("config")
@click.option("--schema", is_flag=True, help="Print the JSON Schema of the file, for editors, and stop.")
@click.pass_obj
def validate(above: Options, file: Path | None, config: Path | None, schema: bool) -> None:
    """Check the configuration FILE; exit 2 with every problem where there are any."""
    options = Options(config=file or config).over(above)
    with _plain_errors():
        if schema:
            click.echo(_schema())
            return
        settings = _load(options)
        for broken in settings.broken:
            click.echo(f"check {broken.id!r} will not run: {broken.fault}", err=True)
        click.echo(_summary(settings))


def _schema() -> str:
    import orjson

    from dashboard.config.schema import json_schema

    return orjson.dumps(json_schema(), option=orjson.OPT_INDENT_2).decode()


@main.command(cls=_Plugin)
@click.argument("check_id")
@_shared("config", "data")
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
        _print_problems(error)
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
        _write_no_more()
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

    user = _user()
    try:
        return ask_for_run(find_server(options.data or _DEFAULT_DATA), check_id, user=user, wait_s=wait_s)
    except ServerGone:
        from dashboard import runtime

        return Answer.of(runtime.run_once(_load(options), check_id, f"cli:{user}"))


@main.command()
@_shared("config", "data")
@click.option("--dataset", default="results", show_default=True, help="What to export.")
@click.option("--format", "form", default="csv", show_default=True, help="csv, ndjson or json.")
@click.option("--check", multiple=True, help="Only this check; may be repeated.")
@click.option("--tag", multiple=True, help="Only checks with this tag; may be repeated.")
@click.option("--group", multiple=True, help="Only checks of this group; may be repeated.")
@click.option("--status", multiple=True, help="Only ok, warning, critical or unknown; may be repeated.")
@click.option("--from", "start", default="", help="From when on, ISO 8601 or an age such as -24h. [default: all]")
@click.option("--to", "end", default="", help="Until when, itself excluded. [default: now]")
@click.option("--tz", default="", help="Time zone of the export. [default: the configuration's]")
@click.option("--columns", multiple=True, help="Only these columns, separated by commas.")
@click.option("--output", type=_PATH, help="File to write; appears whole or not at all. [default: standard output]")
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
    """Write recorded results as CSV, NDJSON or JSON, oldest first. A server may be running."""
    options = Options(config=config, data=data).over(above)
    params = {name: [value] if isinstance(value, str) else list(value) for name, value in given.items()}
    params |= {"format": [form], "from": [start], "to": [end]}
    with _plain_errors(), _faults_named(output), _destination(output) as file:
        for piece in _pieces(options, params):
            file.write(piece)


def _pieces(options: Options, params: dict[str, list[str]]) -> Iterator[bytes]:
    """The export, piece by piece."""
    from dashboard.clock import SystemClock
    from dashboard.engine.export import parse_request, write
    from dashboard.storage.store import TinyStore

    settings = _load(options)
    clock = SystemClock()
    history = TinyStore.reading(settings.data, clock)
    request = parse_request(
        params,
        now=clock.now(),
        zone=settings.server.zone,
        checks=(*settings.checks, *settings.broken),
        recorded=history.check_ids(),
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


@contextmanager
def _plain_errors() -> Iterator[None]:
    """Says in one sentence what went wrong, and exits with its code."""
    try:
        yield
    except ConfigError as error:
        _print_problems(error)
        sys.exit(EXIT_CONFIG)
    except BrokenPipeError:  # whoever read us has enough
        _write_no_more()
        sys.exit(EXIT_ERROR)
    except BadRequest as error:
        _fail(f"--{error}", EXIT_CONFIG)
    except StoreLocked as error:
        _fail(str(error), EXIT_LOCKED)
    except StoreUnavailable as error:
        _fail(str(error), EXIT_STORE)
    except WatchroomError as error:
        _fail(str(error), EXIT_ERROR)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            _fail("the port is in use by another program: stop that, or choose another with --port", EXIT_ERROR)
        if error.errno in (errno.EADDRNOTAVAIL, errno.EACCES) and error.filename is None:
            _fail(f"cannot listen there: {error.strerror}: choose another --host or --port", EXIT_ERROR)
        _fail(f"{error.filename or 'the system'}: {error.strerror or error}", EXIT_ERROR)


def _write_no_more() -> None:
    """Let what waits for standard output go nowhere: at exit it would fail once more, and change the exit code."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _fail(message: str, code: int) -> None:
    click.echo(f"watchroom: {message}", err=True)
    sys.exit(code)


def _print_problems(error: ConfigError) -> None:
    for problem in error.problems:
        place = f"{error.source}:{problem.line}" if problem.line else error.source or "watchroom"
        click.echo(f"{place}: {problem.message}", err=True)
    count = len(error.problems)
    click.echo(f"{count} problem{'' if count == 1 else 's'}", err=True)


def _load(options: Options) -> Settings:
    from dashboard.config import load

    return load(options.config, environ=os.environ, host=options.host, port=options.port, data=options.data)


def _summary(settings: Settings) -> str:
    counts = [f"{len(settings.checks)} check{'' if len(settings.checks) == 1 else 's'}"]
    paused = sum(check.paused for check in settings.checks)
    counts += [f"{paused} of them paused"] if paused else []
    counts += [f"{len(settings.broken)} that will not run"] if settings.broken else []
    source = settings.source or "no file: this machine"
    return f"{source} is valid: {', '.join(counts)}; zone {settings.server.zone}"


def _user() -> str:
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return str(os.geteuid())
