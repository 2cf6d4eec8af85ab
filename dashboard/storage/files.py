"""The few calls by which the store changes the disk. Tests hand in one that fails on purpose."""

from __future__ import annotations

import contextlib
import errno
import os
import resource
from pathlib import Path

_sync = getattr(os, "fdatasync", os.fsync)  # macOS has only the latter
NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_MANY = 65_536
WAITING = NO_ROOM | {errno.EROFS}  # what may pass by itself or by what a person does


def allow_many() -> None:
    """Let this process hold as many files as the machine allows: years of history lie in more than the usual 1,024."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard if hard != resource.RLIM_INFINITY else max(soft, _MANY), hard))


class Files:
    """Writing system calls and nothing else: no buffer, no retry. All raise OSError."""

    def open(self, path: Path, flags: int) -> int:
        """A descriptor of the file; a new file is for its owner alone."""
        return os.open(path, flags | os.O_CLOEXEC, 0o600)

    def write(self, descriptor: int, data: bytes) -> int:
        """One write; the bytes that went in, which may be fewer."""
        return os.write(descriptor, data)

    def sync(self, descriptor: int) -> None:
        """Wait until the file's data and size are on the disk."""
        _sync(descriptor)

    def truncate(self, descriptor: int, size_bytes: int) -> None:
        """Cut the file to that size."""
        os.ftruncate(descriptor, size_bytes)

    def allocate(self, descriptor: int, size_bytes: int) -> None:
        """Make the file that long with blocks that are really its own."""
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(descriptor, 0, size_bytes)
        else:  # macOS
            os.pwrite(descriptor, bytes(size_bytes), 0)

    def rename(self, source: Path, target: Path) -> None:
        """Put the source in the target's place at once."""
        source.replace(target)

    def unlink(self, path: Path) -> None:
        """Remove the file; none there is fine."""
        path.unlink(missing_ok=True)

    def close(self, descriptor: int) -> None:
        """Give the descriptor back."""
        os.close(descriptor)

    def sync_directory(self, directory: Path) -> None:
        """Wait until the names in the directory are on the disk."""
        descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def put(self, path: Path, data: bytes) -> None:
        """Create or replace the whole file durably: beside it, synced, renamed."""
        beside = path.with_name(path.name + ".tmp")
        descriptor = self.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        try:
            rest = memoryview(data)
            while rest:
                rest = rest[self.write(descriptor, bytes(rest)) :]
            self.sync(descriptor)
        except OSError:
            with contextlib.suppress(OSError):
                self.unlink(beside)
            raise
        finally:
            self.close(descriptor)
        self.rename(beside, path)
        self.sync_directory(path.parent)
