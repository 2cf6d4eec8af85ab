"""The log: one JSON object a line, and never a secret in it."""

from __future__ import annotations

import logging
import sys

import orjson

from dashboard.logs import JsonLines


def test_secrets_never_reach_the_log() -> None:
    lines = JsonLines()
    lines.secrets = ("s3cret",)
    try:
        raise ValueError("token s3cret")
    except ValueError:
        trouble = sys.exc_info()
    record = logging.LogRecord("prober", logging.ERROR, "", 0, "said %s", ("s3cret \udcff",), trouble)
    line = orjson.loads(lines.format(record))
    assert line["message"] == "said *** \\udcff"
    assert "token ***" in line["trace"]
    assert "s3cret" not in str(line)
