"""Files of checksummed frames, written once and never changed: what segments and rollup files are made of.

    file    := MAGIC frame* trailer
    frame   := MARK crc32 size kind number payload     crc32 covers all that follows it
    trailer := offset-of-the-index-frame MAGIC

The index is the last frame. Where it or the trailer is damaged, the frames are found again by their marks.
"""

from __future__ import annotations

import contextlib
import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path
from zlib import crc32

from dashboard.errors import StoreError
from dashboard.storage.files import NO_ROOM, Files

MAGIC = b"WATCHRM2"
TEMPORARY = ".tmp"

_MARK = b"\xf5\xa0WR"
_HEADER = struct.Struct("<4sIIBI")  # mark, crc32, size, kind, number
_TRAILER = struct.Struct("<Q8s")
_BUFFER_BYTES = 1024 * 1024
_LARGEST_FRAME = 256 * 1024 * 1024


class Kind(IntEnum):
    """What a frame carries. `number` of a frame is that of its check in the head, else 0."""

    HEAD = 1  # names and the dictionary of the compressor: the first frame
    RAW = 2  # results of one check
    ROLLUP = 3  # buckets of one check
    PLACES = 4  # where the frames of one check are
    TABLE = 5  # checks and groups
    MARKS = 6  # where uptime goes on
    INDEX = 7  # the summary: the last frame


class Damaged(Exception):
    """Bytes are not what was written."""


@dataclass(frozen=True, slots=True)
class Frame:
    """One frame and where it lies."""

    offset: int
    end: int
    kind: int
    number: int
    payload: bytes


class FrameWriter:
    """Writes a file of frames beside its name; `finish` gives it the name, durably, `abandon` removes it."""

    def __init__(self, path: Path, files: Files) -> None:
        self.path = path
        self._beside = path.with_name(path.name + TEMPORARY)
        self._files = files
        self._descriptor = files.open(self._beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        self._buffer = bytearray(MAGIC)
        self._flushed = 0

    @property
    def offset(self) -> int:
        """Where the next frame begins."""
        return self._flushed + len(self._buffer)

    def add(self, kind: Kind, payload: bytes, number: int = 0) -> tuple[int, int]:
        """Write a frame; its offset and size on the disk. Raises OSError."""
        offset = self.offset
        covered = _HEADER.pack(_MARK, 0, len(payload), kind, number)[8:]
        self._buffer += _MARK + struct.pack("<I", crc32(payload, crc32(covered))) + covered + payload
        if len(self._buffer) >= _BUFFER_BYTES:
            self._flush()
        return offset, self.offset - offset

    def seal(self, index: bytes) -> None:
        """Write the index and the trailer and make the file durable, still beside its name."""
        offset, _ = self.add(Kind.INDEX, index)
        self._buffer += _TRAILER.pack(offset, MAGIC)
        self._flush()
        self._files.sync(self._descriptor)
        self._close()

    def publish(self) -> None:
        """Give the sealed file its name; durable once the directory is synced."""
        self._files.rename(self._beside, self.path)

    def abandon(self) -> None:
        """Remove what was written."""
        with contextlib.suppress(OSError):
            self._close()
        with contextlib.suppress(OSError):
            self._files.unlink(self._beside)

    def _flush(self) -> None:
        rest = memoryview(bytes(self._buffer))
        self._flushed += len(rest)
        self._buffer.clear()
        while rest:
            written = self._files.write(self._descriptor, bytes(rest))
            if not written:
                raise OSError(next(iter(NO_ROOM)), "nothing more goes in", str(self.path))
            rest = rest[written:]

    def _close(self) -> None:
        if self._descriptor >= 0:
            descriptor, self._descriptor = self._descriptor, -1
            self._files.close(descriptor)


class FrameReader:
    """Reads frames by their place. Thread-safe; raises Damaged where bytes are not what was written, OSError."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._descriptor = -1
        self._descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        self.size_bytes = os.fstat(self._descriptor).st_size

    def close(self) -> None:
        """Give the descriptor back; idempotent."""
        if self._descriptor >= 0:
            descriptor, self._descriptor = self._descriptor, -1
            os.close(descriptor)

    def __del__(self) -> None:
        self.close()

    def bytes_at(self, offset: int, size: int) -> bytes:
        """These bytes of the file, unchecked."""
        return os.pread(self._descriptor, size, offset)

    def frame(self, offset: int, size: int) -> Frame:
        """The frame that lies there."""
        return _frame_in(self.bytes_at(offset, size), 0, offset, self.path)

    def frames(self, offset: int, size: int) -> Iterator[Frame | Damaged]:
        """All frames of a stretch of the file; a damaged one is told, and the next is found by its mark."""
        data = self.bytes_at(offset, size)
        position = 0
        while position < len(data):
            try:
                frame = _frame_in(data, position, offset + position, self.path)
            except Damaged as damage:
                yield damage
                position = data.find(_MARK, position + 1)
                if position < 0:
                    return
                continue
            yield frame
            position = frame.end - offset

    def index(self) -> Frame:
        """The index. Raises Damaged when it or the trailer is."""
        place = self.bytes_at(max(0, self.size_bytes - _TRAILER.size), _TRAILER.size)
        if len(place) < _TRAILER.size or self.bytes_at(0, len(MAGIC)) != MAGIC:
            raise Damaged(f"{self.path}: is not a file of this kind")
        offset, magic = _TRAILER.unpack(place)
        end = self.size_bytes - _TRAILER.size
        if magic != MAGIC or not len(MAGIC) <= offset < end:
            raise Damaged(f"{self.path}: its end is damaged")
        frame = self.frame(offset, end - offset)
        if frame.kind != Kind.INDEX:
            raise Damaged(f"{self.path}: its index is damaged")
        return frame

    def scan(self) -> Iterator[Frame | Damaged]:
        """Every frame from the start to the end, in pieces of bounded size; whatever is between good ones is Damaged."""
        offset = len(MAGIC)
        if self.bytes_at(0, len(MAGIC)) != MAGIC:
            yield Damaged(f"{self.path}: its first bytes are damaged")
        end = max(offset, self.size_bytes - _TRAILER.size)
        while offset < end:
            header = self.bytes_at(offset, _HEADER.size)
            size = _HEADER.unpack(header)[2] if len(header) == _HEADER.size else 0
            try:
                if not header.startswith(_MARK) or size > _LARGEST_FRAME:
                    raise Damaged(f"{self.path}: byte {offset}: no frame begins here")
                frame = self.frame(offset, _HEADER.size + size)
            except Damaged as damage:
                yield damage
                offset = self._next_mark(offset + 1, end)
                continue
            yield frame
            offset = frame.end

    def verify(self) -> list[str]:
        """Every fault of the file, in words; none when every byte is as written."""
        faults = [str(each) for each in self.scan() if isinstance(each, Damaged)]
        try:
            self.index()
        except Damaged as damage:
            faults.append(str(damage))
        return faults

    def _next_mark(self, offset: int, end: int) -> int:
        while offset < end:
            data = self.bytes_at(offset, _BUFFER_BYTES)
            found = data.find(_MARK)
            if found >= 0:
                return offset + found
            offset += max(1, len(data) - len(_MARK) + 1)
        return end


def examine(path: Path) -> list[str]:
    """Every fault of the file of frames, in words."""
    try:
        reader = FrameReader(path)
    except OSError as error:
        return [f"{path}: cannot be read: {error.strerror}"]
    try:
        return reader.verify()
    finally:
        reader.close()


def _frame_in(data: bytes, position: int, offset: int, path: Path) -> Frame:
    header_end = position + _HEADER.size
    if len(data) < header_end or data[position : position + 4] != _MARK:
        raise Damaged(f"{path}: byte {offset}: no frame begins here")
    _, checksum, size, kind, number = _HEADER.unpack_from(data, position)
    payload = data[header_end : header_end + size]
    if len(payload) != size or crc32(payload, crc32(data[position + 8 : header_end])) != checksum:
        raise Damaged(f"{path}: byte {offset}: a block of {size} bytes is damaged")
    return Frame(offset, offset + _HEADER.size + size, kind, number, payload)


class NewerFormat(StoreError):
    """A file was written by a newer Watchroom."""
