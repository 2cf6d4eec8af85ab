"""The live update: nothing for nothing, rows for rows, sections where the order moved, a stream that only says when."""

from __future__ import annotations

import gzip
import re
import threading
from dataclasses import replace
from datetime import timedelta
from itertools import islice

import pytest
from fakes import NOW, FakeClock, FakeServices, make_check, make_result, sample_services, view_of

from checks.base import Status
from dashboard import create_app
from dashboard.model import BrokenCheck
from dashboard.web import stream
from dashboard.web.configuration import Test
from dashboard.web.overview import Tag
from dashboard.web.stream import Pulse, Streams, signals


def client_of(services: FakeServices):
    return create_app(services.settings, services, configuration=Test, clock=FakeClock()).test_client()


def board_of(count: int = 30) -> FakeServices:
    checks = [
        make_check(f"c{index}", group=f"group {index % 3}", tags=("even",) if index % 2 == 0 else ())
        for index in range(count)
    ]
    return FakeServices(checks, [make_result(check.id) for check in checks])


def tag_on(page) -> str:
    return re.search(r'hx-ptag="([^"]+)"', page.get_data(as_text=True))[1]


def look(client, tag: str = "", q: str = "", address: str = "/"):
    headers = {"HX-Request": "true", "HX-Current-URL": f"http://localhost{address}"} | ({"HX-PTag": tag} if tag else {})
    return client.get("/live/overview", query_string={"q": q}, headers=headers)


def partials(answer) -> list[str]:
    """The ids of what is sent; those of groups, which are a hash, in short."""
    found = re.findall(r'<hx-partial id="([^"]+)"', answer.get_data(as_text=True))
    return [re.sub("^g-[0-9a-f]+-title$", "group title", each) for each in found]


def turn(services: FakeServices, check_id: str, status: Status = Status.OK, **changes) -> None:
    check = services.board.views[check_id].check
    services.board.put(view_of(check, [make_result(check_id, NOW - timedelta(seconds=1), status)], **changes))


def test_nothing_new_is_a_304_with_the_tag():
    client = client_of(board_of())
    tag = tag_on(client.get("/"))
    answer = look(client, tag)
    assert (answer.status_code, answer.get_data(), answer.headers["HX-PTag"]) == (304, b"", tag)


def test_a_changed_check_is_one_row_with_the_title_of_its_group_and_the_counts():
    services = board_of()
    client = client_of(services)
    tag = tag_on(client.get("/"))
    turn(services, "c4")
    answer = look(client, tag)
    assert answer.status_code == 200
    assert partials(answer) == ["counts", "group title", "c-c4"]
    assert answer.headers["Cache-Control"] == "no-store"
    assert look(client, answer.headers["HX-PTag"]).status_code == 304


def test_a_check_that_turns_bad_brings_the_whole_of_needs_attention():
    services = board_of()
    client = client_of(services)
    tag = tag_on(client.get("/"))
    turn(services, "c4", Status.CRITICAL)
    first = look(client, tag)
    assert partials(first) == ["counts", "problems", "group title", "c-c4"]
    turn(services, "c4", Status.CRITICAL)
    assert partials(look(client, first.headers["HX-PTag"])) == ["counts", "group title", "p-c4", "c-c4"]
    turn(services, "c4")
    healed = look(client, first.headers["HX-PTag"])
    assert partials(healed) == ["counts", "problems", "group title", "c-c4"]
    assert "All 30 checks ok." in healed.get_data(as_text=True)


def test_another_start_of_the_server_sends_the_whole_grid():
    services = board_of()
    client = client_of(services)
    tag = tag_on(client.get("/"))
    services.board.boot = "boot2"
    answer = look(client, tag)
    assert {"counts", "problems", "groups"} <= set(partials(answer))
    assert answer.headers["HX-PTag"].startswith("boot2.")


@pytest.mark.parametrize("tag", ["", "nonsense", "a.b.c.d", "boot1.-1.0.0", "...", "boot1.99999999999.0.0"])
def test_a_tag_that_says_nothing_gets_the_whole_grid(tag):
    answer = look(client_of(board_of()), tag)
    assert answer.status_code == 200
    assert "groups" in partials(answer)


def test_many_changes_at_once_come_as_one_grid():
    services = board_of(60)
    client = client_of(services)
    tag = tag_on(client.get("/"))
    for index in range(55):
        turn(services, f"c{index}")
    assert partials(look(client, tag))[:2] == ["counts", "problems"]


def test_a_new_check_brings_the_whole_grid():
    services = board_of()
    client = client_of(services)
    tag = tag_on(client.get("/"))
    services.board.put(view_of(make_check("new", group="group 1"), []), new_layout=True)
    assert "groups" in partials(look(client, tag))


def test_a_filtered_viewer_gets_only_what_passes():
    services = board_of()
    client = client_of(services)
    tag = tag_on(client.get("/?q=tag:even"))
    turn(services, "c5")
    quiet = look(client, tag, "tag:even")
    assert partials(quiet) == ["counts"]
    turn(services, "c6")
    assert "c-c6" in partials(look(client, quiet.headers["HX-PTag"], "tag:even"))


def test_a_check_that_begins_to_match_brings_its_group():
    services = board_of()
    client = client_of(services)
    tag = tag_on(client.get("/?q=st:critical"))
    turn(services, "c3", Status.CRITICAL)
    answer = look(client, tag, "st:critical")
    assert {"problems", "groups"} <= set(partials(answer))
    assert 'id="c-c3"' in answer.get_data(as_text=True)


def test_typing_another_filter_brings_the_grid_and_the_address():
    client = client_of(board_of())
    tag = tag_on(client.get("/"))
    answer = look(client, tag, "tag:even  st:ok")
    assert {"counts", "problems", "groups", "export-link"} <= set(partials(answer))
    assert answer.headers["HX-Replace-Url"] == "/?q=tag:even+st:ok"
    back = look(client, answer.headers["HX-PTag"], "")
    assert back.headers["HX-Replace-Url"] == "/"


def test_a_bad_filter_keeps_the_last_good_one_and_says_what_is_wrong():
    services = board_of()
    client = client_of(services)
    tag = tag_on(client.get("/?q=tag:even"))
    answer = look(client, tag, "tag:even st:", "/?q=tag:even")
    assert partials(answer) == ["counts", "own", "filter-fault"]
    assert "names nothing" in answer.get_data(as_text=True)
    assert "HX-Replace-Url" not in answer.headers
    cured = look(client, answer.headers["HX-PTag"], "tag:even", "/?q=tag:even")
    assert "filter-fault" in partials(cured)
    assert "names nothing" not in cured.get_data(as_text=True)
    assert partials(look(client, tag, "st:", "/?q=st:nonsense")) != []


def test_own_trouble_reaches_the_page():
    services = board_of()
    client = client_of(services)
    tag = tag_on(client.get("/"))
    services.own.now = replace(services.own.now, troubles=("The disk is full.",))
    answer = look(client, tag)
    assert "own" in partials(answer)
    assert "The disk is full." in answer.get_data(as_text=True)


def test_viewers_who_have_the_same_share_one_compressed_body():
    services = board_of()
    client = client_of(services)
    tag = tag_on(client.get("/"))
    turn(services, "c1")
    first = client.get("/live/overview", headers={"HX-PTag": tag, "Accept-Encoding": "gzip"})
    second = client.get("/live/overview", headers={"HX-PTag": tag, "Accept-Encoding": "gzip"})
    plain = look(client, tag)
    assert first.headers["Content-Encoding"] == "gzip"
    assert first.get_data() == second.get_data()
    assert gzip.decompress(first.get_data()) == plain.get_data()
    assert "Content-Encoding" not in plain.headers


def test_every_partial_names_an_element_of_the_page():
    services = sample_services(80)
    services.board.views["broken"] = view_of(BrokenCheck(id="broken", name="b", type="http", fault="no"), [])
    client = client_of(services)
    page = client.get("/").get_data(as_text=True)
    for name in partials(look(client)):
        assert f'id="{name}"' in page


def test_the_tag_survives_dots_in_the_boot():
    tag = Tag(boot="a.b.c", version=7, asked="1f", face="0")
    assert Tag.parse(str(tag)) == tag


def test_the_page_without_streams_polls():
    page = client_of(board_of()).get("/?live=poll").get_data(as_text=True)
    assert "hx-sse:connect" not in page
    assert "every 5s" in page


def read(source, count: int) -> list[str]:
    return [event.decode().split("\n")[0].removeprefix("event: ") for event in islice(source, count)]


def test_the_stream_says_changed_at_first_and_at_once_when_a_status_changes():
    services = board_of()
    clock = FakeClock()
    source = signals(services.board, Pulse(), clock)
    assert read(source, 1) == ["changed"]
    turn(services, "c1", Status.CRITICAL)
    assert read(source, 1) == ["changed"]
    turn(services, "c1", Status.CRITICAL, unconfirmed="1 of 2")
    assert read(source, 1) == ["changed"]


def test_mere_values_wait_for_the_second_to_pass(monkeypatch):
    services, clock, waits = board_of(), FakeClock(), []

    def glance(seconds: float) -> None:
        waits.append(seconds)
        clock.advance(seconds)

    monkeypatch.setattr(stream.time, "sleep", glance)
    source = signals(services.board, Pulse(), clock)
    assert read(source, 1) == ["changed"]
    turn(services, "c1")
    assert read(source, 1) == ["changed"]
    assert sum(waits) == pytest.approx(stream.GAP_S)


def test_a_quiet_stream_beats_and_ends_after_ten_minutes():
    services, clock = board_of(), FakeClock()

    class Quiet:
        view = services.board.view

        def wait(self, version: int, timeout_s: float) -> int:
            clock.advance(timeout_s)
            return version

    said = read(signals(Quiet(), Pulse(), clock), 1000)
    assert said == ["changed"] + ["beat"] * int(stream.LIFE_S / stream.BEAT_S)


def test_a_woken_board_ends_the_stream():
    services = board_of()
    ended = threading.Event()

    def follow() -> None:
        for _event in signals(services.board, Pulse(), FakeClock()):
            pass
        ended.set()

    threading.Thread(target=follow, daemon=True).start()
    services.board.wake()
    assert ended.wait(5)


def test_the_stream_is_never_cached_compressed_or_buffered():
    services = board_of()
    services.board.wake()
    answer = client_of(services).get("/live/events", headers={"Accept-Encoding": "gzip"})
    assert answer.mimetype == "text/event-stream"
    assert answer.headers["X-Accel-Buffering"] == "no"
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.get_data(as_text=True) == "event: changed\ndata: 1\n\n"


def test_too_many_streams_are_refused_and_each_end_frees_a_place():
    services = board_of()
    app = create_app(services.settings, services, configuration=Test, clock=FakeClock())
    client = app.test_client()
    live = app.extensions["watchroom live"]
    app.extensions["watchroom live"] = replace(live, streams=Streams(limit=1))
    first = client.get("/live/events")
    refused = client.get("/live/events")
    assert (refused.status_code, refused.headers["Retry-After"]) == (503, "15")
    first.close()
    services.board.wake()
    assert client.get("/live/events").status_code == 200


def test_bars_of_90_days_stay_with_every_live_update():
    services = board_of()
    client = client_of(services)
    tag = tag_on(client.get("/?bars=90d"))
    headers = {"HX-Request": "true", "HX-PTag": tag}
    assert client.get("/live/overview?q=&bars=90d", headers=headers).status_code == 304
    turn(services, "c4")
    changed = client.get("/live/overview?q=&bars=90d", headers=headers)
    assert partials(changed) == ["counts", "group title", "c-c4"]
    assert "last 90 days" in changed.get_data(as_text=True)
    assert "bars=90d" in changed.get_data(as_text=True)
    filtered = client.get("/live/overview?q=tag:even&bars=90d", headers=headers)
    assert filtered.headers["HX-Replace-Url"] == "/?q=tag:even&bars=90d"
    assert "bars-switch" in partials(filtered)


def test_bars_of_90_days_that_take_long_to_read_come_look_by_look():
    services, clock = board_of(), FakeClock()
    client = create_app(services.settings, services, configuration=Test, clock=clock).test_client()
    read = services.history.rollups

    def slowly(*args, **more):
        clock.elapsed_s += 0.05
        return read(*args, **more)

    services.history.rollups = slowly
    page = client.get("/?bars=90d")
    assert "reading 90 days" in page.get_data(as_text=True)
    counts, tag = [page.get_data(as_text=True).count("measured</span>")], tag_on(page)
    for _ in range(9):
        answer = client.get("/live/overview?q=&bars=90d", headers={"HX-Request": "true", "HX-PTag": tag})
        if answer.status_code == 304:
            break
        assert {"problems", "groups"} <= set(partials(answer))
        counts.append(answer.get_data(as_text=True).count("measured</span>"))
        tag = answer.headers["HX-PTag"]
    assert counts == [9, 18, 27, 30]
    assert "reading 90 days" not in answer.get_data(as_text=True)
    assert answer.status_code == 304


def test_other_bars_than_the_viewer_has_bring_the_whole_grid():
    client = client_of(board_of())
    tag = tag_on(client.get("/"))
    answer = client.get("/live/overview?q=&bars=90d", headers={"HX-Request": "true", "HX-PTag": tag})
    assert "groups" in partials(answer)


def test_a_run_asked_for_beside_bars_of_90_days_answers_with_such_rows():
    services = board_of()
    client = client_of(services)
    client.get("/")
    with client.session_transaction() as session:
        token = session["csrf"]
    headers = {"HX-Request": "true", "X-CSRF-Token": token, "HX-Current-URL": "http://localhost/?bars=90d"}
    answer = client.post("/run", data={"id": "c4"}, headers=headers)
    assert "last 90 days" in answer.get_data(as_text=True)
