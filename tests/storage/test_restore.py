"""Restoring: what an archive may hold, what takes whose place, and what is left when the power goes."""

from __future__ import annotations

import gzip
import os
import random
import shutil
import subprocess
import sys
import tarfile
import tracemalloc
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
from storage.archives import CONTENT, Member, digests, entry, manifest, member, members, pack, tar

from dashboard.errors import StoreError, StoreLocked
from dashboard.storage import restore as restoring
from dashboard.storage.lock import Lock
from dashboard.storage.restore import restore

NOW = datetime(2026, 11, 24, 13, 25, 8, tzinfo=UTC)
ASIDE = "data.before-restore-20261124T132508Z"
ROOT = Path(__file__).parents[2]


def good(folder: Path) -> Path:
    return pack(folder / "backup.tar.gz", tar(manifest(), members()))


def tree(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def old_data(folder: Path) -> Path:
    data = folder / "data"
    (data / "results").mkdir(parents=True)
    (data / "results" / "0000000001.ndj").write_bytes(b"old\n")
    return data


def test_a_backup_becomes_a_directory_that_is_equal_to_it(tmp_path: Path) -> None:
    restored = restore(good(tmp_path), tmp_path / "data", now_at=NOW)
    found = {
        str(path.relative_to(tmp_path / "data")): path for path in (tmp_path / "data").rglob("*") if path.is_file()
    }
    assert {name: path.read_bytes() for name, path in found.items()} == CONTENT
    assert {path.stat().st_mode & 0o777 for path in found.values()} == {0o600}
    assert (tmp_path / "data").stat().st_mode & 0o777 == 0o700
    assert (restored.files, restored.size_bytes) == (4, sum(map(len, CONTENT.values())))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["backup.tar.gz", "data"]


def test_an_empty_directory_is_filled_and_one_that_is_not_is_refused(tmp_path: Path) -> None:
    archive, data = good(tmp_path), tmp_path / "data"
    data.mkdir()
    restore(archive, data, now_at=NOW)
    with pytest.raises(StoreError, match=r"data: is not empty; .* --data, or with --replace move this one aside"):
        restore(archive, data, now_at=NOW)


def test_what_is_replaced_is_moved_aside_whole(tmp_path: Path) -> None:
    data = old_data(tmp_path)
    (data / "a file of somebody").write_text("kept")
    restored = restore(good(tmp_path), data, now_at=NOW, replace=True)
    assert restored.moved_to == tmp_path / ASIDE
    assert (tmp_path / ASIDE / "a file of somebody").read_text() == "kept"
    assert digests(tmp_path / ASIDE) == {"results/0000000001.ndj": digests(tmp_path / ASIDE)["results/0000000001.ndj"]}
    assert set(digests(data)) == set(CONTENT)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["backup.tar.gz", "data", ASIDE]


def test_a_link_to_the_data_directory_stays_a_link(tmp_path: Path) -> None:
    old_data(tmp_path)
    (tmp_path / "link").symlink_to("data")
    restore(good(tmp_path), tmp_path / "link", now_at=NOW, replace=True)
    assert (tmp_path / "link").is_symlink()
    assert set(digests(tmp_path / "data")) == set(CONTENT)


def test_a_directory_that_is_none_of_ours_is_never_moved(tmp_path: Path) -> None:
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "letter").write_text("dear")
    with pytest.raises(StoreError, match="home: is not a data directory of Watchroom"):
        restore(good(tmp_path), tmp_path / "home", now_at=NOW, replace=True)
    assert (tmp_path / "home" / "letter").exists()


@pytest.mark.parametrize(
    ("target", "words"),
    [("none/data", "none: there is no such directory; make it first"), ("file", "file: is not a directory")],
)
def test_a_place_where_no_directory_can_be_is_told(tmp_path: Path, target: str, words: str) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StoreError, match=words):
        restore(good(tmp_path), tmp_path / target, now_at=NOW)


def test_a_mount_point_is_told_with_the_way_out(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"/proc: is a mount point, .* --data /proc/watchroom"):
        restore(good(tmp_path), Path("/proc"), now_at=NOW, replace=True)


def test_a_directory_in_use_is_refused_and_untouched(tmp_path: Path) -> None:
    data = old_data(tmp_path)
    before = digests(data)
    lock = Lock(data / "LOCK")
    lock.take()
    try:
        with pytest.raises(StoreLocked, match=f"process {os.getpid()} is using this data directory"):
            restore(good(tmp_path), data, now_at=NOW, replace=True)
    finally:
        lock.release()
    assert digests(data) == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["backup.tar.gz", "data"]


def test_what_a_disk_has_no_room_for_is_refused_before_a_byte_is_written(tmp_path: Path) -> None:
    name = "results/0000000003.ndj"
    huge = manifest(files=[entry(name, b"", size=10**18)])
    archive = pack(tmp_path / "bomb.tar.gz", tar(huge, [member(name)]))
    with pytest.raises(StoreError, match=r"unpacks to 1,000,000,000,000,000,000 bytes, and .* has room for"):
        restore(archive, tmp_path / "data", now_at=NOW)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bomb.tar.gz"]


def with_first(first: object) -> bytes:
    return tar(first, members())


def with_name(name: str) -> bytes:
    content = CONTENT | {name: b"x"}
    return tar(manifest(content), [member(each[:99], data) for each, data in content.items()])


def with_member(made: Member) -> bytes:
    """The third file in another shape."""
    return tar(manifest(), [made if each[0].name == made[0].name else each for each in members()])


JOURNAL = "results/0000000003.ndj"
ELSEWHERE = CONTENT[JOURNAL]

HOSTILE: dict[str, tuple[Callable[[], bytes], str]] = {
    "no manifest": (lambda: tar(b"", [])[1024:], "does not begin with manifest.json"),
    "a manifest that is not the first": (
        lambda: b"".join([tar(b"", members())[512:-1024], with_first(manifest())]),
        "does not begin with manifest.json",
    ),
    "a manifest that is no JSON": (lambda: with_first(b"{"), "manifest is wrong"),
    "a manifest nested for ever": (lambda: with_first(b'{"files":' + b"[" * 100_000), "manifest is wrong"),
    "a manifest without files": (lambda: with_first({"format": 2}), "manifest is wrong"),
    "a manifest with more than that": (lambda: with_first(manifest(run="rm")), "manifest is wrong"),
    "a manifest with a size in words": (
        lambda: with_first(manifest(files=[entry(JOURNAL, b"", size="5")])),
        "manifest is wrong",
    ),
    "a negative size": (lambda: with_first(manifest(files=[entry(JOURNAL, b"", size=-1)])), "manifest is wrong"),
    "a digest that is none": (
        lambda: with_first(manifest(files=[entry(JOURNAL, b"", sha256="0")])),
        "manifest is wrong",
    ),
    "rights beyond a file's": (
        lambda: with_first(manifest(files=[entry(JOURNAL, b"", mode=0o4755)])),
        "manifest is wrong",
    ),
    "a version that writes on the terminal": (lambda: with_first(manifest(version="\x1b[2J")), "manifest is wrong"),
    "a manifest of a terabyte": (
        lambda: member("manifest.json", size=2**40)[0].tobuf(tarfile.GNU_FORMAT) + bytes(4096),
        "manifest claims 1099511627776 bytes",
    ),
    "a newer format": (lambda: with_first({"format": 3, "novel": 1}), "is a backup of format 3"),
    "a file twice": (
        lambda: tar(manifest(files=2 * [entry(JOURNAL, b"")]), 2 * [member(JOURNAL)]),
        "names a file twice",
    ),
    "a parent": (lambda: with_name("../evil"), "is not the name of a file"),
    "a parent further in": (lambda: with_name("results/../../evil"), "is not the name of a file"),
    "a parent that ends well": (lambda: with_name("results/../0000000001.ndj"), "is not the name of a file"),
    "an absolute path": (lambda: with_name("/etc/cron.d/evil"), "is not the name of a file"),
    "a path of dots": (lambda: with_name("./FORMAT"), "is not the name of a file"),
    "a folder of its own": (lambda: with_name("templates/base.html"), "is not the name of a file"),
    "a folder deeper": (lambda: with_name("results/deep/0000000001.ndj"), "is not the name of a file"),
    "the lock": (lambda: with_name("LOCK"), "is not the name of a file"),
    "the server's token": (lambda: with_name("server.json"), "is not the name of a file"),
    "the key of cookies": (lambda: with_name("secret.key"), "is not the name of a file"),
    "a line's end": (lambda: with_name("results/0000000001.ndj\n"), "is not the name of a file"),
    "a NUL": (lambda: with_name("results/0000000001.ndj\0"), "is not the name of a file"),
    "digits of another script": (lambda: with_name("results/١٢.ndj"), "is not the name of a file"),
    "a hidden file": (lambda: with_name("results/.seg"), "is not the name of a file"),
    "a name without end": (lambda: with_name("results/" + "1" * 500 + ".seg"), "manifest is wrong"),
    "a symbolic link": (
        lambda: with_member(member(JOURNAL, kind=tarfile.SYMTYPE, linkname="/etc/passwd")),
        "is not a plain file",
    ),
    "a hard link": (
        lambda: with_member(member(JOURNAL, kind=tarfile.LNKTYPE, linkname="FORMAT")),
        "is not a plain file",
    ),
    "a device": (lambda: with_member(member(JOURNAL, kind=tarfile.CHRTYPE)), "is not a plain file"),
    "a block device": (lambda: with_member(member(JOURNAL, kind=tarfile.BLKTYPE)), "is not a plain file"),
    "a pipe": (lambda: with_member(member(JOURNAL, kind=tarfile.FIFOTYPE)), "is not a plain file"),
    "a directory": (lambda: with_member(member(JOURNAL, kind=tarfile.DIRTYPE)), "is not a plain file"),
    "a sparse file": (lambda: with_member(member(JOURNAL, ELSEWHERE, tarfile.GNUTYPE_SPARSE)), "is not a plain file"),
    "an extended header": (lambda: with_member(member(JOURNAL, b"30 path=../evil\n", b"x")), "is not a plain file"),
    "a global header": (lambda: with_member(member(JOURNAL, b"30 path=../evil\n", b"g")), "is not a plain file"),
    "a long name": (lambda: with_member(member(JOURNAL, b"../evil\0", b"L")), "is not a plain file"),
    "another name than the manifest's": (
        lambda: tar(manifest(), [member("FORMAT", CONTENT["FORMAT"]), member("../evil", b"x")]),
        "'../evil' stands where its manifest says",
    ),
    "another order": (lambda: tar(manifest(), members()[::-1]), "stands where its manifest says FORMAT"),
    "a file too few": (lambda: tar(manifest(), members()[:-1]), "ends before results/000000000001"),
    "a file too many": (lambda: tar(manifest(), [*members(), member("evil", b"x")]), "'evil' is not in its manifest"),
    "a longer file": (lambda: with_member(member(JOURNAL, ELSEWHERE + b"x")), "has 2501 bytes, and its manifest says"),
    "a shorter file": (lambda: with_member(member(JOURNAL, ELSEWHERE[1:])), "has 2499 bytes, and its manifest says"),
    "a file that claims more": (
        lambda: with_member(member(JOURNAL, ELSEWHERE, size=2**50)),
        "has 1125899906842624 bytes, and its manifest says",
    ),
    "another content": (
        lambda: with_member(member(JOURNAL, b"evil\n" * 500)),
        "its digest is not that of the manifest",
    ),
    "something behind the end": (lambda: tar(manifest(), members()) + b"x", "something follows its end"),
    "something within the end": (
        lambda: tar(manifest(), members(), end=bytes(600) + b"x" + bytes(423)),
        "something follows its end",
    ),
    "no end": (lambda: tar(manifest(), members(), end=b""), "ends in the middle"),
    "a header of noise": (lambda: tar(manifest(), [])[:-1024] + b"\xff" * 512, "a header cannot be read"),
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_an_archive_that_is_not_what_its_manifest_says_is_refused_and_leaves_nothing(tmp_path: Path, kind: str) -> None:
    make, words = HOSTILE[kind]
    (tmp_path / "place").mkdir()
    archive = pack(tmp_path / "evil.tar.gz", make())
    with pytest.raises(StoreError) as caught:
        restore(archive, tmp_path / "place" / "data", now_at=NOW)
    assert words in str(caught.value)
    assert str(caught.value).isprintable()
    assert tree(tmp_path) == ["evil.tar.gz", "place"]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "ends in the middle"),
        (b"PK\x03\x04", "no backup at all"),
        (gzip.compress(b""), "ends in the middle"),
        (gzip.compress(with_first(manifest()))[:-20], "no backup at all"),
        (gzip.compress(with_first(manifest())) + b"garbage", "no backup at all"),
        (gzip.compress(with_first(manifest())) + gzip.compress(b"more"), "something follows its end"),
    ],
)
def test_a_file_that_is_no_such_archive_is_refused(tmp_path: Path, content: bytes, words: str) -> None:
    (tmp_path / "x.tar.gz").write_bytes(content)
    with pytest.raises(StoreError, match=words):
        restore(tmp_path / "x.tar.gz", tmp_path / "data", now_at=NOW)
    assert tree(tmp_path) == ["x.tar.gz"]


def test_a_directory_is_no_archive(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="is not a file"):
        restore(tmp_path, tmp_path / "data", now_at=NOW)


def test_an_endless_tail_is_not_unpacked(tmp_path: Path) -> None:
    """A gigabyte of zeros behind the end, in a megabyte."""
    pieces = (tar(manifest(), members()) if number < 0 else bytes(2**20) for number in range(-1, 1024))
    archive = pack(tmp_path / "bomb.tar.gz", pieces)
    tracemalloc.start()
    try:
        with pytest.raises(StoreError, match="something follows its end"):
            restore(archive, tmp_path / "data", now_at=NOW)
        assert tracemalloc.get_traced_memory()[1] < 16 * 2**20
    finally:
        tracemalloc.stop()


def test_no_flipped_bit_and_no_cut_changes_what_is_restored(tmp_path: Path) -> None:
    whole = good(tmp_path).read_bytes()
    dice = random.Random(7)
    damaged = [whole[: dice.randrange(len(whole))] for _ in range(40)]
    for _ in range(160):
        flipped = bytearray(whole)
        flipped[dice.randrange(len(whole))] ^= 1 << dice.randrange(8)
        damaged.append(bytes(flipped))
    refused = 0
    for number, content in enumerate(damaged):
        (tmp_path / "damaged").write_bytes(content)
        target = tmp_path / f"data-{number}"
        try:
            restore(tmp_path / "damaged", target, now_at=NOW)
        except StoreError:
            refused += 1
            assert not target.exists()
        else:  # a bit that nobody reads: the time in the gzip header
            assert {name: (target / name).read_bytes() for name in CONTENT} == CONTENT
            shutil.rmtree(target)
    assert refused > 190
    assert sorted(path.name for path in tmp_path.iterdir()) == ["backup.tar.gz", "damaged"]


def test_where_names_cannot_be_exchanged_two_renames_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(restoring, "_exchange", lambda one, other: False)
    data = old_data(tmp_path)
    restore(good(tmp_path), data, now_at=NOW, replace=True)
    assert set(digests(data)) == set(CONTENT)
    assert set(digests(tmp_path / ASIDE)) == {"results/0000000001.ndj"}


def test_a_rename_that_fails_leaves_all_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = old_data(tmp_path)
    rename = Path.rename

    def fail(self: Path, target: Path) -> Path:
        if target == data and ".restoring-" in self.name:
            raise OSError(5, "Input/output error")
        return rename(self, target)

    monkeypatch.setattr(restoring, "_exchange", lambda one, other: False)
    monkeypatch.setattr(Path, "rename", fail)
    with pytest.raises(OSError, match="Input/output error"):
        restore(good(tmp_path), data, now_at=NOW, replace=True)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["backup.tar.gz", "data"]
    assert set(digests(data)) == {"results/0000000001.ndj"}


def test_an_interruption_right_after_the_exchange_never_removes_what_was_here_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = old_data(tmp_path)
    exchange = restoring._exchange

    def interrupted(one: Path, other: Path) -> bool:
        assert exchange(one, other)
        raise KeyboardInterrupt

    monkeypatch.setattr(restoring, "_exchange", interrupted)
    with pytest.raises(KeyboardInterrupt):
        restore(good(tmp_path), data, now_at=NOW, replace=True)
    assert set(digests(data)) == set(CONTENT)
    assert set(digests(tmp_path / ASIDE)) == {"results/0000000001.ndj"}


KILLED = """
import os, signal, sys
from datetime import UTC, datetime
from pathlib import Path
from dashboard.storage import restore as restoring
archive, target, step, nth = sys.argv[1:]
calls = 0

def killing(call, after):
    def called(*arguments, **named):
        global calls
        calls += 1
        found = call(*arguments, **named) if after else None
        if calls > int(nth):
            os.kill(os.getpid(), signal.SIGKILL)
        return call(*arguments, **named) if not after else found
    return called

owner, name, after = {
    "before a file": (restoring, "_write", False),
    "before the exchange": (restoring, "_exchange", False),
    "after the exchange": (restoring, "_exchange", True),
    "before a directory is synced": (restoring.Files, "sync_directory", False),
}[step]
setattr(owner, name, killing(getattr(owner, name), after))
restoring.restore(Path(archive), Path(target), now_at=datetime(2026, 11, 24, 13, 25, 8, tzinfo=UTC), replace=True)
"""


@pytest.mark.parametrize(
    ("step", "nth", "is_replaced"),
    [
        ("before a file", 0, False),
        ("before a file", 3, False),
        ("before a directory is synced", 4, False),
        ("before the exchange", 0, False),
        ("after the exchange", 0, True),
        ("before a directory is synced", 5, True),
    ],
)
def test_kill_9_leaves_the_old_directory_or_the_new_one_whole(
    tmp_path: Path, step: str, nth: int, is_replaced: bool
) -> None:
    data = old_data(tmp_path)
    killed = subprocess.run(
        [sys.executable, "-c", KILLED, str(good(tmp_path)), str(data), step, str(nth)],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        check=False,
    )
    assert killed.returncode == -9
    assert set(digests(data)) == (set(CONTENT) if is_replaced else {"results/0000000001.ndj"})
    if is_replaced:
        assert set(digests(tmp_path / ASIDE)) == {"results/0000000001.ndj"}
    shutil.rmtree(tmp_path / ASIDE, ignore_errors=True)
    restore(tmp_path / "backup.tar.gz", data, now_at=NOW, replace=True)
    assert set(digests(data)) == set(CONTENT)
