"""What the tests of backup and restore share: archives made by hand, and what a data directory holds."""

from __future__ import annotations

import gzip
import hashlib
import json
import tarfile
from collections.abc import Iterable, Sequence
from pathlib import Path

CONTENT = {
    "FORMAT": b'{"format":2}\n',
    "documents/0000000001.ndj": b"",
    "results/0000000003.ndj": b"line\n" * 500,
    "results/000000000001-000000000250.seg": bytes(range(256)) * 20,
}

Member = tuple[tarfile.TarInfo, bytes]


def digests(directory: Path) -> dict[str, str]:
    """The digest of every file that a backup has, by name."""
    found = [*directory.glob("FORMAT"), *(path for path in directory.glob("*/*") if path.is_file())]
    return {str(path.relative_to(directory)): hashlib.sha256(path.read_bytes()).hexdigest() for path in found}


def manifest(content: dict[str, bytes] | None = None, **changes: object) -> dict[str, object]:
    files = [entry(name, data) for name, data in (CONTENT if content is None else content).items()]
    about = {"format": 2, "version": "0.1.0", "created_at": "2026-11-24T13:25:08Z", "files": files}
    return about | changes


def entry(name: str, data: bytes, **changes: object) -> dict[str, object]:
    digest = hashlib.sha256(data).hexdigest()
    return {"name": name, "size": len(data), "sha256": digest, "mode": 0o600} | changes


def member(name: str, data: bytes = b"", kind: bytes = tarfile.REGTYPE, **changes: object) -> Member:
    info = tarfile.TarInfo(name)
    info.size, info.mode, info.type = len(data), 0o600, kind
    for attribute, value in changes.items():
        setattr(info, attribute, value)
    return info, data


def members(content: dict[str, bytes] | None = None) -> list[Member]:
    return [member(name, data) for name, data in (CONTENT if content is None else content).items()]


def tar(first: object, rest: Sequence[Member], *, end: bytes = bytes(1024)) -> bytes:
    """The blocks of an archive: a manifest, then whatever else."""
    head = first if isinstance(first, bytes) else json.dumps(first).encode()
    blocks: list[bytes] = []
    for info, data in [member("manifest.json", head), *rest]:
        blocks += [info.tobuf(tarfile.GNU_FORMAT, "utf-8", "surrogateescape"), data, bytes(-len(data) % 512)]
    return b"".join([*blocks, end])


def pack(path: Path, pieces: bytes | Iterable[bytes]) -> Path:
    with gzip.open(path, "wb", compresslevel=1) as file:
        for piece in [pieces] if isinstance(pieces, bytes) else pieces:
            file.write(piece)
    return path
