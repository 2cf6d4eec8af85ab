"""A stranger's walk: start, configure, an outage, check now, export, kill -9, start again, stop."""

from __future__ import annotations

import csv
import io
import os
import time
from pathlib import Path

import psutil
import pytest
from product import eventually, product, target

PLUGIN = Path("/usr/lib/nagios/plugins/check_load")
EVERY_S = 1.0


def configuration(web, closed_port: int) -> str:
    plugin = f"  - {{id: load, type: command, argv: [{PLUGIN}, -w, '90,90,90', -c, '99,99,99'], every: 1s}}\n"
    return (
        "server: {zone: Europe/Berlin}\n"
        "commands: {enabled: true}\n"
        "defaults: {every: 1s, failure_threshold: 2}\n"
        "checks:\n"
        f"  - {{id: shop, name: Web shop, type: http, url: '{web.url}', body_contains: ready, group: Shop}}\n"
        f"  - {{id: db, type: tcp, host: 127.0.0.1, port: {closed_port}, group: Shop}}\n"
    ) + (plugin if PLUGIN.exists() else "")


@pytest.fixture
def walk(tmp_path):
    with product(tmp_path) as made, target() as web:
        yield made, web


def test_without_a_file_this_machine_is_watched_at_once(tmp_path):
    with product(tmp_path) as made:
        made.start()
        kinds = eventually(lambda: {row["check_id"] for row in made.rows()} >= {"cpu", "memory", "load"})
        assert kinds
        assert b"Memory" in made.get("/")
        assert made.stop() == 0


def test_strangers_walk(walk):
    made, web = walk
    assert PLUGIN.exists() or not os.environ.get("CI"), f"{PLUGIN} is missing: apt install monitoring-plugins-basic"
    made.start()
    made.configure(configuration(web, web.port))
    made.hang_up()
    eventually(lambda: b"Web shop" in made.get("/"))
    eventually(lambda: {row["status"] for row in made.rows(check="shop")} == {"ok"})
    eventually(lambda: [row for row in made.rows(check="db") if row["status"] == "ok"])
    if PLUGIN.exists():
        row = eventually(lambda: made.rows(check="load"))[0]
        assert row["status"] == "ok"
        assert "load1" in row["metrics"]

    web.stop()
    stopped_s = time.monotonic()
    eventually(lambda: made.count("critical") == 2)
    assert time.monotonic() - stopped_s < EVERY_S + 2, (
        "the page turns within an interval and a second, and one of slack"
    )
    page = eventually(lambda: "refused" in made.get("/checks/shop").decode() and made.get("/checks/shop").decode())
    assert "curl" in page

    result = made.command("run", "shop")
    assert result.returncode == 2, result.stderr
    assert "refused" in result.stdout
    manual = [row for row in made.rows(check="shop") if row["trigger"] == "manual"]
    assert manual[-1]["by"].startswith("cli:")

    outage = list(csv.DictReader(io.StringIO(made.get("/export?check=shop&status=critical&format=csv").decode())))
    assert outage
    assert {row["status"] for row in outage} == {"critical"}
    assert outage[0]["at"].endswith(("+01:00", "+02:00"))

    shown = made.rows(to="-0s")
    made.kill()
    made.start()
    kept = made.rows()
    assert [row for row in kept if row in shown] == shown
    eventually(lambda: len(made.rows()) > len(kept))
    offline = made.command("export", "--format", "ndjson", "--check", "shop")
    assert offline.returncode == 0, offline.stderr
    assert offline.stdout.count("\n") >= len([row for row in shown if row["check_id"] == "shop"])
    assert made.stop() == 0


def test_refused_configuration_is_told_on_the_page_while_the_last_good_one_runs_on(walk):
    made, web = walk
    made.configure(configuration(web, web.port))
    made.start()
    eventually(lambda: made.rows(check="shop"))
    made.configure(configuration(web, web.port).replace("type: tcp", "type: tpc"))
    made.hang_up()
    problems = eventually(lambda: made.health()["config_problems"])
    assert "line 6" in problems[0]
    assert "tcp" in problems[0]
    assert "tpc" in made.get("/").decode()
    before = len(made.rows(check="db"))
    eventually(lambda: len(made.rows(check="db")) > before)
    made.configure(configuration(web, web.port))
    made.hang_up()
    eventually(lambda: not made.health()["config_problems"])


def test_prober_that_is_killed_comes_back_and_costs_a_gap_only(walk):
    made, web = walk
    made.configure(configuration(web, web.port))
    made.start()
    eventually(lambda: len(made.rows(check="shop")) >= 2)
    made.prober().kill()
    before = len(made.rows(check="shop"))
    eventually(lambda: made.health()["prober"]["restarts"] == 1)
    eventually(lambda: len(made.rows(check="shop")) > before + 1)
    assert {row["status"] for row in made.rows(check="shop")} == {"ok"}
    assert made.stop() == 0


def test_prober_ends_with_its_parent(walk):
    made, web = walk
    made.configure(configuration(web, web.port))
    made.start()
    child = eventually(made.prober)
    made.process.kill()
    gone, alive = psutil.wait_procs([child], timeout=5)
    assert (gone, alive) == ([child], [])


def test_second_server_on_the_same_data_exits_4_and_names_the_first(walk):
    made, web = walk
    made.configure(configuration(web, web.port))
    made.start()
    second = made.command("serve", "--port", "0")
    assert second.returncode == 4
    assert str(made.process.pid) in second.stderr


def test_run_without_a_server_takes_the_store_itself(walk):
    made, web = walk
    made.configure(configuration(web, web.port))
    result = made.command("run", "shop")
    assert (result.returncode, result.stderr) == (0, "")
    exported = made.command("export", "--format", "csv")
    assert exported.stdout.count("manual,cli:") == 1
