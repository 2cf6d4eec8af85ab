"""What all commands share: options, and how errors are told."""

from __future__ import annotations

import errno
import os
import pwd
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

import click

from dashboard.errors import BadRequest, ConfigError, StoreLocked, StoreUnavailable, WatchroomError

if TYPE_CHECKING:
    from dashboard.model import Settings

EXIT_ERROR = 1
EXIT_CONFIG = 2
EXIT_STORE = 3
EXIT_LOCKED = 4

DEFAULT_DATA = Path("data")
PATH = click.Path(path_type=Path)

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


def shared(*names: str, reads_environment: bool = False) -> Callable[[Decorated], Decorated]:
    """The named ones of --config, --data, --host, --port. Only before the command do they read the environment:
    what the command line says there must win over it."""
    all_of_them: dict[str, tuple[Any, str]] = {  # Any: click's types share no useful base
        "config": (PATH, "Configuration file. Without one: ./watchroom.yaml if it is there, else this machine."),
        "data": (PATH, "Data directory. [default: ./data]"),
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


@contextmanager
def plain_errors() -> Iterator[None]:
    """Says in one sentence what went wrong, and exits with its code."""
    try:
        yield
    except ConfigError as error:
        print_problems(error)
        sys.exit(EXIT_CONFIG)
    except BrokenPipeError:  # whoever read us has enough
        write_no_more()
        sys.exit(EXIT_ERROR)
    except BadRequest as error:
        fail(f"--{error}", EXIT_CONFIG)
    except StoreLocked as error:
        fail(str(error), EXIT_LOCKED)
    except StoreUnavailable as error:
        fail(str(error), EXIT_STORE)
    except WatchroomError as error:
        fail(str(error), EXIT_ERROR)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            fail("the port is in use by another program: stop that, or choose another with --port", EXIT_ERROR)
        if error.errno in (errno.EADDRNOTAVAIL, errno.EACCES) and error.filename is None:
            fail(f"cannot listen there: {error.strerror}: choose another --host or --port", EXIT_ERROR)
        fail(f"{error.filename or 'the system'}: {error.strerror or error}", EXIT_ERROR)


def write_no_more() -> None:
    """Let what waits for standard output go nowhere: at exit it would fail once more, and change the exit code."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def fail(message: str, code: int) -> NoReturn:
    """Say it and exit."""
    click.echo(f"watchroom: {message}", err=True)
    sys.exit(code)


def print_problems(error: ConfigError) -> None:
    """Every fault of the configuration with its place."""
    for problem in error.problems:
        place = f"{error.source}:{problem.line}" if problem.line else error.source or "watchroom"
        click.echo(f"{place}: {problem.message}", err=True)
    count = len(error.problems)
    click.echo(f"{count} problem{'' if count == 1 else 's'}", err=True)


def settings_of(options: Options) -> Settings:
    """The configuration as it stands. Raises ConfigError."""
    from dashboard.config import load

    return load(options.config, environ=os.environ, host=options.host, port=options.port, data=options.data)


def this_user() -> str:
    """Who runs the command."""
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return str(os.geteuid())
