"""Append-only files of checksummed lines: written whole and durable or not at all, read past any damage.

A line is the CRC-32 of its JSON in eight hex digits, a space, the JSON, a newline: `cut -c10-` gives plain NDJSON.
"""

from __future__ import annotations

import binascii
import contextlib
import errno
import itertools
import os
import re
import sys
from array import array
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from zlib import crc32

import orjson

from dashboard.errors import StoreFull, StoreReadOnly
from dashboard.storage.files import NO_ROOM, WAITING, Files
from dashboard.storage.quarantine import Quarantine

CHUNK_BYTES = 256 * 1024  # whole files peaked at 165 MB, exports with 1 MiB 6 MB higher
SUFFIX = ".ndj"
_READ_BYTES = 1024  # nearly every line is shorter

_LINE = re.compile(rb"[^\n]*\n|[^\n]+")
_START_OF_LINE = re.compile(rb"[0-9a-f]{8} \{")


def frame(payload: bytes) -> bytes:
    """The line that carries the payload."""
    return b"%08x %b\n" % (crc32(payload), payload)


def generations(directory: Path, suffix: str = SUFFIX) -> list[tuple[int, Path]]:
    """The numbered files of the directory with that suffix, oldest first."""
    stems = ((path.name.removesuffix(suffix), path) for path in directory.iterdir() if path.name.endswith(suffix))
    return sorted((int(stem), path) for stem, path in stems if stem.isdigit())


def path_of(directory: Path, generation: int, suffix: str = SUFFIX) -> Path:
    """Where the file of that generation is."""
    return directory / f"{generation:010d}{suffix}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Frames:
    """Some lines of a journal: what the good ones carry and where they begin, the damaged ones, the end of the last good."""

    payloads: list[bytes]
    offsets: list[int]
    bad: list[tuple[int, bytes]]
    good_end: int


def read_frames(descriptor: int, *, end: int | None = None) -> Iterator[Frames]:
    """All lines up to the byte `end`, a chunk at a time; what is left without a newline counts as damaged."""
    for offset, block in blocks(descriptor, end):
        yield _parse(block, offset)


def find_frames(descriptor: int, needle: bytes, *, end: int | None = None) -> Iterator[list[bytes]]:
    """What the good lines with the needle in them carry, a chunk at a time; far faster than reading every line."""
    for _offset, block in blocks(descriptor, end):
        lines = list(_lines_with(needle, block))
        if lines:
            yield payloads_of(b"".join(lines))


def blocks(descriptor: int, end: int | None) -> Iterator[tuple[int, bytes]]:
    """Whole lines in blocks of about that size, each with its offset; a last block may lack its newline."""
    end = sys.maxsize if end is None else end
    offset, tail = 0, b""
    while piece := os.pread(descriptor, min(CHUNK_BYTES, end - offset - len(tail)), offset + len(tail)):
        block = tail + piece
        cut = block.rfind(b"\n") + 1
        if cut:
            yield offset, block[:cut]
        offset, tail = offset + cut, block[cut:]
    if tail:
        yield offset, tail


def line_at(descriptor: int, offset: int) -> bytes:
    """The line that begins there, newline included; what there is of it at the end of the file."""
    reach = _READ_BYTES
    while True:
        data = os.pread(descriptor, reach, offset)
        end = data.find(b"\n") + 1
        if end or len(data) < reach:
            return data[:end]
        reach *= 4


def payloads_of(lines: bytes) -> list[bytes]:
    """What the good ones of these lines carry."""
    return _parse(lines, 0).payloads


def _lines_with(needle: bytes, block: bytes) -> Iterator[bytes]:
    hit = block.find(needle)
    while hit >= 0:
        end = block.find(b"\n", hit) + 1 or len(block)
        yield block[block.rfind(b"\n", 0, hit) + 1 : end]
        hit = block.find(needle, end)


def _parse(block: bytes, offset: int) -> Frames:
    lines = block.split(b"\n")
    if not lines[-1]:
        lines.pop()
        payloads = [line[9:] for line in lines]
        if _all_good(lines, payloads):
            offsets = list(
                itertools.accumulate(map(len, lines[:-1]), lambda start, size: start + size + 1, initial=offset)
            )
            return Frames(payloads=payloads, offsets=offsets, bad=[], good_end=offset + len(block))
    return _parse_each(block, offset)


def _all_good(lines: list[bytes], payloads: list[bytes]) -> bool:
    heads = b"".join([line[:9] for line in lines])
    if heads[8::9] != b" " * len(lines) or heads != heads.lower():
        return False
    try:
        sums = array("I", binascii.unhexlify(heads.replace(b" ", b"")))
    except (binascii.Error, ValueError):
        return False
    if sys.byteorder == "little":
        sums.byteswap()
    return sums == array("I", map(crc32, payloads))


def _parse_each(block: bytes, offset: int) -> Frames:
    payloads: list[bytes] = []
    offsets: list[int] = []
    bad: list[tuple[int, bytes]] = []
    good_end = 0
    for line in _LINE.findall(block):
        whole = line.endswith(b"\n")
        if whole and _is_good(line[:-1]):
            payloads.append(line[9:-1])
            offsets.append(offset)
            good_end = offset + len(line)
        else:
            rescued, starts, reaches_end = _rescue(line)
            payloads += rescued
            offsets += [offset + start for start in starts]
            bad.append((offset, line))
            if reaches_end:
                good_end = offset + len(line)
        offset += len(line)
    return Frames(payloads=payloads, offsets=offsets, bad=bad, good_end=good_end)


def _is_good(line: bytes) -> bool:
    return line[8:9] == b" " and line[:8] == b"%08x" % crc32(line[9:])


def _rescue(line: bytes) -> tuple[list[bytes], list[int], bool]:
    """The good lines inside a damaged one (a newline was hit), where they begin, and whether the last reaches its end."""
    starts = [match.start() for match in _START_OF_LINE.finditer(line)]
    if len(starts) < 2 or not line.endswith(b"\n"):
        return [], [], False
    pieces = [(start, line[start : end - 1]) for start, end in itertools.pairwise([*starts, len(line)])]
    good = [(start, piece) for start, piece in pieces if _is_good(piece) and _is_json(piece[9:])]
    reaches_end = bool(good) and good[-1] is pieces[-1]
    return [piece[9:] for _, piece in good], [start for start, _ in good], reaches_end


def _is_json(payload: bytes) -> bool:
    try:
        orjson.loads(payload)
    except orjson.JSONDecodeError:
        return False
    return True


class SoundLines:
    """Reads a journal past its damage: iterate for what its good lines carry, a chunk at a time.

    Damaged lines with a good one behind them are reported at once. When the iteration is over, `good_end` is the end
    of the last good line and `tail` the torn bytes behind it.
    """

    def __init__(
        self, path: Path, quarantine: Quarantine, *, end: int | None = None, descriptor: int | None = None
    ) -> None:
        self._path = path
        self._descriptor = descriptor  # None: the file of that name
        self._quarantine = quarantine
        self._end = end
        self._unsure: list[tuple[int, bytes]] = []
        self.good_end = 0

    def __iter__(self) -> Iterator[list[bytes]]:
        return (frames.payloads for frames in self.frames())

    def frames(self) -> Iterator[Frames]:
        """The good lines with their places, a chunk at a time, none empty."""
        if self._descriptor is None:
            with self._path.open("rb", buffering=0) as file:
                yield from self._read(file.fileno())
        else:
            yield from self._read(self._descriptor)

    def _read(self, descriptor: int) -> Iterator[Frames]:
        for frames in read_frames(descriptor, end=self._end):
            self.good_end = max(self.good_end, frames.good_end)
            self._unsure += frames.bad
            for offset, data in self._unsure:
                if offset < self.good_end:
                    self._quarantine.keep_line(self._path, offset, data)
            self._unsure = [(offset, data) for offset, data in self._unsure if offset >= self.good_end]
            if frames.payloads:
                yield frames

    @property
    def tail(self) -> bytes:
        """The torn end; empty where there is none."""
        return b"".join(data for _offset, data in self._unsure)


class Journal:
    """The file that is written now, in a directory of numbered ones. Not thread-safe: one writer at a time.

    A full disk costs nothing: the file is cut back to what is durable and StoreFull raised. After any other error, and
    any failed sync, the descriptor is never used again (what it claims to hold may be gone): the group goes to the
    next generation, and when that fails too, writing is over.
    """

    def __init__(self, directory: Path, *, files: Files, header: Callable[[int], bytes] | None = None) -> None:
        self._directory = directory
        self._files = files
        self._header = header
        self._descriptor = -1
        self.generation = 0  # the newest that exists
        self.size_bytes = 0  # durable bytes of the file now written
        self.fault = ""  # why writing is over; empty while it is not

    @property
    def path(self) -> Path:
        """The newest file."""
        return path_of(self._directory, self.generation)

    @property
    def is_open(self) -> bool:
        """Whether the next commit goes into the newest file; else it starts another."""
        return self._descriptor >= 0

    def resume(self, generation: int, size_bytes: int) -> None:
        """Go on in a file that was read up to that byte: what is behind is cut, what is before made durable."""
        self.generation, self.size_bytes = generation, size_bytes
        self._descriptor = self._files.open(self.path, os.O_WRONLY | os.O_APPEND)
        self._files.truncate(self._descriptor, size_bytes)
        self._files.sync(self._descriptor)

    def commit(self, data: bytes) -> None:
        """Write the lines, durable on return. Raises StoreFull (nothing is written; try again) or StoreReadOnly."""
        if self.fault:
            raise StoreReadOnly(self.fault)
        try:
            self._write(data)
        except OSError as error:
            self._abandon()
            if error.errno not in WAITING:
                self._write_elsewhere(data)
                return
            raise StoreFull(_full(self._directory, error)) from error

    def close(self) -> None:
        """Close the file; idempotent."""
        if self.is_open:
            descriptor, self._descriptor = self._descriptor, -1
            with contextlib.suppress(OSError):  # all that counts was synced
                self._files.close(descriptor)

    def _write_elsewhere(self, data: bytes) -> None:
        try:
            self._write(data)
        except OSError as error:
            self._abandon()
            if error.errno in WAITING:
                raise StoreFull(_full(self._directory, error)) from error
            self.fault = f"{self._directory}: writing failed twice ({error.strerror}); check the disk, then restart"
            raise StoreReadOnly(self.fault) from error

    def _write(self, data: bytes) -> None:
        if not self.is_open:
            self._start()
        try:
            written = self._files.write(self._descriptor, data)
        except OSError as error:
            if error.errno not in NO_ROOM:
                raise
            written = -1
        if written != len(data):
            self._files.truncate(self._descriptor, self.size_bytes)
            raise StoreFull(_full(self._directory))
        self._files.sync(self._descriptor)
        self.size_bytes += len(data)

    def _start(self) -> None:
        self.generation += 1
        header = frame(self._header(self.generation)) if self._header else b""
        self._descriptor = self._files.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_EXCL)
        self.size_bytes = 0
        if header and self._files.write(self._descriptor, header) != len(header):
            raise OSError(next(iter(NO_ROOM)), "short write")
        self._files.sync(self._descriptor)
        self._files.sync_directory(self._directory)
        self.size_bytes = len(header)

    def _abandon(self) -> None:
        """Give the descriptor up. What it wrote beyond the durable bytes may or may not be there: readers stop before it."""
        if not self.is_open:
            return
        with contextlib.suppress(OSError):
            self._files.truncate(self._descriptor, self.size_bytes)
            if not self.size_bytes:
                self._files.unlink(self.path)
        with contextlib.suppress(OSError):
            self._files.close(self._descriptor)
        self._descriptor = -1


def _full(directory: Path, error: OSError | None = None) -> str:
    if error is not None and error.errno == errno.EROFS:
        return f"{directory}: the disk is read-only now; results wait in memory until it can be written again"
    return f"{directory}: no room on the disk; results wait in memory until some is freed"
