"""SIGHUP: a file that went away, checks that cannot run as it is, and what only a restart changes."""

from __future__ import annotations

from product import eventually, product


def test_a_file_that_went_away_is_refused_and_the_last_good_one_runs_on(tmp_path):
    with product(tmp_path) as made:
        made.configure("checks: [{id: up, type: host, what: uptime, every: 1s}]")
        made.start()
        made.config.unlink()
        made.hang_up()
        problems = eventually(lambda: made.health()["config_problems"])
        assert "does not exist" in problems[0]
        eventually(lambda: made.health()["prober"]["checks"] == 1)
        assert made.stop() == 0


def test_a_file_that_appears_is_taken_up_and_from_then_on_needed(tmp_path):
    with product(tmp_path) as made:
        made.start()
        made.configure("checks: [{id: up, type: host, what: uptime, every: 1s}]")
        made.hang_up()
        eventually(lambda: made.health()["prober"]["checks"] == 1)
        made.config.unlink()
        made.hang_up()
        assert eventually(lambda: made.health()["config_problems"])


def test_the_log_names_each_check_that_will_not_run(tmp_path):
    with product(tmp_path) as made:
        made.configure("checks: [{id: db, type: tcp, host: '${NOPE_NOPE}', port: 1}]")
        made.start()
        log = made.folder / "log"
        assert log.read_text().count("check 'db' will not run: host: the environment variable NOPE_NOPE") == 1
        made.hang_up()
        eventually(lambda: log.read_text().count("check 'db' will not run") == 2)


def test_what_waits_for_a_restart_is_told_until_then(tmp_path):
    with product(tmp_path) as made:
        made.configure("server: {access: open}\nchecks: [{id: up, type: host, what: uptime, every: 1s}]")
        made.start()
        assert b"Open access" in made.get("/")
        made.configure("checks: [{id: up, type: host, what: uptime, every: 1s}]")
        log = made.folder / "log"
        for count in (1, 2):
            made.hang_up()
            eventually(lambda count=count: log.read_text().count("configuration read again") == count)
            assert log.read_text().count("server.access stays open until Watchroom is restarted") == count
            assert b"Open access" in made.get("/")
        assert eventually(lambda: made.health()["config_problems"])


def test_the_history_of_a_check_that_was_taken_out_is_deleted_by_the_running_server(tmp_path):
    with product(tmp_path) as made:
        made.configure(
            "checks: [{id: up, type: host, what: uptime, every: 1s}, {id: gone, type: host, what: load, every: 1s}]"
        )
        made.start()
        eventually(lambda: made.rows(check="gone"))
        refused = made.command("forget", "gone", "--yes")
        assert refused.returncode == 1
        assert "is configured" in refused.stderr
        made.configure("checks: [{id: up, type: host, what: uptime, every: 1s}]")
        made.hang_up()
        eventually(lambda: made.health()["prober"]["checks"] == 1)
        done = made.command("forget", "gone", "--yes")
        assert (done.returncode, done.stderr) == (0, "")
        assert made.command("compact").returncode == 0
        eventually(lambda: made.health()["store"]["sealed_at"])
        assert {row["check_id"] for row in made.rows()} == {"up"}
        assert made.command("doctor").returncode == 0
