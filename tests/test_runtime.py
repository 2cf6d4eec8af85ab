"""The process pair as a whole, where its surroundings fail it."""

from __future__ import annotations

import errno

import pytest
from fakes import make_check
from product import eventually, product

from dashboard import runtime
from dashboard.errors import StoreFull
from dashboard.model import Settings
from dashboard.storage.files import Files


def test_disk_that_takes_no_address_for_commands_is_no_reason_not_to_serve(tmp_path):
    with product(tmp_path) as made:
        (made.data / "server.new").mkdir(parents=True)  # as good as a full disk
        made.start()
        assert eventually(made.rows)
        assert "commands will not find this server" in (made.folder / "log").read_text()
        assert made.stop() == 0


def test_single_run_does_not_wait_for_room_on_the_disk_for_ever(tmp_path, monkeypatch):
    def refuse(*_: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Files, "write", refuse)
    monkeypatch.setattr(runtime, "ROOM_S", 0.1)
    with pytest.raises(StoreFull, match="no room on the disk"):
        runtime.run_once(Settings(data=tmp_path, checks=(make_check("a"),)), "a", "cli:me")
