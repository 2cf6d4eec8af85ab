"""What the filesystem under a data directory can be trusted with."""

from __future__ import annotations

import contextlib
import os
import re
from dataclasses import dataclass
from pathlib import Path

_MOUNTS = Path("/proc/self/mountinfo")
_ESCAPED = re.compile(r"\\([0-7]{3})")

_REMOTE = "a lock there may not keep a second process out, and what it calls saved may be lost with the other side"
_FAULTS = {
    **dict.fromkeys(("nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "virtiofs", "afs", "ncpfs", "lustre"), _REMOTE),
    **dict.fromkeys(("vboxsf", "prl_fs", "vmhgfs", "fakeowner", "grpcfuse", "osxfs"), _REMOTE),
    **dict.fromkeys(("tmpfs", "ramfs"), "it lives in memory, and all history is gone at the next reboot"),
    **dict.fromkeys(("vfat", "exfat", "msdos"), "it keeps no file's rights and comes badly through a power cut"),
    "overlay": "that is a container's own layer, and all history is gone when the container is removed",
}
_FUSE = "a program of its own serves it, and locks and saving are worth what that program makes of them"


@dataclass(frozen=True, slots=True, kw_only=True)
class Mount:
    """Where a filesystem is mounted, and of which kind it is."""

    point: str
    kind: str
    options: frozenset[str] = frozenset()


def mount_of(directory: Path, mountinfo: str | None = None) -> Mount | None:
    """The mount that the directory lies on; None where that cannot be told. `mountinfo` is the text of proc(5)."""
    if mountinfo is None:
        with contextlib.suppress(OSError):
            mountinfo = _MOUNTS.read_text("utf-8", "surrogateescape")
    path = os.path.realpath(directory)
    best: Mount | None = None
    for line in (mountinfo or "").splitlines():
        mount = _parse(line)
        # Of two mounts on one point the later hides the earlier.
        if mount and _is_below(path, mount.point) and (best is None or len(mount.point) >= len(best.point)):
            best = mount
    return best


def warning_of(directory: Path, mountinfo: str | None = None) -> str:
    """A sentence when the filesystem cannot be trusted with history; empty where it can, or where that is unknown."""
    mount = mount_of(directory, mountinfo)
    if mount is None:
        return ""
    fault = _FAULTS.get(mount.kind, "")
    if mount.kind == "fuse" or mount.kind.startswith("fuse."):
        fault = _FUSE
    if mount.kind == "overlay" and "volatile" in mount.options:
        fault = "it is mounted to save nothing, and a power cut can take all history"
    if not fault:
        return ""
    return f"{directory}: lies on {mount.kind} (mounted on {mount.point}): {fault}; keep it on a local disk, or in a volume"


def _parse(line: str) -> Mount | None:
    """`36 35 98:0 /root /point rw,noatime master:1 - ext4 /dev/sda rw`; None for a line of another shape."""
    before, separator, after = line.partition(" - ")
    fields, rest = before.split(" "), after.split(" ")
    if not separator or len(fields) < 6 or len(rest) < 3:
        return None
    return Mount(point=_plain(fields[4]), kind=rest[0], options=frozenset(rest[2].split(",")))


def _plain(escaped: str) -> str:
    return _ESCAPED.sub(lambda match: chr(int(match[1], 8)), escaped)


def _is_below(path: str, point: str) -> bool:
    return path == point or path.startswith(point.rstrip("/") + "/")
