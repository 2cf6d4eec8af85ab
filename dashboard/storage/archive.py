"""The file of a backup: a .tar.gz of plain files, first of all a manifest with their names, sizes and digests.

It is read with nothing but the manifest's word: whatever the archive holds beyond it, lacks, or has otherwise is refused.
Headers that let a tar member be a link, a device or longer than it says are not even understood.
"""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import re
import tarfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Annotated

import orjson
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

from dashboard.errors import StoreError

MANIFEST = "manifest.json"
FOLDERS = ("documents", "results", "rollups", "quarantine")
PIECE_BYTES = 1024 * 1024

_BLOCK_BYTES = 512
_LEVEL = 1  # sealed files are compressed already
_GZIP = 31  # zlib's word for a gzip header
_LARGEST_MANIFEST_BYTES = 16 * 1024 * 1024  # some 100,000 files
_WORD = r"[0-9A-Za-z_-]+"
_NAME = re.compile(
    r"FORMAT"
    r"|documents/[0-9]{1,20}\.(?:snap\.json|ndj)"
    r"|results/[0-9]{1,20}\.ndj"
    rf"|results/{_WORD}(?:\.{_WORD})*\.seg"
    rf"|rollups/{_WORD}(?:\.{_WORD})*\.rol"
    rf"|quarantine/{_WORD}(?:\.{_WORD})*\.bad"
)
_LONGEST_NAME = 99  # what a plain tar header holds


def is_ours(name: str) -> bool:
    """Whether a data directory may have a file of that name, its folder before it, that belongs into a backup."""
    return len(name) <= _LONGEST_NAME and _NAME.fullmatch(name) is not None


class Entry(BaseModel):
    """One file of a backup."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    name: Annotated[str, Field(max_length=_LONGEST_NAME)]
    size: Annotated[int, Field(ge=0)]
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    mode: Annotated[int, Field(ge=0, le=0o777)]


class Manifest(BaseModel):
    """What a backup holds. `format` is that of the data directory, `version` the Watchroom that wrote it."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    format: Annotated[int, Field(ge=1)]
    version: Annotated[str, Field(pattern=r"^[0-9A-Za-z.+-]{1,64}$")]
    created_at: AwareDatetime
    files: tuple[Entry, ...]

    @property
    def size_bytes(self) -> int:
        """What the files take once they are restored."""
        return sum(entry.size for entry in self.files)


class ArchiveWriter:
    """Hands an archive to `write`, in the order of the manifest. `finish` makes it whole."""

    def __init__(self, write: Callable[[bytes], None], manifest: Manifest) -> None:
        self._write = write
        self._at_s = int(manifest.created_at.timestamp())
        self._zip = zlib.compressobj(_LEVEL, zlib.DEFLATED, _GZIP)
        content = manifest.model_dump_json().encode()
        self.add(Entry(name=MANIFEST, size=len(content), sha256=_digest([content]), mode=0o600), [content])

    def add(self, entry: Entry, pieces: Iterable[bytes]) -> None:
        """Write one file. Raises ValueError when the pieces are not what the entry says."""
        info = tarfile.TarInfo(entry.name)
        info.size, info.mode, info.mtime = entry.size, entry.mode, self._at_s
        self._put(info.tobuf(tarfile.GNU_FORMAT))
        if _digest(self._written(pieces)) != entry.sha256:
            raise ValueError(entry.name)
        self._put(bytes(-entry.size % _BLOCK_BYTES))

    def finish(self) -> None:
        """Write the end."""
        self._put(bytes(2 * _BLOCK_BYTES))
        self._write(self._zip.flush())

    def _written(self, pieces: Iterable[bytes]) -> Iterator[bytes]:
        for piece in pieces:
            self._put(piece)
            yield piece

    def _put(self, data: bytes) -> None:
        if packed := self._zip.compress(data):
            self._write(packed)


class ArchiveReader:
    """An archive that is read from its start to its end, once. Raises StoreError for whatever is not as it should be."""

    def __init__(self, path: Path, stream: gzip.GzipFile, *, newest_format: int) -> None:
        self._path = path
        self._stream = stream
        self.manifest = self._read_manifest(newest_format)

    def files(self) -> Iterator[tuple[Entry, Iterator[bytes]]]:
        """Every file with its content in pieces; whoever stops before the last piece learns nothing of its digest."""
        for entry in self.manifest.files:
            name, size = self._header() or ("", 0)
            if not name:
                raise self._fault(f"it ends before {entry.name}")
            if name != entry.name:
                raise self._fault(f"{name!a} stands where its manifest says {entry.name}")
            if size != entry.size:
                raise self._fault(f"{name} has {size} bytes, and its manifest says {entry.size}")
            yield entry, self._content(entry)
        if extra := self._header():
            raise self._fault(f"{extra[0]!a} is not in its manifest")
        if any(self._take(_BLOCK_BYTES)) or self._read(1):
            raise self._fault("something follows its end")

    def verify(self) -> None:
        """Read all of it."""
        for _entry, pieces in self.files():
            for _piece in pieces:
                pass

    def _read_manifest(self, newest_format: int) -> Manifest:
        name, size = self._header() or ("", 0)
        if name != MANIFEST:
            raise self._fault(f"it does not begin with {MANIFEST}")
        if size > _LARGEST_MANIFEST_BYTES:
            raise self._fault(f"its manifest claims {size} bytes")
        content = self._take(size)
        self._skip_padding(size)
        self._refuse_newer(content, newest_format)
        try:
            manifest = Manifest.model_validate_json(content)
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            where = ".".join(map(str, first["loc"]))
            raise self._fault(f"its manifest is wrong: {where!a}: {first['msg']}") from error
        names = [entry.name for entry in manifest.files]
        for name in names:
            if not is_ours(name):
                raise self._fault(f"{name!a} is not the name of a file that a data directory has")
        if len(names) != len(set(names)):
            raise self._fault("its manifest names a file twice")
        return manifest

    def _refuse_newer(self, content: bytes, newest_format: int) -> None:
        with contextlib.suppress(orjson.JSONDecodeError):
            claim = orjson.loads(content)
            found = claim.get("format") if isinstance(claim, dict) else None
            if isinstance(found, int) and found > newest_format:
                raise StoreError(
                    f"{self._path}: is a backup of format {found}, and this Watchroom knows formats up to {newest_format}; "
                    f"restore it with the version that wrote it or a newer one"
                )

    def _header(self) -> tuple[str, int] | None:
        """Name and size of the next file; None at the end."""
        block = self._take(_BLOCK_BYTES)
        if not any(block):
            return None
        try:
            info = tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")
        except tarfile.HeaderError as error:
            raise self._fault(f"a header cannot be read: {error}") from error
        if info.type != tarfile.REGTYPE or info.size < 0:
            raise self._fault(f"{info.name!a} is not a plain file")
        return info.name, info.size

    def _content(self, entry: Entry) -> Iterator[bytes]:
        digest = hashlib.sha256()
        rest = entry.size
        while rest:
            piece = self._take(min(PIECE_BYTES, rest))
            digest.update(piece)
            rest -= len(piece)
            yield piece
        self._skip_padding(entry.size)
        if digest.hexdigest() != entry.sha256:
            raise self._fault(f"{entry.name} is damaged: its digest is not that of the manifest")

    def _skip_padding(self, size: int) -> None:
        self._take(-size % _BLOCK_BYTES)

    def _take(self, size: int) -> bytes:
        data = self._read(size)
        if len(data) != size:
            raise self._fault("it ends in the middle")
        return data

    def _read(self, size: int) -> bytes:
        try:
            return self._stream.read(size)
        except (gzip.BadGzipFile, EOFError, zlib.error) as error:
            raise self._fault(f"it is damaged or no backup at all: {error}") from error

    def _fault(self, what: str) -> StoreError:
        return StoreError(f"{self._path}: cannot be trusted: {what}; take another backup")


@contextlib.contextmanager
def read_archive(path: Path, *, newest_format: int) -> Iterator[ArchiveReader]:
    """The archive in that file. Raises StoreError, OSError."""
    if path.exists() and not path.is_file():
        raise StoreError(f"{path}: is not a file; name the file that `backup` wrote")
    with gzip.open(path, "rb") as stream:
        yield ArchiveReader(path, stream, newest_format=newest_format)


def _digest(pieces: Iterable[bytes]) -> str:
    digest = hashlib.sha256()
    for piece in pieces:
        digest.update(piece)
    return digest.hexdigest()
