"""Secrets come from the environment or a file, and never reach a message."""

from __future__ import annotations

from pathlib import Path

import pytest

from dashboard.config import parse
from dashboard.errors import ConfigError
from dashboard.model import BrokenCheck, Check, Settings

CANARY = "c4n4ry-s3cret"


def read(text: str, *, folder: Path = Path("/nowhere"), **environ: str) -> Settings:
    return parse(text, source=folder / "watchroom.yaml", environ=environ)


def check_of(options: str, *, folder: Path = Path("/nowhere"), **environ: str) -> Check:
    return read(
        f"checks: [{{id: api, type: http, url: 'https://x.test/', {options}}}]", folder=folder, **environ
    ).checks[0]


def broken_of(options: str, *, folder: Path = Path("/nowhere"), **environ: str) -> BrokenCheck:
    settings = read(
        f"checks: [{{id: ok, type: prober}}, {{id: api, type: http, url: 'https://x.test/', {options}}}]",
        folder=folder,
        **environ,
    )
    assert [check.id for check in settings.checks] == ["ok"]
    return settings.broken[0]


def test_a_variable_is_filled_in_anywhere_and_masked():
    check = check_of("body: 'a=${TOKEN}&b=$${TOKEN}&c=$1', name: 'API ${STAGE:-test}'", TOKEN=CANARY)
    assert check.probe.body == f"a={CANARY}&b=${{TOKEN}}&c=$1"
    assert check.name == "API test"
    assert check.mask(f"got {CANARY}!") == "got ***!"
    assert CANARY not in repr(check)


def test_a_filled_text_may_stand_for_a_number():
    assert read("server: {port: '${PORT}'}\nchecks: []", PORT="9000").server.port == 9000
    assert check_of("max_redirects: '${N:-3}'").probe.max_redirects == 3


def test_an_empty_variable_takes_the_default_and_else_is_empty():
    assert check_of("body: '${A:-b}'", A="").probe.body == "b"
    assert check_of("body: '${A}'", A="").probe.body == ""
    assert check_of("body: '${A:-}'").probe.body == ""


def test_short_values_are_not_masked_since_that_would_garble_everything():
    assert check_of("body: '${N}'", N="80").mask("port 80") == "port 80"
    assert check_of("bearer: abc").mask("abc") == "abc"


def test_flags_in_the_environment_of_a_plugin_do_not_garble_what_it_says():
    settings = read(
        "commands: {enabled: true}\n"
        "checks: [{id: load, type: command, argv: [/bin/true], env: {DEBUG: '1', LANG: C, TOKEN: s3cret}}]"
    )
    assert settings.checks[0].mask("CRITICAL - load 1.71 s3cret") == "CRITICAL - load 1.71 ***"


@pytest.mark.parametrize(
    "options",
    [
        f"bearer: {CANARY}",
        "bearer: '${TOKEN}'",
        "bearer: file:token",
        f"basic: {{username: u, password: {CANARY}}}",
        "basic: {username: u, password: file:token}",
        f"headers: {{Authorization: Bearer {CANARY}}}",
        f"headers: {{X-Api-Key: {CANARY}}}",
    ],
)
def test_every_kind_of_secret_is_masked(tmp_path, options):
    (tmp_path / "token").write_text(f"{CANARY}\n")
    check = check_of(options, folder=tmp_path, TOKEN=CANARY)
    assert check.mask(f"<{CANARY}>") == "<***>"
    assert CANARY not in repr(check)


def test_a_password_in_the_url_is_masked():
    text = f"checks: [{{id: api, type: http, url: 'https://u:{CANARY}@x.test/'}}]"
    assert read(text).checks[0].mask(f"<{CANARY}>") == "<***>"


def test_the_longest_secret_is_masked_first():
    check = check_of("bearer: '${A}', body: '${B}'", A="abcd", B="abcdefgh")
    assert check.mask("abcdefgh") == "***"


def test_file_means_a_file_in_secret_fields_alone(tmp_path):
    check = check_of("body: file:token", folder=tmp_path)
    assert check.probe.body == "file:token"


@pytest.mark.parametrize(
    ("options", "fault"),
    [
        ("body: '${NOPE}'", "body: the environment variable NOPE is not set: set it, or write ${NOPE:-default}"),
        ("every: '${NOPE}'", "every: the environment variable NOPE is not set"),
        ("tags: ['${NOPE}']", "tags: the environment variable NOPE is not set"),
        ("body: '${no pe}'", "body: ${no pe} is not a variable: write ${NAME}, or $${ for the two characters"),
        ("body: '${NOPE'", "body: ${NOPE is not a variable: write ${NAME}, or $${ for the two characters"),
        ("bearer: file:none", "bearer: the secret file /nowhere/none cannot be read: there is no such file"),
        ("bearer: file:/", "bearer: the secret file / cannot be read: there is no such file"),
        ("bearer: 'file:${NOPE}'", "bearer: the environment variable NOPE is not set"),
        ("basic: {username: u, password: file:none}", "basic: the secret file /nowhere/none cannot be read"),
    ],
)
def test_a_secret_that_is_missing_breaks_its_check_alone(options, fault):
    broken = broken_of(options)
    assert (broken.id, broken.type) == ("api", "http")
    assert broken.fault.startswith(fault)


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (b"", "it is empty"),
        (b"\n", "it is empty"),
        (b"x" * 70_000, "it is larger than 64 KiB"),
        (b"\xff", "is not UTF-8"),
    ],
)
def test_a_secret_file_that_is_no_secret_breaks_its_check(tmp_path, content, fault):
    (tmp_path / "token").write_bytes(content)
    assert fault in broken_of("bearer: file:token", folder=tmp_path).fault


def test_a_broken_check_keeps_its_place_and_its_other_faults_are_told():
    broken = broken_of("body: '${NOPE}', name: API, group: Shop, tags: [web]")
    assert (broken.name, broken.group, broken.tags) == ("API", "Shop", ("web",))
    with pytest.raises(ConfigError) as caught:
        broken_of("body: '${NOPE}', bdy: x, every: 5")
    assert [problem.message.split(":")[1].strip() for problem in caught.value.problems] == ["every", "bdy"]


def test_an_id_cannot_come_from_a_missing_variable():
    with pytest.raises(ConfigError, match="id: the environment variable NOPE is not set"):
        read("checks: [{id: '${NOPE}', type: prober}]")


@pytest.mark.parametrize(
    "options",
    [
        "max_redirects: '${TOKEN}'",
        "method: '${TOKEN}'",
        "headers: '${TOKEN}'",
        "family: '${TOKEN}'",
        "expect_status: '${TOKEN}'",
        "every: '${TOKEN}'",
        "runbook: '${TOKEN}'",
        "tags: ['a ${TOKEN}']",
        "thresholds: {a: {warning: '${TOKEN}'}}",
        f"bearer: [{CANARY}]",
        f"basic: {CANARY}",
        f"basic: {{username: u, password: [{CANARY}]}}",
        f"basic: {{user: u, password: {CANARY}}}",
        f"bearer: {CANARY}, basic: {{username: u, password: {CANARY}}}",
        "url_: '${TOKEN}'",
    ],
)
def test_a_faulty_value_that_is_secret_is_not_quoted(options):
    with pytest.raises(ConfigError) as caught:
        check_of(options, TOKEN=CANARY)
    assert CANARY not in str(caught.value)
    assert caught.value.problems


@pytest.mark.parametrize(
    "check", ["{id: '${TOKEN} x', type: prober}", "{id: a, type: '${TOKEN}'}", "{id: '${TOKEN}', type: x}"]
)
def test_a_secret_as_id_or_type_is_not_quoted(check):
    with pytest.raises(ConfigError) as caught:
        read(f"checks: [{check}]", TOKEN=CANARY)
    assert CANARY not in str(caught.value)


def test_a_secret_in_the_name_of_a_broken_check_is_masked():
    broken = broken_of("body: '${NOPE}', name: 'API ${TOKEN}', group: '${TOKEN}'", TOKEN=CANARY)
    assert (broken.name, broken.group) == ("API ***", "***")


def test_a_secret_outside_of_checks_is_not_quoted():
    with pytest.raises(ConfigError) as caught:
        read("server: {zone: '${TOKEN}', host: '${TOKEN} x', port: '${TOKEN}'}\nchecks: []", TOKEN=CANARY)
    assert len(caught.value.problems) == 3
    assert CANARY not in str(caught.value)
