"""The one place that wires: store -> pipeline -> prober -> pages, started in this order and stopped in reverse."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import gc
import logging
import os
import queue
import secrets
import signal
import threading
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import FrameType

import orjson

import dashboard
from dashboard import config
from dashboard.asking import SERVER_FILE
from dashboard.clock import SystemClock
from dashboard.engine.board import LiveBoard
from dashboard.engine.own import OwnWatch
from dashboard.engine.pipeline import Pipeline
from dashboard.engine.runs import RunDesk
from dashboard.engine.upkeep import StoreUpkeep
from dashboard.errors import ConfigError, LinkError, UnknownCheck
from dashboard.logs import JsonLines, start_log
from dashboard.model import Result, RunPhase, Settings
from dashboard.prober.supervisor import ProberSupervisor
from dashboard.storage.base import History
from dashboard.storage.store import TinyStore
from dashboard.storage.workshop import HelperProcess

logger = logging.getLogger(__name__)

TICK_S = 1.0
_M_ARENA_MAX, _M_MMAP_THRESHOLD = -8, -3  # malloc.h
ROOM_S = 5.0  # what a single run waits for room on a full disk; a server waits on
STOP_S = 7.0  # for the prober; all of it ends within 10 s


@dataclass(frozen=True, slots=True, kw_only=True)
class Wishes:
    """What the command line and the environment asked for; None where the file decides."""

    config: Path | None = None
    data: Path | None = None
    host: str | None = None
    port: int | None = None

    def settings(self) -> Settings:
        """The configuration as it stands now. Raises ConfigError."""
        return config.load(self.config, environ=os.environ, host=self.host, port=self.port, data=self.data)


class Watchroom:
    """Everything behind the pages; the Services of dashboard.engine.ports.

    `start` takes the LOCK and begins to measure; the prober starts while the store still replays, and its results wait.
    """

    def __init__(self, settings: Settings, wishes: Wishes, log_lines: JsonLines) -> None:
        self.settings = settings
        self._wishes = wishes
        self._log_lines = log_lines
        self._clock = SystemClock()
        self._store = TinyStore(settings.data, self._clock, workshop=HelperProcess())
        self._is_ready = threading.Event()
        self._config_problems: tuple[str, ...] = ()
        self.history: History = self._store
        self.board = LiveBoard(boot=secrets.token_hex(4), clock=self._clock)
        self.pipeline = Pipeline(self._store, self.board)
        self.prober = ProberSupervisor(on_results=self._take, on_run=self._show_run, clock=self._clock)
        self.runs = RunDesk(board=self.board, history=self._store, ask=self.prober.run_now, clock=self._clock)
        self.own = OwnWatch(
            prober=self.prober, history=self._store, config_problems=lambda: self._config_problems, clock=self._clock
        )
        self.upkeep = StoreUpkeep(
            self._store,
            wake=self._store.rotated,
            is_configured=self._is_configured,
            clock=self._clock,
            on_forget=self.pipeline.forget,
        )
        self._troubles: tuple[str, ...] = ()

    def start(self) -> None:
        """Begin to measure and to remember. Raises StoreLocked, StoreUnavailable."""
        self._store.open()
        _keep(self._store, self.settings)
        self._log_lines.secrets = _secrets(self.settings)
        self.prober.start(self.settings.checks, commands_enabled=self.settings.commands_enabled)
        self.pipeline.start()
        self.pipeline.configure(self.settings.checks, self.settings.broken)
        _tell_broken(self.settings)
        self._is_ready.set()
        self.upkeep.start()

    def stop(self) -> None:
        """Let the prober hand over what it has, then close the store; idempotent."""
        self.board.wake()
        self.upkeep.stop()
        self.prober.stop(STOP_S)
        self._store.close()

    def tick(self) -> None:
        """Let a second pass: results age, troubles show."""
        self.board.tick()
        troubles = self.own_troubles()
        if troubles != self._troubles:
            self._troubles = troubles
            self.board.touch()

    def own_troubles(self) -> tuple[str, ...]:
        """What is wrong with Watchroom itself, in sentences, the configuration included."""
        health = self.own.health()
        return (*health.troubles, *health.config_problems)

    def reload(self) -> None:
        """Read the configuration again; one that cannot be used, or went away, is refused, and the last good one runs on."""
        try:
            settings = replace(self._wishes, config=self._wishes.config or self.settings.source).settings()
            self.prober.configure(settings.checks, commands_enabled=settings.commands_enabled)
        except ConfigError as error:
            self._refuse(tuple(str(problem) for problem in error.problems))
            return
        except LinkError as error:
            self._refuse((f"the prober cannot take these checks: {error}",))
            return
        difference = config.diff(self.settings, settings)
        for sentence in difference.needs_restart:
            logger.warning(sentence)
        self._log_lines.secrets = _secrets(settings)
        _keep(self._store, settings)
        self.pipeline.configure(settings.checks, settings.broken)
        self.settings = config.until_restart(self.settings, settings)
        self._config_problems = difference.needs_restart
        self.board.touch()
        logger.info(
            "configuration read again: %d checks added, %d removed, %d changed",
            len(difference.added),
            len(difference.removed),
            len(difference.changed),
        )
        _tell_broken(settings)

    def _is_configured(self, check_id: str) -> bool:
        settings = self.settings
        return check_id in {check.id for check in settings.checks} | {broken.id for broken in settings.broken}

    def _refuse(self, problems: tuple[str, ...]) -> None:
        self._config_problems = problems
        self.board.touch()
        for problem in problems:
            logger.error("configuration refused, the last good one runs on: %s", problem)

    def _take(self, results: Sequence[Result]) -> None:
        self._is_ready.wait()
        self.pipeline.record(results)

    def _show_run(self, check_id: str, phase: RunPhase | None, by: str) -> None:
        self.board.run_changed(check_id, phase)


def serve(*, config: Path | None, data: Path | None, host: str | None, port: int | None) -> int:
    """Serve until SIGTERM or Ctrl-C; SIGHUP reads the configuration again. The exit code.

    Raises ConfigError, StoreLocked, StoreUnavailable, and WatchroomError where the address cannot be served.
    """
    tune_memory()
    signals = _listen_for_signals()
    wishes = Wishes(config=config, data=data, host=host, port=port)
    settings = wishes.settings()
    log_lines = start_log()
    watchroom = Watchroom(settings, wishes, log_lines)
    try:
        watchroom.start()
        _serve_pages(watchroom, signals)
    finally:
        watchroom.stop()
    return 0


def tune_memory() -> None:
    """Look for garbage less often (replaying a million rows makes none: -15 %), let all threads share two heaps, and give
    large blocks back at once.

    With a heap a thread, one export over HTTP grew the process by 20 MB; with two, by little. glibc keeps blocks of a size
    that was freed once: an export peaked at 11 MB, now at 9.
    """
    gc.set_threshold(50_000, 20, 20)
    with contextlib.suppress(OSError, AttributeError):  # glibc only
        libc = ctypes.CDLL(None)
        libc.mallopt(_M_ARENA_MAX, 2)
        libc.mallopt(_M_MMAP_THRESHOLD, 256 * 1024)


def _serve_pages(watchroom: Watchroom, signals: queue.SimpleQueue[int]) -> None:
    from dashboard.web.security import refuse_open_bind
    from dashboard.web.server import WebServer

    settings = watchroom.settings
    refuse_open_bind(settings)
    app = dashboard.create_app(settings, watchroom)
    token = app.config["WATCHROOM_TOKEN"] = secrets.token_urlsafe(32)
    server = WebServer(app, settings.server.host, settings.server.port)
    server_file = settings.data / SERVER_FILE
    try:
        _tell_commands(server_file, {"url": server.url, "token": token, "pid": os.getpid()})
        server.start()
        print(_greeting(settings, server.url), flush=True)  # noqa: T201 - the one line for the person who started us
        _obey(watchroom, signals)
    finally:
        server_file.unlink(missing_ok=True)
        stopping = threading.Thread(target=server.stop, name="web stop")
        stopping.start()
        watchroom.stop()
        stopping.join()


def _obey(watchroom: Watchroom, signals: queue.SimpleQueue[int]) -> None:
    """Let time pass until a signal ends it."""
    while True:
        try:
            number = signals.get(timeout=TICK_S)
        except queue.Empty:
            watchroom.tick()
            continue
        if number != signal.SIGHUP:
            logger.info("stopping: %s", signal.Signals(number).name)
            return
        watchroom.reload()


def _listen_for_signals() -> queue.SimpleQueue[int]:
    """A queue of the signals that come. Putting into it is safe inside a handler, setting an Event is not."""
    signals: queue.SimpleQueue[int] = queue.SimpleQueue()

    def note(number: int, frame: FrameType | None) -> None:
        signals.put(number)

    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, note)
    return signals


def run_once(settings: Settings, check_id: str, by: str) -> Result:
    """Run one check in this process, where no server runs, and record it.

    Raises UnknownCheck, StoreLocked, StoreUnavailable, and StoreFull when the disk has no room for some seconds.
    """
    from checks._tools import Tools
    from dashboard.prober.runner import Runner
    from dashboard.prober.workers import Threads

    check = next((check for check in settings.checks if check.id == check_id), None)
    if check is None:
        fault = next((broken.fault for broken in settings.broken if broken.id == check_id), "")
        raise UnknownCheck(f"check {check_id!r} cannot run: {fault}" if fault else f"no check has the id {check_id!r}")
    clock = SystemClock()
    store = TinyStore(settings.data, clock)
    recorded: list[Result] = []

    async def measure() -> Result:
        async with Tools(blocking=Threads(), clock=clock) as tools:
            runner = Runner(tools, worker="cli", clock=clock)
            runner.commands_enabled = settings.commands_enabled
            return await runner.run(check, "manual", by)

    patience = threading.Timer(ROOM_S, store.close)
    store.open()
    try:
        recorded.append(asyncio.run(measure()))
        pipeline = Pipeline(store, LiveBoard(boot="cli", clock=clock))
        pipeline.start()
        pipeline.configure([check], [])
        patience.start()
        pipeline.record(recorded)
        store.maintain(clock.now())
    finally:
        patience.cancel()
        store.close()
    return recorded[0]


def _tell_broken(settings: Settings) -> None:
    for broken in settings.broken:
        logger.warning("check %r will not run: %s", broken.id, broken.fault)


def _keep(store: TinyStore, settings: Settings) -> None:
    differing = {check.id: check.retention for check in settings.checks if check.retention}
    differing |= {broken.id: broken.retention for broken in settings.broken if broken.retention}
    store.keep(settings.retention, differing)


def _secrets(settings: Settings) -> frozenset[str]:
    return frozenset(secret for check in settings.checks for secret in check.secrets)


def _tell_commands(path: Path, content: dict[str, object]) -> None:
    """Write where we are into a file that only this user can read, whole or not at all.

    A full disk is no reason not to serve: pages and history are read, only `python run.py run` does not find us.
    """
    fresh = path.with_suffix(".new")
    try:
        fresh.unlink(missing_ok=True)
        with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(orjson.dumps(content))
        fresh.replace(path)
    except OSError as error:
        logger.warning("%s: commands will not find this server: %s", path, error.strerror)
        with contextlib.suppress(OSError):
            fresh.unlink(missing_ok=True)


def _greeting(settings: Settings, url: str) -> str:
    count = len(settings.checks) + len(settings.broken)
    source = settings.source or "no file: this machine"
    return f"Watchroom {dashboard.__version__} on {url} ({count} checks from {source}, data in {settings.data})"
