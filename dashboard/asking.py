"""Asks the running server to do something: its address and token stand in the data directory, for this user alone."""

from __future__ import annotations

import http.client
import os
import urllib.error
import urllib.parse
import urllib.request
from http import HTTPStatus
from pathlib import Path
from typing import TypeVar

import orjson
from pydantic import BaseModel, ConfigDict, ValidationError

from checks.base import Status
from dashboard.errors import RunRefused
from dashboard.model import Result

SERVER_FILE = "server.json"
_GRACE_S = 10.0  # what the server may take on top of the wait that was asked for
_LONG_S = 600.0  # to forget a check is to write what it shared files with anew
_ANSWER_LIMIT_BYTES = 4 * 1024 * 1024


class ServerGone(Exception):
    """No server answers for this data directory."""


class ServerSilent(RunRefused):
    """A process is there and says nothing sensible in time."""


class ServerAddress(BaseModel):
    """Where the running server is, and the token that lets this user in."""

    model_config = ConfigDict(frozen=True, hide_input_in_errors=True)

    url: str
    token: str
    pid: int


class Answer(BaseModel):
    """A recorded result as the server tells it."""

    model_config = ConfigDict(frozen=True, hide_input_in_errors=True)

    check_id: str
    at: str
    status: str
    summary: str
    duration_s: float
    trigger: str = "manual"
    by: str = ""
    worker: str = ""
    metrics: dict[str, float] = {}

    @classmethod
    def of(cls, result: Result) -> Answer:
        """The same for a result of our own."""
        return cls(
            check_id=result.check_id,
            at=result.at.isoformat(),
            status=result.status.word,
            summary=result.summary,
            duration_s=result.duration_s,
            trigger=result.trigger,
            by=result.by,
            worker=result.worker,
            metrics=dict(result.metrics),
        )

    @property
    def exit_code(self) -> int:
        """0 to 3, as monitoring plugins exit; 3 for a word nobody knows."""
        try:
            return int(Status.of(self.status))
        except KeyError:
            return int(Status.UNKNOWN)


class Forgotten(BaseModel):
    """How many results were forgotten."""

    model_config = ConfigDict(frozen=True, hide_input_in_errors=True)

    rows: int


Understood = TypeVar("Understood", bound=BaseModel)


def find_server(data: Path) -> ServerAddress:
    """The server that works on the data directory. Raises ServerGone when there is none."""
    try:
        address = ServerAddress.model_validate_json((data / SERVER_FILE).read_bytes())
        os.kill(address.pid, 0)
    except PermissionError as error:
        if error.filename is None:  # the file is ours, the process is not: another one got the dead server's pid
            raise ServerGone(str(data)) from error
        raise RunRefused(f"{error.filename}: only the user who runs the server may ask it") from error
    except (OSError, OverflowError, ValidationError) as error:
        raise ServerGone(str(data)) from error
    return address


def ask_for_run(address: ServerAddress, check_id: str, *, user: str, wait_s: float) -> Answer:
    """The result of a run that starts now, or of the one in progress. Raises RunRefused, ServerGone."""
    path = f"/checks/{urllib.parse.quote(check_id, safe='')}/run"
    status, body = _post(address, path, {"wait_s": wait_s}, user=user, timeout_s=wait_s + _GRACE_S)
    if status == HTTPStatus.ACCEPTED:
        raise RunRefused(f"no result within {wait_s:g} s; the run goes on, and its result will be on the page")
    return _understood(Answer, address, body)


def ask_to_compact(address: ServerAddress, *, user: str) -> None:
    """Let the server begin to seal, merge and clear away. Raises RunRefused, ServerSilent, ServerGone."""
    _post(address, "/system/compact", {}, user=user, timeout_s=_GRACE_S)


def ask_to_forget(address: ServerAddress, check_id: str, *, user: str) -> int:
    """Let the server forget the history of a check; how many results. Raises RunRefused, ServerSilent, ServerGone."""
    _, body = _post(address, "/system/forget", {"check_id": check_id}, user=user, timeout_s=_LONG_S)
    return _understood(Forgotten, address, body).rows


def _post(
    address: ServerAddress, path: str, body: dict[str, object], *, user: str, timeout_s: float
) -> tuple[int, bytes]:
    """The status and the body of a good answer. Raises RunRefused, ServerSilent, ServerGone."""
    request = urllib.request.Request(  # noqa: S310 - the address is the one our own server wrote
        address.url.rstrip("/") + path,
        method="POST",
        data=orjson.dumps(body),
        headers={
            "Authorization": f"Bearer {address.token}",
            "X-Watchroom-By": user,
            "Accept": "application/json",
            "Content-Type": "application/json",
        },
    )
    straight = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # never by a proxy: the server is here
    try:
        with straight.open(request, timeout=timeout_s) as response:
            return response.status, response.read(_ANSWER_LIMIT_BYTES)
    except urllib.error.HTTPError as error:
        with error:
            raise RunRefused(_refusal(error.code, error.read(_ANSWER_LIMIT_BYTES))) from error
    except (OSError, http.client.HTTPException) as error:
        reason = error.reason if isinstance(error, urllib.error.URLError) else error
        if isinstance(reason, ConnectionRefusedError):
            raise ServerGone(address.url) from error
        if isinstance(reason, TimeoutError):
            raise ServerSilent(f"{address.url} gave no answer within {timeout_s:g} s") from error
        raise ServerSilent(f"{address.url} did not answer: {reason}") from error


def _understood(kind: type[Understood], address: ServerAddress, body: bytes) -> Understood:
    try:
        return kind.model_validate_json(body)
    except ValidationError as error:
        raise RunRefused(f"{address.url} gave an answer that makes no sense: is that another program?") from error


def _refusal(code: int, body: bytes) -> str:
    try:
        answer = orjson.loads(body)
    except orjson.JSONDecodeError:
        answer = None
    said = answer.get("error") if isinstance(answer, dict) else None
    return said if isinstance(said, str) and said else f"the server refused with HTTP status {code}"
