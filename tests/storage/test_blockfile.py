"""Frames come back as they were written, and no byte of them changes unnoticed."""

from __future__ import annotations

import errno
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from storage.samples import FailingFiles, UnsyncedFiles

from dashboard.storage.blockfile import MAGIC, Damaged, Frame, FrameReader, FrameWriter, Kind, examine
from dashboard.storage.files import Files

PAYLOADS = [b"head", b"", b"x" * 300, b"\xf5\xa0WR in a payload \xf5\xa0WR", bytes(range(256))]


def write(path: Path, payloads: Sequence[bytes], files: Files | None = None) -> list[tuple[int, int]]:
    writer = FrameWriter(path, files or Files())
    places = [writer.add(Kind.RAW, payload, number) for number, payload in enumerate(payloads)]
    writer.seal(b"the index")
    writer.publish()
    return places


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "some.seg"


def good(path: Path) -> list[Frame]:
    return [frame for frame in FrameReader(path).scan() if isinstance(frame, Frame)]


@settings(deadline=None)
@given(st.lists(st.binary(max_size=200), max_size=8))
def test_frames_come_back_by_place_by_stretch_and_by_scan(payloads):
    with TemporaryDirectory() as directory:
        path = Path(directory) / "any.seg"
        places = write(path, payloads, UnsyncedFiles())
        reader = FrameReader(path)
        assert [reader.frame(*place).payload for place in places] == payloads
        assert reader.index().payload == b"the index"
        scanned = list(reader.scan())
        assert [frame.payload for frame in scanned] == [*payloads, b"the index"]  # type: ignore[union-attr]
        if places:
            end = places[-1][0] + places[-1][1]
            stretch = reader.frames(places[0][0], end - places[0][0])
            assert [frame.number for frame in stretch] == list(range(len(payloads)))  # type: ignore[union-attr]
        assert reader.verify() == examine(path) == []
        reader.close()


def test_every_flipped_bit_is_noticed_and_costs_its_own_frame_at_most(path: Path) -> None:
    places = write(path, PAYLOADS)
    whole = path.read_bytes()
    for offset in range(len(whole)):
        for bit in (0, 3, 7):
            damaged = bytearray(whole)
            damaged[offset] ^= 1 << bit
            path.write_bytes(damaged)
            reader = FrameReader(path)
            assert reader.verify(), f"byte {offset}, bit {bit}: nobody noticed"
            hit = [number for number, (start, size) in enumerate(places) if start <= offset < start + size]
            for number, place in enumerate(places):
                if number in hit:
                    with pytest.raises(Damaged):
                        reader.frame(*place)
                else:
                    assert reader.frame(*place).payload == PAYLOADS[number]
            left = [frame.payload for frame in reader.scan() if isinstance(frame, Frame) and frame.kind == Kind.RAW]
            assert left == [payload for number, payload in enumerate(PAYLOADS) if number not in hit]
            reader.close()


def test_every_cut_is_noticed_and_leaves_the_frames_before_it(path: Path) -> None:
    places = write(path, PAYLOADS)
    whole = path.read_bytes()
    for size in range(len(whole)):
        path.write_bytes(whole[:size])
        reader = FrameReader(path)
        assert reader.verify()
        with pytest.raises(Damaged):
            reader.index()
        found = [frame.payload for frame in reader.scan() if isinstance(frame, Frame) and frame.kind == Kind.RAW]
        whole_ones = zip(PAYLOADS, places, strict=True)
        assert found == [payload for payload, (start, length) in whole_ones if start + length <= size]
        reader.close()


@pytest.mark.parametrize("junk", [b"", b"short", MAGIC, MAGIC * 4, b"\0" * 5000, b"\xf5\xa0WR" * 400])
def test_rubbish_is_damaged_and_not_an_error(path: Path, junk: bytes) -> None:
    path.write_bytes(junk)
    reader = FrameReader(path)
    with pytest.raises(Damaged):
        reader.index()
    assert good(path) == []
    assert examine(path)
    reader.close()


def test_what_cannot_be_read_is_told_in_words(tmp_path: Path) -> None:
    [fault] = examine(tmp_path / "nowhere.seg")
    assert "cannot be read" in fault


def test_frames_larger_than_the_buffer_come_back(path: Path) -> None:
    payloads = [b"a" * 3_000_000, b"b", b"c" * 1_500_000]
    places = write(path, payloads)
    reader = FrameReader(path)
    assert [reader.frame(*place).payload for place in places] == payloads
    assert [frame.payload for frame in good(path)][:-1] == payloads
    reader.close()


def test_a_file_has_its_name_only_once_it_is_whole(path: Path) -> None:
    writer = FrameWriter(path, Files())
    writer.add(Kind.RAW, b"payload")
    assert not path.exists()
    writer.seal(b"index")
    assert not path.exists()
    writer.publish()
    writer.abandon()
    assert [each.name for each in path.parent.iterdir()] == [path.name]


def test_what_is_abandoned_leaves_nothing(path: Path) -> None:
    writer = FrameWriter(path, Files())
    writer.add(Kind.RAW, b"payload")
    writer.abandon()
    assert list(path.parent.iterdir()) == []


@pytest.mark.parametrize(
    ("call", "how"), [("write", errno.ENOSPC), ("write", errno.EIO), ("sync", errno.EIO), ("rename", errno.EIO)]
)
def test_a_file_that_fails_to_be_written_is_told(path: Path, call: str, how: int) -> None:
    files = FailingFiles()
    files.fail(call, how)
    with pytest.raises(OSError, match=r"."):
        write(path, PAYLOADS, files)
    assert not path.exists()


def test_a_short_write_is_gone_on_with(path: Path) -> None:
    files = FailingFiles()
    files.fail("write", "short")
    write(path, PAYLOADS, files)
    assert [frame.payload for frame in good(path)][:-1] == PAYLOADS
