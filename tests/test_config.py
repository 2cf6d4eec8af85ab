"""A file becomes Settings, or every one of its problems in words."""

from __future__ import annotations

import math
import os
import time
from pathlib import Path

import pytest

from checks.base import Threshold
from dashboard.config import diff, load, parse, until_restart
from dashboard.config.durations import duration_text, parse_duration
from dashboard.errors import ConfigError
from dashboard.model import Retention, Settings

DAY_S = 86400.0
TCP = "checks: [{id: db, type: tcp, host: db.internal, port: 5432"


def read(text: str, *, environ: dict[str, str] | None = None, is_writable_by_others: bool = False) -> Settings:
    source = Path("/etc/watchroom/watchroom.yaml")
    return parse(text, source=source, environ=environ or {}, is_writable_by_others=is_writable_by_others)


def problems(text: str, **how: object) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        read(text, **how)  # type: ignore[arg-type]
    return [str(problem) for problem in caught.value.problems]


FULL = """\
server: {host: 127.0.0.1, port: 9000, zone: Europe/Berlin, allowed_hosts: [status.internal]}
retention: {raw: 7d, hours: 5y}
defaults: {every: 30s, timeout: 5s, failure_threshold: 3, success_threshold: 2, group: Shop, tags: [prod]}
commands: {enabled: true}
checks:
  - id: shop
    name: Web shop
    type: http
    url: https://shop.internal/health
    every: 10s
    tags: [web]
    runbook: https://wiki.internal/shop
    thresholds:
      response_time: {warning: "0.5", critical: 2}
      certificate_days: {warning: "14:"}
  - {id: db, type: tcp, host: db.internal, port: 5432, every: 1s}
  - {id: load, type: command, argv: [/usr/lib/nagios/plugins/check_load, -w, "4,3,2"], timeout: 20s, paused: true}
"""


def test_the_names_that_users_rely_on_are_read():
    settings = read(FULL)
    assert (settings.server.port, settings.server.zone) == (9000, "Europe/Berlin")
    assert settings.server.allowed_hosts == ("status.internal",)
    assert settings.retention == Retention(
        raw_s=7 * DAY_S, five_minutes_s=90 * DAY_S, hours_s=5 * 365 * DAY_S, days_s=math.inf
    )
    assert settings.commands_enabled
    shop, db, load_ = settings.checks
    assert (shop.name, shop.type, shop.group, shop.tags) == ("Web shop", "http", "Shop", ("web",))
    assert shop.thresholds["response_time"].critical == Threshold.parse("2")
    assert shop.thresholds["certificate_days"].critical is None
    assert (shop.failure_threshold, shop.success_threshold) == (3, 2)
    assert (db.name, db.tags, db.paused) == ("db", ("prod",), False)
    assert load_.paused


@pytest.mark.parametrize(
    ("defaults", "own", "expected"),
    [
        ("", "every: 60s", (60.0, 10.0)),
        ("", "every: 1s", (1.0, 0.8)),
        ("", "every: 10s, timeout: 10s", (10.0, 10.0)),
        ("timeout: 5s", "every: 60s", (60.0, 5.0)),
        ("timeout: 5s", "every: 5s", (5.0, 4.0)),
        ("every: 2m", "timeout: 90s", (120.0, 90.0)),
        ("", "every: 1h30m", (5400.0, 10.0)),
        ("", "", (30.0, 10.0)),
    ],
)
def test_a_timeout_of_ones_own_holds_and_an_inherited_one_is_capped(defaults, own, expected):
    check = read(f"defaults: {{{defaults}}}\n{TCP}{', ' + own if own else ''}}}]").checks[0]
    assert (check.schedule.every_s, check.schedule.timeout_s) == expected


@pytest.mark.parametrize(
    ("own", "expected"),
    [
        ("", None),
        ("retention: {}", None),
        ("retention: {raw: 7d}", None),
        ("retention: {raw: 1y}", Retention(raw_s=365 * DAY_S, hours_s=math.inf)),
        ("retention: {raw: forever, days: 3y}", Retention(raw_s=math.inf, hours_s=math.inf, days_s=3 * 365 * DAY_S)),
        (
            "retention: {five_minutes: 1d, hours: 2d}",
            Retention(raw_s=7 * DAY_S, five_minutes_s=DAY_S, hours_s=2 * DAY_S),
        ),
    ],
)
def test_a_check_may_keep_its_history_for_another_time(own, expected):
    text = f"retention: {{raw: 7d, hours: forever}}\n{TCP}{', ' + own if own else ''}}}]"
    assert read(text).checks[0].retention == expected


def test_every_problem_is_told_at_once_in_the_order_of_lines():
    text = """\
server: {prt: 8000, zone: Europe/Berln}
retention: {raw: 30}
defualts: {}
checks:
  - {id: db, type: tcp, host: db.internal, port: 99999}
  - {id: web, type: htp, url: "http://x"}
  - {id: db, type: tcp, host: db, port: 1, evry: 2s, timeout: 60s}
  - {id: "a b", type: tcp, host: db, port: 1, tags: web, name: 12, runbook: "javascript:alert(1)"}
  - {type: host, what: cpo}
  - text
"""
    assert problems(text) == [
        "line 1: server: zone: 'Europe/Berln' is not a time zone: did you mean 'Europe/Berlin'?",
        "line 1: server: prt: unknown key, did you mean 'port'?",
        "line 2: retention: raw: needs a unit (ms, s, m, h, d or y): write 30s for seconds, or `forever`",
        "line 3: defualts: unknown key, did you mean 'defaults'?",
        "line 5: check 'db': port: must be at most 65535, got 99999",
        "line 6: check 'web': type: there is no 'htp', did you mean 'http'?",
        "line 7: check 'db': timeout: must be at most the interval, 30s, got 1m: shorten it, or lengthen `every`",
        "line 7: check 'db': evry: unknown key, did you mean 'every'?",
        "line 7: check 'db': id: is already used on line 5: each check needs its own",
        "line 8: check 'a b': tags: must be a list such as [a, b], got 'web'",
        "line 8: check 'a b': runbook: must start with http:// or https://",
        "line 8: check 'a b': id: must be 1 to 64 of the characters A-Z a-z 0-9 . _ - and more than dots",
        "line 8: check 'a b': name: must be text, got 12: put it in quotes",
        "line 9: check 5: id: is required",
        "line 9: check 5: what: must be 'cpu', 'memory', 'swap', 'load', 'disk', 'inodes', 'network', 'clock' "
        "or 'uptime', got 'cpo'",
        "line 10: check 6: must hold `key: value` lines such as `id:` and `type:`",
    ]


@pytest.mark.parametrize(
    ("option", "fault"),
    [
        ("every: 30", "every: needs a unit (ms, s, m, h, d or y): write 30s for seconds"),
        ("every: 0s", "every: must be between 1s and 7d"),
        ("every: 999999999d", "every: must be between 1s and 7d"),
        ("every: -5s", "every: must be a duration such as 500ms, 30s, 5m, 1h30m or 7d"),
        ("every: .nan", "every: must be a duration such as 500ms, 30s, 5m, 1h30m or 7d"),
        ("every: soon", "every: must be a duration such as 500ms, 30s, 5m, 1h30m or 7d"),
        ("every: [1s]", "every: must be a duration such as 500ms, 30s, 5m, 1h30m or 7d"),
        ("every: ", "every: must be a duration such as 500ms, 30s, 5m, 1h30m or 7d"),
        ("every: true", "every: must be a duration such as 500ms, 30s, 5m, 1h30m or 7d"),
        ("timeout: 1ms", "timeout: must be between 100ms and 1h"),
        ("failure_threshold: 0", "failure_threshold: must be at least 1, got 0"),
        ("failure_threshold: 1.5", "failure_threshold: must be a whole number, got 1.5"),
        ("retries: many", "retries: must be a whole number, got 'many'"),
        ("paused: maybe", "paused: must be true or false, got 'maybe'"),
        ("name: [a]", "name: must be text, got a list"),
        ("group: {a: b}", "group: must be text, got keys and values"),
        ('name: "a\\nb"', "name: must be one line"),
        ("tags: [a b]", "tags: entry 1: must be one word, without commas and quotes"),
        ("tags: [a, 1]", "tags: entry 2: must be text, got 1: put it in quotes"),
        ("thresholds: {connect: {warning: abc}}", "thresholds: connect: warning: 'abc' is not a range such as '0.5', "),
        ("thresholds: {connect: {warning: true}}", "thresholds: connect: warning: must be a range such as '0.5', "),
        ("thresholds: {connect: {}}", "thresholds: connect: needs `warning`, `critical` or both"),
        ("thresholds: {connect: {warn: 1}}", "thresholds: connect: warn: unknown key, did you mean 'warning'?"),
        ("retention: {raw: 2h}", "retention: raw: must be between 1d and 30y, or `forever`"),
        (
            "retention: {raw: for ever}",
            "retention: raw: must be a duration such as 500ms, 30s, 5m, 1h30m or 7d, or `for",
        ),
        ("retention: {minutes: 2d}", "retention: minutes: unknown key, did you mean 'five_minutes'?"),
        ("retention: 30d", "retention: must hold `key: value` lines, got '30d'"),
        ("thresholds: 5", "thresholds: must hold `key: value` lines, got 5"),
    ],
)
def test_a_fault_is_named_with_the_way_out(option, fault):
    first = problems(f"{TCP}, {option}}}]")[0]
    assert first.startswith(f"line 1: check 'db': {fault}")


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("800ms", 0.8), ("90s", 90.0), ("2h", 7200.0), ("30d", 30 * DAY_S), ("2y", 730 * DAY_S), ("forever", math.inf)],
)
def test_a_duration_is_written_as_short_as_it_is_read(text, seconds):
    assert duration_text(seconds) == text
    assert text == "forever" or parse_duration(text) == seconds


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("[]", "line 1: must hold `key: value` lines such as `checks:`"),
        ("hello", "line 1: must hold `key: value` lines such as `checks:`"),
        ("server: {}", "line 1: checks: is required; write `checks: []` for none"),
        ("checks: {}", "line 1: checks: must be a list, one `- ` a check; write `checks: []` for none"),
        ("checks: []\nserver: 5", "line 2: server: must hold `key: value` lines"),
        ("checks: []\nserver: {port: 65536}", "line 2: server: port: must be at most 65535, got 65536"),
        ("checks: []\nserver: {port: '0x'}", "line 2: server: port: must be a whole number, got '0x'"),
        ("checks: []\nserver: {zone: ../etc}", "line 2: server: zone: '../etc' is not a time zone: "),
        ("checks: []\nserver: {zone: Europe}", "line 2: server: zone: 'Europe' is not a time zone: "),
        ("checks: []\nserver: {access: all}", "line 2: server: access: must be 'local' or 'open', got 'all'"),
        ("checks: []\nserver: {allowed_hosts: ['http://x']}", "line 2: server: allowed_hosts: entry 1: must be a host"),
        ("checks: []\nretention: {raw: 1s}", "line 2: retention: raw: must be between 1h and 30y, or `forever`"),
        ("checks: []\nretention: {raw: 31y}", "line 2: retention: raw: must be between 1h and 30y, or `forever`"),
        ("checks: []\nretention: {hours: 1h}", "line 2: retention: hours: must be between 1d and 30y, or `forever`"),
        ("checks: []\nretention: {days: always}", "line 2: retention: days: must be a duration such as 500ms, 30s, "),
        ("checks: []\nretention: {hour: 1d}", "line 2: retention: hour: unknown key, did you mean 'hours'?"),
        ("checks: []\nserver: {host: '${NOPE}'}", "line 2: server: host: the environment variable NOPE is not set"),
    ],
)
def test_a_fault_outside_of_checks_stops_the_file(text, fault):
    first, *others = problems(text)
    assert first.startswith(fault)
    assert not others


def test_a_check_without_id_does_not_take_an_id():
    assert len(problems("checks: [{type: prober}, {id: None, type: prober}]")) == 1


def test_a_message_is_one_printable_line_whatever_a_key_holds():
    (fault,) = problems('checks: [{id: a, type: prober, "\\e[2J\\n' + "x" * 900 + '": 1}]')
    assert fault.isprintable()
    assert "\\x1b[2J\\n" in fault
    assert len(fault) < 1100  # and what follows is cut


def test_sections_without_content_count_as_not_there():
    settings = read("server:\ndefaults:\nretention:\ncommands:\nchecks: []")
    assert settings == Settings(source=settings.source)


@pytest.mark.parametrize("check_id", [".", "..", "a/b", "ü", "", "x" * 65, '"a\\n"'])
def test_an_id_is_fit_for_a_url(check_id):
    fault = (
        problems(f'checks: [{{id: "{check_id}", type: prober}}]')[0]
        if '"' not in check_id
        else problems(f"checks: [{{id: {check_id}, type: prober}}]")[0]
    )
    assert "id: must be 1 to 64 of the characters" in fault


def test_commands_are_refused_by_name_unless_they_are_enabled():
    text = "checks: [{id: load, type: command, argv: [/bin/true]}, {id: db, type: tcp, host: db, port: 1}]"
    fault = "line 1: check 'load': type: command runs programs: allow that with `commands: {enabled: true}`"
    assert problems(text) == [fault]
    assert len(read(f"commands: {{enabled: true}}\n{text}").checks) == 2


def test_commands_are_refused_by_name_when_others_may_write_to_the_file(tmp_path):
    file = tmp_path / "watchroom.yaml"
    file.write_text("commands: {enabled: true}\nchecks: [{id: load, type: command, argv: [/bin/true]}]\n")
    file.chmod(0o644)
    assert len(load(file, environ={}).checks) == 1
    for mode in (0o664, 0o646):
        file.chmod(mode)
        with pytest.raises(ConfigError, match=rf"check 'load': .*others may write to .*: `chmod go-w {file}`"):
            load(file, environ={})


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.8.8", "::1", "localhost"])
def test_the_loopback_needs_no_leave(host):
    assert read(f"server: {{host: '{host}'}}\nchecks: []").server.host == host


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.0.0.5", "status.internal"])
def test_another_address_needs_access_to_be_open(tmp_path, host):
    file = tmp_path / "watchroom.yaml"
    file.write_text(f"server:\n  port: 1\n  host: '{host}'\nchecks: []\n")
    with pytest.raises(ConfigError, match=r"line 3: server: host: .* `access: open`"):
        load(file, environ={})
    file.write_text(f"server: {{host: '{host}', access: open}}\nchecks: []\n")
    assert load(file, environ={}).server.access == "open"


def test_what_was_asked_for_overrides_the_file(tmp_path):
    file = tmp_path / "watchroom.yaml"
    file.write_text("server: {host: '::1', port: 9000}\nchecks: []\n")
    settings = load(file, environ={}, host="127.0.0.2", port=0, data=tmp_path / "here")
    assert (settings.server.host, settings.server.port, settings.data) == ("127.0.0.2", 0, tmp_path / "here")
    assert settings.source == file
    with pytest.raises(ConfigError, match=r"^server: host: 0\.0\.0\.0 can be reached by other machines"):
        load(file, environ={}, host="0.0.0.0")


def test_without_a_file_this_machine_is_checked(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    settings = load(None, environ={})
    ids = [check.id for check in settings.checks]
    assert {"cpu", "memory", "swap", "load", "clock", "prober"} < set(ids)
    assert any(check_id.startswith("disk-") for check_id in ids)
    assert any(check_id.startswith("inodes-") for check_id in ids)
    assert len(ids) == len(set(ids))
    assert {check.group for check in settings.checks} == {"This machine"}
    assert all(check.schedule.timeout_s <= 0.8 * check.schedule.every_s for check in settings.checks)


def test_without_a_name_the_file_in_this_folder_is_read(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("watchroom.yaml").write_text("checks: [{id: only, type: prober}]")
    assert [check.id for check in load(None, environ={}).checks] == ["only"]


@pytest.mark.parametrize(
    ("raw", "fault"),
    [
        ("a: 1".encode("utf-16"), "is UTF-16 or UTF-32: save it as UTF-8"),
        ("checks: []".encode("utf-16-le"), "is UTF-16 or UTF-32: save it as UTF-8"),
        ("checks: []".encode("utf-32"), "is UTF-16 or UTF-32: save it as UTF-8"),
        (b"checks: []\nname: caf\xe9\n", "line 2: .*is not UTF-8 .byte 0xe9.: save it as UTF-8"),
        (b"checks: []\n\nx: \0\n", "line 3: .*holds a NUL byte: remove it"),
        (b"checks: []\nx: \x1b[2J\n", r"line 2: .*holds the control character U\+001B: remove it"),
        (b"", "is empty: it needs at least `checks:`"),
        (b" \n\n", "is empty: it needs at least `checks:`"),
        (b"#" * (8 * 1024 * 1024 + 1), "is larger than 8 MiB"),
    ],
)
def test_bytes_that_are_no_text_are_named(tmp_path, raw, fault):
    file = tmp_path / "watchroom.yaml"
    file.write_bytes(raw)
    with pytest.raises(ConfigError, match=fault):
        load(file, environ={})


def test_a_byte_order_mark_and_windows_line_ends_are_accepted(tmp_path):
    file = tmp_path / "watchroom.yaml"
    file.write_bytes(b"\xef\xbb\xbfchecks:\r\n  - id: a\r\n    type: prober\r\n    name: |\r\n      A\r\n")
    assert [(check.id, check.name) for check in load(file, environ={}).checks] == [("a", "A")]


def test_a_file_that_cannot_be_read_is_named(tmp_path):
    with pytest.raises(ConfigError, match="does not exist: check the path"):
        load(tmp_path / "none.yaml", environ={})
    with pytest.raises(ConfigError, match="is a directory"):
        load(tmp_path, environ={})
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with pytest.raises(ConfigError, match="is not a regular file"):
        load(pipe, environ={})


def test_a_reload_is_told_apart_by_id():
    old = read(f"{TCP}}}, {{id: a, type: prober}}, {{id: b, type: prober}}]")
    new = read(f"server: {{port: 9000}}\n{TCP}, name: Database}}, {{id: b, type: prober}}, {{id: c, type: prober}}]")
    found = diff(old, new)
    assert (found.added, found.removed, found.changed) == (("c",), ("a",), ("db",))
    assert found.needs_restart == ("server.port stays 8000 until Watchroom is restarted; the file now says 9000",)
    assert diff(old, old).is_empty


def test_another_retention_needs_no_restart():
    checks = f"{TCP}}}, {{id: a, type: prober, retention: {{raw: 1y}}}}]"
    old, new = read(checks), read(f"retention: {{raw: 1d, days: 10y}}\n{checks}")
    found = diff(old, new)
    assert found.needs_restart == ()
    assert found.changed == ("a",), "what it does not say itself is another now"
    assert until_restart(old, new).retention == Retention(raw_s=DAY_S, days_s=10 * 365 * DAY_S)


def test_a_check_that_breaks_counts_as_changed():
    text = f"{TCP}, send: '${{GREETING}}'}}]"
    found = diff(read(text, environ={"GREETING": "hello"}), read(text))
    assert found.changed == ("db",)


def test_ten_thousand_checks_load_in_five_seconds_of_this_processor():
    lines = [f"  - {{id: c{n}, type: tcp, host: db{n}.internal, port: 5432, every: 10s}}\n" for n in range(10_000)]
    text = "checks:\n" + "".join(lines)
    began_s = time.process_time()
    settings = read(text)
    assert len(settings.checks) == 10_000
    assert time.process_time() - began_s <= 5.0


def test_a_threshold_that_could_never_alarm_is_refused_with_its_line():
    found = problems(
        "checks:\n"
        "  - id: api\n    type: http\n    url: http://127.0.0.1/\n    thresholds:\n"
        "      response_time: {critical: '2'}\n      response_tme: {critical: '2'}\n"
    )
    assert found == [
        "line 7: check 'api': thresholds: http has no metric 'response_tme', did you mean 'response_time'?"
    ]


def test_a_plugin_may_have_any_metric():
    text = "commands: {enabled: true}\nchecks:\n  - {id: a, type: command, argv: [/bin/true], thresholds: {users: {warning: '5'}}}\n"
    assert read(text).checks[0].thresholds.keys() == {"users"}


def test_a_token_with_a_line_end_is_refused_without_showing_it():
    text = 'checks:\n  - {id: api, type: http, url: "http://127.0.0.1/", bearer: "canary\\nEvil: 1"}\n'
    (found,) = problems(text)
    assert "bearer: holds a line end" in found
    assert "canary" not in found
