"""A server that answers commands as it is told, at the address that the data directory names."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path


@dataclass
class FakeServer:
    """Answers as told and remembers what it was asked."""

    answer: Callable[[], tuple[int, bytes]]
    asked: list[tuple[str, dict[str, str], object]] = field(default_factory=list)


@contextmanager
def serving(folder: Path, status: int, body: object, *, pid: int | None = None) -> Iterator[FakeServer]:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    fake = FakeServer(answer=lambda: (status, raw))

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            sent = self.rfile.read(int(self.headers["Content-Length"]))
            fake.asked.append((self.path, dict(self.headers), json.loads(sent)))
            code, answer = fake.answer()
            self.send_response(code)
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, format: str, *args: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        write_address(folder, f"http://127.0.0.1:{server.server_port}", pid)
        try:
            yield fake
        finally:
            server.shutdown()
            thread.join()


def write_address(folder: Path, url: str, pid: int | None = None) -> None:
    (folder / "data").mkdir(exist_ok=True)
    address = {"url": url, "token": "t0ken", "pid": pid or os.getpid()}
    (folder / "data" / "server.json").write_text(json.dumps(address))
