"""One disk's figures, asked for in a thread: a dead mount answers nobody."""

from __future__ import annotations

import os
from dataclasses import dataclass

from checks._words import limit
from checks.base import Context, Detail, ProbeFailure


@dataclass(frozen=True, slots=True, kw_only=True)
class Disk:
    """Bytes and inodes as df counts them: what is kept for root is neither used nor free."""

    path: str
    mount_point: str
    total_bytes: int
    used_bytes: int
    free_bytes: int
    total_inodes: int  # 0 where the file system makes them as it needs them
    used_inodes: int
    free_inodes: int

    @property
    def place(self) -> str:
        """The path, and the disk it lies on where that is another: a disk that is not mounted shows its parent."""
        return self.path if self.path == self.mount_point else f"{self.path} (on {self.mount_point})"


async def look_at_disk(path: str, context: Context) -> Disk:
    """The disk that the path lies on. Raises ProbeFailure when it is not there or does not answer."""
    allowed_s = context.timeout_s * 0.9
    asked = False

    def look() -> Disk:
        nonlocal asked
        asked = True
        return _look(path)

    try:
        return await context.blocking.run("disk", look, allowed_s)
    except TimeoutError as error:
        if not asked:  # no thread was free: nobody has asked the disk
            raise
        fault = f"Disk {path} gave no answer within {limit(allowed_s)}: its device or server hangs"
        raise ProbeFailure(fault, detail=Detail(phase="statvfs")) from error
    except PermissionError:
        raise  # the disk is not to blame
    except OSError as error:
        raise ProbeFailure(f"Disk {path} cannot be read: {error.strerror}", detail=Detail(phase="statvfs")) from error


def _look(path: str) -> Disk:
    figures, mount_point = os.statvfs(path), os.path.realpath(path)
    while not os.path.ismount(mount_point):
        mount_point = os.path.dirname(mount_point)
    return Disk(
        path=os.path.normpath(path),
        mount_point=mount_point,
        total_bytes=figures.f_blocks * figures.f_frsize,
        used_bytes=(figures.f_blocks - figures.f_bfree) * figures.f_frsize,
        free_bytes=figures.f_bavail * figures.f_frsize,
        total_inodes=figures.f_files,
        used_inodes=figures.f_files - figures.f_ffree,
        free_inodes=figures.f_favail,
    )
