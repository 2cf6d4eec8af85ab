"""Which filesystems are warned of, from tables of mounts as Linux writes them."""

from __future__ import annotations

from pathlib import Path

import pytest

from dashboard.storage.place import mount_of, warning_of

BASE = """\
22 27 0:21 / /proc rw,relatime - proc proc rw
27 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw,discard
31 27 0:40 / /run rw - tmpfs tmpfs rw,size=4k
"""


def table(kind: str, point: str = "/srv", options: str = "rw") -> str:
    return BASE + f"40 27 0:50 / {point} rw,noatime master:2 propagate_from:1 - {kind} some:/where {options}\n"


@pytest.mark.parametrize("kind", ["ext4", "xfs", "btrfs", "zfs", "f2fs", "ecryptfs", "fuseblk", "novelty"])
def test_nothing_is_said_of_a_filesystem_that_is_fine_or_unknown(kind: str) -> None:
    assert warning_of(Path("/srv/data"), table(kind)) == ""
    assert warning_of(Path("/home/data"), table("nfs4")) == ""


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("nfs", "a lock there may not keep a second process out"),
        ("nfs4", "a lock there may not"),
        ("cifs", "a lock there may not"),
        ("smb3", "a lock there may not"),
        ("9p", "a lock there may not"),
        ("virtiofs", "a lock there may not"),
        ("vboxsf", "a lock there may not"),
        ("fuse.sshfs", "a program of its own serves it"),
        ("fuse", "a program of its own serves it"),
        ("tmpfs", "is gone at the next reboot"),
        ("vfat", "comes badly through a power cut"),
        ("overlay", "is gone when the container is removed"),
    ],
)
def test_what_cannot_be_trusted_is_told_with_the_reason_and_the_way_out(kind: str, words: str) -> None:
    said = warning_of(Path("/srv/data"), table(kind))
    assert said.startswith(f"/srv/data: lies on {kind} (mounted on /srv): ")
    assert words in said
    assert said.endswith("; keep it on a local disk, or in a volume")


def test_an_overlay_that_saves_nothing_says_so() -> None:
    said = warning_of(Path("/srv/data"), table("overlay", options="rw,lowerdir=/a,volatile"))
    assert "mounted to save nothing" in said


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/srv", "nfs4"),
        ("/srv/data", "nfs4"),
        ("/srv/../srv/data", "nfs4"),
        ("/srvdata", "ext4"),
        ("/run/x", "tmpfs"),
        ("/", "ext4"),
    ],
)
def test_the_longest_mount_point_decides(path: str, kind: str) -> None:
    mount = mount_of(Path(path), table("nfs4"))
    assert mount is not None
    assert mount.kind == kind


def test_the_later_of_two_mounts_on_one_point_decides() -> None:
    text = table("nfs4") + "41 40 0:51 / /srv rw - ext4 /dev/vdb rw\n"
    assert warning_of(Path("/srv/data"), text) == ""


def test_mount_points_with_spaces_are_found() -> None:
    assert "a program of its own" in warning_of(Path("/my disk/data"), table("fuse.s3fs", "/my\\040disk"))


def test_a_link_is_followed(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("/srv/data")
    assert "nfs4" in warning_of(tmp_path / "link", table("nfs4"))


@pytest.mark.parametrize("text", ["", "nonsense", "1 2 3 - ext4\n", "40 27 0:50 / /srv rw shared:2 nfs4 x rw"])
def test_a_table_that_tells_nothing_gives_no_warning(text: str) -> None:
    assert warning_of(Path("/srv/data"), text) == ""


def test_this_machine_s_own_table_is_understood(tmp_path: Path) -> None:
    mount = mount_of(tmp_path)
    assert mount is not None
    assert tmp_path.is_relative_to(mount.point)
    memory = mount_of(Path("/proc/self"))
    assert memory is not None
    assert memory.kind == "proc"
