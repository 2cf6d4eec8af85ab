"""Command: a monitoring plugin says how things stand, by its exit code, one line and performance data."""

from __future__ import annotations

import os
import shlex
import signal
import stat
from pathlib import PurePosixPath
from typing import Annotated, Self

from pydantic import Field, SecretStr, model_validator

from checks._perfdata import parse, readable
from checks._program import Ending, NoFreeSlot, Programs
from checks._words import limit
from checks.base import Context, Detail, Probe, Reading, Status

# A plugin finds the same world whoever starts it: messages and numbers in one language, programs in the usual places.
_PLAIN_ENV = {"LC_ALL": "C", "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}
_MASK = "***"

_Argument = Annotated[str, Field(coerce_numbers_to_str=True, pattern=r"^[^\x00]*$")]
_EnvName = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")]


class Command(Probe, type="command"):
    """Runs a monitoring plugin or any program that keeps to its exit codes: 0 ok, 1 warning, 2 critical, 3 unknown."""

    needs_commands = True

    argv: tuple[_Argument, ...] = Field(
        min_length=1, description="The program by its absolute path, then its arguments. No shell reads them."
    )
    env: dict[_EnvName, SecretStr] = Field(
        default_factory=dict, description="Environment variables on top of PATH and LC_ALL=C. Never shown."
    )
    cwd: str = Field(default="/", pattern=r"^/[^\x00]*$", description="The folder it runs in, by its absolute path.")

    @model_validator(mode="after")
    def _has_absolute_program(self) -> Self:
        if not self.argv[0].startswith("/"):
            raise ValueError(
                f"argv: must start with the absolute path of a program, got {self.argv[0]!r}; "
                "write [/usr/lib/nagios/plugins/check_load, -w, ...]"
            )
        return self

    @property
    def target(self) -> str:
        """The program, without its arguments."""
        return self.argv[0]

    def reproduction(self) -> str:
        """The same run by hand, its environment included."""
        plain = [shlex.quote(f"{name}={value}") for name, value in _PLAIN_ENV.items() if name not in self.env]
        masked = [shlex.quote(f"{name}={_MASK}") for name in self.env]
        place = "" if self.cwd == "/" else f"cd {shlex.quote(self.cwd)} && "
        return place + " ".join(["env -i", *plain, *masked, shlex.join(self.argv)])

    async def run(self, context: Context) -> Reading:
        """What the plugin says."""
        allowed_s = context.timeout_s
        try:
            # Starting a program from a dead mount would hang the whole loop: a thread looks at it first.
            fault = await context.blocking.run("command", self._fault, allowed_s * 0.9)
        except TimeoutError:
            fault = f"{self.argv[0]} or {self.cwd} cannot be reached: does the disk or mount they are on hang?"
        if fault:
            return _unknown(fault, phase="start")
        try:
            ending = await _programs(context).run(
                self.argv,
                env=_PLAIN_ENV | {name: value.get_secret_value() for name, value in self.env.items()},
                cwd=self.cwd,
                timeout_s=context.timeout_s - min(0.1, 0.1 * allowed_s),  # time to answer before the run's own deadline
                blocking=context.blocking,
            )
        except NoFreeSlot:
            return _unknown(
                f"{self._name} did not get its turn within {limit(allowed_s)}: "
                f"{_programs(context).limit} other commands were running, "
                "as many as may at once; run them less often or give them shorter timeouts",
                phase="start",
            )
        except OSError as error:
            return _unknown(f"{self.argv[0]} could not be started: {_start_fault(error)}", phase="start")
        return self._judge(ending, allowed_s)

    @property
    def _name(self) -> str:
        return PurePosixPath(self.argv[0]).name

    def _fault(self) -> str:
        """Why the program cannot be started, with the way out; empty when it can. May block on a dead mount."""
        program = self.argv[0]
        try:
            is_file = stat.S_ISREG(os.stat(program).st_mode)
        except FileNotFoundError:
            return f"{program} does not exist: install the plugin or correct argv"
        except OSError as error:
            return f"{program} cannot be reached: {error.strerror}; correct argv or the rights of its folders"
        if not is_file:
            return f"{program} is not a program but a folder or device: correct argv"
        if not os.access(program, os.X_OK):
            return f"{program} is not executable for the user that runs Watchroom: chmod +x, or correct argv"
        if not os.path.isdir(self.cwd):
            return f"cwd {self.cwd} is not a folder: make it or correct cwd"
        return ""

    def _judge(self, ending: Ending, allowed_s: float) -> Reading:
        """The reading that the ending means. An odd ending is unknown: nobody can tell whether plugin or target failed."""
        printed, code = readable(ending.stdout).strip(), ending.exit_code
        oddity = _oddity(code, printed, allowed_s)
        if oddity or code is None:
            said = printed or readable(ending.stderr).strip()
            return Reading(
                status=Status.UNKNOWN,
                summary=f"{self._name} {oddity}" + (f"; it said: {said.splitlines()[-1]}" if said else ""),
                detail=Detail(phase="deadline" if code is None else "exit", excerpt=said, facts=_facts(ending)),
            )
        output = parse(printed)
        status = Status(code)
        facts = _facts(ending) | {f"{name}, the plugin's range": text for name, text in output.ranges.items()}
        if output.faults:
            facts["performance data not understood"] = " ".join(output.faults[:5])
        return Reading(
            status=status,
            summary=output.summary or f"{self._name} says {status.word} without a word",
            metrics=output.metrics,
            detail=Detail(excerpt=output.text, facts=facts),
        )


def _oddity(exit_code: int | None, printed: str, allowed_s: float) -> str:
    """What about the ending keeps it from being a plugin's answer; empty for an answer."""
    if exit_code is None:
        return (
            f"gave no answer within {limit(allowed_s)} and was ended: "
            "raise the check's timeout, or give the plugin a shorter one of its own (often -t)"
        )
    if exit_code < 0:
        return f"was ended by signal {_signal_name(-exit_code)}"
    if exit_code > Status.UNKNOWN:
        return f"ended with exit code {exit_code}, a plugin's are 0 to 3"
    return "" if printed else f"said nothing on its standard output (exit code {exit_code})"


def _facts(ending: Ending) -> dict[str, str]:
    facts = {}
    if ending.exit_code is not None and ending.exit_code >= 0:
        facts["exit code"] = str(ending.exit_code)
    if ending.dropped_bytes:
        facts["output"] = f"cut, {ending.dropped_bytes} bytes dropped"
    return facts


def _programs(context: Context) -> Programs:
    """The one runner of programs that all command checks of a prober share."""
    programs = context.shared.get("programs")
    if not isinstance(programs, Programs):
        programs = context.shared["programs"] = Programs(2 * (os.cpu_count() or 1))
    return programs


def _unknown(summary: str, *, phase: str) -> Reading:
    return Reading(status=Status.UNKNOWN, summary=summary, detail=Detail(phase=phase))


def _start_fault(error: OSError) -> str:
    if isinstance(error, FileNotFoundError):
        return "the interpreter that its first line names does not exist"
    if isinstance(error, PermissionError):
        return "permission denied; is its disk mounted noexec, or its interpreter not executable?"
    reason = error.strerror or str(error)
    return f"{reason}; a script needs a first line such as #!/bin/sh" if reason == "Exec format error" else reason


def _signal_name(number: int) -> str:
    try:
        return f"{number} ({signal.Signals(number).name})"
    except ValueError:
        return str(number)
