"""All documents as one file: JSON that a person can read, and that no flipped bit goes unnoticed in."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from zlib import crc32

import orjson

from dashboard.errors import StoreUnavailable
from dashboard.storage.recording import JsonObject

SUFFIX = ".snap.json"
FORMAT = 1

Tables = dict[str, dict[str, JsonObject]]

_HEAD = b'{"crc32":"%08x",'  # of all that follows it
_HEAD_BYTES = len(_HEAD % 0)
_OLD_HEAD = b'{"generation":'  # its CRC-32 is of the tables alone


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """The tables as they were after the commit of that number."""

    sequence: int
    tables: Tables


def pack(snapshot: Snapshot) -> bytes:
    """The bytes of the file."""
    tables = orjson.dumps(snapshot.tables)
    body = b'"format":%d,"seq":%d,"tables":%b}\n' % (FORMAT, snapshot.sequence, tables)
    return _HEAD % crc32(body) + body


def read(path: Path) -> Snapshot | None:
    """What the file holds; None when it is damaged or the disk cannot read it.

    Raises PermissionError, and StoreUnavailable for one that a newer Watchroom wrote.
    """
    try:
        content = _content(path.read_bytes())
        if content is None:
            return None
        if content.get("format", FORMAT) > FORMAT:
            raise StoreUnavailable(f"{path}: has format {content['format']}, of a newer Watchroom: start that one")
        return Snapshot(sequence=content["seq"], tables=content["tables"])
    except PermissionError:
        raise
    except (OSError, orjson.JSONDecodeError, KeyError, TypeError):
        return None


def _content(data: bytes) -> JsonObject | None:
    """The JSON, where its CRC-32 is right."""
    if data.startswith(_OLD_HEAD):
        content: JsonObject = orjson.loads(data)
        is_sound = content["crc32"] == f"{crc32(orjson.dumps(content['tables'])):08x}"
    else:
        is_sound = data.startswith(_HEAD % crc32(data[_HEAD_BYTES:]))
        content = orjson.loads(data) if is_sound else {}
    return content if is_sound else None
