"""Watchroom as a user starts it: `python run.py` over a folder of its own, spoken to over HTTP, killed and started again."""

from __future__ import annotations

import contextlib
import http.server
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import psutil

ROOT = Path(__file__).parents[1]
T = TypeVar("T")


def eventually(look: Callable[[], T], timeout_s: float = 15.0, every_s: float = 0.05) -> T:
    """The first true thing that `look` gives; AssertionError with the last one when time is up."""
    end_s = time.monotonic() + timeout_s
    while True:
        seen = look()
        if seen:
            return seen
        assert time.monotonic() < end_s, f"not within {timeout_s} s; last seen: {seen!r}"
        time.sleep(every_s)


class Product:
    """One Watchroom: a folder with its configuration and data, and the process pair while it runs."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.data = folder / "data"
        self.config = folder / "watchroom.yaml"
        self.process: subprocess.Popen[bytes] | None = None
        self.url = ""

    def configure(self, text: str) -> None:
        """Write the file as an editor does."""
        fresh = self.config.with_suffix(".new")
        fresh.write_text(text, "utf-8")
        fresh.chmod(0o600)
        fresh.replace(self.config)

    def environ(self) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("WATCHROOM_")}
        return kept | {"PYTHONPATH": str(ROOT)}

    def start(self) -> None:
        """Start on any free port and wait for the greeting."""
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, str(ROOT / "run.py"), "--port", "0"],
                cwd=self.folder,
                env=self.environ(),
                stdout=subprocess.PIPE,
                stderr=log,
                start_new_session=True,
            )
        assert self.process.stdout is not None
        greeting = self.process.stdout.readline().decode()
        assert "http://" in greeting, (self.folder / "log").read_text()
        self.url = next(word for word in greeting.split() if word.startswith("http://"))

    def stop(self) -> int:
        """SIGTERM, and the exit code."""
        assert self.process is not None
        self.process.terminate()
        return self._reap()

    def kill(self) -> None:
        """kill -9 both processes at once."""
        assert self.process is not None
        prober = self.prober()
        self.process.kill()
        if prober is not None:
            prober.kill()
            prober.wait(10)
        self._reap()

    def prober(self) -> psutil.Process | None:
        """The other process of the pair, while both are there."""
        assert self.process is not None
        with contextlib.suppress(psutil.Error):
            return next(iter(psutil.Process(self.process.pid).children()), None)
        return None

    def hang_up(self) -> None:
        """SIGHUP: read the configuration again."""
        assert self.process is not None
        self.process.send_signal(signal.SIGHUP)

    def _reap(self) -> int:
        assert self.process is not None
        assert self.process.stdout is not None
        code = self.process.wait(20)
        self.process.stdout.close()
        self.process = None
        return code

    def get(self, path: str) -> bytes:
        with urllib.request.urlopen(self.url + path, timeout=10) as answer:
            return bytes(answer.read())

    def health(self) -> dict[str, Any]:
        """What /healthz says, also when it says so with 503."""
        try:
            return json.loads(self.get("/healthz"))
        except urllib.error.HTTPError as error:
            with error:
                return json.loads(error.read())

    def count(self, word: str) -> int:
        """The number beside a status word at the top of the overview."""
        found = re.search(rf"<b>(\d+)</b>\s*(?:<span>)?{word}", self.get("/").decode())
        assert found, f"the overview does not count {word}"
        return int(found[1])

    def rows(self, **params: str) -> list[dict[str, Any]]:
        query = "&".join(f"{name}={value}" for name, value in ({"format": "json"} | params).items())
        return json.loads(self.get(f"/export?dataset=results&{query}"))

    def command(self, *arguments: str, timeout_s: float = 60.0) -> subprocess.CompletedProcess[str]:
        """`python run.py ...` in the folder, to its end."""
        return subprocess.run(
            [sys.executable, str(ROOT / "run.py"), *arguments],
            cwd=self.folder,
            env=self.environ(),
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
        )


@contextlib.contextmanager
def product(folder: Path) -> Iterator[Product]:
    """A Watchroom that is gone at the end, whatever happened."""
    made = Product(folder)
    try:
        yield made
    finally:
        if made.process is not None:
            made.kill()


class Target:
    """A web server that can be stopped and started on the same port."""

    def __init__(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as probe:
            self.port: int = probe.getsockname()[1]
        self._server: http.server.ThreadingHTTPServer | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/health"

    def start(self) -> None:
        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                body = b"ready"
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *arguments: object) -> None: ...

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", self.port), Handler)
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    def stop(self) -> None:
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None


@contextlib.contextmanager
def target() -> Iterator[Target]:
    """A running target."""
    made = Target()
    made.start()
    try:
        yield made
    finally:
        made.stop()
