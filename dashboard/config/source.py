"""The configuration file as text, or the fault in its bytes in words."""

from __future__ import annotations

import codecs
import re
import stat
from pathlib import Path

from dashboard.errors import ConfigError, Problem

SIZE_LIMIT_BYTES = 8 * 1024 * 1024  # 10,000 checks of 15 lines each are 4 MiB
_WIDE_MARKS = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE, codecs.BOM_UTF32_BE)
_UNPRINTABLE = re.compile("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def read_text(path: Path) -> tuple[str, bool]:
    """The file's text, and whether others than its owner may write to it. Raises ConfigError."""
    try:
        mode = path.stat().st_mode
        if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):  # opening a pipe would wait for its writer
            raise _fault(path, "is not a regular file: name a YAML file")
        with path.open("rb") as file:
            raw = file.read(SIZE_LIMIT_BYTES + 1)
    except FileNotFoundError as error:
        raise _fault(path, "does not exist: check the path, or copy watchroom.example.yaml there") from error
    except IsADirectoryError as error:
        raise _fault(path, "is a directory: name a YAML file in it") from error
    except PermissionError as error:
        raise _fault(path, "cannot be read: this user has no permission") from error
    except (OSError, ValueError) as error:
        raise _fault(path, f"cannot be read: {error}") from error
    if len(raw) > SIZE_LIMIT_BYTES:
        raise _fault(path, f"is larger than {SIZE_LIMIT_BYTES // 1024 // 1024} MiB")
    return decode(raw, path), bool(mode & (stat.S_IWGRP | stat.S_IWOTH))


def decode(raw: bytes, path: Path) -> str:
    """The bytes as text: UTF-8, a byte order mark allowed. Raises ConfigError that names the line at fault."""
    if raw.startswith(_WIDE_MARKS) or raw[:4:2] == b"\0\0" or raw[1:4:2] == b"\0\0":
        raise _fault(path, "is UTF-16 or UTF-32: save it as UTF-8")
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise _fault(path, f"is not UTF-8 (byte 0x{raw[error.start]:02x}): save it as UTF-8", line) from error
    if not text.strip():
        raise _fault(path, "is empty: it needs at least `checks:`, see watchroom.example.yaml")
    if bad := _UNPRINTABLE.search(text):
        line = text.count("\n", 0, bad.start()) + 1
        name = "a NUL byte" if bad.group() == "\0" else f"the control character U+{ord(bad.group()):04X}"
        raise _fault(path, f"holds {name}: remove it", line)
    return text


def _fault(path: Path, message: str, line: int = 0) -> ConfigError:
    return ConfigError([Problem(message=f"{path} {message}", line=line)], source=str(path))
